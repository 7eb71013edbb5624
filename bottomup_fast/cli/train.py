"""`bottomup train`: from a configuration to a model file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from bottomup_fast.cli.common import DeviceOption
from bottomup_fast.errors import InputError


def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of a shipped one.")
    ],
    device: DeviceOption = "auto",
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run, instead of the configuration's.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start anew over the run's earlier checkpoint.")
    ] = False,
) -> None:
    """Train a model.

    A run that was stopped continues where it was.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("train: tensorboard is missing; pip install 'bottomup-fast[train]'")

    from bottomup_fast.segmenter import choose_device
    from bottomup_fast.training import trainer
    from bottomup_fast.training.config import load_config

    settings = load_config(config)
    if output is not None:
        settings = settings.model_copy(update={"output": output})
    chosen = choose_device(device)
    folder = settings.output
    continues = (folder / trainer.CHECKPOINT).is_file() and not restart
    typer.echo(f"{'continues' if continues else 'starts'} on {chosen} in {folder}")
    typer.echo(f"  numbers of the training: {folder / 'log.csv'}, tensorboard --logdir {folder}")
    if settings.validation is not None:
        typer.echo(f"  pictures of the validation: {folder / 'pictures'}")
    last = trainer.train(settings, str(chosen), resume=not restart)
    best = folder / "best.safetensors"
    typer.echo(f"model: {last}")
    if best.is_file():
        typer.echo(f"model of the best validation: {best}")
    model = best if best.is_file() else last
    typer.echo("next:")
    typer.echo(f"  bottomup segment IMAGE --model {model}")
    typer.echo(f"  bottomup evaluate DATASET --model {model}")
