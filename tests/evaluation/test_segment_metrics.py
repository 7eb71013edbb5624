from __future__ import annotations

import numpy as np
import pytest

from bottomup_fast.errors import InputError
from bottomup_fast.evaluation import SegmentMetrics, evaluate_segments, relative_improvement


def test_recall_and_miou_by_hand():
    true = np.array([[1, 1, 1, 1, 2, 2, 3, 3, 0, 0]])
    pred = np.array([[7, 7, 7, 4, 4, 4, 0, 9, 9, 5]])
    result = evaluate_segments(pred, true)
    # Best IoUs 3/4, 2/3, 1/3.
    assert result.segments == 3
    assert result.recall == pytest.approx(2 / 3)
    assert result.miou == pytest.approx((3 / 4 + 2 / 3 + 1 / 3) / 3)
    assert result.as_dict() == {
        "recall": result.recall,
        "miou": result.miou,
        "boundary_iou": result.boundary_iou,
        "segments": 3,
    }


def test_an_iou_of_one_half_is_no_recall():
    true = np.array([[1, 1, 1, 1]])
    assert evaluate_segments(np.array([[1, 1, 0, 0]]), true).recall == 0.0
    assert evaluate_segments(np.array([[1, 1, 1, 0]]), true).recall == 1.0


def test_two_truths_may_share_a_prediction_and_extra_predictions_do_no_harm():
    true = np.array([[1, 1, 2, 0, 0, 0]])
    pred = np.array([[1, 1, 1, 2, 3, 4]])
    result = evaluate_segments(pred, true)
    assert result.miou == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert result.recall == 0.5


def test_images_are_pooled_by_segment():
    many, one = np.arange(1, 10).reshape(3, 3), np.ones((2, 5), int)
    result = evaluate_segments([many, np.zeros_like(one)], [many, one])
    assert result.segments == 10
    assert result.recall == pytest.approx(0.9)
    assert result.miou == pytest.approx(0.9)
    assert result.boundary_iou == pytest.approx(0.9)


def test_a_stack_is_a_data_set(make_pair):
    rng = np.random.default_rng(1)
    pairs = [make_pair(rng, (30, 30), 8) for _ in range(3)]
    preds, trues = zip(*pairs, strict=True)
    assert evaluate_segments(np.stack(preds), np.stack(trues)) == evaluate_segments(preds, trues)


def test_ignored_pixels_take_part_in_nothing():
    true = np.array([[1, 1, -1, -1, 2, 2]])
    pred = np.array([[1, 1, 1, 1, 1, 2]])
    result = evaluate_segments(pred, true)
    assert result.miou == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert result == evaluate_segments(np.where(true == -1, 3, pred), true)
    assert result == evaluate_segments(pred, np.where(true == -1, 255, true), ignore=255)
    assert result != evaluate_segments(pred, np.maximum(true, 0))


def test_another_background_label():
    true = np.array([[5, 5, 0, 0, 1, 1]])
    pred = np.array([[3, 3, 4, 4, 6, 6]])
    assert evaluate_segments(pred, true, background=5) == SegmentMetrics(1.0, 1.0, 1.0, 2)
    assert evaluate_segments(pred, true).segments == 2
    assert evaluate_segments(pred, true, background=-1, ignore=5).segments == 2


def test_labels_of_predictions_at_or_below_zero_are_no_segments():
    true = np.array([[1, 1, 2, 2]])
    assert evaluate_segments(np.array([[0, 0, -1, -1]]), true) == SegmentMetrics(0, 0, 0, 2)


def test_empty_truth_and_empty_prediction():
    empty, full = np.zeros((5, 5), int), np.ones((5, 5), int)
    nothing = SegmentMetrics(None, None, None, 0)
    assert evaluate_segments(full, empty) == evaluate_segments(empty, empty) == nothing
    assert evaluate_segments(full, np.full((5, 5), -1)) == nothing
    assert evaluate_segments(empty, full) == SegmentMetrics(0.0, 0.0, 0.0, 1)
    assert evaluate_segments(full, full) == SegmentMetrics(1.0, 1.0, 1.0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_relabelling_changes_nothing(make_pair, seed):
    rng = np.random.default_rng(seed)
    # Tiny maps have equal IoUs whose Boundary IoUs differ.
    pairs = [make_pair(rng, (25, 30), 10), *rng.integers(0, 4, (20, 2, 6, 9))]
    expected = evaluate_segments(*zip(*pairs, strict=True))
    shuffled = [
        [np.append(0, rng.permutation(70000)[:40] + 1)[labels] for labels in pair] for pair in pairs
    ]
    result = evaluate_segments(*zip(*shuffled, strict=True))
    assert result.recall == expected.recall
    assert result.miou == pytest.approx(expected.miou, abs=1e-12)
    assert result.boundary_iou == pytest.approx(expected.boundary_iou, abs=1e-12)


def test_relative_improvement_of_the_papers_first_table():
    recalls = {"kMaX": 0.376, "MaskDINO": 0.387, "OneFormer": 0.484, "ours": 0.494}
    rounded = {name: round(gain) for name, gain in relative_improvement(recalls).items()}
    assert rounded == {"kMaX": 0, "MaskDINO": 3, "OneFormer": 29, "ours": 31}


@pytest.mark.parametrize("recalls", [{}, {"a": 0.0}, {"a": 0.5, "b": float("nan")}, {"a": -0.1}])
def test_relative_improvement_needs_recalls_above_zero(recalls):
    with pytest.raises(InputError, match=r"^recalls: "):
        relative_improvement(recalls)
