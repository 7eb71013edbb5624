"""The training loop."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bottomup_fast.errors import InputError
from bottomup_fast.files import atomic_write
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.weights import build_network, load_model, save_model
from bottomup_fast.training import checkpoint
from bottomup_fast.training.average import WeightAverage
from bottomup_fast.training.config import TrainingConfig
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
LOG_EVERY = 20


def train(config: TrainingConfig, device: str = "cpu", resume: bool = True) -> Path:
    """Run or continue a training; returns the model file with the averaged weights.

    The run lives in `config.output`: `checkpoint.safetensors` (resumed from if present),
    `last.safetensors` and `best.safetensors` (models), `log.csv`, TensorBoard events, and pictures
    of every validation. A run that was killed and resumed ends with the same weights as one that
    was not.

    Args:
        config: everything the run depends on.
        device: a torch device.
        resume: continue from the checkpoint in the output folder; False starts anew over it.

    Raises:
        InputError: missing data or pretrained weights, or a checkpoint of another configuration.
        FloatingPointError: features, loss or gradient are no longer finite; the last checkpoint
            is kept.
    """
    run = _Run(config, torch.device(device))
    if not resume:
        run.checkpoint_path.unlink(missing_ok=True)
    elif run.checkpoint_path.is_file():
        run.resume()
    # Vanishing gradients of settled weights are denormal numbers, a hundred times slower.
    torch.set_flush_denormal(True)
    try:
        run.loop()
    finally:
        torch.set_flush_denormal(False)
    return run.folder / "last.safetensors"


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


class _Run:
    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.folder = config.output
        self.checkpoint_path = self.folder / CHECKPOINT
        self.stream = TrainingStream(config)
        settings = config.optimiser
        batches = math.ceil(self.stream.images_per_epoch() / config.data.batch_size)
        self.steps = settings.steps or (settings.epochs or 1) * batches
        network = initial_network(config)
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.average = WeightAverage(self.network, settings.average_decay)
        self.optimiser = make_optimiser(self.network, settings)
        self.loss = TrainingLoss(config.loss)
        self.progress = checkpoint.Progress(0, -math.inf, config.model_dump_json())

    def resume(self) -> None:
        self.progress = checkpoint.load_checkpoint(
            self.checkpoint_path,
            self.config,
            self.network,
            self.average.network,
            self.optimiser,
        )

    def loop(self) -> None:
        # A run killed while it wrote a file has left the temporary one.
        for name in ("checkpoint", "last", "best"):
            for leftover in self.folder.glob(f".{name}-*.safetensors"):
                leftover.unlink()
        with atomic_write(self.folder / "config.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(self.config.model_dump(mode="json")))
        first = self.progress.step
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}"),
        )
        with TrainingLog(self.folder, first) as log, Progress(*columns) as bar:
            task = bar.add_task("training", total=self.steps, completed=first, terms="")
            batches = iter(stream_batches(self.stream, first))
            for step in range(first, self.steps):
                terms = self.update(step, next(batches))
                if (step + 1) % LOG_EVERY == 0:
                    log.write(step + 1, terms)
                    shown = ("total", "attraction", "repulsion", "segment_mse", "foreground")
                    bar.update(
                        task, terms=" ".join(f"{k} {terms[k]:.3f}" for k in shown if k in terms)
                    )
                bar.advance(task)
                self.after_step(step + 1, log)

    def update(self, step: int, batch: Batch) -> dict[str, float]:
        settings = self.config.optimiser
        batch = Batch(*(part.to(self.device, non_blocking=True) for part in batch))
        self.network.train()
        if settings.freeze_norms:
            freeze_normalisation(self.network)
        rate = set_learning_rate(self.optimiser, step, self.steps, settings)
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.bfloat16):
            features, logits = self.network.forward_with_foreground(images, batch.origin)
        if not features.isfinite().all():
            raise FloatingPointError(f"step {step + 1}: the features are no longer finite")
        total, terms = self.loss(features, logits, batch)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        length = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
        logged = {name: value.item() for name, value in terms.items()}
        logged["gradient_norm"] = length.item()
        if broken := [name for name, value in logged.items() if not math.isfinite(value)]:
            raise FloatingPointError(f"step {step + 1}: not finite: {', '.join(broken)}")
        self.optimiser.step()
        self.average.update(self.network, step)
        return logged | {"learning_rate": rate}

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
        if last or step % self.config.checkpoint_every == 0:
            # First the model: a run whose last checkpoint is there does not write it again.
            save_model(self.folder / "last.safetensors", self.average.network, self.config.model)
            checkpoint.save_checkpoint(
                self.checkpoint_path,
                self.progress,
                self.network,
                self.average.network,
                self.optimiser,
            )
