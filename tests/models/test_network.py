from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

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
def test_features_of_large_activations_stay_in_range(plain: BottomUpNetwork) -> None:
    loud = copy.deepcopy(plain)
    loud.decoder.output.weight *= 1e4
    assert 0.99 < loud(random_images(1, 32, 32)).abs().max() <= 1


@torch.no_grad()
def test_foreground_logits_only_when_asked_for(
    network: BottomUpNetwork, plain: BottomUpNetwork
) -> None:
    image = random_images(1, 32, 32)
    features, logits = plain.forward_with_foreground(image)
    assert logits is None
    assert torch.equal(plain(image), features)
    assert plain.decoder.output.out_channels == 16
    assert network.decoder.output.out_channels == 3
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
