from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from merging_cases import (
    fold_one_by_one,
    joined_one_by_one,
    refined_by_reference,
    refinements,
)
from random_labels import random_labels
from torch import Tensor

from bottomup_fast import ops
from bottomup_fast.components import relabel_by_appearance, split_components
from bottomup_fast.errors import InputError
from bottomup_fast.refinement import refine

# Lines along axes and halfway between: closeness has ties, and rounding decides nothing.
LINES = torch.tensor([[1, 0], [0, -1], [0.5, 0.5]])
sizes = st.integers(1, 25)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 32), sizes, sizes, st.integers(0, 12), st.booleans())
def test_specks_join_the_neighbour_of_closest_line(
    seed: int, height: int, width: int, min_area: int, split: bool
) -> None:
    rng = np.random.default_rng(seed)
    index = random_labels(rng, height, width, -1)
    lines = LINES[rng.integers(0, 3, index.max() + 1)]
    labels = split_components(index + 1) if split else relabel_by_appearance(index + 1)
    mode_of = np.zeros(labels.max() + 1, int)
    mode_of[labels] = index
    modes = lines.numpy()
    similarity = np.abs(modes[mode_of] @ modes[mode_of].T).astype(float) if len(modes) else None
    if similarity is not None:
        similarity[:, 0] = -1  # the background is the last resort
    expected = relabel_by_appearance(fold_one_by_one(labels, min_area, similarity))
    found = ops.pieces(torch.from_numpy(index), lines, split=split, min_area=min_area)
    assert found.dtype == torch.int32
    assert np.array_equal(found.numpy(), expected)


def test_pieces_by_hand() -> None:
    index = torch.tensor([[0, 0, 0, 1], [0, 2, 1, 1], [0, 0, 1, 1]], dtype=torch.int32)
    lines = torch.tensor([[1, 0], [0, 1], [0.4, -0.9]])
    assert ops.pieces(index, lines).tolist() == [[1, 1, 1, 2], [1, 3, 2, 2], [1, 1, 2, 2]]
    assert ops.pieces(index, lines, min_area=2).tolist() == [
        [1, 1, 1, 2],
        [1, 2, 2, 2],
        [1, 1, 2, 2],
    ]
    # Any line is closer than the background.
    index = torch.tensor([[-1, -1, 0, 1, 1]], dtype=torch.int32)
    found = ops.pieces(index, torch.eye(2), split=True, min_area=2)
    assert found.tolist() == [[0, 0, 1, 1, 1]]


def test_more_modes_than_pixels_and_none() -> None:
    index = torch.tensor([[7, 3]], dtype=torch.int32)
    assert ops.pieces(index, torch.eye(8), min_area=2).tolist() == [[1, 1]]
    # Where no mode was found, all pixels are of the first.
    index = torch.tensor([[0, 0, -1]], dtype=torch.int32)
    assert ops.pieces(index, torch.empty(0, 4), split=True, min_area=2).tolist() == [[1, 1, 0]]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), sizes, sizes, st.sampled_from([0, 3, 17.5]))
def test_joining_follows_the_rule(seed: int, height: int, width: int, area: float) -> None:
    rng = np.random.default_rng(seed)
    labels, coarse = random_labels(rng, height, width), random_labels(rng, height, width)

    def join(labels: Any, coarse: Any) -> Any:
        one, other = (torch.as_tensor(value, dtype=torch.int32) for value in (labels, coarse))
        return ops.join_fragments(one, other, min_area=area).numpy()

    found = join(labels, coarse)
    assert np.array_equal(found, joined_one_by_one(labels, coarse, area))
    # What numbers the segments have makes no difference, and joining again changes nothing.
    names = np.concatenate(([0], 1 + rng.permutation(9) * 11))
    assert np.array_equal(join(names[labels], names[coarse]), found)
    assert np.array_equal(join(found, coarse), found)


def test_joining_by_hand() -> None:
    labels = torch.tensor([[1, 1, 2, 2, 3, 3]], dtype=torch.int32)
    coarse = torch.tensor([[7, 7, 7, 7, 7, 0]], dtype=torch.int32)
    # The third segment lies half inside only.
    assert ops.join_fragments(labels, coarse, min_area=5).tolist() == [[1, 1, 1, 1, 2, 2]]
    assert ops.join_fragments(labels, coarse, min_area=5.1).tolist() == labels.tolist()
    # Background neither joins nor is joined.
    labels[0, :2] = 0
    joined = ops.join_fragments(labels, torch.full_like(labels, 5), min_area=1)
    assert joined.tolist() == [[0, 0, 1, 1, 1, 1]]
    assert ops.join_fragments(labels, 0 * coarse, min_area=0).tolist() == [[0, 0, 1, 1, 2, 2]]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32), sizes, sizes, st.integers(0, 9))
def test_scores_of_segments(seed: int, height: int, width: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, count + 1, (height, width)).astype(np.int32)
    likeness, cosine = rng.random((2, height, width), np.float32)
    tensors = [torch.from_numpy(values) for values in (labels, likeness, cosine)]
    found = ops.segment_scores(*tensors, 40)
    assert all(values.shape == (labels.max(),) for values in found)
    assert all(values.dtype == torch.float64 for values in found)
    for label, (score, quality, stability) in enumerate(zip(*found, strict=True), start=1):
        inside = labels == label
        window = [(cosine[inside] >= np.cos(np.radians(angle))).sum() for angle in (40, 30)]
        assert score == pytest.approx(likeness[inside].mean(dtype=float) if inside.any() else 0)
        assert quality == pytest.approx(cosine[inside].mean(dtype=float) if inside.any() else 0)
        assert stability == pytest.approx(window[1] / max(window[0], 1))
    strided = (torch.stack([values, values], 2)[..., 0] for values in tensors)
    for values, same in zip(found, ops.segment_scores(*strided, 40), strict=True):
        assert torch.equal(values, same)


@settings(max_examples=200, deadline=None)
@given(refinements())
def test_refinement_follows_the_reference(case: tuple[Any, list[Any], dict[str, Any]]) -> None:
    coarse, patches, rules = case
    expected = refined_by_reference(coarse, patches, **rules)
    assert np.array_equal(refine(coarse, patches, **rules), expected)
    # Numbers beyond int32 mean the same.
    names = np.arange(coarse.max() + 2) << 33
    large = [(names[np.minimum(patch, len(names) - 1)], box) for patch, box in patches]
    small = [(np.minimum(patch, len(names) - 1), box) for patch, box in patches]
    expected = refined_by_reference(coarse, small, **rules)
    assert np.array_equal(refine(names[coarse], large, **rules), expected)


def labelled(*rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.int32)


def test_the_ops_meet_torchs_rules() -> None:
    labels, values = labelled([0, 1, 1], [2, 2, 1]), torch.rand(2, 3)
    torch.library.opcheck(torch.ops.bottomup_fast.pieces, (labels - 1, torch.rand(2, 5), True, 2))
    torch.library.opcheck(torch.ops.bottomup_fast.join_fragments, (labels, labels, 2.0))
    boxes = torch.tensor([[0, 0, 2, 1], [1, 0, 2, 2]])
    merge = (labels, torch.ones(4, dtype=torch.int32), boxes, 1, 0.8, 0.9)
    torch.library.opcheck(torch.ops.bottomup_fast.refine, merge)
    torch.library.opcheck(torch.ops.bottomup_fast.segment_scores, (labels, values, values, 45.0))


def test_noncontiguous_input_and_input_left_alone() -> None:
    index = labelled([0, 1], [0, 1], [1, 1])
    before = index.clone()
    found = ops.pieces(index.T, torch.eye(4)[::2], split=True, min_area=2)
    assert found.tolist() == [[1, 1, 2], [2, 2, 2]]
    assert torch.equal(index, before)


ONES, MAP = torch.ones(2, 3), labelled([0, 1, 1], [2, 2, 1])
BOX, RULES = torch.tensor([[0, 0, 3, 1]]), {"min_area": 1, "refine_iou": 0.8, "contain": 0.9}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.pieces(MAP.long(), ONES), r"index must be int32 \(H, W\), not torch.int64"),
        (lambda: ops.pieces(MAP[0], ONES), r"index must be int32 .* \(3,\)"),
        (lambda: ops.pieces(MAP[:0], ONES), "index must have pixels"),
        (lambda: ops.pieces(MAP, ONES), "index names a mode that is not there"),
        (lambda: ops.pieces(MAP - 3, ONES), "index names a mode that is not there"),
        (lambda: ops.pieces(MAP, ONES[0]), r"modes must be float32 \(M, D\), not torch.float32"),
        (lambda: ops.pieces(MAP, ONES.double()), "modes must be float32 .*float64"),
        (lambda: ops.pieces(MAP.numpy(), ONES), "index must be a torch.Tensor, not ndarray"),  # type: ignore[arg-type]
        (lambda: ops.join_fragments(MAP, MAP[1:], min_area=1), "coarse: differs from labels"),
        (lambda: ops.join_fragments(MAP, MAP - 5, min_area=1), "coarse: labels must not be below"),
        (lambda: ops.join_fragments(MAP - 5, MAP, min_area=1), "labels: labels must not be below"),
        (lambda: ops.join_fragments(MAP, ONES, min_area=1), r"coarse must be int32 \(H, W\)"),
        (lambda: ops.join_fragments(MAP, MAP, min_area=-1), "min_area: must not be negative"),
        (lambda: ops.join_fragments(MAP, MAP, min_area=float("nan")), "min_area: must not be"),
        (lambda: ops.refine(MAP.long(), MAP[0], BOX, **RULES), r"labels must be int32 \(H, W\)"),
        (lambda: ops.refine(MAP, MAP, BOX, **RULES), "patches must be int32 of one dimension"),
        (lambda: ops.refine(MAP, MAP[0], BOX[0], **RULES), r"boxes must be int64 .* \(P, 4\)"),
        (lambda: ops.refine(MAP, MAP[0], BOX + 1, **RULES), "boxes must lie in the image"),
        (lambda: ops.refine(MAP, MAP[0, 1:], BOX, **RULES), "patches must have a label for every"),
        (lambda: ops.refine(MAP, MAP.ravel(), BOX, **RULES), "patches must have a label for every"),
        (lambda: ops.refine(MAP, MAP[0] - 1, BOX, **RULES), r"patches\[0\].labels: labels must"),
        (lambda: ops.refine(MAP, MAP[0], BOX, **RULES | {"contain": 2.0}), "contain: 2.0+ is out"),
        (lambda: ops.segment_scores(MAP[:0], ONES[:0], ONES[:0]), "labels must have pixels"),
        (lambda: ops.segment_scores(MAP - 1, ONES, ONES), "labels must not be below 0"),
        (lambda: ops.segment_scores(MAP, ONES[1:], ONES), r"likeness must be float32 \(2, 3\)"),
        (lambda: ops.segment_scores(MAP, ONES, ONES.half()), "cosine must be float32 .*float16"),
        (lambda: ops.segment_scores(MAP, ONES, ONES, 46), r"bandwidth_deg must be in \(0, 45\]"),
    ],
)
def test_refused_input(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
