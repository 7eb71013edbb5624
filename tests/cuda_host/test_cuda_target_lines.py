"""`target_lines_cuda` against the eigenvectors of float64 scatter matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import MakeDevice
from devices import Device, Schedule
from losses_ops import LABELS, NON_FINITE, OK, blocks, in_layout, target_lines
from torch import Tensor

from bottomup_fast.reference.lines import pixel_lines, scatter_matrices
from bottomup_fast.reference.lines import target_lines as exact_lines

FAMILY = "losses"


def check(lines: Tensor, features: Tensor, labels: Tensor) -> None:
    """Angles are at most 1e-6 of the eigenvalue over the gap to the next."""
    count = lines.shape[1] - 1
    matrices = scatter_matrices(pixel_lines(features.double()), labels.flatten(1), count)
    values, vectors = torch.linalg.eigh(matrices)
    size = matrices.shape[-1]
    second = values[..., -2] if size > 1 else torch.zeros_like(values[..., -1])
    present = values[..., -1] > 0
    assert (lines[~present] == 0).all()
    found, exact = lines.double()[present], vectors[..., -1][present]
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(len(found)).double())
    largest = found.gather(-1, found.abs().argmax(-1, keepdim=True))
    assert (largest > 0).all()
    sine = (found - (found * exact).sum(-1, keepdim=True) * exact).norm(dim=-1)
    gap = (values[..., -1] - second)[present].clamp_min(1e-30)
    # Rounding the line itself to float32 turns it, too.
    assert (sine <= 1e-6 * values[..., -1][present] / gap + 1e-7).all()


@pytest.mark.parametrize(
    ("dim", "shape", "entities"),
    [
        (1, (1, 1), 0),
        (3, (9, 9), 1),
        (16, (19, 36), 6),
        (33, (33, 32), 2),
        (128, (16, 31), 3),
        (130, (7, 30), 2),
        (264, (5, 20), 1),
        (5, (40, 60), 25),
    ],
)
def test_lines_are_the_principal_ones(
    device: Device, dim: int, shape: tuple[int, int], entities: int
) -> None:
    features, labels = blocks(dim, 2, dim, shape, entities)
    lines, status = target_lines(device, features, labels, entities)
    assert status == OK
    check(lines, features, labels)


@pytest.mark.small
@pytest.mark.parametrize("layout", ["pixels", "channels", "neither"])
@pytest.mark.parametrize("entities", [0, 3])
def test_small_maps(device: Device, layout: str, entities: int) -> None:
    features, labels = blocks(1, 2, 12, (7, 12), entities)
    lines, _ = target_lines(device, in_layout(features, layout), labels, entities)
    check(lines, features, labels)


@pytest.mark.parametrize("layout", ["pixels", "channels", "neither"])
@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_every_type_in_every_layout(
    make_device: MakeDevice, layout: str, kind: torch.dtype
) -> None:
    device = make_device(FAMILY, "host", Schedule(80, "random", seed=4))
    for dim in (16, 7):
        features, labels = blocks(2, 1, dim, (10, 16), 3)
        features = in_layout(features.to(kind), layout)
        lines, status = target_lines(device, features, labels, 3)
        assert status == OK
        check(lines, features, labels)


def test_labels_of_many_chunks_and_lengths(make_device: MakeDevice) -> None:
    device = make_device(FAMILY, "host", Schedule(86, "random", seed=5))
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 4, 50, 100, generator=generator)
    features *= torch.logspace(-3, 3, 5000).view(1, 1, 50, 100)
    labels = torch.zeros(1, 50, 100, dtype=torch.int32)
    labels[:, 20:, 96:] = 2
    lines, _ = target_lines(device, features, labels, 2)
    check(lines, features, labels)


def test_nearly_equal_eigenvalues(make_device: MakeDevice) -> None:
    device = make_device(FAMILY, "host", Schedule(80))
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, 128, 20, 40, generator=generator)
    labels = torch.ones(1, 20, 40, dtype=torch.int32)
    lines, _ = target_lines(device, features, labels, 1)
    check(lines, features, labels)


def test_one_pixel_zero_features_and_negated_ones(device: Device) -> None:
    features, labels = torch.zeros(1, 6, 4, 8), torch.ones(1, 4, 8, dtype=torch.int32)
    labels[0, 0, 0] = 2
    labels[0, 1] = 3
    features[0, :, 0, 0] = torch.tensor([0.0, -3.0, 0.0, 1.0, 0.0, 0.0])
    features[0, 2, 1] = torch.tensor([1.0, -1.0] * 4)
    lines, status = target_lines(device, features, labels, 4)
    assert status == OK
    expected = torch.zeros(5, 6)
    expected[2] = torch.tensor([0.0, 3.0, 0.0, -1.0, 0.0, 0.0]) / 10**0.5
    expected[3, 2] = 1
    torch.testing.assert_close(lines[0], expected, atol=2e-7, rtol=0)
    torch.testing.assert_close(exact_lines(features.double(), labels, 4)[0].float(), lines[0])


@pytest.mark.parametrize("fill", [-1, 0])
def test_maps_of_one_label(device: Device, fill: int) -> None:
    features, labels = blocks(3)
    lines, status = target_lines(device, features, torch.full_like(labels, fill), 2)
    assert status == OK
    check(lines, features, torch.full_like(labels, fill))


@pytest.mark.parametrize(("batch", "shape"), [(0, (4, 5)), (2, (0, 5))])
def test_empty_input(device: Device, batch: int, shape: tuple[int, int]) -> None:
    labels = torch.zeros(batch, *shape, dtype=torch.int32)
    lines, status = target_lines(device, torch.zeros(batch, 3, *shape), labels, 2)
    assert status == OK
    assert (lines == 0).all()


def test_schedules_and_other_images_change_no_bit(make_device: MakeDevice) -> None:
    features, labels = blocks(4, 3, 20, (13, 40), 4)
    device = make_device(FAMILY, "host", Schedule(80))
    other = make_device(FAMILY, "host", Schedule(75, "random", seed=9))
    lines, _ = target_lines(device, features, labels, 4)
    again, _ = target_lines(other, features, labels, 4)
    assert torch.equal(lines, again)
    for image in range(3):
        alone, _ = target_lines(device, features[image : image + 1], labels[image : image + 1], 4)
        assert torch.equal(alone[0], lines[image])


def test_agrees_with_the_processor(make_device: MakeDevice) -> None:
    from bottomup_fast import ops

    features, labels = blocks(5, 2, 24, (21, 30), 5)
    lines, _ = target_lines(make_device(FAMILY, "host", Schedule(90)), features, labels, 5)
    torch.testing.assert_close(lines, ops.target_lines(features, labels, 5), atol=1e-6, rtol=0)


@pytest.mark.small
@pytest.mark.parametrize("label", [-2, 4, np.iinfo(np.int32).max])
def test_labels_out_of_range_are_reported(device: Device, label: int) -> None:
    features, labels = blocks(6, 1, 4, (4, 8), 3)
    labels[0, 2, 3] = label
    assert target_lines(device, features, labels, 3)[1] == LABELS


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -1e30])
def test_features_that_are_not_finite_are_reported(device: Device, value: float) -> None:
    features, labels = blocks(7, 1, 4, (4, 8), 3)
    labels[0, 2, 3] = 1
    features[0, 1, 2, 3] = value
    assert target_lines(device, features, labels, 3)[1] == NON_FINITE
    labels[0, 2, 3] = -1
    assert target_lines(device, features, labels, 3)[1] == OK
