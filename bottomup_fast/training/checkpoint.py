"""Checkpoints: everything a run needs to go on exactly, as safetensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bottomup_fast.errors import InputError
from bottomup_fast.files import atomic_write
from bottomup_fast.training.config import TrainingConfig


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: updates done.
        best_score: best validation score so far.
        config: JSON of the run's configuration, to refuse resuming with another.
        processes: that train together, since what a step has seen depends on their number.
    """

    step: int
    best_score: float
    config: str
    processes: int = 1


def save_checkpoint(
    path: Path,
    progress: Progress,
    network: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint under a temporary name and rename it."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    with atomic_write(path) as temporary:
        save_file(
            {name: value.contiguous() for name, value in tensors.items()},
            temporary,
            metadata={"progress": json.dumps(vars(progress))},
        )


def load_checkpoint(
    path: Path,
    config: TrainingConfig,
    network: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    processes: int = 1,
) -> Progress:
    """Restore all parts in place.

    Raises:
        InputError: a file that is corrupt, not a checkpoint, of another configuration, or of
            another number of processes.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            progress = Progress(**json.loads(file.metadata()["progress"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a readable checkpoint ({error})") from error
    if not _is_same(progress.config, config):
        raise InputError(
            f"{path}: of a run with another configuration; choose another output or start anew"
        )
    if progress.processes != processes:
        raise InputError(
            f"{path}: of a run of {progress.processes} processes, not {processes}; start as many"
        )

    def part(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }

    state: dict[int, dict[str, Tensor]] = {}
    try:
        network.load_state_dict(part("network."))
        average.load_state_dict(part("average."))
        for name, value in part("optimiser.").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        # Moments laid out in memory as their parameters are updated by the same kernels as before.
        for parameter, values in optimiser.state.items():
            for key, value in values.items():
                if value.shape == parameter.shape:
                    values[key] = torch.empty_like(parameter).copy_(value)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: does not fit the network ({reason})") from error
    return progress


def remove_leftovers(folder: Path) -> None:
    """Delete what a run left that was killed while it wrote a file under its temporary name."""
    written = ("checkpoint", "last", "best", "config", "log", "pictures/step")
    patterns = [str(Path(name).parent / f".{Path(name).name}-*") for name in written]
    # The last is safetensors' own.
    for pattern in (*patterns, ".tmp*"):
        for leftover in folder.glob(pattern):
            leftover.unlink()


def _is_same(stored: str, config: TrainingConfig) -> bool:
    """Whether a stored configuration means `config`; settings that came later have defaults.

    Where the run lies and how its images are loaded make no difference to it.
    """
    loading: Any = {"output": True, "data": {"workers", "cache_images"}}
    try:
        earlier = TrainingConfig.model_validate_json(stored)
    except ValidationError:
        return False
    return earlier.model_dump(exclude=loading) == config.model_dump(exclude=loading)
