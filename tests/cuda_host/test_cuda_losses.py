"""`losses_cuda` against the reference in float64."""

from __future__ import annotations

import pytest
import torch
from conftest import MakeDevice
from devices import Device, Schedule
from losses_ops import (
    LABELS,
    NON_FINITE,
    OK,
    WEIGHTS,
    Outcome,
    assert_close,
    blocks,
    exact_losses,
    in_layout,
    losses,
)
from torch import Tensor

from bottomup_fast.reference.lines import target_lines

FAMILY = "losses"
SEGMENT_SPACE = (0.0, 0.0, 0.0, 1.0, 1.0, 0.0)


def lines_of(features: Tensor, labels: Tensor, entities: int) -> Tensor:
    return target_lines(features.double(), labels, entities).float()


def check(
    device: Device, case: tuple[Tensor, Tensor], entities: int, **settings: object
) -> Outcome:
    features, labels = case
    lines = lines_of(features, labels, entities)
    exact = exact_losses(features, labels, lines, **settings)  # type: ignore[arg-type]
    actual = losses(device, features, labels, lines, **settings)  # type: ignore[arg-type]
    assert_close(actual, exact)
    return exact


@pytest.mark.parametrize(
    ("batch", "dim", "shape", "entities"),
    [
        (1, 1, (1, 1), 1),
        (1, 3, (7, 9), 2),
        (3, 16, (8, 32), 6),
        (1, 16, (16, 31), 5),
        (1, 33, (17, 33), 9),
        (1, 128, (15, 40), 4),
        (2, 32, (20, 36), 25),
        (1, 8, (33, 65), 0),
        (1, 12, (24, 1), 2),
        (1, 12, (1, 70), 2),
    ],
)
def test_few_entities(
    device: Device, batch: int, dim: int, shape: tuple[int, int], entities: int
) -> None:
    check(device, blocks(1, batch, dim, shape, entities), entities)


@pytest.mark.parametrize(
    ("batch", "dim", "shape", "entities"),
    [(2, 64, (20, 40), 40), (1, 50, (17, 33), 33), (1, 40, (9, 90), 60), (1, 36, (40, 41), 128)],
)
def test_many_entities(
    device: Device, batch: int, dim: int, shape: tuple[int, int], entities: int
) -> None:
    check(device, blocks(2, batch, dim, shape, entities), entities)


@pytest.mark.small
@pytest.mark.parametrize("entities", [2, 40])
def test_small_maps(device: Device, entities: int) -> None:
    check(device, blocks(3, 1, 5, (9, 20), entities), entities)


def every_label(entities: int, dim: int) -> tuple[Tensor, Tensor]:
    """Four pixels of each label side by side, background first, ignored pixels at the end."""
    labels = torch.full((-(-(entities + 1) // 5) * 20,), -1, dtype=torch.int32)
    labels[: 4 * (entities + 1)] = torch.arange(entities + 1).repeat_interleave(4)
    labels = labels.view(1, -1, 20)
    generator = torch.Generator().manual_seed(entities)
    lines = torch.linalg.qr(torch.randn(dim, dim, generator=generator))[0]
    features = lines[labels.long()].movedim(-1, 1)
    return features + 0.03 * torch.randn(features.shape, generator=generator), labels


@pytest.mark.small
def test_small_maps_of_many_entities(device: Device) -> None:
    check(device, every_label(33, 36), 33, queries=2, negatives=3)


# Up to 32 entities; with features on chip; and with more dimensions, where numbers of 128 entities
# are in shared memory and more in the workspace.
@pytest.mark.parametrize(
    ("entities", "dim"), [(31, 32), (32, 36), (33, 40), (127, 128), (128, 132), (130, 140)]
)
def test_every_entity_present(make_device: MakeDevice, entities: int, dim: int) -> None:
    features, labels = every_label(entities, dim)
    device = make_device(FAMILY, "host", Schedule(80, "random", seed=2))
    exact = check(device, (features.contiguous(), labels), entities, weights=SEGMENT_SPACE)
    assert exact.terms[3] > 0


@pytest.mark.parametrize("capability", [75, 80, 86, 90])
@pytest.mark.parametrize("shape", [(8, 8), (7, 8), (9, 9), (16, 32), (15, 33), (17, 31)])
def test_edges_of_every_tile(
    make_device: MakeDevice, capability: int, shape: tuple[int, int]
) -> None:
    device = make_device(FAMILY, "host", Schedule(capability, "reverse"))
    for bound in (3, 32, 40, 70):  # which decide the sizes of tiles
        check(device, blocks(4, 1, 8, shape, 3), bound)


@pytest.mark.parametrize("normaliser", ["entities", "pairs", "sqrt-pairs"])
def test_every_setting_counts(device: Device, normaliser: str) -> None:
    weights = (0.5, 2.0, 0.25, 3.0, 0.7, 0.9)
    settings = {"weights": weights, "normaliser": normaliser, "queries": 6, "negatives": 9}
    check(device, blocks(5), 6, **settings)


@pytest.mark.parametrize(
    "labels",
    [
        torch.full((1, 19, 36), -1),
        torch.zeros(1, 19, 36),
        torch.ones(1, 19, 36),
        torch.tensor([[-1.0, 3.0], [0.0, 1.0]]).repeat(1, 10, 18)[:, :19],
    ],
)
def test_maps_without_pairs(device: Device, labels: Tensor) -> None:
    check(device, (blocks(6)[0], labels.int()), 6, queries=5)


def test_degenerate_segment_spaces(device: Device) -> None:
    more_than_dimensions = blocks(7, 1, 4, entities=9)
    assert check(device, more_than_dimensions, 9).terms[3] == 0
    features, labels = blocks(7, 1, 12, entities=2)
    lines = lines_of(features, labels, 2)
    for slant, usable in ((0.1, False), (0.5, True)):  # cosines 0.995 and 0.89
        lines[0, 2] = torch.nn.functional.normalize(lines[0, 1] + slant * lines[0, 2], dim=0)
        exact = exact_losses(features, labels, lines)
        assert (exact.terms[3] > 0) == usable
        assert_close(losses(device, features, labels, lines), exact)
        lines = lines_of(features, labels, 2)


def test_badly_conditioned_lines(device: Device) -> None:
    features, labels = blocks(8, 1, 12, entities=4)
    lines = lines_of(features, labels, 4)
    others = lines[0, 1] + lines[0, 2] - lines[0, 3]
    for off, usable in ((0.001, False), (0.1, True)):
        lines[0, 4] = torch.nn.functional.normalize(others + off * lines[0, 0], dim=0)
        exact = exact_losses(features, labels, lines)
        assert (exact.terms[3] > 0) == usable
        assert_close(losses(device, features, labels, lines), exact, 1e-4)


def test_zero_features(device: Device) -> None:
    features, labels = blocks(9)
    features[:, :, ::3, ::2] = 0
    check(device, (features, labels), 6)
    features[:] = 0
    lines = lines_of(*blocks(9), 6)
    outcome = losses(device, features, labels, lines)
    assert_close(outcome, exact_losses(features, labels, lines))
    assert (outcome.gradient == 0).all()


# Of few entities, and of those whose features stay on chip: with dim 40, and 36 in eights.
@pytest.mark.parametrize(
    "case",
    [
        blocks(10, 2, 16, (12, 36), 4),
        blocks(10, 2, 7, (12, 35), 4),
        blocks(10, 2, 40, (12, 33), 4),
        every_label(34, 40),
        every_label(35, 36),
    ],
)
@pytest.mark.parametrize("layout", ["pixels", "channels", "neither"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_every_type_in_every_layout(
    make_device: MakeDevice, kind: torch.dtype, layout: str, case: tuple[Tensor, Tensor]
) -> None:
    device = make_device(FAMILY, "host", Schedule(80, "random", seed=4))
    rounding = {torch.float16: 1e-3, torch.bfloat16: 4e-3}
    features, labels = case
    features = in_layout(features.to(kind), layout)
    entities = int(labels.max())
    lines = lines_of(features, labels, entities)
    outcome = losses(device, features, labels, lines)
    exact = exact_losses(features, labels, lines)
    assert_close(outcome, exact, rounding.get(kind, 1e-5))


# With `fast`, features of half precision that stay on chip meet lines rounded to float16.
@pytest.mark.parametrize("capability", [80, 86])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_rounded_lines_of_half_precision(
    make_device: MakeDevice, kind: torch.dtype, capability: int
) -> None:
    device = make_device(FAMILY, "host", Schedule(capability, "random", seed=5))
    features, labels = every_label(36, 40)
    features = features.to(kind).contiguous()
    lines = lines_of(features, labels, 36)
    exact = exact_losses(features, labels, lines)
    rounded = losses(device, features, labels, lines, fast=True)
    assert rounded.status == OK
    torch.testing.assert_close(rounded.terms.double(), exact.terms, atol=1e-5, rtol=1e-3)
    error = (rounded.gradient.double() - exact.gradient).norm()
    assert error <= 0.05 * exact.gradient.norm()  # cosines near 0 change their signs
    precise = losses(device, features, labels, lines)
    assert not torch.equal(rounded.terms, precise.terms)


@pytest.mark.parametrize("case", [blocks(11, 2), every_label(40, 44)])
def test_terms_alone_are_those_beside_the_gradient(
    device: Device, case: tuple[Tensor, Tensor]
) -> None:
    features, labels = case
    lines = lines_of(features, labels, int(labels.max()))
    with_gradient = losses(device, features, labels, lines, queries=8)
    alone = losses(device, features, labels, lines, queries=8, with_gradient=False)
    assert torch.equal(with_gradient.terms, alone.terms)
    assert torch.equal(with_gradient.total, alone.total)


@pytest.mark.parametrize("case", [blocks(12, 2, 20, (20, 40), 5), every_label(40, 44)])
def test_schedules_change_no_bit(make_device: MakeDevice, case: tuple[Tensor, Tensor]) -> None:
    features, labels = case
    lines = lines_of(features, labels, int(labels.max()))
    device = make_device(FAMILY, "host", Schedule(80))
    other = make_device(FAMILY, "host", Schedule(80, "random", seed=9))
    first = losses(device, features, labels, lines, queries=8)
    second = losses(other, features, labels, lines, queries=8)
    assert torch.equal(first.terms, second.terms)
    assert torch.equal(first.gradient, second.gradient)


def test_a_batch_gives_each_image_what_it_has_alone(make_device: MakeDevice) -> None:
    device = make_device(FAMILY, "host", Schedule(80))
    features, labels = blocks(13, 2, 12, (18, 40), 40)
    labels[1] = labels[1].clamp_max(6)  # another kernel than that of the first
    lines = lines_of(features, labels, 40)
    doubled = tuple(2 * weight for weight in WEIGHTS)
    batch = losses(device, features, labels, lines, doubled)
    for image in range(2):
        only = slice(image, image + 1)
        alone = losses(device, features[only], labels[only], lines[only])
        assert torch.equal(alone.gradient[0], batch.gradient[image])


def test_agrees_with_the_processor(make_device: MakeDevice) -> None:
    from bottomup_fast import ops

    features, labels = blocks(14, 2, 24, (21, 30), 5)
    lines = lines_of(features, labels, 5)
    device = make_device(FAMILY, "host", Schedule(90))
    actual = losses(device, features, labels, lines)
    features.requires_grad_()
    weights, seeds = torch.tensor(WEIGHTS), torch.zeros(2, 2, dtype=torch.int64)
    terms, total = ops.losses(features, labels, lines, weights, seeds, queries=0)
    torch.testing.assert_close(actual.terms, terms, atol=1e-6, rtol=1e-5)
    (expected,) = torch.autograd.grad(total, features)
    assert (actual.gradient - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize(("batch", "shape"), [(0, (4, 5)), (2, (0, 5))])
def test_empty_input(device: Device, batch: int, shape: tuple[int, int]) -> None:
    labels = torch.zeros(batch, *shape, dtype=torch.int32)
    features, lines = torch.zeros(batch, 3, *shape), torch.zeros(batch, 3, 3)
    outcome = losses(device, features, labels, lines, queries=4)
    assert outcome.status == OK
    assert outcome.total == 0
    assert (outcome.terms == 0).all()


@pytest.mark.small
@pytest.mark.parametrize("label", [-2, 4, 2**31 - 1])
def test_labels_out_of_range_are_reported(device: Device, label: int) -> None:
    features, labels = blocks(15, 1, 4, (5, 9), 3)
    labels[0, 2, 3] = label
    lines = torch.eye(4).unsqueeze(0)
    assert losses(device, features, labels, lines, queries=3).status == LABELS


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_reported(device: Device, value: float) -> None:
    features, labels = blocks(16, 1, 4, (5, 9), 3)
    labels[0, 2, 3] = -1
    features[0, 1, 2, 3] = value
    lines = torch.eye(4).unsqueeze(0)
    assert losses(device, features, labels, lines, queries=3).status == NON_FINITE
