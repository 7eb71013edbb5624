"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from bottomup_fast.errors import InputError
from bottomup_fast.files import atomic_write
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.weights import build_network, load_model, save_model
from bottomup_fast.training import checkpoint
from bottomup_fast.training.average import WeightAverage
from bottomup_fast.training.config import TrainingConfig
from bottomup_fast.training.distributed import Processes, Terminated, averaging, join
from bottomup_fast.training.logs import TrainingLog
from bottomup_fast.training.loss import TrainingLoss
from bottomup_fast.training.optimiser import (
    freeze_normalisation,
    make_optimiser,
    set_learning_rate,
)
from bottomup_fast.training.stream import Batch, TrainingStream, stream_batches
from bottomup_fast.training.validation import validate

CHECKPOINT = "checkpoint.safetensors"
SHOWN = ("total", "attraction", "repulsion", "segment_mse", "foreground")


def train(config: TrainingConfig, device: str = "cpu", resume: bool = True) -> Path:
    """Run or continue a training; returns the model file with the averaged weights.

    The run lives in `config.output`: `checkpoint.safetensors` (resumed from if present),
    `last.safetensors` and `best.safetensors` (models), `log.csv`, TensorBoard events, and pictures
    of every validation. A run that was killed and resumed ends with the same weights as one that
    was not. Started by torchrun, it is one of several processes that train together.

    Args:
        config: everything the run depends on.
        device: a torch device, or "auto" for a GPU if there is one.
        resume: continue from the checkpoint in the output folder; False starts anew over it.

    Raises:
        InputError: missing data or pretrained weights, or a checkpoint of another configuration.
        FloatingPointError: features, loss or gradient are no longer finite; the last checkpoint
            is kept.
        FailedElsewhere: another process failed.
        Terminated: by SIGTERM, after a checkpoint.
    """
    with join(device) as processes:
        return train_among(processes, config, resume)


def train_among(processes: Processes, config: TrainingConfig, resume: bool = True) -> Path:
    """`train` as one of processes that have joined."""
    path = config.output / CHECKPOINT
    with processes.together():
        run = _Run(config, processes)
        if processes.first and not resume:
            path.unlink(missing_ok=True)
    with processes.together():
        if path.is_file():
            run.resume(path)
    run.check_same_start()
    # Vanishing gradients of settled weights are denormal numbers, a hundred times slower.
    torch.set_flush_denormal(True)
    try:
        run.loop()
    finally:
        torch.set_flush_denormal(False)
    return config.output / "last.safetensors"


def initial_network(config: TrainingConfig) -> BottomUpNetwork:
    """The network a run starts from.

    Raises:
        InputError: an initial model of another architecture.
    """
    if config.initial_model is None:
        return build_network(config.model, config.pretrained_backbone)
    network = load_model(config.initial_model)
    assert network.settings is not None
    if network.settings.architecture != config.model.architecture:
        raise InputError(
            f"initial_model {config.initial_model}: its architecture is "
            f"{network.settings.architecture}, not {config.model.architecture}"
        )
    network.settings = config.model
    return network


class _WithForeground(nn.Module):
    """A network's `forward_with_foreground`, as the forward that `compile` and DDP know."""

    def __init__(self, network: BottomUpNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, origin: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.network.forward_with_foreground(images, origin)


class _Run:
    def __init__(self, config: TrainingConfig, processes: Processes) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.processes = processes
        self.folder = config.output
        self.stream = TrainingStream(config)
        settings = config.optimiser
        images = config.data.batch_size * settings.accumulate * processes.count
        updates = math.ceil(self.stream.images_per_epoch() / images)
        self.steps = settings.steps or (settings.epochs or 1) * updates
        network = initial_network(config).to(processes.device)
        self.network = network.to(memory_format=torch.channels_last)
        self.average = WeightAverage(self.network, settings.average_decay)
        self.optimiser = make_optimiser(self.network, settings)
        self.loss = TrainingLoss(config.loss)
        self.progress = checkpoint.Progress(0, -math.inf, config.model_dump_json(), processes.count)

    def resume(self, path: Path) -> None:
        parts = (self.network, self.average.network, self.optimiser)
        self.progress = checkpoint.load_checkpoint(path, self.config, *parts, self.processes.count)

    def check_same_start(self) -> None:
        (mean,) = self.processes.mean([self.progress.step])
        with self.processes.together():
            if mean != self.progress.step:
                raise InputError(f"{self.folder}: not the same folder for all processes")

    def loop(self) -> None:
        first, settings = self.progress.step, self.config.optimiser
        replica: nn.Module = _WithForeground(self.network)
        if settings.compile:
            replica.compile()
        self.replica = self.processes.replicate(replica)
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}"),
        )
        bar = Progress(*columns, disable=not self.processes.first)
        with ExitStack() as stack:
            with self.processes.together():
                log = stack.enter_context(self.open_log()) if self.processes.first else None
            stack.enter_context(bar)
            task = bar.add_task("training", total=self.steps, completed=first, terms="")
            place = (self.processes.rank, self.processes.count)
            batches = iter(stream_batches(self.stream, first * settings.accumulate, *place))
            for step in range(first, self.steps):
                terms = self.update(step, batches)
                if (step + 1) % self.config.log_every == 0:
                    terms = dict(zip(terms, self.processes.mean([*terms.values()]), strict=True))
                    shown = " ".join(f"{k} {terms[k]:.3f}" for k in SHOWN if k in terms)
                    bar.update(task, terms=shown)
                    if log is not None:
                        log.write(step + 1, terms)
                bar.advance(task)
                if log is not None:
                    self.after_step(step + 1, log)
                if self.processes.stopping and step + 1 < self.steps:
                    raise Terminated(f"stopped after {step + 1} of {self.steps} steps")

    def open_log(self) -> TrainingLog:
        checkpoint.remove_leftovers(self.folder)
        with atomic_write(self.folder / "config.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(self.config.model_dump(mode="json")))
        return TrainingLog(self.folder, self.progress.step)

    def update(self, step: int, batches: Iterator[Batch]) -> dict[str, float]:
        settings = self.config.optimiser
        self.network.train()
        if settings.freeze_norms:
            freeze_normalisation(self.network)
        rate = set_learning_rate(self.optimiser, step, self.steps, settings)
        self.optimiser.zero_grad(set_to_none=True)
        logged: dict[str, float] = {}
        for number in range(1, settings.accumulate + 1):
            with self.processes.together():
                batch = Batch(
                    *(part.to(self.processes.device, non_blocking=True) for part in next(batches))
                )
            with averaging(self.replica, number == settings.accumulate):
                with self.processes.together():
                    total, terms = self.losses(step, batch)
                torch.autograd.backward(total / settings.accumulate)
            for name, value in terms.items():
                logged[name] = logged.get(name, 0.0) + value / settings.accumulate
        length = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
        logged["gradient_norm"] = length.item()
        _check_finite(step, logged)
        self.optimiser.step()
        self.average.update(self.network, step)
        return logged | {"learning_rate": rate}

    def losses(self, step: int, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        images = batch.images.contiguous(memory_format=torch.channels_last)
        bfloat16 = self.config.optimiser.bfloat16
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=bfloat16):
            features, logits = self.replica(images, batch.origin)
        if not features.isfinite().all():
            raise FloatingPointError(f"step {step + 1}: the features are no longer finite")
        total, terms = self.loss(features, logits, batch)
        values = torch.stack([value.float() for value in terms.values()]).tolist()
        logged = dict(zip(terms, values, strict=True))
        _check_finite(step, logged)
        return total, logged

    def after_step(self, step: int, log: TrainingLog) -> None:
        last = step == self.steps
        self.progress.step = step
        validation = self.config.validation
        if validation is not None and (last or step % validation.every == 0):
            metrics = validate(self.average.network, self.config, self.folder / "pictures", step)
            log.write(step, metrics, "validation")
            if metrics["f1"] > self.progress.best_score:
                self.progress.best_score = metrics["f1"]
                save_model(
                    self.folder / "best.safetensors", self.average.network, self.config.model
                )
        if last or self.processes.stopping or step % self.config.checkpoint_every == 0:
            # First the model: a run whose last checkpoint is there does not write it again.
            save_model(self.folder / "last.safetensors", self.average.network, self.config.model)
            parts = (self.network, self.average.network, self.optimiser)
            checkpoint.save_checkpoint(self.folder / CHECKPOINT, self.progress, *parts)


def _check_finite(step: int, values: dict[str, float]) -> None:
    if broken := [name for name, value in values.items() if not math.isfinite(value)]:
        raise FloatingPointError(f"step {step + 1}: not finite: {', '.join(broken)}")
