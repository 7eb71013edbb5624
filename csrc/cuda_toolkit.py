"""Finds the CUDA toolkit for the build and what to build with it, and compiles the kernels.

Used by setup.py only; not part of the package.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

RELEASE = "7.5;8.0+PTX;8.6;8.7;8.9;9.0;10.0;11.0;12.0+PTX"
"""Compute capabilities of a release; +PTX is what later ones are compiled from by the driver."""
DEVELOPMENT = "8.0+PTX"
"""Those of a build on a machine without a GPU: all from 8.0 on, compiled by the driver."""

FLAGS = (
    *("-std=c++20", "-O3", "--expt-relaxed-constexpr", "-lineinfo", "-Werror", "all-warnings"),
    *("-Xcompiler", "-fPIC,-fvisibility=hidden,-Wall,-Wextra"),
)


class BuildError(RuntimeError):
    """The build cannot do what the environment asks for."""


@dataclass(frozen=True)
class CudaBuild:
    """What a build does about CUDA.

    Attributes:
        root: the folder of the toolkit; None without one.
        toolkit: its version, such as "13.0"; None without one.
        reason: why the library has no CUDA kernels; None if it has.
        architectures: compute capabilities the kernels are compiled for, such as "8.0" or, as
            PTX, "8.0+PTX".
    """

    root: Path | None
    toolkit: str | None
    reason: str | None
    architectures: tuple[str, ...] = ()

    def record(self) -> dict[str, object]:
        """What the library itself remembers: nothing of where it was built."""
        return {
            "toolkit": self.toolkit,
            "reason": self.reason,
            "architectures": list(self.architectures),
        }


def plan_cuda_build(
    environment: Mapping[str, str],
    candidates: Iterable[Path] | None = None,
    capabilities: Callable[[], Iterable[tuple[int, int]]] = lambda: (),
) -> CudaBuild:
    """Look for a toolkit as the variable BOTTOMUP_CUDA ("auto", "0" or "1") of `environment` says.

    TORCH_CUDA_ARCH_LIST chooses the compute capabilities, such as "8.0;9.0+PTX" or "release".

    Args:
        environment: the environment variables.
        candidates: folders to look at instead of the usual places.
        capabilities: tells those of the machine's GPUs, for which the kernels are built unless
            the environment says otherwise.

    Raises:
        BuildError: a variable has another value, or BOTTOMUP_CUDA is "1" and there is no toolkit.
    """
    request = environment.get("BOTTOMUP_CUDA", "auto")
    if request not in ("auto", "0", "1"):
        raise BuildError(f"BOTTOMUP_CUDA={request}: must be auto, 0 or 1")
    if request == "0":
        return CudaBuild(None, None, "built with BOTTOMUP_CUDA=0")
    for root in candidate_folders(environment) if candidates is None else candidates:
        version = toolkit_version(root)
        if version is not None:
            wanted = environment.get("TORCH_CUDA_ARCH_LIST") or ";".join(
                sorted({f"{major}.{minor}" for major, minor in capabilities()}) or [DEVELOPMENT]
            )
            return CudaBuild(root, version, None, tuple(parse_architectures(wanted)))
    missing = (
        "no CUDA toolkit found (a folder with bin/nvcc, include/cuda_runtime.h and "
        "libcudart_static.a)"
    )
    if request == "1":
        raise BuildError(f"BOTTOMUP_CUDA=1, but {missing}: set CUDA_HOME, or BOTTOMUP_CUDA=0")
    return CudaBuild(None, None, missing)


def parse_architectures(wanted: str) -> Iterator[str]:
    """Yield the compute capabilities of a list such as "8.0;9.0+PTX".

    Raises:
        BuildError: it is neither such a list nor "release".
    """
    names = re.split(r"[;, ]+", RELEASE if wanted == "release" else wanted.strip())
    for name in names:
        if not re.fullmatch(r"\d{1,2}\.\d(\+PTX)?", name):
            raise BuildError(f"TORCH_CUDA_ARCH_LIST={wanted}: {name!r} is no compute capability")
        yield name


def compile_kernels(build: CudaBuild, sources: Path, folder: Path) -> list[str]:
    """Compile every .cu file below `sources`, those that changed, and return the objects.

    All but those of `runtime`, which are the C++ library's and no part of torch's.

    Raises:
        BuildError: nvcc refuses one; what it said has been printed.
    """
    assert build.root is not None
    nvcc = [build.root / "bin" / "nvcc", *FLAGS, f"-I{sources}"]
    command = shlex.join(map(str, [*nvcc, *gencode_flags(build.architectures)]))
    rules = [
        f"builddir = {_escaped(folder)}",
        "rule cuda",
        f"  command = {command.replace('$', '$$')} -MD -MF $out.d -c $in -o $out",
        "  depfile = $out.d",
        "  deps = gcc",
    ]
    objects = []
    for source in sorted(sources.rglob("*.cu")):
        place = source.relative_to(sources)
        if place.parts[0] == "runtime":
            continue
        target = folder / place.with_suffix(".o")
        objects.append(str(target))
        rules.append(f"build {_escaped(target)}: cuda {_escaped(source)}")
    folder.mkdir(parents=True, exist_ok=True)
    plan = folder / "kernels.ninja"
    plan.write_text("\n".join(rules) + "\n")
    if subprocess.run([sys.executable, "-m", "ninja", "-f", plan], check=False).returncode:
        raise BuildError("a CUDA kernel does not compile")
    return objects


def gencode_flags(architectures: Iterable[str]) -> Iterator[str]:
    """Yield nvcc's flags for a list of compute capabilities."""
    for name in architectures:
        number = name.removesuffix("+PTX").replace(".", "")
        yield f"-gencode=arch=compute_{number},code=sm_{number}"
        if name.endswith("+PTX"):
            yield f"-gencode=arch=compute_{number},code=compute_{number}"


def static_runtime(root: Path) -> Path | None:
    """Return the folder of the toolkit's static runtime library; None if there is none."""
    folders = (root / "lib64", root / "lib", *root.glob("targets/*/lib"))
    return next((each for each in folders if (each / "libcudart_static.a").is_file()), None)


def toolkit_version(root: Path) -> str | None:
    """Return the version of the toolkit in `root`; None if there is none that runs."""
    nvcc = root / "bin" / "nvcc"
    headers = root / "include" / "cuda_runtime.h"
    if not nvcc.is_file() or not headers.is_file() or static_runtime(root) is None:
        return None
    release = re.search(r"release (\d+\.\d+)", _output_of(nvcc, "--version"))
    return release[1] if release else None


def candidate_folders(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield where a toolkit may lie: as the user says, on the PATH, system-wide, in wheels."""
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if environment.get(variable):
            yield Path(environment[variable])
    nvcc = shutil.which("nvcc", path=environment.get("PATH", ""))
    if nvcc is not None:
        yield folder_of_nvcc(Path(nvcc))
    yield Path("/usr/local/cuda")
    yield from sorted(Path("/usr/local").glob("cuda-*"), key=_version_in_name, reverse=True)
    wheels = importlib.util.find_spec("nvidia")
    if wheels is not None:
        for location in wheels.submodule_search_locations or ():
            yield from sorted(Path(location).iterdir(), key=_version_in_name, reverse=True)


def folder_of_nvcc(nvcc: Path) -> Path:
    """Return the toolkit that `nvcc` says it belongs to: the command may be a wrapper."""
    plan = _output_of(nvcc, "--dryrun", "-x", "cu", "-E", "/dev/null")
    top = re.search(r"^#\$ TOP=(.+)$", plan, re.MULTILINE)
    return Path(top[1]).resolve() if top else nvcc.resolve().parent.parent


def _escaped(path: Path) -> str:
    return re.sub(r"([$: ])", r"$\1", str(path))


def _version_in_name(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def _output_of(command: Path, *arguments: str) -> str:
    try:
        result = subprocess.run([command, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout + result.stderr
