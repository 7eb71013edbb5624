"""What merging does, segment by segment: the definitions that the compiled code is held to."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_labels import random_labels

from bottomup_fast.components import relabel_by_appearance
from bottomup_fast.reference.refinement import merge_patches

Labels = NDArray[np.int32]


def fold_one_by_one(
    labels: Labels, min_area: int, similarity: NDArray[np.float64] | None
) -> Labels:
    """The definition, with everything counted afresh after each fold."""
    labels = labels.copy()
    stuck: set[int] = set()
    while True:
        areas = {i: int((labels == i).sum()) for i in set(labels[labels > 0].tolist()) - stuck}
        specks = sorted((area, i) for i, area in areas.items() if area < min_area)
        if not specks:
            return labels
        speck = specks[0][1]
        padded = np.pad(labels, 1, constant_values=-1)
        inside = padded == speck
        touching = np.concatenate(
            [np.roll(padded, step, axis)[inside] for axis in (0, 1) for step in (1, -1)]
        )
        hosts = set(touching.tolist()) - {speck, -1}
        if not hosts:
            stuck.add(speck)
            continue
        labels[labels == speck] = max(
            hosts,
            key=lambda j: (
                0.0 if similarity is None else similarity[speck, j],
                int((touching == j).sum()),
                -j,
            ),
        )


def joined_one_by_one(labels: Labels, coarse: Labels, min_area: float) -> Labels:
    """The segments joined that lie, by more than half, in one coarser segment of `min_area`."""
    result = labels.astype(np.int64)
    for segment in np.unique(labels[labels > 0]):
        inside = labels == segment
        for whole in np.unique(coarse[coarse > 0]):
            holder = coarse == whole
            if holder.sum() >= min_area and 2 * (inside & holder).sum() > inside.sum():
                result[inside] = 1_000_000 + whole
    return relabel_by_appearance(result)


def refined_by_reference(labels: Labels, patches: list[Any], **settings: Any) -> Labels:
    """The rules as the reference states them, numbered by appearance."""
    finer = [(np.asarray(patch, np.int64), box) for patch, box in patches]
    merged = merge_patches(relabel_by_appearance(labels).astype(np.int64), finer, **settings)
    return relabel_by_appearance(merged)


@st.composite
def refinements(draw: st.DrawFn) -> tuple[Labels, list[Any], dict[str, Any]]:
    """A coarse map, up to three patches, and the rules to refine it by."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    labels = random_labels(rng, height, width)
    patches: list[Any] = []
    for _ in range(rng.integers(0, 4)):
        x0, x1 = np.sort(rng.choice(width + 1, 2, replace=False)).tolist()
        y0, y1 = np.sort(rng.choice(height + 1, 2, replace=False)).tolist()
        # Most are shifted copies, which the rules compare with the coarse segments.
        shifted = np.roll(labels, rng.integers(0, 3, 2), (0, 1))[y0:y1, x0:x1]
        other = random_labels(rng, y1 - y0, x1 - x0)
        patches.append((np.where(rng.random() < 0.7, shifted, other), (x0, y0, x1, y1)))
    rules = {
        "min_area": draw(st.integers(1, 20)),
        "refine_iou": draw(st.sampled_from([0.2, 0.5, 0.8, 1.0])),
        "contain": draw(st.sampled_from([0.4, 0.9, 1.0])),
    }
    return labels, patches, rules
