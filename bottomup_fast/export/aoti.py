"""AOTInductor: the network compiled ahead of time to a package that torch and libtorch load."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bottomup_fast.cpu import cpu_instructions
from bottomup_fast.errors import InputError
from bottomup_fast.export.description import Description, Precision, parse_metadata
from bottomup_fast.export.exported_network import ExportedNetwork, model_network
from bottomup_fast.export.graph import capture, check_sides
from bottomup_fast.export.seal import DIGEST, read_sealed, seal
from bottomup_fast.files import atomic_write
from bottomup_fast.models.network import BottomUpNetwork

_ZIP_END = b"PK\5\6"
_CPU_KEY = "cpu_instructions"


def export_aoti(
    model: str | os.PathLike[str] | BottomUpNetwork,
    path: str | os.PathLike[str],
    *,
    precision: Precision = "float32",
    resolution: int | None = None,
    device: str = "cpu",
) -> Description:
    """Write a model as an AOTInductor package; inputs and outputs are those of `export_onnx`.

    The package holds machine code for this kind of CPU (or GPU) and this version of torch.

    Args:
        model: name of a bundled model, a model file, or a network with settings.
        path: of the package, ending in .pt2.
        precision: of weights and activations.
        resolution: side of square images, a multiple of 32; None for any H, W that are.
        device: "cpu" or "cuda" (needs a GPU).

    Returns:
        What the file says about itself, also by the loader's `get_metadata`.

    Raises:
        InputError: what is wrong with the model or the settings.
    """
    if Path(path).suffix != ".pt2":
        raise InputError(f"{os.fspath(path)}: an AOTInductor package must end in .pt2")
    if device not in ("cpu", "cuda"):
        raise InputError(f"device: AOTInductor packages are for cpu or cuda, got {device}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: compiling for cuda needs a GPU, torch finds none")
    sides = () if resolution is None else (resolution,)
    check_sides(sides)
    network = model_network(model)
    assert network.settings is not None
    description = Description(network.settings, "aoti", precision, sides, torch.__version__, device)
    _check_compiler()
    captured = capture(network, precision, resolution, device)
    metadata = description.to_metadata() | {_CPU_KEY: " ".join(sorted(cpu_instructions()))}
    # Frozen weights let convolutions on CPUs be packed and fused with what follows them.
    options = {"aot_inductor.metadata": metadata, "freezing": device == "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "model.pt2"
        torch._inductor.aoti_compile_and_package(
            captured.program, package_path=str(package), inductor_configs=options
        )
        content = package.read_bytes()
    with atomic_write(path) as temporary:
        temporary.write_bytes(_seal_zip(content))
    return description


def load_aoti(path: str | os.PathLike[str]) -> ExportedNetwork:
    """An AOTInductor package as a network for `Segmenter`.

    A package is a program: load only what you trust, as with any shared library.

    Raises:
        InputError: missing, truncated, damaged or foreign package; made by another version of
            torch, or for a device or CPU that this machine is not.
    """
    name = os.fspath(path)
    metadata = _read_metadata(name, read_sealed(path))
    description = Description.from_metadata(name, metadata, "aoti")
    if description.runtime != torch.__version__:
        raise InputError(
            f"{name}: compiled by torch {description.runtime}, this is {torch.__version__}; "
            "export the model again"
        )
    if description.device == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{name}: compiled for cuda, but torch finds no GPU")
    # Inductor compiles for the very CPU it runs on; another one would end the program.
    if missing := set(metadata.get(_CPU_KEY, "").split()) - cpu_instructions():
        raise InputError(
            f"{name}: compiled for a CPU with {min(missing)}, which this one lacks; export the "
            "model on this machine"
        )
    try:
        package = torch._inductor.aoti_load_package(name)
    except Exception as error:  # compiled code and its loader raise what they like
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name}: torch {torch.__version__} cannot load it ({reason}); export the model again"
        ) from error
    device = torch.device(description.device)

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        outputs: Any = package(*(value.to(device) for value in inputs))
        return outputs  # type: ignore[no-any-return]

    return ExportedNetwork(description, run)


def _check_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise InputError("aoti: no C++ compiler found; install g++ or set CXX") from error


def _seal_zip(content: bytes) -> bytes:
    """The checksum as the archive's comment, which every reader of zip files passes over."""
    end = content.rfind(_ZIP_END)
    if content[end + 20 :] != b"\0\0":
        raise RuntimeError("torch wrote a package that has a comment already")
    return seal(content[: end + 20] + DIGEST.to_bytes(2, "little"))


def _read_metadata(name: str, content: bytes) -> dict[str, str]:
    kind, text = "an AOTInductor package", b""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                if member.endswith("wrapper_metadata.json"):
                    text = archive.read(member)
    except Exception as error:  # of damaged archives it raises nearly anything
        raise InputError(f"{name}: not {kind} ({error}); export the model again") from error
    return parse_metadata(name, kind, text)
