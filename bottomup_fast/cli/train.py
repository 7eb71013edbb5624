"""`bottomup train`: from a configuration to a model file."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bottomup_fast.cli.common import DeviceOption
from bottomup_fast.errors import InputError

if TYPE_CHECKING:
    from bottomup_fast.training.config import TrainingConfig
    from bottomup_fast.training.distributed import Processes


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

    A run that was stopped continues where it was. Started by torchrun, several processes train
    together: torchrun --nproc-per-node 4 -m bottomup_fast train CONFIG
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("train: tensorboard is missing; pip install 'bottomup-fast[train]'")

    from bottomup_fast.training.distributed import FailedElsewhere, Terminated, join

    try:
        with join(device) as processes:
            _train(processes, config, output, restart)
    except FailedElsewhere as error:
        raise typer.Exit(2) from error
    except Terminated as stop:
        if processes.first:
            typer.echo(f"{stop.message}; the same command continues")
        raise


def _train(processes: Processes, config: str, output: Path | None, restart: bool) -> None:
    from bottomup_fast.training import trainer
    from bottomup_fast.training.config import load_config

    with processes.together():
        settings = load_config(config)
    if output is not None:
        settings = settings.model_copy(update={"output": output})
    # Processes that torchrun starts again go on from what they had before.
    resume = not restart or int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    if processes.first:
        _say_where(settings, processes, resume)
    last = trainer.train_among(processes, settings, resume)
    if processes.first:
        _say_what_next(last)


def _say_where(settings: TrainingConfig, processes: Processes, resume: bool) -> None:
    from bottomup_fast.training.trainer import CHECKPOINT

    folder = settings.output
    verb = "continues" if resume and (folder / CHECKPOINT).is_file() else "starts"
    together = f" in {processes.count} processes" if processes.count > 1 else ""
    typer.echo(f"{verb} on {processes.device}{together} in {folder}")
    typer.echo(f"  numbers of the training: {folder / 'log.csv'}, tensorboard --logdir {folder}")
    if settings.validation is not None:
        typer.echo(f"  pictures of the validation: {folder / 'pictures'}")


def _say_what_next(last: Path) -> None:
    best = last.with_name("best.safetensors")
    typer.echo(f"model: {last}")
    if best.is_file():
        typer.echo(f"model of the best validation: {best}")
    model = best if best.is_file() else last
    typer.echo("next:")
    typer.echo(f"  bottomup segment IMAGE --model {model}")
    typer.echo(f"  bottomup evaluate DATASET --model {model}")
