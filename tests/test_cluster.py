from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import bottomup_fast as bf
from bottomup_fast.clustering import assign_pixels, find_modes
from bottomup_fast.reference.lines import normalise


def scene(seed: int, height: int = 20, width: int = 27, count: int = 5) -> tuple[Tensor, Tensor]:
    """Features (8, H, W) of exactly representable values in five orthogonal groups, and labels."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, count, (height // 4 + 1, width // 4 + 1))
    labels = blocks.repeat(4, 0).repeat(4, 1)[:height, :width]
    features = np.eye(8)[labels] + rng.integers(-12, 13, (height, width, 8)) / 64
    return torch.from_numpy(features).permute(2, 0, 1).float(), torch.from_numpy(labels)


def by_appearance(labels: Tensor) -> list[list[int]]:
    order = list(dict.fromkeys(labels.flatten().tolist()))
    return [[order.index(value) + 1 for value in row] for row in labels.tolist()]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("seed", range(5))
def test_segments_are_numbered_by_appearance(seed: int) -> None:
    features, labels = scene(seed)
    found = bf.cluster(features)
    assert found.dtype == torch.int32
    assert found.tolist() == by_appearance(labels)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_signs_and_lengths_do_not_matter(seed: int) -> None:
    features, _ = scene(seed % 7)
    rng = np.random.default_rng(seed)
    sign = torch.from_numpy(rng.choice([-1.0, 1.0], features.shape[1:])).float()
    length = torch.from_numpy(2.0 ** rng.integers(-8, 9, features.shape[1:])).float()
    expected = bf.cluster(features)
    assert torch.equal(bf.cluster(sign * features), expected)
    assert torch.equal(bf.cluster(length * features), expected)


def test_a_batch_equals_its_images() -> None:
    batch = torch.stack([scene(seed)[0] for seed in range(3)])
    masks = torch.rand(3, 20, 27, generator=torch.Generator().manual_seed(0)) < 0.7
    expected = [bf.cluster(image) for image in batch]
    assert torch.equal(bf.cluster(batch), torch.stack(expected))
    expected = [bf.cluster(image, mask=mask) for image, mask in zip(batch, masks, strict=True)]
    assert torch.equal(bf.cluster(batch, mask=masks), torch.stack(expected))


def test_only_masked_pixels_count() -> None:
    features, labels = scene(3)
    mask = labels != 2
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    found = bf.cluster(features, mask=mask)
    assert torch.equal(found == 0, ~mask)
    assert torch.equal(bf.cluster(torch.where(mask, features, noise), mask=mask), found)
    order = list(dict.fromkeys(labels[mask].tolist()))
    assert found[mask].tolist() == [order.index(value) + 1 for value in labels[mask].tolist()]
    assert not bf.cluster(features, mask=torch.zeros_like(mask)).any()
    assert torch.equal(bf.cluster(features, mask=torch.ones_like(mask)), bf.cluster(features))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_threads_do_not_matter(count: int, threads: None) -> None:
    walk = torch.randn(6, 30, 40, generator=torch.Generator().manual_seed(0)).cumsum(1)
    for features in (walk, scene(0, 150, 160)[0]):
        mask = torch.ones(features.shape[1:], dtype=torch.bool)
        torch.set_num_threads(1)
        labels, modes = bf.cluster(features), find_modes(features, mask, 45.0, 10)
        torch.set_num_threads(count)
        assert torch.equal(bf.cluster(features), labels)
        again = find_modes(features, mask, 45.0, 10)
        assert torch.equal(again.lines, modes.lines)
        assert torch.equal(again.support, modes.support)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    features, labels = scene(1)
    found = bf.cluster(features.to(dtype))
    assert found.dtype == torch.int32
    assert found.tolist() == by_appearance(labels)


def test_memory_layouts() -> None:
    batch = torch.stack([scene(seed)[0] for seed in range(2)])
    expected = bf.cluster(batch)
    spread = torch.zeros(2, 16, 40, 54)
    spread[:, ::2, ::2, ::2] = batch
    mask = torch.rand(2, 27, 20, generator=torch.Generator().manual_seed(0)) < 0.7
    masked = bf.cluster(batch, mask=mask.mT.contiguous())
    for layout in (
        batch.contiguous(memory_format=torch.channels_last),
        spread[:, ::2, ::2, ::2],
        batch.transpose(2, 3).contiguous().transpose(2, 3),
    ):
        assert torch.equal(bf.cluster(layout), expected)
        assert torch.equal(bf.cluster(layout, mask=mask.mT), masked)


def test_gradients_and_inference_tensors_are_no_obstacle() -> None:
    features, labels = scene(2)
    assert bf.cluster(features.requires_grad_()).tolist() == by_appearance(labels)
    with torch.inference_mode():
        assert bf.cluster(features * 1).tolist() == by_appearance(labels)


def test_zero_features_go_to_the_first_mode() -> None:
    features = torch.zeros(3, 6, 10)
    features[0, :2], features[1, 2:] = 1, 1
    features[:, 1, 4] = features[:, 4, 4] = 0
    found = bf.cluster(features)
    assert found[:2].unique().tolist() == [1, 2]
    assert found[1, 4] == found[4, 4] == found[5, 9] == 2  # of 39 pixels, not of 19
    assert found[0, 0] == 1


def test_features_below_the_floor_of_the_norm_have_no_line() -> None:
    features = torch.zeros(2, 4, 10)
    features[0, :2], features[1, 2:] = 1, 1e-9
    assert bf.cluster(features).unique().tolist() == [1]


def test_one_segment_where_there_is_no_mode() -> None:
    assert bf.cluster(torch.zeros(3, 5, 5)).unique().tolist() == [1]
    nine = torch.eye(9).view(9, 3, 3)
    assert bf.cluster(nine).unique().tolist() == [1]
    assert bf.cluster(nine, min_support=1).tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    mask = torch.tensor([[True, True, False]] * 3)
    assert bf.cluster(nine, mask=mask).tolist() == [[1, 1, 0]] * 3


def test_modes_below_the_support_are_dropped() -> None:
    features = torch.zeros(3, 5, 10)
    features[0] = 1
    features[:, 0, :9], features[:, 2] = 0, 0
    features[1, 0, :9], features[2, 2] = 1, 1
    assert bf.cluster(features).unique().tolist() == [1, 2]
    assert bf.cluster(features, min_support=9).unique().tolist() == [1, 2, 3]
    assert bf.cluster(features, min_support=11).unique().tolist() == [1]


def test_the_bandwidth_separates() -> None:
    angle = torch.deg2rad(torch.tensor([0.0, 40.0])).repeat_interleave(20).view(2, 20)
    features = torch.stack([angle.cos(), angle.sin()])
    assert bf.cluster(features, bandwidth_deg=45).unique().tolist() == [1]
    assert bf.cluster(features, bandwidth_deg=30).unique().tolist() == [1, 2]
    assert bf.cluster(features, bandwidth_deg=0.1).unique().tolist() == [1, 2]


def test_smallest_shapes() -> None:
    assert bf.cluster(torch.tensor([[[-2.0, 3, 0]]])).tolist() == [[1, 1, 1]]
    assert bf.cluster(torch.ones(4, 1, 1)).tolist() == [[1]]
    assert bf.cluster(torch.ones(1, 1, 1), min_support=1).tolist() == [[1]]
    for shape in ((0, 3, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)):
        found = bf.cluster(torch.zeros(shape))
        assert (tuple(found.shape), found.dtype) == ((shape[0], *shape[2:]), torch.int32)


def test_every_pixel_goes_to_the_nearest_mode() -> None:
    features = torch.randn(5, 9, 11, generator=torch.Generator().manual_seed(0))
    modes = normalise(torch.randn(4, 5, generator=torch.Generator().manual_seed(1)), dim=-1)
    mask = torch.rand(9, 11, generator=torch.Generator().manual_seed(2)) < 0.8
    index, cosine = assign_pixels(features, modes, mask)
    similarity = (normalise(features, dim=0).flatten(1).mT @ modes.mT).abs().view(9, 11, 4)
    best, position = similarity.max(-1)
    assert torch.equal(index, torch.where(mask, position.int(), -1))
    torch.testing.assert_close(cosine, torch.where(mask, best, 0))
    index, cosine = assign_pixels(features, modes[:0], mask)
    assert torch.equal(index, mask.int() - 1)
    assert not cosine.any()
