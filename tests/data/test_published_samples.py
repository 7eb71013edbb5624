"""Real annotations against maps that were made from them by others, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bottomup_fast.data.formats import open_dataset
from bottomup_fast.data.label_maps import read_label_map

DATA = Path(os.environ.get("BOTTOMUP_DATA", "../shared/data"))


def same_partition(labels: np.ndarray, truth: np.ndarray) -> bool:
    pairs = np.unique(labels.astype(np.int64) * 2**16 + truth)
    return len(pairs) == len(np.unique(labels)) == len(np.unique(truth))


def test_coco_panoptic() -> None:
    root = DATA / "coco_panoptic_sample"
    if root.is_dir():
        dataset = open_dataset(root, "coco-panoptic", split="examples")
        assert len(dataset) == 2
        for sample in dataset:
            truth = read_label_map(root / "masks" / f"{sample.name}.png")
            np.testing.assert_array_equal(sample.labels, np.where(truth == 0, -1, truth))


def test_coco_instances() -> None:
    root = DATA / "coco_instances_ccby_sample"
    if root.is_dir():
        dataset = open_dataset(root, "coco-instances")
        assert len(dataset) == 12
        for sample in dataset:
            truth = read_label_map(root / "masks" / f"{sample.name}.png")
            np.testing.assert_array_equal(np.minimum(sample.labels, 1), np.minimum(truth, 1))
            assert same_partition(sample.labels, truth)
            assert sample.masks is not None
            assert len(sample.masks) == truth.max()
