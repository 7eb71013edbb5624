from __future__ import annotations

import json

import numpy as np
import pytest

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation import DatasetReport
from bottomup_fast.evaluation.comparison import compare_methods
from bottomup_fast.evaluation.masks import Masks, label_masks
from bottomup_fast.evaluation.selection import Part, Selection
from bottomup_fast.segmentation import Segmentation


class Images:
    """Four images of two segments each; the third is broken."""

    names = ("a", "b", "c", "d")

    def __len__(self):
        return 4

    def read(self, index):
        if index == 2:
            raise InputError("c.png: cannot be decoded")
        labels = np.zeros((12, 16), np.int32)
        labels[1:6, 1:8], labels[7:11, 9:15] = 1, 2
        image = np.full((12, 16, 3), 40 * index, np.uint8)
        return Sample(
            self.names[index], image, labels, {"kind": "even" if index % 2 == 0 else "odd"}
        )


def perfect(sample):
    return Segmentation(sample.labels)


perfect.timed = True


def perfect_masks(sample):
    return Masks(sample.labels.shape, label_masks(sample.labels, 2))


perfect_masks.timed = False


def half(sample):
    """Finds one segment, fails on b, and returns another size for d."""
    if sample.name == "b":
        raise RuntimeError("out of\nmemory")
    if sample.name == "d":
        return Segmentation(np.ones((3, 3), np.int32))
    return Segmentation(np.where(sample.labels == 1, 1, 0))


half.timed = True
METHODS = {"perfect": perfect, "masks": perfect_masks, "half": half}


@pytest.fixture
def images():
    return Selection([Part(Images(), range(4))])


def test_every_method_is_measured_on_the_same_images(images):
    comparison = compare_methods(METHODS, images, "kind")
    assert comparison.unreadable == ["c.png: cannot be decoded"]
    assert comparison.failed
    for name in ("perfect", "masks"):
        found = comparison.methods[name]
        assert [image.name for image in found.evaluation.images] == ["a", "b", "d"]
        assert found.failures == {}
        metrics = found.evaluation.measures()["all"].metrics
        assert (metrics["recall"], metrics["miou"], metrics["f1"]) == (1.0, 1.0, 1.0)
    assert list(comparison.evaluations["perfect"].measures()) == ["even", "odd", "all"]


def test_a_failure_is_recorded_and_counts_as_nothing_found(images):
    half_found = compare_methods(METHODS, images).methods["half"]
    assert half_found.failures == {
        "b": "RuntimeError: out of memory",
        "d": "segments of size (3, 3), but the image is (12, 16)",
    }
    assert [image.recall for image in half_found.evaluation.images] == [0.5, 0.0, 0.0]
    assert [image.found for image in half_found.evaluation.images] == [1, 0, 0]
    assert half_found.evaluation.images[0].seconds > 0
    assert half_found.evaluation.images[1].seconds is None


def test_rows(images):
    comparison = compare_methods(METHODS, images)
    rows = comparison.quality_rows()
    assert [row["method"] for row in rows] == list(METHODS)
    assert [row["recall"] for row in rows] == pytest.approx([1.0, 1.0, 1 / 6])
    assert [row["relative %"] for row in rows] == pytest.approx([500.0, 500.0, 0.0])
    assert [row["failed"] for row in rows] == [0, 0, 2]
    assert rows[0]["s per image"] > 0
    assert rows[1]["s per image"] is None  # nothing was timed
    metrics = comparison.metric_rows({"AP": "ap_coco"})
    assert metrics[0] == {"method": "perfect", "AP": pytest.approx(1.0)}


def test_as_dict_has_the_values_of_every_image(images):
    plain = compare_methods(METHODS, images).as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    values = plain["methods"]["half"]["images"][0]
    report = DatasetReport()
    report.add_sample(images.read(0), half(images.read(0)))
    for metric in ("recall", "miou", "boundary_iou", "f1", "segments"):
        assert values[metric] == report.overall()[metric]


def test_pictures_show_image_truth_and_every_method(images):
    comparison = compare_methods(METHODS, images, pictures=2)
    assert [len(row) for row in comparison.pictures] == [5]  # the other one is broken
    image, truth, first, second, third = comparison.pictures[0]
    np.testing.assert_array_equal(image, images.read(0).image)
    np.testing.assert_array_equal(truth, first)
    np.testing.assert_array_equal(truth, second)
    assert (truth != third).any()


def test_without_any_readable_image_there_is_nothing_to_compare():
    with pytest.raises(InputError, match=r"^no image can be read \(c\.png: cannot be decoded\)$"):
        compare_methods(METHODS, Selection([Part(Images(), [2])]))
