"""TensorRT engines, by `tensorrt` (servers) or `tensorrt_rtx` (builds without a GPU)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from bottomup_fast.errors import InputError
from bottomup_fast.export.description import Description, Precision, parse_metadata
from bottomup_fast.export.exported_network import model_network
from bottomup_fast.export.graph import check_sides
from bottomup_fast.export.onnx_file import onnx_bytes
from bottomup_fast.export.seal import DIGEST, read_sealed, seal
from bottomup_fast.files import atomic_write
from bottomup_fast.inference import HALO
from bottomup_fast.models.network import MULTIPLE, BottomUpNetwork

Library = Literal["tensorrt", "tensorrt_rtx"]
LIBRARIES: tuple[Library, ...] = ("tensorrt", "tensorrt_rtx")
ANY_SIZE = (512, 1024 + 2 * HALO)
"""Profiles of models that work at a scale: up to the segmenter's tiles with their halo."""
_LENGTH = 8


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is built.

    Attributes:
        resolutions: longer sides in pixels, one optimisation profile each, fastest for squares of
            that side and good for all smaller ones; () for the model's own.
        max_batch: images at once.
        compute_capability: such as "8.9"; None for the GPU of this machine.
        timing_cache: file that keeps what building measured, read and written; not for
            `tensorrt_rtx`, which measures nothing.
        library: None for the first that is installed.
        verbose: keep all that the builder says.
    """

    resolutions: tuple[int, ...] = ()
    max_batch: int = 1
    compute_capability: str | None = None
    timing_cache: Path | None = None
    library: Library | None = None
    verbose: bool = False


@dataclass(frozen=True)
class Built:
    """An engine and what the builder said while it made it, oldest first."""

    engine: bytes
    description: Description
    log: list[str] = field(default_factory=list)


def export_tensorrt(
    model: str | os.PathLike[str] | BottomUpNetwork,
    path: str | os.PathLike[str],
    *,
    precision: Precision = "float16",
    options: EngineOptions | None = None,
) -> Built:
    """Write a model as a TensorRT engine; inputs and outputs are those of `export_onnx`.

    Precisions are the network's own ("strongly typed"): TensorRT chooses kernels, not types.

    Args:
        model: name of a bundled model, a model file, or a network with settings.
        path: of the engine, with its description behind it; see `read_engine`.
        precision: of weights and activations.
        options: see there.

    Raises:
        InputError: what is wrong with the model or the settings, or what the builder refused.
        ImportError: neither library is installed.
    """
    options = options or EngineOptions()
    network = model_network(model)
    built = build(network, precision, options)
    description = json.dumps(built.description.to_metadata()).encode()
    content = built.engine + description + len(description).to_bytes(_LENGTH, "little")
    with atomic_write(path) as temporary:
        temporary.write_bytes(seal(content))
    return built


def build(network: BottomUpNetwork, precision: Precision, options: EngineOptions) -> Built:
    """Build the engine of a network with settings; see `export_tensorrt`."""
    trt, library = import_tensorrt(options.library)
    settings = network.settings
    assert settings is not None
    resolutions = options.resolutions or settings.preprocessing.resolutions or ANY_SIZE
    resolutions = tuple(side + -side % MULTIPLE for side in resolutions)
    check_sides(resolutions)
    if not 1 <= options.max_batch <= 64:
        raise InputError(f"max_batch must be 1 to 64, got {options.max_batch}")
    if options.timing_cache is not None and library == "tensorrt_rtx":
        raise InputError(
            "timing_cache: tensorrt_rtx measures nothing while it builds; leave it out"
        )
    capability = _capability(trt, library, options.compute_capability)
    content = onnx_bytes(network, precision, None, {})
    log: list[str] = []
    engine = _build(trt, content, network, resolutions, capability, options, log)
    description = Description(
        settings,
        "tensorrt",
        precision,
        resolutions,
        f"{library} {trt.__version__}",
        "cuda" if options.compute_capability is None else f"cuda {options.compute_capability}",
    )
    return Built(engine, description, log)


def read_engine(path: str | os.PathLike[str]) -> tuple[Description, bytes]:
    """An engine file's description, and the engine alone as TensorRT (and `trtexec`) take it.

    Raises:
        InputError: missing, truncated, damaged or foreign file, or of another layout.
    """
    name = os.fspath(path)
    content = read_sealed(path)[:-DIGEST]
    length = int.from_bytes(content[-_LENGTH:], "little")
    end = max(len(content) - _LENGTH - length, 0)
    metadata = parse_metadata(name, "a TensorRT engine", content[end:-_LENGTH] if end else b"")
    return Description.from_metadata(name, metadata, "tensorrt"), content[:end]


def import_tensorrt(library: Library | None = None) -> tuple[Any, Library]:
    """The module and its name.

    Raises:
        ImportError: one line that says how to install it.
    """
    for name in LIBRARIES if library is None else (library,):
        try:
            return import_module(name), name
        except ImportError:
            continue
    wanted = " or ".join(LIBRARIES if library is None else (library,))
    raise ImportError(
        f"{wanted} is missing: pip install tensorrt (servers; needs a GPU to build), or "
        "tensorrt-rtx (builds without one)"
    )


def _build(
    trt: Any,
    model: bytes,
    network: BottomUpNetwork,
    resolutions: Sequence[int],
    capability: object,
    options: EngineOptions,
    log: list[str],
) -> bytes:
    logger = _logger(trt, log, options.verbose)
    builder = trt.Builder(logger)
    definition = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(definition, logger)
    if not parser.parse(model):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise InputError(f"{trt.__name__}: cannot parse the network: {_line(reasons)}")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for side in resolutions:
        config.add_optimization_profile(_profile(builder, network, side, options.max_batch))
    if capability is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability, 0)
    with timing_cache(config, options.timing_cache):
        engine = builder.build_serialized_network(definition, config)
    if engine is None:
        errors = [line for line in log if line.startswith("ERROR")]
        raise InputError(f"{trt.__name__}: the engine was not built: {_line(errors)}")
    return bytes(engine)


def _profile(builder: Any, network: BottomUpNetwork, side: int, max_batch: int) -> Any:
    profile = builder.create_optimization_profile()
    batches = (1, 1, max_batch)
    sides = (MULTIPLE, side, side)
    profile.set_shape("image", *((b, 3, s, s) for b, s in zip(batches, sides, strict=True)))
    if network.position is not None:
        profile.set_shape("origin", *((b, 2) for b in batches))
    return profile


def _capability(trt: Any, library: Library, wanted: str | None) -> object:
    if wanted is None:
        return None
    if library == "tensorrt":
        raise InputError("compute_capability: tensorrt builds for the GPU of this machine only")
    known = dict(trt.ComputeCapability.__members__.items())
    name = f"SM{wanted.replace('.', '')}"
    if name not in known:
        there = ", ".join(f"{n[2:-1]}.{n[-1]}" for n in known if n.startswith("SM"))
        raise InputError(f"compute_capability: {wanted} is none of {there}")
    return known[name]


@contextmanager
def timing_cache(config: Any, path: Path | None) -> Iterator[None]:
    """Build with what earlier builds measured, and keep it with what this one does, in `path`.

    Raises:
        InputError: the file is no cache of this library and GPU.
    """
    if path is None:
        yield
        return
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if cache is None or not config.set_timing_cache(cache, False):
        raise InputError(f"{path}: not a timing cache of this library and GPU; delete it")
    yield
    with atomic_write(path) as temporary:
        temporary.write_bytes(bytes(config.get_timing_cache().serialize()))


def _logger(trt: Any, log: list[str], verbose: bool) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps messages, which the libraries would write to stderr."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if verbose or severity <= trt.ILogger.Severity.WARNING:
                log.append(f"{severity.name}: {message}")

    return Logger()


def _line(reasons: Sequence[str]) -> str:
    return " ".join(" ".join(reasons).split()) or "no reason given"
