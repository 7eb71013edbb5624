"""Compile CUDA kernels for a machine without a GPU.

`host_library(family)` compiles the unmodified .cu files with g++ against the execution model of
this folder (`cuda_runtime.h`, `common/ptx.h` and `model/`), `ptx_library(family, capability)` with
nvcc against the shared CUDA runtime, PTX inside, for an interpreter of PTX. Both add the family's
entry file: extern "C" functions of plain pointers and sizes that return a CudaStatus's error.

What compilers make is kept in build/cuda_host/, by a hash of the command and of all files it read.
CUDA_HOST_CSRC names another folder than csrc/ to take the kernels from.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CSRC = Path(os.environ.get("CUDA_HOST_CSRC", ROOT / "csrc")).resolve()
CACHE = ROOT / "build" / "cuda_host"

# Sanitizers of the kernels' code, and what the model is told about them.
SANITIZERS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "none": ((), ()),
    "address": (("-fsanitize=address,undefined",), ("-DCUDA_HOST_ADDRESS",)),
    "thread": (("-fsanitize=thread",), ("-DCUDA_HOST_THREAD",)),
}
INCLUDES = (f"-I{HERE}", f"-I{CSRC}")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
# Without -fno-gnu-unique, libraries in one process would share the variables of templates.
COMMON = ("-x", "c++", "-std=c++20", "-g", "-fPIC", "-fno-gnu-unique", *WARNINGS, *INCLUDES)
KERNELS = (*COMMON, "-O1")
# The thread sanitizer counts calls of memset as accesses: loops must stay loops.
MODEL = (*COMMON, "-O3", "-fno-tree-loop-distribute-patterns")
# Of the C++ library: what needs other libraries.
OTHERS = ("aoti.cpp", "tensorrt.cpp")
MODEL_PARTS = ("barriers", "device", "reports", "scheduler", "streams", "warps")
PTX = (
    *("-x", "cu", "-std=c++20", "--expt-relaxed-constexpr", "-O3", "-lineinfo", f"-I{CSRC}"),
    *("-no-compress", "-Xcompiler", "-fPIC"),
)


class CompileError(RuntimeError):
    """A compiler's messages."""


@dataclass(frozen=True)
class Family:
    """Kernels that are tested together, and the functions by which tests start them."""

    name: str
    sources: tuple[Path, ...]


@functools.cache
def family(name: str) -> Family:
    """Return csrc/<name>_cuda/*.cu with entries/<name>.cpp, or kernels/<name>.cu by itself."""
    own = HERE / "kernels" / f"{name}.cu"
    if own.exists():
        return Family(name, (own,))
    kernels = sorted((CSRC / f"{name}_cuda").glob("*.cu"))
    return Family(name, (*kernels, HERE / "entries" / f"{name}.cpp"))


def host_library(kernels: Family, sanitizer: str = "none") -> Path:
    """Return the library of the kernels on the execution model."""
    watch, told = SANITIZERS[sanitizer]
    jobs = [(source, ("g++", *KERNELS, *watch)) for source in kernels.sources]
    jobs += [(HERE / "model" / f"{part}.cpp", ("g++", *MODEL, *told)) for part in MODEL_PARTS]
    link = ("g++", "-shared", "-Wl,-Bsymbolic", *watch)
    return _link(f"lib{kernels.name}.so", _objects(jobs), link)


def counting_library(kernels: Family) -> Path:
    """Return the same, which counts memory traffic (`cuda_host_traffic` of model/traffic.cpp)."""
    jobs = [(source, ("g++", *KERNELS, "-fsanitize=thread")) for source in kernels.sources]
    parts = (*MODEL_PARTS, "traffic")
    jobs += [(HERE / "model" / f"{part}.cpp", ("g++", *MODEL)) for part in parts]
    link = ("g++", "-shared", "-Wl,-Bsymbolic")
    return _link(f"lib{kernels.name}_traffic.so", _objects(jobs), link)


def program(name: str, sanitizer: str = "none") -> Path:
    """Return programs/<name>.cu on the execution model; "runtime" with the C++ library."""
    watch, told = SANITIZERS[sanitizer]
    jobs: list[tuple[Path, Sequence[str]]] = []
    headers: tuple[str, ...] = ()
    if name == "runtime":
        headers = (f"-I{CSRC / 'runtime/include'}", "-DBOTTOMUP_CUDA=1", "-Wno-psabi")
        kernels = sorted((CSRC / "meanshift_cuda").glob("*.cu"))
        library = [CSRC / "common/simd.cpp", *sorted((CSRC / "meanshift_cpu").glob("*.cpp"))]
        library += sorted((CSRC / "merging").glob("*.cpp"))
        library += sorted((CSRC / "runtime").glob("*.cpp"))
        library += sorted((CSRC / "runtime/cuda").glob("*.c*"))
        jobs += [(source, ("g++", *KERNELS, *watch)) for source in kernels]
        library = [source for source in library if source.name not in OTHERS]
        jobs += [(source, ("g++", *KERNELS, *watch, *headers)) for source in library]
    jobs.append((HERE / "programs" / f"{name}.cu", ("g++", *KERNELS, *watch, *headers)))
    jobs += [(HERE / "model" / f"{part}.cpp", ("g++", *MODEL, *told)) for part in MODEL_PARTS]
    return _link(name, _objects(jobs), ("g++", "-pthread", *watch))


def server(sanitizer: str) -> Path:
    """Return the program that calls a library's functions under a sanitizer."""
    watch, _ = SANITIZERS[sanitizer]
    objects = _objects([(HERE / "model" / "server.cpp", ("g++", *MODEL))])
    return _link("server", objects, ("g++", *watch))


def ptx_library(kernels: Family, capability: int) -> Path:
    """Return the library of the kernels and launchers as nvcc builds them."""
    target = ("-gencode", f"arch=compute_{capability},code=compute_{capability}")
    jobs: list[tuple[Path, Sequence[str]]]
    jobs = [(source, ("nvcc", *PTX, *target)) for source in kernels.sources]
    device = HERE / "model" / "ptxrun_device.cpp"
    jobs.append((device, ("nvcc", "-std=c++20", "-Xcompiler", "-fPIC")))
    link = ("nvcc", "-shared", "-cudart", "shared", "-Xlinker", "-Bsymbolic-functions", *target)
    return _link(f"lib{kernels.name}_{capability}.so", _objects(jobs), link)


def _objects(jobs: Sequence[tuple[Path, Sequence[str]]]) -> list[Path]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda job: _object(*job), jobs))


def _object(source: Path, command: Sequence[str]) -> Path:
    command = (*command, "-c", str(source))
    folder = CACHE / _digest(*command)
    read = folder / "files_read"
    for _ in range(5):
        files = [Path(file) for file in read.read_text().split()] if read.exists() else []
        result = folder / _digest_of_files(files) / f"{source.stem}.o"
        if files and result.exists():
            return result
        started = time.time()
        with tempfile.TemporaryDirectory() as scratch:
            listing = Path(scratch) / "files"
            made = _run((*command, "-MMD", "-MF", str(listing)), Path(scratch) / "object")
            files = _prerequisites(listing.read_text())
            # A file that changed meanwhile may have been read before or after.
            if all(file.stat().st_mtime < started for file in files):
                _keep(made, folder / _digest_of_files(files) / f"{source.stem}.o")
                made.write_text("\n".join(map(str, files)))
                _keep(made, read)
    raise CompileError(f"{source}: its files keep changing")


def _prerequisites(rule: str) -> list[Path]:
    """Return the files after the colon of a rule for make."""
    return [Path(file) for file in rule.partition(":")[2].replace("\\\n", " ").split()]


def _link(name: str, objects: Sequence[Path], command: Sequence[str]) -> Path:
    command = (*command, *map(str, objects))
    result = CACHE / _digest(*command) / name
    if not result.exists():
        with tempfile.TemporaryDirectory() as scratch:
            _keep(_run(command, Path(scratch) / name), result)
    return result


def _run(command: Sequence[str], made: Path) -> Path:
    # Elsewhere than here: nvcc includes a cuda_runtime.h of the current folder.
    done = subprocess.run(
        [*command, "-o", str(made)], cwd=made.parent, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CompileError(done.stdout + done.stderr)
    return made


def _keep(made: Path, result: Path) -> None:
    """Copy to a place where other processes see all of the file or none."""
    result.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=result.parent, delete=False) as copy:
        copy.write(made.read_bytes())
    Path(copy.name).chmod(0o755)
    Path(copy.name).replace(result)


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:20]


def _digest_of_files(files: Sequence[Path]) -> str:
    return _digest(*(file.read_bytes() if file.exists() else b"" for file in files))
