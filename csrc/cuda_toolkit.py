"""Finds the CUDA toolkit for the build. Used by setup.py only; not part of the package."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


class BuildError(RuntimeError):
    """The build cannot do what the environment asks for."""


@dataclass(frozen=True)
class CudaBuild:
    """What a build does about CUDA.

    Attributes:
        root: the folder of the toolkit; None without one.
        toolkit: its version, such as "13.0"; None without one.
        reason: why the library has no CUDA kernels.
    """

    root: Path | None
    toolkit: str | None
    reason: str

    def record(self) -> dict[str, object]:
        """What the library itself remembers: nothing of where it was built."""
        return {"toolkit": self.toolkit, "reason": self.reason, "architectures": []}


def plan_cuda_build(
    environment: Mapping[str, str], candidates: Iterable[Path] | None = None
) -> CudaBuild:
    """Look for a toolkit as the variable BOTTOMUP_CUDA ("auto", "0" or "1") of `environment` says.

    Args:
        environment: the environment variables.
        candidates: folders to look at instead of the usual places.

    Raises:
        BuildError: the variable has another value, or it is "1" and there is no toolkit.
    """
    request = environment.get("BOTTOMUP_CUDA", "auto")
    if request not in ("auto", "0", "1"):
        raise BuildError(f"BOTTOMUP_CUDA={request}: must be auto, 0 or 1")
    if request == "0":
        return CudaBuild(None, None, "built with BOTTOMUP_CUDA=0")
    for root in candidate_folders(environment) if candidates is None else candidates:
        version = toolkit_version(root)
        if version is not None:
            return CudaBuild(root, version, "this version has no CUDA kernels")
    missing = "no CUDA toolkit found (a folder with bin/nvcc and include/cuda_runtime.h)"
    if request == "1":
        raise BuildError(f"BOTTOMUP_CUDA=1, but {missing}: set CUDA_HOME, or BOTTOMUP_CUDA=0")
    return CudaBuild(None, None, missing)


def toolkit_version(root: Path) -> str | None:
    """Return the version of the toolkit in `root`; None if there is none that runs."""
    nvcc = root / "bin" / "nvcc"
    if not nvcc.is_file() or not (root / "include" / "cuda_runtime.h").is_file():
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


def _version_in_name(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def _output_of(command: Path, *arguments: str) -> str:
    try:
        result = subprocess.run([command, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout + result.stderr
