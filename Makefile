# `make segment` and `make test` each work alone on a clean clone; everything goes into .venv.
PYTHON ?= python3
IMAGE ?= examples/nuclei.png
MODEL ?= cells
OUTPUT ?= segments/$(basename $(notdir $(IMAGE)))

BIN := .venv/bin
SOURCES := pyproject.toml setup.py $(shell find csrc -type f)

.PHONY: segment test test-slow bench lint format clean

segment: .venv/installed
	$(BIN)/bottomup segment $(IMAGE) --model $(MODEL) --output $(OUTPUT)

test: .venv/installed-dev
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest -m "slow and not gpu"

bench: .venv/installed-dev
	$(BIN)/python -m pytest bench/*.py --benchmark-only --benchmark-json=bench.json

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(shell find csrc -name '*.h' -o -name '*.cpp')

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(shell find csrc -name '*.h' -o -name '*.cpp')

clean:
	rm -rf .venv build segments bottomup_fast/*.so

# The library is compiled against the torch it will run with, hence no build isolation.
.venv/torch:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch torchvision numpy "setuptools>=77" ninja
	touch $@

.venv/installed: .venv/torch $(SOURCES)
	$(BIN)/pip install --quiet --no-build-isolation --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --no-build-isolation --editable ".[dev]"
	touch $@
