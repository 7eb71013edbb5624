# `make segment` and `make test` each work alone on a clean clone; everything goes into .venv.
PYTHON ?= python3
IMAGE ?= examples/nuclei.png
MODEL ?= cells
OUTPUT ?= segments/$(basename $(notdir $(IMAGE)))

BIN := .venv/bin
SOURCES := pyproject.toml setup.py $(shell find csrc -type f)

CXX_FILES = $(shell find csrc examples/cpp tests/cuda_host tests/runtime -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: segment test test-slow test-sanitizers test-ptx mutations fuzz bench kernel-report wheel lint format clean

segment: .venv/installed
	$(BIN)/bottomup segment $(IMAGE) --model $(MODEL) --output $(OUTPUT)

# Files of tests side by side, with one thread each where a test does not ask for more.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test: .venv/installed-dev
	$(PYTEST) -m "not slow and not gpu and not fuzz"

test-slow: .venv/installed-dev
	$(PYTEST) -m "slow and not gpu"

# The ops' tests on a library built with address and undefined-behaviour sanitizers. Tests that
# start compilers or other Python processes are left out: these would inherit the preloaded ones.
test-sanitizers: .venv/installed-dev
	BOTTOMUP_CUDA=0 BOTTOMUP_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-lib build/sanitized --build-temp build/sanitized-objects
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=build/sanitized $(BIN)/pytest -p no:cacheprovider \
	    -m "not slow and not gpu and not fuzz" -k "not compile and not instruction_set and not path and not export and not opcheck" \
	    tests/test_ops*.py tests/test_loss_ops*.py

# The CUDA kernels' tests on the PTX that nvcc writes, by an interpreter in the folder PTXRUN.
test-ptx: .venv/installed-dev
	PTXRUN=$(PTXRUN) PTXRUN_OPT=-O0 $(BIN)/python -m pytest tests/cuda_host -m ptxrun

# Bugs seeded into the CUDA kernels, each of which the tests must find.
MUTANTS ?= 20
mutations: .venv/installed-dev
	$(BIN)/python tests/cuda_host/mutations.py meanshift --count $(MUTANTS)
	$(BIN)/python tests/cuda_host/mutations.py losses --count $(MUTANTS)

# Ten minutes of random shapes, strides, types and label maps.
fuzz: .venv/installed-dev
	$(BIN)/python -m pytest -m fuzz

bench: .venv/installed-dev
	$(BIN)/python -m pytest bench/bench_*.py --benchmark-only --benchmark-json=bench.json

# Registers, spills, instructions and traffic of the CUDA kernels, counted; needs a CUDA toolkit.
kernel-report: .venv/installed-dev
	cd bench && ../$(BIN)/python -m kernel_report $(REPORT)

# A release in dist/: the source distribution and what is built from it, audited, and tried where no
# sources are. TORCH_CUDA_ARCH_LIST=release builds for every GPU.
wheel: .venv/installed-dev
	rm -rf dist
	$(BIN)/python tests/wheel_build.py dist
	BOTTOMUP_WHEELS=$(CURDIR)/dist $(BIN)/python -m pytest -m slow tests/test_wheel.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

clean:
	rm -rf .venv build segments bottomup_fast/*.so

# The library is compiled against the torch it will run with, hence no build isolation.
.venv/torch:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch torchvision numpy "setuptools>=77" ninja pybind11
	touch $@

.venv/installed: .venv/torch $(SOURCES)
	$(BIN)/pip install --quiet --no-build-isolation --editable .
	touch $@

# The extra `dev` alone: with the package, pip would build it again.
.venv/installed-dev: .venv/installed
	$(BIN)/python -c 'import tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; print(*extras["dev"], sep="\n")' > .venv/dev.txt
	$(BIN)/pip install --quiet --requirement .venv/dev.txt
	touch $@
