"""`bottomup export`: a model as a file for another runtime."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bottomup_fast.cli.common import JsonOption, print_json
from bottomup_fast.errors import InputError

if TYPE_CHECKING:
    from bottomup_fast.export import Description
    from bottomup_fast.models.network import BottomUpNetwork


class Target(StrEnum):
    """Formats."""

    onnx = "onnx"
    aoti = "aoti"
    tensorrt = "tensorrt"


class Number(StrEnum):
    """Precisions of weights and activations."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


class Library(StrEnum):
    """The two TensorRTs."""

    tensorrt = "tensorrt"
    tensorrt_rtx = "tensorrt_rtx"


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A bundled model or a .safetensors file.")
    ],
    to: Annotated[Target, typer.Option("--to", help="Format.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file; .pt2 for aoti.", dir_okay=False)
    ],
    precision: Annotated[
        Number | None,
        typer.Option(
            help="Of weights and activations; float32 by default, for tensorrt float16. Inputs and "
            "outputs are always float32."
        ),
    ] = None,
    resolutions: Annotated[
        str | None,
        typer.Option(
            metavar="SIDES",
            help="Multiples of 32. onnx and aoti: the one side of square images, by default any "
            "height and width; tensorrt: sides to be fast at, such as 256,512.",
        ),
    ] = None,
    with_clustering: Annotated[
        bool,
        typer.Option(
            "--with-clustering",
            help="onnx: also `labels`, by an operator of this package's own as the last node.",
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="aoti: cpu or cuda.")] = "cpu",
    compute_capability: Annotated[
        str | None,
        typer.Option(
            help="tensorrt_rtx: GPU to build for, such as 8.9; by default this machine's."
        ),
    ] = None,
    library: Annotated[
        Library | None, typer.Option(help="For tensorrt: which one; the first installed.")
    ] = None,
    max_batch: Annotated[int, typer.Option(help="tensorrt: images at once.")] = 1,
    timing_cache: Annotated[
        Path | None, typer.Option(help="tensorrt, not tensorrt_rtx: file of measurements.")
    ] = None,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="tensorrt: print the engine layer by layer.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check/--no-check", help="Load the file and compare it with the model."),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Write a model for another runtime, normalisation inside.

    Then run the file on test pictures and compare features and segments with the model's.
    """
    sides = () if resolutions is None else parse_sides(resolutions)
    if to is not Target.tensorrt and len(sides) > 1:
        raise InputError(
            f"--resolutions: a file for {to.value} is of one fixed side; export one for each, or "
            "leave it out for any height and width"
        )
    if to is not Target.tensorrt and (
        compute_capability or timing_cache or library or inspect or max_batch != 1
    ):
        raise InputError(
            "--compute-capability, --timing-cache, --library, --max-batch, --inspect: for "
            "--to tensorrt only"
        )
    if with_clustering and to is not Target.onnx:
        raise InputError("--with-clustering: for --to onnx only")
    chosen: Any = (precision or (Number.float16 if to is Target.tensorrt else Number.float32)).value

    from bottomup_fast.models.weights import load_model

    network = load_model(model)
    layers: list[dict[str, str]] | None = None
    if to is Target.onnx:
        from bottomup_fast.export import export_onnx

        description = export_onnx(
            network,
            output,
            precision=chosen,
            resolution=_single(sides),
            clustering=with_clustering,
        )
    elif to is Target.aoti:
        from bottomup_fast.export import export_aoti

        description = export_aoti(
            network, output, precision=chosen, resolution=_single(sides), device=device
        )
    else:
        from bottomup_fast.export.tensorrt_engine import EngineOptions, export_tensorrt
        from bottomup_fast.export.tensorrt_inspect import inspect_engine

        name: Any = None if library is None else library.value
        options = EngineOptions(
            sides, max_batch, compute_capability, timing_cache, name, verbose=inspect
        )
        built = export_tensorrt(network, output, precision=chosen, options=options)
        description = built.description
        layers = inspect_engine(built) if inspect else None
    compared = _compare(network, output, description, with_clustering) if check else "not compared"
    report: dict[str, Any] = {
        "output": str(output),
        "bytes": output.stat().st_size,
        **{k: v for k, v in description.to_metadata().items() if k != "bottomup_fast"},
        "comparison": compared,
    }
    if layers is not None:
        report["layers"] = layers
    if as_json:
        print_json(report)
        return
    _print(report, layers)


def parse_sides(text: str) -> tuple[int, ...]:
    """Pixels separated by commas.

    Raises:
        InputError: anything else.
    """
    try:
        return tuple(int(side) for side in text.split(","))
    except ValueError:
        raise InputError(f"--resolutions: expected pixels such as 256,512, got {text!r}") from None


def _single(sides: Sequence[int]) -> int | None:
    return sides[0] if sides else None


def _compare(
    network: BottomUpNetwork, output: Path, description: Description, with_clustering: bool
) -> dict[str, Any] | str:
    """How far the file is from the model, or why that is not known."""
    from dataclasses import asdict

    from bottomup_fast.export import compare, load_aoti, load_onnx
    from bottomup_fast.export.onnx_labels import differing_labels

    if description.device != "cpu":
        return "not compared: it runs on a GPU"
    if description.format == "onnx" and importlib.util.find_spec("onnxruntime") is None:
        return "not compared: onnxruntime is not installed"
    load = load_onnx if description.format == "onnx" else load_aoti
    try:
        exported = load(os.fspath(output))
        compared = asdict(compare(network, exported))
        if with_clustering:
            compared["differing_labels"] = differing_labels(output, exported)
            if compared["differing_labels"]:
                raise InputError(
                    f"exported onnx: its clustering gives {compared['differing_labels']} pixels "
                    "another label than the model"
                )
    except InputError:
        output.unlink()
        raise
    return compared


def _print(report: dict[str, Any], layers: list[dict[str, str]] | None) -> None:
    from bottomup_fast.cli.common import print_table
    from bottomup_fast.evaluation import format_table

    if layers is not None:
        print_table(format_table(layers, "Layers"))
    compared = report["comparison"]
    if isinstance(compared, dict):
        compared = (
            f"features within {compared['max_difference']:.1e} of the model's, "
            f"{compared['differing_pixels']} of {compared['pixels']} pixels in another segment"
        )
    sides = report["fixed_resolutions"] or "any multiple of 32"
    typer.echo(
        f"{report['output']}: {report['format']}, {report['precision']}, sides {sides}, "
        f"{report['bytes'] / 1e6:.1f} MB; {compared}"
    )
