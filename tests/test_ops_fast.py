"""Assignment and clustering at `fast`: products of bfloat16 where there are units for them."""

from __future__ import annotations

import pytest
import torch
from test_ops import DTYPES, cosines, problem, same
from test_ops_cluster import same as same_clusters
from torch import Tensor

from bottomup_fast import ops
from bottomup_fast.errors import InputError

ROUNDS = ops.build_info()["cpu"]["path"] == "avx512-amx"
# Two numbers rounded to 8 bits, multiplied; the errors of D products hardly add up.
TOLERANCE = 6e-3


def check(features: Tensor, modes: Tensor) -> None:
    index, score = ops.assign(features, modes, fast=True)
    expected = cosines(features, modes)
    torch.testing.assert_close(score.double(), expected.amax(1), atol=TOLERANCE, rtol=0)
    chosen = expected.gather(1, index.long().unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(chosen, expected.amax(1), atol=2 * TOLERANCE, rtol=0)
    assert score.max() <= 1


@pytest.mark.parametrize("dims", [1, 2, 31, 32, 33, 64, 130])
@pytest.mark.parametrize("modes", [1, 15, 16, 17, 100])
def test_agrees_with_float64_up_to_rounding(dims: int, modes: int) -> None:
    check(*problem(dims=dims, modes=modes, height=11, width=13))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 63), (8, 8), (5, 13), (1, 129)])
def test_any_number_of_pixels(height: int, width: int) -> None:
    check(*problem(height=height, width=width))


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_and_strides(dtype: torch.dtype) -> None:
    features, modes = problem(dims=40, height=20, width=31)
    features = features.to(dtype)
    check(features, modes)
    contiguous = ops.assign(features, modes, fast=True)
    for other in (
        features.to(memory_format=torch.channels_last),
        features.repeat_interleave(2, 3)[..., ::2],
    ):
        assert same(ops.assign(other, modes, fast=True), contiguous)


def test_lengths_from_tiny_to_huge_do_not_matter() -> None:
    features, modes = problem(dims=24)
    check(features * torch.logspace(-5, 15, features.shape[-1]), modes)


def test_signs_and_order_of_modes() -> None:
    features, modes = problem(dims=32, modes=21)
    index, score = ops.assign(features, modes, fast=True)
    assert same(ops.assign(-features, modes, fast=True), (index, score))
    order = torch.randperm(21, generator=torch.Generator().manual_seed(1))
    turned, other = ops.assign(features, -modes[:, order], fast=True)
    assert torch.equal(order[turned.long()].int(), index)
    assert torch.equal(other, score)


def test_each_image_is_for_itself() -> None:
    features, modes = problem(batch=3)
    counts = torch.tensor([8, 3, 0], dtype=torch.int32)
    index, score = ops.assign(features, modes, counts, fast=True)
    for i, count in enumerate(counts.tolist()):
        alone = ops.assign(features[i : i + 1], modes[i : i + 1, :count], fast=True)
        assert same(alone, (index[i : i + 1], score[i : i + 1]))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (1, 3, 0, 4), (1, 0, 4, 4)])
def test_empty_inputs(shape: tuple[int, ...]) -> None:
    index, score = ops.assign(torch.ones(shape), torch.ones(shape[0], 2, shape[1]), fast=True)
    assert index.shape == score.shape == (shape[0], *shape[2:])
    assert not index.any()


def test_bad_values_are_found() -> None:
    features, modes = problem()
    features[1, 3, 2, 2] = torch.inf
    with pytest.raises(InputError, match="NaN or Inf"):
        ops.assign(features, modes, fast=True)


def test_bitwise_the_same_for_any_number_of_threads() -> None:
    before = torch.get_num_threads()
    features, modes = problem(dims=48, modes=90, height=70, width=90)
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(ops.assign(features, modes, fast=True))
    finally:
        torch.set_num_threads(before)
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_only_matrix_units_round() -> None:
    features, modes = problem(dims=48)
    assert same(ops.assign(features, modes), ops.assign(features, modes, fast=True)) != ROUNDS


@pytest.mark.parametrize("dims", [3, 31, 48, 130])
def test_clusters_of_separate_lines_are_those_at_highest(dims: int) -> None:
    generator = torch.Generator().manual_seed(dims)
    count = min(dims, 40)
    lines = torch.linalg.qr(torch.randn(dims, dims, generator=generator)).Q[:count]
    truth = torch.randint(count, (16, 25), generator=generator)
    truth = truth.repeat_interleave(8, 0).repeat_interleave(6, 1)
    noise = torch.randn(*truth.shape, dims, generator=generator) * 0.15 / dims**0.5
    features = (lines[truth] + noise).permute(2, 0, 1).unsqueeze(0)
    fast = ops.cluster(features, min_support=20, fast=True)
    highest = ops.cluster(features, min_support=20)
    assert int(fast.num_segments) == len(truth.unique())
    assert torch.equal(fast.labels, highest.labels)
    torch.testing.assert_close(fast.score, highest.score, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(fast.modes, highest.modes, atol=0.03, rtol=0)


def cluttered(height: int, width: int, dims: int, seed: int = 0) -> Tensor:
    """Lines of blobs, some of few pixels, that blend into one another and into noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, dims, -(-height // 6), -(-width // 5), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return smooth + 0.3 * torch.randn(1, dims, height, width, generator=generator)


@pytest.mark.parametrize(("height", "width", "dims"), [(1, 1, 4), (7, 9, 3), (50, 71, 48)])
def test_few_pixels_that_do_not_separate(height: int, width: int, dims: int) -> None:
    features = cluttered(height, width, dims)
    found = ops.cluster(features, min_support=3, fast=True)
    count = int(found.num_modes)
    modes, lines = (
        found.modes[0, :count],
        torch.nn.functional.normalize(features[0].flatten(1), dim=0),
    )
    # Modes are kept apart by the window, have the support they say, and take what is nearest.
    between = (modes @ modes.T).abs().fill_diagonal_(0)
    window = torch.pi / 4
    assert between.numel() == 0 or between.max() <= torch.tensor(window).cos() + TOLERANCE
    cosine = (modes @ lines).abs()
    inside = [(cosine >= torch.cos(torch.tensor(window + edge))).sum(1) for edge in (-0.02, 0.02)]
    assert (inside[0] <= found.support[0, :count]).all()
    assert (found.support[0, :count] <= inside[1]).all()
    if count:
        torch.testing.assert_close(found.score[0].flatten(), cosine.amax(0), atol=0.01, rtol=0)
    # A step of mean shift moves none of them much farther than the bound says.
    weights = torch.where(cosine >= torch.tensor(window).cos(), modes @ lines, 0)
    moved = torch.nn.functional.normalize(weights @ lines.T, dim=1)
    assert ((moved * modes).sum(1).clamp(max=1).acos() <= window / 8 + 0.03).all()


def test_few_pixels_are_clustered_alike_however_they_come() -> None:
    features = cluttered(50, 71, 48)
    expected = ops.cluster(features, min_support=3, fast=True)
    signs = torch.randn(1, 1, 50, 71, generator=torch.Generator().manual_seed(0)).sign()
    assert same_clusters(ops.cluster(signs * features, min_support=3, fast=True), expected)
    last = features.contiguous(memory_format=torch.channels_last)
    assert same_clusters(ops.cluster(last, min_support=3, fast=True), expected)
    other = cluttered(50, 71, 48, seed=1)
    both = ops.cluster(torch.cat([other, features]), min_support=3, fast=True)
    assert same_clusters(ops.Clusters(*(field[1:] for field in both)), expected)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert same_clusters(ops.cluster(features, min_support=3, fast=True), expected)
    finally:
        torch.set_num_threads(before)
