from __future__ import annotations

import io
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from bottomup_fast.components import relabel_by_appearance
from bottomup_fast.errors import InputError
from bottomup_fast.overlay import colour_labels, draw_overlay
from bottomup_fast.segmentation import Segmentation

LABELS = np.zeros((12, 20), np.int32)
LABELS[1:6, 2:9] = 1
LABELS[7:, :] = 2
LABELS[8, 4] = 3
IMAGE = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)

label_maps = arrays(
    np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 5)
).map(relabel_by_appearance)


def assert_records_describe(result: Segmentation) -> None:
    assert [record["label"] for record in result.segments] == list(range(1, len(result) + 1))
    for record in result.segments:
        mask = np.asfortranarray(result.labels == record["label"], np.uint8)
        expected = pycocotools.mask.encode(mask)
        assert record["segmentation"]["size"] == list(expected["size"])
        assert record["segmentation"]["counts"] == expected["counts"].decode("ascii")
        np.testing.assert_array_equal(pycocotools.mask.decode(record["segmentation"]), mask)
        assert record["area"] == mask.sum()
        assert record["bbox"] == pycocotools.mask.toBbox(expected).tolist()
        ((x, y),) = record["point_coords"]
        assert mask[y, x]


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools.decode
@given(label_maps)
def test_records_describe_their_masks(labels: NDArray[np.int32]) -> None:
    assert_records_describe(Segmentation(labels))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools.decode
def test_records_of_a_larger_map() -> None:
    blocks = np.random.default_rng(3).integers(0, 40, (30, 25)).repeat(7, axis=0).repeat(5, axis=1)
    assert_records_describe(Segmentation(relabel_by_appearance(blocks)))


def test_fields_and_records_by_hand() -> None:
    result = Segmentation(LABELS, scores=[0.5, 0.25, 1], stability_score={1: 0.1, 3: 0.3, 2: 0.2})
    assert result.labels.dtype == np.int32
    assert (len(result), result.num_segments) == (3, 3)
    assert repr(result) == "Segmentation(12x20, 3 segments)"
    first: dict[str, Any] = {**result.segments[0]}
    assert first.pop("segmentation")["size"] == [12, 20]
    assert first == {
        "area": 35,
        "bbox": [2, 1, 7, 5],
        "predicted_iou": 0.5,
        "stability_score": 0.1,
        "point_coords": [[4, 3]],
        "label": 1,
        "score": 0.5,
    }
    assert [record["stability_score"] for record in result.segments] == [0.1, 0.2, 0.3]


def test_points_lie_deep_inside_even_where_the_centre_does_not() -> None:
    ring = np.zeros((41, 41), np.int32)
    ring[3:38, 3:38] = 1
    ring[8:33, 8:33] = 0
    ring[3:10, 30:38] = 1
    ((x, y),) = Segmentation(ring).segments[0]["point_coords"]
    assert ring[y - 2 : y + 3, x - 2 : x + 3].all()
    ((x, y),) = Segmentation(np.ones((21, 31), int)).segments[0]["point_coords"]
    assert y == 10
    assert 10 <= x <= 20


def test_numbers_default_to_one_and_to_the_scores() -> None:
    assert Segmentation(LABELS).scores.tolist() == [1, 1, 1]
    result = Segmentation(LABELS, scores=np.array([0.5, 0.25, 1]), predicted_iou=0.75)
    assert result.predicted_iou.tolist() == [0.75, 0.75, 0.75]
    assert result.stability_score.tolist() == [0.5, 0.25, 1]


def test_the_result_is_its_own_and_read_only() -> None:
    labels, scores = LABELS.copy(), np.ones(3)
    result = Segmentation(labels, scores=scores)
    labels[:], scores[:] = 0, 7
    assert result.labels.max() == 3
    assert result.scores.max() == 1
    for array in (result.labels, result.scores):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert result.segments is result.segments


def test_nothing_but_background_is_a_result_too() -> None:
    result = Segmentation(np.zeros((3, 4), np.uint8))
    assert (len(result), result.segments, result.scores.shape) == (0, [], (0,))
    assert result.at(0, 0) is None


def test_at_gives_the_record_under_a_click() -> None:
    result = Segmentation(LABELS)
    for (x, y), label in {(2, 1): 1, (8.9, 5.9): 1, (4, 8): 3, (5, 8): 2, (19.5, 11.5): 2}.items():
        record = result.at(x, y)
        assert record is result.segments[label - 1]
    assert result.at(0, 0) is None
    assert result.at(9, 3) is None


@pytest.mark.parametrize("point", [(-1, 0), (0, -0.5), (20, 0), (0, 12), (np.nan, 1), (1, np.inf)])
def test_at_outside_is_an_error(point: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"^x, y: point .* is outside the image of 20x12$"):
        Segmentation(LABELS).at(*point)


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((0, 4), int),
        np.zeros(4, int),
        np.zeros((4, 4, 1), int),
        np.ones((4, 4)),
        np.ones((4, 4), bool),
        np.array([[0, -1]]),
        np.array([[1, 3]]),
        np.array([[0, 2]]),
        np.array([[1, 2_000_000_000]]),
        np.array([[1, 2**40]]),
    ],
)
def test_bad_labels(labels: NDArray[Any]) -> None:
    with pytest.raises(InputError, match=r"^labels: "):
        Segmentation(labels)


@pytest.mark.parametrize("name", ["scores", "predicted_iou", "stability_score"])
@pytest.mark.parametrize(
    "numbers",
    [
        [1, 2],
        np.ones((3, 1)),
        [1, 2, np.nan],
        [1, 2, np.inf],
        ["a", "b", "c"],
        [[1], [2, 3], 4],
        {1: 1.0, 2: 1.0},
        {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0},
        np.inf,
    ],
)
def test_bad_numbers(name: str, numbers: Any) -> None:
    with pytest.raises(InputError, match=rf"^{name}: "):
        Segmentation(LABELS, **{name: numbers})


def test_bad_images_and_metadata() -> None:
    with pytest.raises(InputError, match=r"^image: size \(12, 19\) differs"):
        Segmentation(LABELS, image=IMAGE[:, 1:])
    for metadata in ({"a": object()}, {"a": np.float32(1)}, {"a": float("nan")}, {("a", 1): 2}):
        with pytest.raises(InputError, match=r"^metadata: not JSON"):
            Segmentation(LABELS, metadata=metadata)  # type: ignore[arg-type]


def test_notebooks_show_the_overlay() -> None:
    def shown(result: Segmentation) -> NDArray[np.uint8]:
        return np.asarray(Image.open(io.BytesIO(result._repr_png_())))

    with_image = shown(Segmentation(LABELS, image=IMAGE))
    np.testing.assert_array_equal(with_image, draw_overlay(IMAGE, LABELS))
    np.testing.assert_array_equal(shown(Segmentation(LABELS)), colour_labels(LABELS))
    assert shown(Segmentation(np.ones((1500, 20), int))).shape[0] == 1024
