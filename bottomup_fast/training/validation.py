"""Validation during training: metrics and a picture of what the averaged weights segment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bottomup_fast.data.dataset import Sample
from bottomup_fast.data.shapes import ShapesDataset
from bottomup_fast.data.sources import DatasetSource, ShapesSource
from bottomup_fast.evaluation.report import DatasetReport
from bottomup_fast.files import atomic_write
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.overlay import draw_overlay, picture_grid
from bottomup_fast.segmenter import Segmenter
from bottomup_fast.training.config import TrainingConfig

METRICS = ("f1", "ap_matching_50", "ap_coco_50", "recall", "miou")


def validate(
    network: BottomUpNetwork, config: TrainingConfig, pictures: Path, step: int
) -> dict[str, float]:
    """Segment evenly chosen validation images; write `pictures/step-N.png`.

    Each row of the picture is an image, its annotation and the segments found.
    """
    assert config.validation is not None
    samples = validation_samples(config.validation.source, config.seed, config.validation.images)
    network.settings = config.model
    # In float32, so that figures of machines with and without bfloat16 can be compared.
    device = str(next(network.parameters()).device)
    segmenter = Segmenter(network, device, precision="highest")
    report = DatasetReport()
    rows: list[list[NDArray[np.uint8]]] = []
    for sample in samples:
        found = segmenter.segment(sample.image)
        report.add_sample(sample, found)
        if len(rows) < config.validation.pictures:
            nothing = np.zeros_like(sample.labels)
            truth = draw_overlay(sample.image, np.maximum(sample.labels, 0))
            rows.append(
                [
                    draw_overlay(sample.image, nothing, boundary=False),
                    truth,
                    draw_overlay(sample.image, found.labels),
                ]
            )
    if rows:
        with atomic_write(pictures / f"step-{step:07d}.png") as temporary:
            Image.fromarray(picture_grid(rows)).save(temporary)
    overall = report.overall()
    return {name: float(overall[name] or 0.0) for name in METRICS}


def validation_samples(source: DatasetSource | ShapesSource, seed: int, count: int) -> list[Sample]:
    """At most `count` samples of a source, evenly spaced; scenes that training does not see."""
    if isinstance(source, DatasetSource):
        dataset = source.open()
        chosen = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
        # Where broken files are skipped, the next one stands for them, and is not to count twice.
        return list({(sample := dataset[int(i)]).name: sample for i in chosen}.values())
    scenes = ShapesDataset(
        source.size, source.size, seed + 1, source.max_shapes, backdrop=source.backdrop
    )
    return [Sample(f"scene-{i}", *scenes[i], {}) for i in range(count)]
