from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bottomup_fast import mean_shift
from bottomup_fast.reference import clustering
from bottomup_fast.reference.clustering import (
    evenly_spaced,
    merge_modes,
    number_by_appearance,
    window_support,
)
from bottomup_fast.reference.lines import normalise, principal_lines


def random_lines(seed: int, count: int, dim: int = 4) -> Tensor:
    """Lines around two centres, and some anywhere, with random signs."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(2, dim))[rng.integers(0, 2, count)]
    spread = rng.choice([0.2, 2.0], (count, 1), p=[0.8, 0.2])
    points = (centres + spread * rng.normal(size=(count, dim))) * rng.choice([-1, 1], (count, 1))
    return normalise(torch.from_numpy(points), dim=-1)


def objective(points: Tensor, mode: Tensor, bandwidth_deg: float) -> float:
    """What mean shift ascends: the sum of max(cos^2 - cos^2(bandwidth), 0), by a loop."""
    edge = math.cos(math.radians(bandwidth_deg)) ** 2
    return sum(max(float(point @ mode) ** 2 - edge, 0.0) for point in points)


@pytest.mark.parametrize("bandwidth", [15.0, 30.0, 45.0])
@pytest.mark.parametrize("seed", range(4))
def test_every_step_ascends_the_objective(seed: int, bandwidth: float) -> None:
    points = random_lines(seed, 60)
    for start in points[:6]:
        path = [
            clustering.mean_shift(points, start[None], bandwidth, max_steps=steps)[0]
            for steps in range(12)
        ]
        heights = [objective(points, mode, bandwidth) for mode in path]
        assert all(b >= a - 1e-9 for a, b in pairwise(heights))
        assert heights[-1] > heights[0] or torch.allclose(path[0], path[-1])


@pytest.mark.parametrize("bandwidth", [20.0, 45.0])
def test_modes_are_fixed_points_and_principal_lines_of_their_windows(bandwidth: float) -> None:
    points = random_lines(1, 200)
    modes = clustering.mean_shift(points, points, bandwidth)
    again = clustering.mean_shift(points, modes, bandwidth, max_steps=1)
    torch.testing.assert_close(again, modes, rtol=0, atol=1e-8)
    cosine = math.cos(math.radians(bandwidth))
    for mode in modes[:20]:
        window = points[(points @ mode).abs() >= cosine]
        line = principal_lines(window.mT @ window)
        torch.testing.assert_close(line, mode, rtol=0, atol=1e-6)


@given(st.integers(0, 1000), st.sampled_from([5.0, 30.0, 45.0]))
@settings(max_examples=20, deadline=None)
def test_signs_and_lengths_do_not_matter(seed: int, bandwidth: float) -> None:
    rng = np.random.default_rng(seed)
    points = random_lines(seed, 40)
    factor = torch.from_numpy(rng.choice([-1, 1], 40) * rng.uniform(0.1, 9, 40)).unsqueeze(1)
    plain = mean_shift(points[None], points[None, :5], bandwidth)
    changed = mean_shift((factor * points)[None], (factor * points)[None, :5], bandwidth)
    torch.testing.assert_close(changed[0], plain[0], rtol=0, atol=1e-8)
    assert torch.equal(changed[1], plain[1])
    largest = plain[0].gather(-1, plain[0].abs().argmax(-1, keepdim=True))
    assert (largest > 0).all()
    torch.testing.assert_close(plain[0].norm(dim=-1), torch.ones(1, 5).double())


@pytest.mark.parametrize("bandwidth", [10.0, 45.0])
def test_support_is_counted_by_brute_force(bandwidth: float) -> None:
    points, modes = random_lines(2, 150), random_lines(3, 7)
    expected = [
        sum(
            math.degrees(math.acos(min(1.0, abs(float(point @ mode))))) <= bandwidth
            for point in points
        )
        for mode in modes
    ]
    assert window_support(points, modes, bandwidth).tolist() == expected
    assert mean_shift(points[None], modes[None], bandwidth, max_steps=0)[1][0].tolist() == expected


def test_large_inputs_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    points = random_lines(4, 300)
    weights = torch.linspace(0.5, 2, 300, dtype=torch.float64)
    whole = clustering.mean_shift(points, points[:9], weights=weights)
    support = window_support(points, whole)
    nearest = clustering.assign(points, whole)
    monkeypatch.setattr(clustering, "_CHUNK", 7)
    monkeypatch.setattr(clustering, "_CACHED", 64)
    parts = clustering.mean_shift(points, points[:9], weights=weights)
    torch.testing.assert_close(parts, whole)
    assert torch.equal(window_support(points, whole), support)
    assert torch.equal(clustering.assign(points, whole)[0], nearest[0])


def test_weights_are_multiplicities() -> None:
    points = random_lines(5, 80)
    times = torch.arange(80) % 3
    repeated = points.repeat_interleave(times, 0)
    weighted = clustering.mean_shift(points, points[:9], weights=times.double())
    expected = clustering.mean_shift(repeated, points[:9])
    torch.testing.assert_close(weighted, expected, rtol=0, atol=1e-8)


def test_a_batch_equals_its_images() -> None:
    points = torch.stack([random_lines(seed, 70) for seed in range(3)])
    seeds = points[:, ::9]
    modes, support = mean_shift(points, seeds)
    for image in range(3):
        alone = mean_shift(points[image : image + 1], seeds[image : image + 1])
        assert torch.equal(modes[image], alone[0][0])
        assert torch.equal(support[image], alone[1][0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    points = random_lines(6, 90)[None]
    modes, support = mean_shift(points.to(dtype), points[:, :4].to(dtype))
    assert modes.dtype == dtype
    assert support.dtype == torch.int64
    expected, _ = mean_shift(points, points[:, :4])
    tolerance = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(dtype, 1e-5)
    torch.testing.assert_close(modes.double(), expected, rtol=0, atol=tolerance)


def test_nothing_to_climb() -> None:
    points = random_lines(7, 5)[None]
    for shape in ((1, 0, 4), (0, 3, 4), (0, 0, 4)):
        seeds = torch.zeros(shape, dtype=torch.float64)
        modes, support = mean_shift(points[: shape[0]], seeds)
        assert (modes.shape, support.shape) == (shape, shape[:2])
    modes, support = mean_shift(points[:, :0], points)
    torch.testing.assert_close(modes, clustering.canonical_sign(points))
    assert not support.any()


def test_a_seed_with_an_empty_window_stays_and_zero_points_pull_nothing() -> None:
    points = torch.tensor([[[1.0, 0, 0], [0, 0, 0], [1, 0.1, 0]]])
    seeds = torch.tensor([[[0.0, 0, -3], [0, 0, 0], [1, 0, 0]]])
    modes, support = mean_shift(points, seeds, 10.0)
    assert modes[0, :2].tolist() == [[0, 0, 1], [0, 0, 0]]
    assert support.tolist() == [[0, 0, 2]]


def test_modes_are_kept_by_support_and_then_by_position() -> None:
    def line(degrees: float) -> Tensor:
        angle = math.radians(degrees)
        return torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)

    modes = torch.stack([line(0), line(44), line(80), line(-91)])
    kept = merge_modes(modes, torch.tensor([20, 30, 20, 9]), 45.0, 10)
    assert torch.equal(kept.lines, modes[[1]])
    kept = merge_modes(modes, torch.tensor([20, 15, 20, 9]), 45.0, 10)
    assert torch.equal(kept.lines, modes[[0, 2]])
    assert kept.support.tolist() == [20, 20]
    kept = merge_modes(modes, torch.tensor([20, 15, 21, 9]), 45.0, 10)
    assert torch.equal(kept.lines, modes[[2, 0]])
    # Of 80 and -91 = 89 degrees, one is within the other's bandwidth, even if it is dropped later.
    kept = merge_modes(modes[2:], torch.tensor([9, 50]), 5.0, 1)
    assert kept.support.tolist() == [50, 9]
    assert len(merge_modes(modes, torch.tensor([9, 9, 9, 9]), 45.0, 10).lines) == 0
    assert len(merge_modes(modes[:0], torch.tensor([], dtype=torch.long)).lines) == 0


def test_kept_modes_are_apart_and_every_other_is_near_a_better_one() -> None:
    modes = normalise(torch.randn(300, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    support = torch.randint(1, 40, (300,), generator=torch.Generator().manual_seed(1))
    kept = merge_modes(modes, support, 30.0, 10)
    cosine = math.cos(math.radians(30))
    between = (kept.lines @ kept.lines.mT).abs().fill_diagonal_(0)
    assert (between < cosine).all()
    near = (modes @ kept.lines.mT).abs() >= cosine
    better = near & (kept.support >= support[:, None])
    assert better.any(1)[support >= 10].all()


def test_the_earliest_of_equally_near_modes_wins() -> None:
    modes = torch.eye(3).repeat(2, 1)
    points = torch.tensor([[0.0, -1, 0], [1, 1, 1], [0, 0, 0], [0, 1, 1]])
    index, score = clustering.assign(points, modes)
    assert index.tolist() == [1, 0, 0, 1]
    assert score.tolist() == [1, 1, 0, 1]


@given(st.lists(st.integers(-2, 6)))
def test_numbering_by_appearance(values: list[int]) -> None:
    order = list(dict.fromkeys(value for value in values if value >= 0))
    expected = [order.index(value) + 1 if value >= 0 else 0 for value in values]
    for dtype in (torch.int32, torch.int64):
        assert number_by_appearance(torch.tensor(values, dtype=dtype)).tolist() == expected


@given(st.integers(0, 300), st.integers(1, 40))
def test_evenly_spaced_elements(length: int, count: int) -> None:
    values = torch.arange(length) * 3
    chosen = evenly_spaced(values, count)
    assert len(chosen) == min(length, count)
    if length <= count:
        assert torch.equal(chosen, values)
    else:
        steps = chosen.diff() / 3
        assert all(abs(step - length / count) < 1 for step in steps.tolist())
        assert (chosen >= 0).all()
        assert chosen[0] / 3 <= length / count
        assert chosen[-1] / 3 >= length - 1 - length / count
