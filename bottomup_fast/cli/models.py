"""`bottomup models`: what can be used, and what can be trained."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import as_file
from typing import Any

import typer

from bottomup_fast.cli.common import JsonOption, print_json, print_table


def models(as_json: JsonOption = False) -> None:
    """List models and trainable architectures."""
    from bottomup_fast.evaluation import format_table
    from bottomup_fast.models.registry import ARCHITECTURES
    from bottomup_fast.models.weights import list_models

    bundled = [_description(name) for name in list_models()]
    trainable = [{"name": name} | asdict(known) for name, known in ARCHITECTURES.items()]
    if as_json:
        print_json({"models": bundled, "architectures": trainable})
        return
    if bundled:
        rows = [
            row
            | {
                "foreground": "yes" if row["foreground"] else "no",
                "parameters": f"{row['parameters'] / 1e6:.1f} M",
                "bytes": f"{row['bytes'] / 1e6:.1f} MB",
            }
            for row in bundled
        ]
        print_table(format_table(rows, "Bundled models"))
    else:
        typer.echo("no bundled models")
    print_table(format_table(trainable, "Architectures for `bottomup train`"))


def _description(name: str) -> dict[str, Any]:
    from bottomup_fast.models.weights import BUNDLED_MODELS, load_model

    network = load_model(name)
    settings = network.settings
    assert settings is not None
    with as_file(BUNDLED_MODELS / f"{name}.safetensors") as path:
        size = path.stat().st_size
    return {
        "name": name,
        "architecture": settings.architecture.name,
        "feature_dim": settings.architecture.feature_dim,
        "bytes": size,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "licence": settings.licence,
        "foreground": settings.architecture.foreground,
        "description": settings.description,
    }
