from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.reference.lines import erode_labels

Labels = NDArray[np.int64]


def drawn(*rows: str) -> Tensor:
    """A label map from rows of digits; "." is -1."""
    values = [[-1 if digit == "." else int(digit) for digit in row] for row in rows]
    return torch.tensor(values, dtype=torch.int32)


def slow_erosion(labels: Labels, kernel: int, keep: float) -> Labels:
    """Entity by entity: the largest kernel that leaves at least `keep` of its pixels."""
    eroded = labels.copy()
    rows, columns = np.indices(labels.shape)
    for entity in set(labels[labels > 0].tolist()):
        pixels = np.argwhere(labels == entity)
        for size in range(kernel, 0, -2):
            reach = size // 2
            left = []
            for row, column in pixels:
                window = (abs(rows - row) <= reach) & (abs(columns - column) <= reach)
                left.append(bool((labels[window] == entity).all()))
            if sum(left) >= keep * len(pixels):
                break
        for (row, column), stays in zip(pixels, left, strict=True):
            eroded[row, column] = entity if stays else -1
    return eroded


@st.composite
def label_maps(draw: st.DrawFn) -> Labels:
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    blocks = draw(arrays(np.int64, shape, elements=st.integers(-1, 3)))
    side = draw(st.integers(1, 5))
    return np.kron(blocks, np.ones((side, side), dtype=np.int64))


@settings(max_examples=60, deadline=None)
@given(label_maps(), st.sampled_from([1, 3, 5, 7]), st.sampled_from([0.01, 0.25, 0.5, 1.0]))
def test_agrees_with_loops_over_entities(labels: Labels, kernel: int, keep: float) -> None:
    eroded = erode_labels(torch.from_numpy(labels), kernel, keep)
    np.testing.assert_array_equal(eroded.numpy(), slow_erosion(labels, kernel, keep))


def test_neighbours_erode_and_the_image_border_does_not() -> None:
    labels = drawn("11112222", "11112222", "11112222")
    assert torch.equal(erode_labels(labels, 3), drawn("111..222", "111..222", "111..222"))
    assert torch.equal(erode_labels(labels, 5), drawn("11....22", "11....22", "11....22"))


def test_background_erodes_entities_and_is_untouched() -> None:
    labels = drawn("000000", "001111", "001111", "001111", "001111")
    expected = drawn("000000", "00....", "00.111", "00.111", "00.111")
    assert torch.equal(erode_labels(labels, 3), expected)


def test_ignored_neighbours_erode() -> None:
    assert torch.equal(erode_labels(drawn(".11111"), 3), drawn("..1111"))


def test_a_window_is_square() -> None:
    # The pixel that only touches another label's corner goes too.
    labels = drawn("2111", "1111", "1111", "1111")
    assert torch.equal(erode_labels(labels, 3, 0.1), drawn("2.11", "..11", "1111", "1111"))


def test_small_entities_take_a_smaller_kernel_each_its_own() -> None:
    # Kernel 5 would keep a third of entity 1 and nothing of entity 2; of entity 3, six tenths.
    labels = drawn("11133333333332", "11133333333332")
    expected = drawn("11...333333..2", "11...333333..2")
    assert torch.equal(erode_labels(labels, 5), expected)


@pytest.mark.parametrize(("keep", "expected"), [(0.6, ".111."), (0.61, "11111"), (0.2, "..1..")])
def test_kernel_is_the_largest_that_keeps_the_fraction(keep: float, expected: str) -> None:
    # Entities 2 and 3 have one pixel, so no kernel but 1 keeps any of them.
    assert torch.equal(erode_labels(drawn("2111113"), 5, keep), drawn(f"2{expected}3"))


@settings(max_examples=40, deadline=None)
@given(label_maps(), st.sampled_from([3, 5, 9]))
def test_no_entity_vanishes_and_nothing_else_changes(labels: Labels, kernel: int) -> None:
    eroded = erode_labels(torch.from_numpy(labels), kernel, keep=0.01).numpy()
    assert set(labels[labels > 0].tolist()) == set(eroded[eroded > 0].tolist())
    changed = eroded != labels
    assert (labels[changed] > 0).all()
    assert (eroded[changed] == -1).all()


@settings(max_examples=20, deadline=None)
@given(label_maps())
def test_kernel_1_is_the_identity(labels: Labels) -> None:
    np.testing.assert_array_equal(erode_labels(torch.from_numpy(labels), 1).numpy(), labels)


def test_a_batch_is_its_images_one_by_one() -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(-1, 4, (4, 5, 6)).repeat(3, 1).repeat(3, 2)
    labels = torch.from_numpy(blocks)
    alone = torch.stack([erode_labels(image, 5, 0.1) for image in labels])
    assert torch.equal(erode_labels(labels, 5, 0.1), alone)
    assert (alone != labels).any()


def test_input_is_left_alone() -> None:
    labels = drawn("11112222")
    erode_labels(labels, 3)
    erode_labels(labels, 1)[0, 0] = 7
    assert torch.equal(labels, drawn("11112222"))


def test_strided_maps() -> None:
    labels = torch.from_numpy(np.random.default_rng(1).integers(-1, 3, (2, 3, 4)).repeat(4, 2))
    strided = labels.mT.contiguous().mT
    assert torch.equal(erode_labels(strided), erode_labels(labels))
    assert torch.equal(erode_labels(strided[1]), erode_labels(labels[1]))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    eroded = erode_labels(drawn("11112222").to(dtype), 3)
    assert eroded.dtype == dtype
    assert torch.equal(eroded.int(), drawn("111..222"))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_without_pixels(shape: tuple[int, ...]) -> None:
    labels = torch.zeros(shape, dtype=torch.int32)
    assert torch.equal(erode_labels(labels), labels)


@pytest.mark.parametrize("label", [-1, 0])
def test_without_entities(label: int) -> None:
    labels = torch.full((2, 3, 4), label)
    assert torch.equal(erode_labels(labels), labels)


def test_kernel_larger_than_the_map() -> None:
    assert torch.equal(erode_labels(drawn("1"), 9), drawn("1"))
    assert torch.equal(erode_labels(drawn("12"), 9), drawn("12"))


@pytest.mark.parametrize("kernel", [0, 2, 4, -1, -3])
def test_kernel_must_be_odd(kernel: int) -> None:
    with pytest.raises(InputError, match=f"kernel must be odd and at least 1, got {kernel}"):
        erode_labels(drawn("11"), kernel)


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.01, float("nan")])
def test_keep_is_a_fraction(keep: float) -> None:
    with pytest.raises(InputError, match=r"keep must be in \(0, 1\]"):
        erode_labels(drawn("11"), keep=keep)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32])
def test_labels_must_hold_minus_one(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match="labels must be signed integers, got torch"):
        erode_labels(drawn("11").to(dtype))


@pytest.mark.parametrize("shape", [(4,), (1, 1, 4, 4)])
def test_labels_must_be_maps(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"labels must be \(B, H, W\) or \(H, W\)"):
        erode_labels(torch.zeros(shape, dtype=torch.int32))
