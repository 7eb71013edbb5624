from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bottomup_fast.evaluation import average_precision
from bottomup_fast.evaluation.average_precision import COCO_THRESHOLDS


def annotations(labels, image_id, first_id, scores=None):
    found = []
    for label in np.unique(labels[labels > 0]).tolist():
        encoded = rle.encode(np.asfortranarray(labels == label).astype(np.uint8))
        found.append(
            {
                "id": first_id + len(found),
                "image_id": image_id,
                "category_id": 1,
                "segmentation": encoded,
                "area": float(rle.area(encoded)),
                "bbox": rle.toBbox(encoded).tolist(),
                "iscrowd": 0,
            }
            | ({} if scores is None else {"score": float(scores[label - 1])})
        )
    return found


def official(preds, trues, scores, thresholds, max_detections):
    truth, detections = [], []
    for i, (pred, true, image_scores) in enumerate(zip(preds, trues, scores, strict=True), 1):
        truth += annotations(true, i, len(truth) + 1)
        detections += annotations(pred, i, len(detections) + 1, image_scores)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [
                {"id": i, "height": t.shape[0], "width": t.shape[1]} for i, t in enumerate(trues, 1)
            ],
            "categories": [{"id": 1, "name": "entity"}],
            "annotations": truth,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), "segm")
        evaluation.params.iouThrs = np.array(thresholds)
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, 0, 0].mean(axis=1)


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_pycocotools(make_pair, seed):
    rng = np.random.default_rng(seed)
    shapes = [(40, 60), (64, 64), (30, 33), (50, 20), (48, 48)]
    pairs = [make_pair(rng, shape, n) for shape, n in zip(shapes, (9, 25, 4, 6, 40), strict=True)]
    preds, trues = zip(*pairs, strict=True)
    # One decimal makes ties of scores within and across images.
    scores = [rng.random(pred.max()).round(1 if seed % 2 else 6) for pred in preds]
    thresholds = (0.05, 0.1, 0.3, *COCO_THRESHOLDS, 1.0)
    for max_detections in (2000, 5):
        ours = average_precision(
            preds, trues, thresholds, scores, "coco", max_detections=max_detections
        )
        expected = official(preds, trues, scores, thresholds, max_detections)
        assert list(ours) == list(thresholds)
        np.testing.assert_allclose(list(ours.values()), expected, rtol=0, atol=1e-9)
    assert 0 < ours[0.5] < 1


def test_agrees_with_pycocotools_on_small_maps_full_of_equal_ious():
    rng = np.random.default_rng(0)
    preds, trues = rng.integers(0, 5, (2, 40, 3, 4))
    scores = [rng.integers(0, 3, pred.max()) / 2 for pred in preds]
    thresholds = (0.1, 0.2, 0.25, 1 / 3, 0.5)
    ours = average_precision(preds, trues, thresholds, scores)
    expected = official(preds, trues, scores, thresholds, 2000)
    np.testing.assert_allclose(list(ours.values()), expected, rtol=0, atol=1e-9)


def test_agrees_with_pycocotools_on_images_without_prediction_or_truth():
    full = np.ones((8, 8), int)
    empty = np.zeros((8, 8), int)
    preds, trues = [full, empty, full, empty], [empty, full, full, empty]
    scores = [[0.9], [], [0.8], []]
    ours = average_precision(preds, trues, [0.5], scores)
    assert ours[0.5] == pytest.approx(official(preds, trues, scores, [0.5], 2000)[0], abs=1e-9)
    assert ours[0.5] == pytest.approx(51 / 101 * 0.5)


def test_ranking_by_hand():
    true = np.array([[1, 1, 2, 2]])
    pred = np.array([[1, 1, 2, 3]])
    wrong_last = average_precision(pred, true, 0.6, {1: 0.9, 2: 0.2, 3: 0.1})
    wrong_first = average_precision(pred, true, 0.6, {1: 0.1, 2: 0.9, 3: 0.8})
    assert wrong_last == {0.6: pytest.approx(51 / 101)}
    assert wrong_first == {0.6: pytest.approx(51 / 101 / 3)}


def test_array_and_mapping_scores_agree_and_default_to_one(make_pair):
    pred, true = make_pair(np.random.default_rng(3), (40, 40), 12)
    scores = np.random.default_rng(4).random(pred.max())
    mapping = {label: scores[label - 1] for label in range(1, pred.max() + 1)}
    thresholds = [0.5, 0.75]
    assert average_precision(pred, true, thresholds, scores) == average_precision(
        [pred], [true], thresholds, [mapping]
    )
    assert average_precision(pred, true, thresholds) == average_precision(
        pred, true, thresholds, np.ones(pred.max())
    )


def test_no_truth_and_no_prediction():
    full, empty = np.ones((4, 4), int), np.zeros((4, 4), int)
    assert average_precision(full, empty, 0.5) == {0.5: None}
    assert average_precision(empty, empty, 0.5) == {0.5: None}
    assert average_precision(empty, full, 0.5) == {0.5: 0.0}
    assert average_precision(full, full, 1.0) == {1.0: pytest.approx(1.0)}


def test_segments_on_ignored_pixels_are_no_false_positives():
    true = np.array([[1, 1, -1, -1]])
    pred = np.array([[1, 1, 2, 3]])
    assert average_precision(pred, true, 0.9, [0.1, 0.8, 0.9]) == {0.9: 1.0}
