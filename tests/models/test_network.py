from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from bottomup_fast.models.decoder import position_maps
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.registry import create_model

SIZES = [(1, 1), (31, 33), (64, 96), (1, 65)]


def random_images(batch: int, height: int, width: int) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def plain() -> BottomUpNetwork:
    torch.manual_seed(0)
    return create_model("bottomup_efficientnet_lite0", 16).eval()


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_any_size_gives_features_of_that_size(
    network: BottomUpNetwork, height: int, width: int
) -> None:
    features, logits = network.forward_with_foreground(random_images(2, height, width))
    assert features.shape == (2, 16, height, width)
    assert features.abs().max() < 1
    assert features.std() > 0.01
    assert logits is not None
    assert logits.shape == (2, height, width)


@torch.no_grad()
def test_padding_inside_is_that_of_a_padded_image(network: BottomUpNetwork) -> None:
    image = random_images(1, 31, 33)
    padded = functional.pad(image, (0, 31, 0, 1), mode="replicate")
    assert torch.equal(network(image), network(padded)[..., :31, :33])


@torch.no_grad()
def test_features_of_large_activations_stay_in_range(network: BottomUpNetwork) -> None:
    loud = copy.deepcopy(network)
    loud.decoder.output.weight *= 1e4
    features, logits = loud.forward_with_foreground(random_images(1, 32, 32))
    assert 0.99 < features.abs().max() <= 1
    assert logits is not None
    assert logits.abs().max() > 1


@torch.no_grad()
def test_foreground_logits_only_when_asked_for(
    network: BottomUpNetwork, plain: BottomUpNetwork
) -> None:
    image = random_images(1, 32, 32)
    features, logits = plain.forward_with_foreground(image)
    assert logits is None
    assert torch.equal(plain(image), features)
    assert plain.decoder.output.out_channels == 16
    assert network.decoder.output.out_channels == 17
    assert torch.equal(network(image), network.forward_with_foreground(image)[0])


def test_every_parameter_gets_a_gradient(network: BottomUpNetwork) -> None:
    trained = copy.deepcopy(network).train()
    features, logits = trained.forward_with_foreground(random_images(1, 64, 64))
    assert logits is not None
    (features.sum() + logits.sum()).backward()
    assert [name for name, p in trained.named_parameters() if p.grad is None] == []


@torch.no_grad()
def test_bfloat16_autocast_changes_features_little(network: BottomUpNetwork) -> None:
    image = random_images(1, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        features = network(image)
    torch.testing.assert_close(features.float(), network(image), atol=0.03, rtol=0)


# Position channels


@torch.no_grad()
def test_positions_reach_the_features(network: BottomUpNetwork, plain: BottomUpNetwork) -> None:
    image = random_images(1, 32, 32).expand(2, -1, -1, -1)
    origin = torch.tensor([[0.0, 0.0], [8.0, 20.0]])
    here, there = network(image, origin)
    assert torch.equal(here, network(image)[0])
    assert (here - there).abs().max() > 1e-3
    here, there = plain(image, origin)
    assert torch.equal(here, there)


@torch.no_grad()
def test_a_whole_period_further_everything_looks_the_same(network: BottomUpNetwork) -> None:
    image = random_images(1, 32, 32)
    origin = torch.tensor([[640.0, 64.0]])
    torch.testing.assert_close(network(image, origin), network(image), atol=1e-4, rtol=0)


@given(
    tile=st.tuples(*[st.integers(0, 20)] * 2),
    size=st.tuples(*[st.integers(1, 6)] * 2),
    stride=st.sampled_from([4, 8, 16, 32]),
)
def test_a_tile_sees_its_positions_in_the_whole(
    tile: tuple[int, int], size: tuple[int, int], stride: int
) -> None:
    (top, left), (height, width), periods = tile, size, (16.0, 100.0)
    whole = position_maps(torch.empty(1, 0, 26, 26), stride, periods, None)
    origin = torch.tensor([[top, left]]) * stride
    part = position_maps(torch.empty(1, 0, height, width), stride, periods, origin)
    expected = whole[..., top : top + height, left : left + width]
    torch.testing.assert_close(part, expected, atol=1e-4, rtol=0)


def test_position_channels_are_sines_of_pixel_centres() -> None:
    maps = position_maps(torch.empty(1, 5, 3, 2), 4, (16.0,), None)
    assert maps.shape == (1, 4, 3, 2)
    rows = 2 * torch.pi * torch.tensor([2.0, 6.0, 10.0]) / 16
    columns = rows[:2]
    torch.testing.assert_close(maps[0, 0], rows.sin()[:, None].expand(3, 2))
    torch.testing.assert_close(maps[0, 1], columns.sin().expand(3, 2))
    torch.testing.assert_close(maps[0, 2], rows.cos()[:, None].expand(3, 2))
    torch.testing.assert_close(maps[0, 3], columns.cos().expand(3, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_round_positions(dtype: torch.dtype) -> None:
    level, periods = torch.empty(1, 1, 2, 300), (32.0,)
    expected = position_maps(level, 4, periods, torch.tensor([[0.0, 5000.0]]))
    half = position_maps(level.to(dtype), 4, periods, torch.tensor([[0.0, 5000.0]]))
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), expected, atol=4e-3, rtol=0)
