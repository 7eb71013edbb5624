from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bottomup_fast.evaluation import evaluate_segments
from bottomup_fast.evaluation.boundary import band_width, boundary_band


def published_boundary(mask, width):
    """Cheng et al.: the mask minus the mask eroded `width` times by a 3x3 square, zeros outside."""
    square = np.ones((3, 3), dtype=bool)
    return mask & ~ndimage.binary_erosion(mask, square, iterations=width, border_value=0)


def slow_boundary_iou(pred, true):
    width = max(1, round(0.02 * np.sqrt(pred.shape[0] ** 2 + pred.shape[1] ** 2)))
    results = []
    for t in np.unique(true[true > 0]):
        best = (0.0, 0.0)
        for p in np.unique(pred[pred > 0]):
            a, b = true == t, pred == p
            c, d = published_boundary(a, width), published_boundary(b, width)
            best = max(best, ((a & b).sum() / (a | b).sum(), (c & d).sum() / (c | d).sum()))
        results.append(best)
    return np.mean(results, axis=0)


@pytest.mark.parametrize(
    ("shape", "num_seeds"), [((20, 30), 12), ((90, 120), 9), ((60, 200), 15), ((150, 150), 6)]
)
def test_agrees_with_the_published_definition(make_pair, shape, num_seeds):
    pred, true = make_pair(np.random.default_rng(num_seeds), shape, num_seeds)
    miou, boundary_iou = slow_boundary_iou(pred, true)
    result = evaluate_segments(pred, true)
    assert result.miou == pytest.approx(miou, abs=1e-12)
    assert result.boundary_iou == pytest.approx(boundary_iou, abs=1e-12)
    assert 0 < boundary_iou < miou


@pytest.mark.parametrize("width", [1, 2, 5])
def test_band_of_every_segment(make_pair, width):
    _, true = make_pair(np.random.default_rng(width), (50, 40), 5)
    band = boundary_band(true.astype(np.int64), width)
    for label in np.unique(true[true > 0]):
        mask = true == label
        np.testing.assert_array_equal(band & mask, published_boundary(mask, width))


def test_band_width_follows_the_diagonal():
    assert band_width((10, 10)) == 1
    assert band_width((1, 1)) == 1
    assert band_width((30, 40)) == 1
    assert band_width((600, 800)) == 20
    assert band_width((1024, 1024)) == 29


def test_square_in_the_corner_by_hand():
    true = np.zeros((60, 80), int)
    pred = np.zeros((60, 80), int)
    true[:10, :10], pred[:10, :12] = 1, 1
    # Width 2: the border of the image bounds both masks, so the bands are frames.
    true_band, pred_band = 100 - 6 * 6, 120 - 6 * 8
    shared = 64 - 2 * 6
    expected = shared / (true_band + pred_band - shared)
    assert evaluate_segments(pred, true).boundary_iou == pytest.approx(expected)


def test_a_segment_cut_by_ignored_pixels_ends_there():
    true = np.zeros((60, 80), int)
    true[:, :20], true[:, 20:30] = 1, -1
    pred = np.zeros((60, 80), int)
    pred[:, :30] = 1
    assert evaluate_segments(pred, true).boundary_iou == 1.0


def test_of_equally_good_predictions_the_better_boundary_counts():
    true, pred = np.zeros((30, 40), int), np.zeros((30, 40), int)
    true[10:20, :10] = 1
    # Both have an IoU of 0.3: 30 of 100 pixels; 60 of 100 pixels and 100 more outside.
    pred[10:13, :10], pred[14:30, :10] = 1, 2
    alone = [evaluate_segments(np.where(pred == label, label, 0), true) for label in (1, 2)]
    assert alone[0].miou == alone[1].miou == pytest.approx(0.3)
    assert alone[0].boundary_iou != alone[1].boundary_iou
    better = max(one.boundary_iou for one in alone)
    assert evaluate_segments(pred, true).boundary_iou == better
    assert evaluate_segments((3 - pred) % 3, true).boundary_iou == better
