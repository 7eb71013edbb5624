from __future__ import annotations

import numpy as np
import pytest

from bottomup_fast.errors import InputError
from bottomup_fast.evaluation import average_precision, evaluate_segments, f1_score

MAP = np.array([[1, 2], [2, 0]])


@pytest.mark.parametrize(
    ("pred", "true", "message"),
    [
        (MAP, MAP[:1], r"pred_labels: shape \(2, 2\), but true_labels has \(1, 2\)"),
        ([MAP, MAP], [MAP, MAP[:1]], r"pred_labels\[1\]: shape"),
        (MAP.astype(float), MAP, "pred_labels: expected an integer dtype, got float64"),
        (MAP, MAP > 0, "true_labels: expected an integer dtype, got bool"),
        ([MAP], [MAP.astype(float)], r"true_labels\[0\]: expected an integer"),
        (MAP, [MAP], "pred_labels: is one image and true_labels a data set"),
        ([MAP], MAP, "pred_labels: is one image and true_labels a data set"),
        ([MAP], [MAP, MAP], "pred_labels: 1 images, but true_labels has 2"),
        ([], [], "pred_labels: no images"),
        ([MAP[0]], [MAP], r"pred_labels\[0\]: expected a label map"),
        (MAP[:0], MAP[:0], "pred_labels: the image has no pixels"),
        (MAP, MAP - 3, "true_labels: label -3 is negative"),
        ([MAP, MAP], [MAP, MAP - 3], r"true_labels\[1\]: label -3 is negative"),
    ],
)
def test_label_maps(pred, true, message):
    with pytest.raises(InputError, match=f"^{message}"):
        evaluate_segments(pred, true)
    with pytest.raises(InputError, match=f"^{message.replace('_labels', '')}"):
        f1_score(pred, true)
    with pytest.raises(InputError, match=f"^{message.replace('_labels', '')}"):
        average_precision(pred, true, 0.5)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.5], r"scores: expected shape \(2,\), got \(1,\)"),
        ([0.5, 0.5, 0.5], r"scores: expected shape \(2,\), got \(3,\)"),
        (0.5, r"scores: expected shape \(2,\), got \(\)"),
        ([0.5, np.nan], "scores: a score is not finite"),
        ({1: 0.5, 2: np.inf}, "scores: a score is not finite"),
        ({1: 0.5}, "scores: no score for label 2"),
        (["high", "low"], "scores: expected numbers"),
        ({1: "high", 2: 0.5}, "scores: expected numbers"),
    ],
)
def test_scores(scores, message):
    with pytest.raises(InputError, match=f"^{message}"):
        average_precision(MAP, MAP, 0.5, scores)
    with pytest.raises(InputError, match="^" + message.replace("scores", r"scores\[1\]")):
        average_precision([MAP, MAP], [MAP, MAP], 0.5, [[0.5, 0.5], scores])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[0.5, 0.5]], "scores: 1 entries for 2 images"),
        ({1: 0.5, 2: 0.5}, "scores: expected a sequence"),
        (0.5, "scores: expected a sequence"),
    ],
)
def test_scores_of_a_data_set(scores, message):
    with pytest.raises(InputError, match=f"^{message}"):
        average_precision([MAP, MAP], [MAP, MAP], 0.5, scores)


@pytest.mark.parametrize(
    "thresholds", [0.0, -0.5, 1.1, np.nan, [0.5, 0.0], [], [[0.5]], "half", None]
)
def test_thresholds(thresholds):
    with pytest.raises(InputError, match=r"^thresholds: "):
        average_precision(MAP, MAP, thresholds)


@pytest.mark.parametrize("threshold", [0.0, 2.0, np.nan])
def test_threshold_of_f1(threshold):
    with pytest.raises(InputError, match=r"^threshold: .* is outside"):
        f1_score(MAP, MAP, threshold)


def test_kind_and_max_detections():
    with pytest.raises(InputError, match=r"^kind: 'voc' is neither 'coco' nor 'matching'"):
        average_precision(MAP, MAP, 0.5, kind="voc")
    with pytest.raises(InputError, match=r"^max_detections: 0 is below 1"):
        average_precision(MAP, MAP, 0.5, max_detections=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.uint64])
def test_every_integer_dtype(dtype):
    labels = MAP.astype(dtype)
    assert evaluate_segments(labels, MAP).recall == 1.0
    assert evaluate_segments(MAP, labels).recall == 1.0
