from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bottomup_fast.errors import InputError
from bottomup_fast.refinement import Patch, refine


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_tensors_give_the_tensor_of_the_same_result(dtype: torch.dtype) -> None:
    coarse, finer = np.ones((2, 4)), np.array([[1, 1, 2, 2], [1, 1, 1, 1]])
    tensor = refine(
        torch.from_numpy(coarse).to(dtype),
        [(torch.from_numpy(finer).to(dtype), (0, 0, 4, 2))],
        min_area=1,
    )
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.int32
    np.testing.assert_array_equal(tensor.numpy(), finer)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.ones((2, 2, 2), dtype=np.int32), r"labels: expected shape \(H, W\), got \(2, 2, 2"),
        (np.ones((2, 2)), "labels: expected an integer dtype, got float64"),
        (np.ones((2, 2), dtype=np.bool_), "labels: expected an integer dtype, got bool"),
        (torch.ones(2, 2, dtype=torch.bfloat16), "labels: expected an integer .*bfloat16"),
        (torch.ones(2, 2, dtype=torch.bool), "labels: expected an integer dtype, got bool"),
        ([[1, 1]], "labels: expected a numpy array or a torch tensor, got list"),
        (np.ones((0, 4), dtype=np.int32), "labels: the image has no pixels"),
        (np.array([[1, -1]]), "labels: labels must not be below 0, got -1"),
    ],
)
def test_bad_labels(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        refine(labels, [])
    with pytest.raises(InputError, match=message.replace("labels:", r"patches\[0\].labels:")):
        refine(np.ones((4, 4), dtype=np.int32), [Patch(labels, (0, 0, 2, 2))])


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((-1, 0, 1, 2), "outside the 6x4 image"),
        ((5, 0, 7, 2), "outside the 6x4 image"),
        ((0, 3, 2, 5), "outside the 6x4 image"),
        ((2, 2, 2, 4), "is empty"),
        ((0, 0, 3, 2), r"does not fit labels of shape \(2, 2\)"),
        ((0, 0, 2), "expected four integers"),
        ((0.0, 0.0, 2.0, 2.0), "expected four integers"),
        (None, "expected four integers"),
    ],
)
def test_bad_boxes(box: Any, message: str) -> None:
    patch = np.ones((2, 2), dtype=np.int32)
    with pytest.raises(InputError, match=rf"^patches\[1\]\.box: .*{message}"):
        refine(np.ones((4, 6), dtype=np.int32), [(patch, (0, 0, 2, 2)), (patch, box)])


def test_a_patch_without_a_box() -> None:
    labels = np.ones((2, 2), dtype=np.int32)
    with pytest.raises(InputError, match=r"patches\[0\]: expected a pair"):
        refine(labels, [labels])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("min_area", 0),
        ("refine_iou", 0.0),
        ("refine_iou", 1.1),
        ("contain", -0.5),
        ("contain", float("nan")),
    ],
)
def test_bad_settings(setting: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{setting}: "):
        refine(np.ones((2, 2), dtype=np.int32), [], **{setting: value})
