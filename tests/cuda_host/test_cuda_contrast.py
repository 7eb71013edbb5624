"""`contrast_samples_cuda` against the processor's draws, and the term made of them."""

from __future__ import annotations

import pytest
import torch
from conftest import MakeDevice
from devices import Device, Schedule
from losses_ops import (
    LABELS,
    OK,
    assert_close,
    blocks,
    contrast_samples,
    exact_losses,
    in_layout,
    losses,
    seeds_of,
)
from torch import Tensor

from bottomup_fast.reference.contrast import QUERY_STREAM, sample_keys
from bottomup_fast.reference.lines import target_lines
from bottomup_fast.reference.philox import philox, uniform

FAMILY = "losses"
CONTRAST = (0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


def problem(
    seed: int, batch: int, shape: tuple[int, int], entities: int, dim: int = 8
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, their lines, and pixels that are drawn last."""
    features, labels = blocks(seed, batch, dim, shape, entities)
    lines = target_lines(features.double(), labels, entities).float()
    easy = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    return labels, lines, easy


@pytest.mark.parametrize(
    ("batch", "shape", "entities", "queries", "negatives"),
    [
        (1, (1, 1), 1, 3, 3),
        (2, (19, 36), 6, 20, 30),
        (3, (20, 20), 40, 7, 300),
        (1, (60, 60), 2, 300, 1),
        (1, (60, 60), 3, 1, 40),
        (2, (5, 7), 0, 4, 4),
        (1, (12, 12), 5, 0, 4),
    ],
)
def test_draws_are_those_of_the_processor(
    device: Device, batch: int, shape: tuple[int, int], entities: int, queries: int, negatives: int
) -> None:
    from bottomup_fast import ops

    labels, lines, easy = problem(3, batch, shape, entities)
    seeds = seeds_of(batch)
    chosen, keys, status = contrast_samples(device, labels, easy, lines, seeds, queries, negatives)
    expected = ops.contrast_samples(labels, easy, lines, seeds, queries, negatives)
    assert status == OK
    assert torch.equal(chosen, expected[0])
    assert torch.equal(keys, expected[1])


def exact_queries(labels: Tensor, easy: Tensor, seed: Tensor, entity: int) -> list[int]:
    """All pixels of an entity of one image, in the order they are drawn."""
    pixels = (labels.flatten() == entity).nonzero().squeeze(1)
    key = (seed[0] & 0xFFFFFFFF, seed[0] >> 32)
    stream = torch.full_like(pixels, QUERY_STREAM)
    counter = (seed[1].expand_as(pixels), torch.full_like(pixels, entity), pixels, stream)
    rank = uniform(philox(key, counter)[:, 0]) + easy.flatten()[pixels]
    return pixels[rank.argsort(stable=True)].tolist()


@pytest.mark.small
@pytest.mark.parametrize("queries", [2, 60])
def test_small_draws(device: Device, queries: int) -> None:
    labels, lines, easy = problem(1, 2, (9, 10), 3)
    seeds = torch.tensor([[0, 0], [2**63 - 1, 2**32 - 1]])
    chosen, keys, status = contrast_samples(device, labels, easy, lines, seeds, queries, 5)
    assert status == OK
    for image in range(2):
        flat = labels[image].flatten().long()
        present = torch.unique(flat[flat > 0])
        assert len(present) > 1
        expected = sample_keys(flat, lines[image], present, seeds[image], 5)
        assert torch.equal(keys[image, present - 1], expected)
        for entity in present.tolist():
            order = exact_queries(labels[image], easy[image], seeds[image], entity)[:queries]
            row = chosen[image, entity - 1].tolist()
            assert row == order + [-1] * (queries - len(order))


def test_labels_out_of_range_are_reported(device: Device) -> None:
    labels, lines, easy = problem(1, 1, (9, 10), 3)
    labels[0, 4, 4] = 4
    assert contrast_samples(device, labels, easy, lines, seeds_of(1), 4, 5)[2] == LABELS


@pytest.mark.parametrize(
    ("batch", "dim", "shape", "entities", "queries", "negatives"),
    [
        (2, 16, (19, 36), 6, 20, 30),
        (1, 130, (12, 30), 4, 70, 33),
        (1, 5, (30, 40), 9, 65, 31),
        (1, 3, (6, 7), 2, 200, 1),
    ],
)
def test_term_and_gradient(
    device: Device,
    batch: int,
    dim: int,
    shape: tuple[int, int],
    entities: int,
    queries: int,
    negatives: int,
) -> None:
    features, labels = blocks(4, batch, dim, shape, entities)
    lines = target_lines(features.double(), labels, entities).float()
    settings = {"weights": CONTRAST, "queries": queries, "negatives": negatives}
    actual = losses(device, features, labels, lines, **settings)  # type: ignore[arg-type]
    exact = exact_losses(features, labels, lines, **settings)  # type: ignore[arg-type]
    assert exact.terms[2] > 0
    assert_close(actual, exact)


@pytest.mark.small
def test_small_term_and_gradient(device: Device) -> None:
    features, labels = blocks(5, 1, 6, (6, 10), 3)
    lines = target_lines(features.double(), labels, 3).float()
    actual = losses(device, features, labels, lines, CONTRAST, queries=9, negatives=7)
    assert_close(actual, exact_losses(features, labels, lines, CONTRAST, "entities", 9, 7))


@pytest.mark.parametrize("layout", ["pixels", "channels", "neither"])
@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_every_type_in_every_layout(
    make_device: MakeDevice, layout: str, kind: torch.dtype
) -> None:
    device = make_device(FAMILY, "host", Schedule(80, "random", seed=3))
    features, labels = blocks(6, 2, 12, (10, 16), 3)
    features = in_layout(features.to(kind), layout)
    lines = target_lines(features.double(), labels, 3).float()
    actual = losses(device, features, labels, lines, CONTRAST, queries=9, negatives=7)
    exact = exact_losses(features, labels, lines, CONTRAST, "entities", 9, 7)
    rounding = {torch.float64: 1e-5, torch.float16: 1e-3, torch.bfloat16: 4e-3}
    assert_close(actual, exact, rounding[kind])


def test_one_entity_and_zero_features_have_no_gradient(device: Device) -> None:
    features, labels = blocks(7, 1, 6, (8, 12), 2)
    lines = target_lines(features.double(), labels, 2).float()
    alone = labels.where(labels != 2, -1)
    outcome = losses(device, features, alone, lines, CONTRAST, queries=9, negatives=7)
    assert outcome.terms[2] == 0
    assert (outcome.gradient == 0).all()
    features[:] = 0
    outcome = losses(device, features, labels, lines, CONTRAST, queries=9, negatives=7)
    assert (outcome.gradient == 0).all()
