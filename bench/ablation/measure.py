"""Train a variant (or go on with it) and measure it on the validation split."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bottomup_fast.data.folder import FolderDataset
from bottomup_fast.data.sources import data_path
from bottomup_fast.evaluation.dataset import evaluate_dataset
from bottomup_fast.files import atomic_write
from bottomup_fast.models.weights import load_model
from bottomup_fast.segmenter import Segmenter
from bottomup_fast.training.trainer import train

from .variants import Variant, training

MEASURES = ("inter_mean", "intra_entity", "recall", "miou")


def measured(folder: Path, variant: Variant, seed: int, steps: int, backbone: Path) -> None:
    """Have `result.json` of a run in its folder; a run that has one is left alone."""
    output = folder / f"{variant.name}-{seed}"
    result = output / "result.json"
    if result.is_file():
        return
    config = training(variant, seed, steps, backbone, output)
    model = load_model(train(config))
    samples = FolderDataset(data_path(Path("coco_subset")), "val")
    found = evaluate_dataset(Segmenter(model), (samples[i] for i in range(len(samples))))
    overall = found.measures()["all"]
    assert overall.separation is not None
    values = {**overall.metrics, **overall.separation}
    with atomic_write(result) as temporary:
        temporary.write_text(json.dumps(values | {"steps": steps, "seed": seed}, indent=2))


def results(folder: Path, variant: Variant) -> list[dict[str, Any]]:
    """What the finished runs of a variant measured, one for each seed."""
    return [
        json.loads(path.read_text())
        for path in sorted(folder.glob(f"{variant.name}-?/result.json"))
    ]


def spread(runs: list[dict[str, Any]], measure: str) -> str:
    """Mean over the runs, and their standard deviation where there are several."""
    values = [run[measure] for run in runs]
    text = f"{fmean(values):.3f}"
    return f"{text} ± {stdev(values):.3f}" if len(values) > 1 else text
