"""The training configuration: a YAML file, validated, unknown keys refused."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from bottomup_fast.data.formats import FormatName
from bottomup_fast.data.sources import DatasetSource, ShapesSource, Source
from bottomup_fast.data.transforms import AugmentationSettings, NotNegative
from bottomup_fast.errors import InputError
from bottomup_fast.models.registry import suggestion
from bottomup_fast.settings import ModelSettings, Positive, Settings

Count = Annotated[int, Field(ge=1)]


class DataSettings(Settings):
    """The stream of training batches.

    Attributes:
        sources: what samples are drawn from, each as often as its weight says.
        crop: side of the training images in pixels.
        batch_size: images that one process takes through the network at once.
        workers: processes beside each training process that prepare images.
        cache_images: decoded images that each of them keeps, of each source.
        erosion: side in pixels of the square that segments are eroded by.
        surround: unlabelled pixels farther than this (pixels) from every entity take no part in the
            losses of features; by default all take part. The losses average over the background, in
            which the few pixels around a small entity, that must not join it, count for nothing.
        augmentation: how much images are varied.
    """

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    crop: Annotated[int, Field(ge=32)]
    batch_size: Count
    workers: Annotated[int, Field(ge=0)] = 1
    cache_images: Annotated[int, Field(ge=0)] = 1000
    erosion: Literal[1, 3, 5, 7, 9] = 5
    surround: Positive | None = None
    augmentation: AugmentationSettings = AugmentationSettings()


class LossSettings(Settings):
    """Weights and settings of `BottomUpLoss`, and of the foreground term beside it."""

    attraction_weight: NotNegative = 1.0
    repulsion_weight: NotNegative = 1.0
    segment_mse_weight: NotNegative = 1.0
    contrast_weight: NotNegative = 0.125
    segment_gradient_weight: NotNegative = 0.05
    norm_weight: NotNegative = 0.025
    repulsion_normaliser: Literal["entities", "pairs", "sqrt-pairs"] = "entities"
    max_entities: Count = 128
    target_gradient: bool = False
    contrast_queries: Count = 256
    contrast_negatives: Count = 512
    foreground_weight: NotNegative = 1.0


class OptimiserSettings(Settings):
    """AdamW with linear warm-up, cosine decay, gradient clipping and an average of the weights.

    Attributes:
        steps: updates in all; or `epochs` over the sources' images, one of the two.
        epochs: passes over the data.
        accumulate: batches in one update, whose gradients are averaged.
        learning_rate: peak, for the decoder.
        backbone_factor: the encoder's learning rate relative to it.
        weight_decay: on matrices and kernels only.
        warmup_steps: updates of linear warm-up.
        clip_norm: largest gradient norm.
        average_decay: of the exponential moving average that is validated and exported.
        freeze_norms: keep the statistics of batch normalisation as pretrained.
        bfloat16: run the network under bfloat16 autocast.
        compile: compile the network by `torch.compile`: minutes at the start, faster updates.
    """

    steps: Count | None = None
    epochs: Count | None = None
    accumulate: Count = 1
    learning_rate: Positive = 1e-3
    backbone_factor: NotNegative = 0.3
    weight_decay: NotNegative = 0.01
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    clip_norm: Positive = 20.0
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    freeze_norms: bool = True
    bfloat16: bool = True
    compile: bool = False

    @model_validator(mode="after")
    def _one_length(self) -> OptimiserSettings:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self


class ValidationSettings(Settings):
    """When and on what the averaged weights are measured; the best by mean F1 is kept."""

    source: Source
    every: Count = 1000
    images: Count = 32
    pictures: Annotated[int, Field(ge=0)] = 4


class TrainingConfig(Settings):
    """Everything a training run depends on.

    Attributes:
        model: architecture, preprocessing and clustering of the model to be made.
        pretrained_backbone: True for the hub's ImageNet weights, or a local safetensors file.
        initial_model: bundled model or model file of the same architecture to start from instead.
        data: training data.
        loss: weights of the terms.
        optimiser: length and steps.
        validation: what to measure on the way; None for nothing.
        seed: of everything random.
        output: the run's folder.
        checkpoint_every: updates between checkpoints.
        log_every: updates between rows of the log.
    """

    model: ModelSettings
    pretrained_backbone: bool | Path = False
    initial_model: str | None = None
    data: DataSettings
    loss: LossSettings = LossSettings()
    optimiser: OptimiserSettings
    validation: ValidationSettings | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    output: Path
    checkpoint_every: Count = 500
    log_every: Count = 20


def load_config(path: str | os.PathLike[str]) -> TrainingConfig:
    """Read a YAML configuration; the name of one shipped with the package works too.

    Raises:
        InputError: missing file, bad YAML, unknown or invalid key (by its dotted name).
    """
    source = Path(path)
    if not source.is_file():
        shipped = files("bottomup_fast") / "configs" / f"{Path(path).stem}.yaml"
        if len(source.parts) > 1 or not shipped.is_file():
            raise InputError(f"{path}: no such configuration file")
        source = Path(str(shipped))
    try:
        content: Any = yaml.safe_load(source.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be a mapping of settings")
    try:
        return TrainingConfig.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{place}: {first['msg']}" if place else first["msg"]
    known = _fields_at(TrainingConfig, first["loc"][:-1])
    return f"unknown setting {place!r}{suggestion(str(first['loc'][-1]), known)}"


def _fields_at(model: Any, location: tuple[int | str, ...]) -> list[str]:
    """Field names of the settings class at a place of the configuration."""
    for part in location:
        if isinstance(part, int) or model is None:
            continue
        if part == "shapes" or part in get_args(FormatName):
            model = ShapesSource if part == "shapes" else DatasetSource
        elif part in model.model_fields:
            annotation = model.model_fields[part].annotation
            candidates = [annotation, *getattr(annotation, "__args__", ())]
            model = next(
                (c for c in candidates if isinstance(c, type) and issubclass(c, Settings)), model
            )
    return list(model.model_fields)
