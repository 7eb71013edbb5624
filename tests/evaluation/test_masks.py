from __future__ import annotations

import contextlib
import io

import numpy as np
import pycocotools.mask as rle
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation import DatasetReport
from bottomup_fast.evaluation.average_precision import COCO_THRESHOLDS
from bottomup_fast.evaluation.masks import (
    Masks,
    band,
    compare_masks,
    encode,
    flatten,
    label_masks,
)
from bottomup_fast.segmentation import Segmentation


def make_sample(labels, masks=None, name="a"):
    return Sample(name, np.zeros((*labels.shape, 3), np.uint8), labels, {}, masks)


def boxes(rng, size, count):
    """Overlapping boxes as masks (count, H, W)."""
    masks = np.zeros((count, *size), bool)
    for mask in masks:
        y, x = rng.integers(0, np.array(size) - 8)
        h, w = rng.integers(4, 24, 2)
        mask[y : y + h, x : x + w] = True
    return masks


def moved(rng, masks):
    """Predictions: the boxes moved a little, some left out and some twice, and more of them."""
    shifts = rng.integers(-2, 3, (len(masks), 2))
    kept = [np.roll(mask, tuple(shift), (0, 1)) for mask, shift in zip(masks, shifts, strict=True)]
    return np.stack([*kept[2:], *kept[3:6], *boxes(rng, masks.shape[1:], 4)])


def official(images):
    """COCO's AP at each threshold of (true masks, found masks, scores) of every image."""
    truth, found = [], []
    for number, (true, pred, scores) in enumerate(images, 1):
        for mask in map(encode, true):
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": mask,
                    "area": float(rle.area(mask)),
                    "bbox": rle.toBbox(mask).tolist(),
                    "iscrowd": 0,
                }
            )
        for mask, score in zip(pred, scores, strict=True):
            record = {"segmentation": encode(mask), "score": float(score)}
            found.append(record | {"image_id": number, "category_id": 1})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        sizes = [true.shape[1:] for true, _, _ in images]
        coco.dataset = {
            "images": [{"id": n, "height": h, "width": w} for n, (h, w) in enumerate(sizes, 1)],
            "categories": [{"id": 1, "name": "entity"}],
            "annotations": truth,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "segm")
        evaluation.params.maxDets = [2000]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, 0, 0].mean(axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_of_overlapping_masks_is_that_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    images, report = [], DatasetReport()
    for number in range(3):
        true = boxes(rng, (60 + number, 50), 12)
        pred = moved(rng, true)
        scores = rng.random(len(pred)).round(1 if seed % 2 else 6)
        images.append((true, pred, scores))
        labels = np.zeros(true.shape[1:], np.int32)
        sample = make_sample(labels, tuple(map(encode, true)), f"image{number}")
        found = Masks(labels.shape, tuple(map(encode, pred)), scores)
        report.add_sample(sample, found)
    expected = official(images)
    metrics = report.overall()
    assert metrics["ap_coco_50"] == pytest.approx(expected[0], abs=1e-9)
    assert metrics["ap_coco_75"] == pytest.approx(expected[COCO_THRESHOLDS.index(0.75)], abs=1e-9)
    assert metrics["ap_coco"] == pytest.approx(expected.mean(), abs=1e-9)
    assert 0.1 < metrics["ap_coco"] < 1


def test_the_paper_s_measures_of_overlapping_masks_by_brute_force():
    rng = np.random.default_rng(7)
    true = boxes(rng, (90, 120), 8)
    pred = moved(rng, true)
    width = 3  # 2 % of the diagonal of 150
    square = np.ones((3, 3), bool)

    def border(mask):
        return mask & ~ndimage.binary_erosion(mask, square, iterations=width, border_value=0)

    best = []
    for t in true:
        pairs = [
            [(a & b).sum() / (a | b).sum() for a, b in ((t, p), (border(t), border(p)))]
            for p in pred
        ]
        best.append(max(pairs))
    iou, boundary = np.transpose(best)
    report = DatasetReport()
    sample = make_sample(np.zeros((90, 120), np.int32), tuple(map(encode, true)))
    report.add_sample(sample, Masks((90, 120), tuple(map(encode, pred))))
    metrics = report.overall()
    assert metrics["segments"] == 8
    assert metrics["miou"] == pytest.approx(iou.mean(), abs=1e-12)
    assert metrics["boundary_iou"] == pytest.approx(boundary.mean(), abs=1e-12)
    assert metrics["recall"] == pytest.approx((iou > 0.5).mean())


@pytest.mark.parametrize("width", [1, 2, 5])
def test_band_is_the_mask_without_its_erosion(width):
    rng = np.random.default_rng(width)
    for mask in (ndimage.gaussian_filter(rng.normal(size=(40, 30)), 3) > 0, np.ones((9, 5), bool)):
        eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)
        np.testing.assert_array_equal(rle.decode(band(encode(mask), width)), mask & ~eroded)


@pytest.mark.parametrize("seed", range(3))
def test_masks_that_do_not_overlap_measure_what_their_label_map_does(make_pair, seed):
    pred, true = make_pair(np.random.default_rng(seed), (50, 60), 12)
    pred = np.unique(pred, return_inverse=True)[1].reshape(pred.shape).astype(np.int32)
    true[10:18] = -1  # covers some predictions in part, perhaps one altogether
    scores = np.random.default_rng(seed).random(pred.max())
    masks = tuple(encode(true == label) for label in np.unique(true[true > 0]))
    found = Masks(pred.shape, label_masks(pred, pred.max()), scores)
    expected = DatasetReport()
    expected.add("a", None, pred, true, scores)
    for sample, segments in (
        (make_sample(true, masks), Segmentation(pred, scores=scores)),
        (make_sample(true), found),
        (make_sample(true, masks), found),
    ):
        report = DatasetReport()
        report.add_sample(sample, segments)
        assert report.overall() == pytest.approx(expected.overall(), abs=1e-12)


def test_truths_on_top_of_each_other_all_count():
    cell, nucleus = np.zeros((2, 20, 20), bool)
    cell[2:18, 2:18], nucleus[6:12, 6:12] = True, True
    labels = np.where(nucleus, 2, np.where(cell, 1, 0)).astype(np.int32)
    report = DatasetReport()
    report.add_sample(
        make_sample(labels, (encode(cell), encode(nucleus))),
        Masks((20, 20), (encode(cell), encode(nucleus))),
    )
    # The label map's ring around the nucleus would have missed the cell by 36 of 256 pixels.
    metrics = report.overall()
    assert (metrics["miou"], metrics["recall"], metrics["segments"]) == (1.0, 1.0, 2)
    assert metrics["ap_coco"] == pytest.approx(1.0)


def test_ignored_pixels_are_those_no_true_mask_covers():
    labels = np.zeros((10, 10), np.int32)
    labels[:, 5:] = -1
    true = np.zeros((10, 10), bool)
    true[:5, :7] = True
    found = np.zeros((10, 10), bool)
    found[:5] = True
    alone = np.zeros((10, 10), bool)
    alone[8:, 8:] = True
    overlaps, _, scores = compare_masks(
        make_sample(labels, (encode(true),)),
        Masks((10, 10), (encode(alone), encode(found)), np.array([0.9, 0.2])),
    )
    assert overlaps.iou.tolist() == [1.0]
    assert (overlaps.num_pred, scores.tolist()) == (1, [0.2])


def test_nothing_found_or_nothing_true():
    full, empty = encode(np.ones((4, 4), bool)), encode(np.zeros((4, 4), bool))
    labels = np.zeros((4, 4), np.int32)
    report = DatasetReport()
    report.add_sample(make_sample(labels, (full, empty), "a"), Masks((4, 4), ()))
    report.add_sample(make_sample(labels, (), "b"), Masks((4, 4), (full,)))
    metrics = report.overall()
    assert (metrics["segments"], metrics["recall"], metrics["f1"]) == (1, 0.0, 0.0)
    assert report.of(["b"])["recall"] is None


def test_flatten_puts_smaller_masks_on_top():
    small, large = np.zeros((2, 6, 6), bool)
    small[2:4, 2:4], large[1:5, 1:5] = True, True
    labels = flatten(Masks((6, 6), (encode(small), encode(large))))
    np.testing.assert_array_equal(labels, np.where(small, 1, np.where(large, 2, 0)))


def test_bad_masks_are_named():
    mask = encode(np.ones((4, 4), bool))
    with pytest.raises(InputError, match=r"^scores: expected 1 finite numbers"):
        Masks((4, 4), (mask,), np.array([np.nan]))
    with pytest.raises(InputError, match=r"^masks: one is of size \[4, 4\], its image \(4, 5\)"):
        Masks((4, 5), (mask,))
    report = DatasetReport()
    sample = make_sample(np.zeros((5, 4), np.int32), ())
    with pytest.raises(InputError, match=r"^image 'a': segments: of size \(4, 4\)"):
        report.add_sample(sample, Masks((4, 4), (mask,)))
    report.add_sample(sample, Masks((5, 4), ()))
    with pytest.raises(InputError, match=r"^name: image 'a' was added before"):
        report.add_sample(sample, Masks((5, 4), ()))
