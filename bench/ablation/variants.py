"""What is compared: one training configuration, and what each variant changes in its losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bottomup_fast.training.config import TrainingConfig

# The paper's full loss; a variant overrides some of it.
LOSS: dict[str, Any] = {
    "max_entities": 64,
    "contrast_queries": 64,
    "contrast_negatives": 128,
}


@dataclass(frozen=True)
class Variant:
    """A row of a table.

    Attributes:
        name: of the run's folder.
        title: of the row.
        loss: settings of the loss that differ from `LOSS`.
        erosion: side of the kernel that erodes the annotation, pixels.
        paper: inter-mean and intra-entity similarity as the paper's Table 5 has them.
    """

    name: str
    title: str
    loss: dict[str, Any] = field(default_factory=dict)
    erosion: int = 5
    paper: tuple[float, float] | None = None


_ALIGNED = {"segment_mse_weight": 0.0, "segment_gradient_weight": 0.0}

TABLE_5 = (
    Variant("differentiation", "L_att + L_rep", _ALIGNED, paper=(0.024, 0.152)),
    Variant("mse", "+ L_mse", {"segment_gradient_weight": 0.0}, paper=(0.031, 0.745)),
    Variant("full", "+ L_grad", paper=(0.029, 0.754)),
)

# The paper says of Eq. 9 only that three weights are 0.125, 0.025 and 0.05 "respectively".
WEIGHTS = tuple(
    Variant(
        f"weights-{contrast}-{gradient}-{norm}",
        f"contrast {contrast}, gradient {gradient}, norm {norm}",
        {
            "contrast_weight": contrast,
            "segment_gradient_weight": gradient,
            "norm_weight": norm,
        },
    )
    for contrast, gradient, norm in (
        (0.125, 0.025, 0.05),
        (0.05, 0.125, 0.025),
        (0.025, 0.125, 0.05),
        (0.025, 0.05, 0.125),
        (0.05, 0.025, 0.125),
    )
)

NORMALISERS = (
    Variant("pairs", "repulsion over pairs", {"repulsion_normaliser": "pairs"}),
    Variant("sqrt-pairs", "repulsion over √pairs", {"repulsion_normaliser": "sqrt-pairs"}),
)

EROSIONS = tuple(
    Variant(f"erosion-{side}", f"erosion {side}×{side}", erosion=side) for side in (1, 3)
)

# The row every sweep starts from.
FULL = TABLE_5[-1]
SWEEPS = {
    "Normaliser of the repulsion": (*NORMALISERS, FULL),
    "Erosion of the annotation": (*EROSIONS, FULL),
    "Which weight is whose": (*WEIGHTS, FULL),
}


def training(
    variant: Variant, seed: int, steps: int, backbone: Path, output: Path
) -> TrainingConfig:
    """The run of a variant: the small network on COCO objects and shapes, as for all others."""
    return TrainingConfig.model_validate(
        {
            "model": {
                "name": variant.name,
                "architecture": {"name": "bottomup_efficientnet_lite0", "feature_dim": 64},
                "preprocessing": {
                    "mean": [0.485, 0.456, 0.406],
                    "std": [0.229, 0.224, 0.225],
                    "resolutions": [256],
                },
            },
            "pretrained_backbone": backbone,
            "data": {
                "crop": 192,
                "batch_size": 4,
                "erosion": variant.erosion,
                "sources": [
                    {"kind": "folder", "path": "coco_subset", "split": "train", "weight": 3},
                    {"kind": "shapes", "size": 256, "weight": 1},
                ],
                "augmentation": {"scale": [0.3, 0.8], "colour": 0.1, "gamma": 0.2},
            },
            "loss": LOSS | variant.loss,
            "optimiser": {"steps": steps, "warmup_steps": 100, "average_decay": 0.99},
            "seed": seed,
            "output": output,
            "checkpoint_every": 250,
        }
    )
