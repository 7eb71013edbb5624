from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from bottomup_fast.evaluation import average_precision, f1_score

EMPTY = np.zeros((4, 4), int)
FULL = np.ones((4, 4), int)


def brute_force_counts(pred, true, threshold):
    """Optimal assignment on the dense IoU matrix, with StarDist's costs."""
    true_labels, pred_labels = np.unique(true[true > 0]), np.unique(pred[pred > 0])
    iou = np.zeros((len(true_labels), len(pred_labels)))
    for i, t in enumerate(true_labels):
        for j, p in enumerate(pred_labels):
            iou[i, j] = ((true == t) & (pred == p)).sum() / ((true == t) | (pred == p)).sum()
    matched = 0
    if iou.size:
        costs = -(iou >= threshold).astype(float) - iou / (2 * min(iou.shape))
        matched = int((iou[linear_sum_assignment(costs)] >= threshold).sum())
    return matched, len(pred_labels) - matched, len(true_labels) - matched


def test_agrees_with_optimal_assignment(make_pair):
    rng = np.random.default_rng(0)
    pairs = [make_pair(rng, (40, 50), n) for n in (5, 12, 30)]
    # Tiny maps have many equal IoUs, below 1/2 with several candidates for a segment.
    pairs += list(rng.integers(0, 6, (60, 2, 3, 4)))
    for threshold in (0.05, 0.2, 1 / 3, 0.5, 0.6, 0.9, 1.0):
        counts = np.array([brute_force_counts(pred, true, threshold) for pred, true in pairs])
        tp, fp, fn = counts.T
        preds, trues = zip(*pairs, strict=True)
        by_image = average_precision(preds, trues, threshold, kind="matching")
        pooled = average_precision(preds, trues, threshold, kind="matching", per_image=False)
        assert by_image[threshold] == pytest.approx((tp / (tp + fp + fn)).mean(), abs=1e-12)
        assert pooled[threshold] == pytest.approx(tp.sum() / counts.sum(), abs=1e-12)
        assert f1_score(preds, trues, threshold) == pytest.approx(
            (2 * tp / (2 * tp + fp + fn)).mean(), abs=1e-12
        )
        assert f1_score(preds, trues, threshold, per_image=False) == pytest.approx(
            2 * tp.sum() / (tp.sum() + counts.sum()), abs=1e-12
        )


def test_by_hand():
    true = np.array([[1, 1, 1, 1, 2, 2, 0, 0]])
    pred = np.array([[5, 5, 5, 9, 9, 9, 0, 3]])
    # IoU 3/4 of prediction 5 with segment 1, 2/3 of 9 with 2; 3 is a false positive.
    assert average_precision(pred, true, [0.5, 0.7, 0.75, 0.8], kind="matching") == {
        0.5: pytest.approx(2 / 3),
        0.7: pytest.approx(1 / 4),
        0.75: pytest.approx(1 / 4),
        0.8: 0.0,
    }
    assert f1_score(pred, true) == pytest.approx(4 / 5)
    assert f1_score(pred, true, 0.7) == pytest.approx(2 / 5)


def test_greedy_assignment_would_lose_a_pair():
    # Segment 1 is nearest to prediction 1, but prediction 1 is all that segment 2 has.
    true = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 2, 2]])
    pred = np.array([[2, 2, 1, 1, 1, 1, 1, 1, 1, 0]])
    assert average_precision(pred, true, 0.3, kind="matching") == {0.3: 1.0}


def test_scores_do_not_matter_to_matching():
    scored = average_precision(FULL, FULL, 0.5, [0.1], "matching")
    assert scored == average_precision(FULL, FULL, 0.5, kind="matching") == {0.5: 1.0}


def test_empty_images():
    assert f1_score(EMPTY, EMPTY) == 1.0
    assert f1_score(FULL, EMPTY) == f1_score(EMPTY, FULL) == 0.0
    assert f1_score([EMPTY, FULL, FULL], [EMPTY, FULL, EMPTY]) == pytest.approx(2 / 3)
    assert f1_score([EMPTY, FULL, FULL], [EMPTY, FULL, EMPTY], per_image=False) == 2 / 3
    assert average_precision(EMPTY, EMPTY, 0.5, kind="matching") == {0.5: 1.0}
    assert average_precision(FULL, EMPTY, 0.5, kind="matching") == {0.5: 0.0}


def test_ignored_pixels_are_cut_off():
    true = np.array([[1, 1, -1, -1, -1, 0]])
    pred = np.array([[1, 1, 1, 1, 2, 0]])
    assert f1_score(pred, true, 1.0) == 1.0
    assert f1_score(pred, np.where(true == -1, 99, true), 1.0, ignore=99) == 1.0
    assert f1_score(pred, np.maximum(true, 0), 1.0) == 0.0


def test_relabelling_changes_nothing(make_pair):
    rng = np.random.default_rng(5)
    pred, true = make_pair(rng, (40, 40), 20)
    shuffled_pred = np.append(0, rng.permutation(1000)[:30] + 1)[pred]
    shuffled_true = np.append(0, rng.permutation(60000)[:30] + 1)[true].astype(np.uint16)
    thresholds = [0.2, 0.5, 0.8]
    assert average_precision(pred, true, thresholds, kind="matching") == average_precision(
        shuffled_pred, shuffled_true, thresholds, kind="matching"
    )
    assert f1_score(pred, true) == f1_score(shuffled_pred, shuffled_true)
