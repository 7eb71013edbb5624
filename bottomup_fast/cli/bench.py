"""`bottomup bench`: how long a segmentation takes, stage by stage."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import typer

from bottomup_fast.cli.common import JsonOption, print_json, print_table, progress_bar
from bottomup_fast.cli.export import parse_sides
from bottomup_fast.errors import InputError

_SIDE = 512


def bench(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A bundled model or a .safetensors file.")
    ],
    resolutions: Annotated[
        str | None,
        typer.Option(metavar="SIDES", help="Longer sides in pixels, such as 256,512."),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Image to segment; by default a picture of discs.")
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="What runs the network, with cpp- all of it; by default every one, with -bfloat16 "
            "where the CPU has units for it.",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Segmentations that count.")] = 20,
    warmup: Annotated[int, typer.Option(min=0, help="Segmentations before them.")] = 3,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; torch's choice by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure decoding, network, clustering, merging and encoding on the CPU."""
    sides = None if resolutions is None else parse_sides(resolutions)

    import numpy as np
    import torch

    from bottomup_fast.evaluation import format_table
    from bottomup_fast.export import latency
    from bottomup_fast.export.check import differing_pixels
    from bottomup_fast.models.weights import load_model

    names = latency.suitable_backends() if backends is None else backends.split(",")
    if unknown := [name for name in names if name not in latency.BACKENDS]:
        known = ", ".join(latency.BACKENDS)
        raise InputError(f"--backends: {unknown[0]!r} is none of {known}")
    if threads is not None:
        torch.set_num_threads(threads)
    network = load_model(model)
    source = _discs() if image is None else image
    rows: list[dict[str, Any]] = []
    first: Any = None
    with progress_bar() as bar:
        for name in bar.track(names, description="measuring"):
            backend: Any = name
            segmenter = latency.make_segmenter(network, backend, sides)
            seconds, labels = latency.measure(segmenter, source, runs, warmup)
            first = labels if first is None else first
            same = 1 - differing_pixels(first, labels) / labels.size
            seconds["total"] = np.sum(list(seconds.values()), axis=0).tolist()
            for stage, values in seconds.items():
                figures = latency.percentiles(values)
                rows.append({"backend": name, "stage": stage, **figures, "same_labels": same})
    report = {
        "model": model,
        "resolutions": sides,
        "image": "discs" if image is None else str(image),
        "threads": torch.get_num_threads(),
        "runs": runs,
        "rows": rows,
    }
    if as_json:
        print_json(report)
        return
    title = f"Milliseconds, {runs} runs, {report['threads']} threads"
    shown = [{k: v for k, v in row.items() if k != "same_labels"} for row in rows]
    print_table(format_table(shown, title))
    for name in names:
        same = next(row["same_labels"] for row in rows if row["backend"] == name)
        typer.echo(f"{name}: {same:.2%} of the pixels segmented as by {names[0]}")


def _discs() -> bytes:
    """A PNG, so that decoding is measured too."""
    from PIL import Image

    from bottomup_fast.export.check import picture

    pixels = (picture(_SIDE, _SIDE) * 255).byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
