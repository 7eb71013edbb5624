from __future__ import annotations

import numpy as np
import pytest

from bottomup_fast.evaluation import evaluate_segments
from bottomup_fast.evaluation.panoptic import PanopticQuality, panoptic_quality


def counts(found):
    return found.true_positives, found.false_positives, found.false_negatives


def test_matches_by_hand():
    true = np.array([[1, 1, 1, 1, 2, 2, 0, 3, 3, 3]])
    pred = np.array([[1, 1, 1, 0, 2, 4, 4, 5, 6, 6]])
    # 1: IoU 3/4. 2: 1/2 with segment 2, which is not above 0.5, and 1/3 with 4. 3: 2/3 with 6.
    found = panoptic_quality(pred, true)
    assert counts(found) == (2, 3, 1)
    assert found.iou == pytest.approx(3 / 4 + 2 / 3)
    assert found.segmentation == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert found.recognition == pytest.approx(2 / (2 + 1.5 + 0.5))
    assert found.quality == pytest.approx((3 / 4 + 2 / 3) / (2 + 1.5 + 0.5))


def test_void_pixels_belong_to_no_union():
    true = np.array([[1, 1, 1, -1, -1, -1, -1, 0]])
    pred = np.array([[1, 1, 1, 1, 1, 0, 0, 0]])
    assert panoptic_quality(pred, true).iou == 1.0


@pytest.mark.parametrize(("outside", "false_positives"), [(1, 0), (2, 1), (3, 1), (0, 0)])
def test_a_prediction_that_is_mostly_void_is_no_false_positive(outside, false_positives):
    # Its void share is 2/3, exactly 1/2, 2/5 or all: only more than half excuses it.
    true = np.array([[-1, -1, *([0] * 4)]])
    pred = np.array([[1, 1, *([1] * outside), *([0] * (4 - outside))]])
    assert counts(panoptic_quality(pred, true)) == (0, false_positives, 0)


def test_all_images_count_together():
    true, pred = np.array([[1, 1, 0, 0]]), np.array([[1, 1, 2, 2]])
    both = panoptic_quality([pred, pred], [true, true])
    assert (counts(both), both.iou) == ((2, 2, 0), 2.0)
    assert both.quality == pytest.approx(2 / 3)


def test_nothing_at_all():
    nothing = PanopticQuality(0, 0, 0, 0.0)
    assert nothing.recognition is nothing.segmentation is nothing.quality is None
    assert PanopticQuality(0, 1, 0, 0.0).quality == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_recall_of_label_maps_is_the_share_of_matched_truths(make_pair, seed):
    pred, true = make_pair(np.random.default_rng(seed), (40, 50), 15)
    true[:5] = -1
    found = panoptic_quality(pred, true)
    recall = found.true_positives / (found.true_positives + found.false_negatives)
    assert evaluate_segments(pred, true).recall == pytest.approx(recall)
