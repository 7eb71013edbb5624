"""`bottomup info`: what to put into a bug report."""

from __future__ import annotations

import platform
from importlib.metadata import version

import typer

from bottomup_fast import __version__
from bottomup_fast.cli.common import JsonOption, print_json


def info(as_json: JsonOption = False) -> None:
    """Show versions, devices and the compiled build."""
    import torch

    from bottomup_fast.ops import build_info

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    build = build_info()
    facts: dict[str, object] = {
        "bottomup_fast": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "timm", "numpy")},
        "platform": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": gpus,
    }
    if as_json:
        print_json(facts | {"build": build})
        return
    facts["gpus"] = ", ".join(gpus) or "none found"
    for name, value in (facts | {f"build {key}": value for key, value in build.items()}).items():
        typer.echo(f"{name}: {value}")
