from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from bottomup_fast.models.folding import fold_normalisation
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.weights import load_model


def with_statistics(backbone: str) -> BottomUpNetwork:
    torch.manual_seed(0)
    network = BottomUpNetwork(backbone, 16, 8, foreground=True).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    return network


@pytest.mark.parametrize(
    "backbone", ["mobilenetv3_small_050", "resnet18", "efficientnet_lite0", "regnetx_002"]
)
@torch.no_grad()
def test_the_folded_network_computes_the_same(backbone: str) -> None:
    network = with_statistics(backbone)
    before = copy.deepcopy(network.state_dict())
    folded = fold_normalisation(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    images = torch.randn(2, 3, 64, 96)
    for one, other in zip(
        network.forward_with_foreground(images),
        folded.forward_with_foreground(images),
        strict=True,
    ):
        assert one is not None
        assert other is not None
        torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-3)
    # The original is as it was.
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert fold_normalisation(folded) is folded


def test_without_batch_normalisation_there_is_nothing_to_fold() -> None:
    network = BottomUpNetwork("convnext_atto", 16, 8)
    assert fold_normalisation(network) is network


def test_in_half_precision_only_the_result_is_rounded() -> None:
    network = with_statistics("resnet18")
    exact = fold_normalisation(network).state_dict()
    half = fold_normalisation(network.to(torch.bfloat16)).state_dict()
    for name, value in half.items():
        torch.testing.assert_close(value.float(), exact[name], atol=0.02, rtol=0.02)


@torch.no_grad()
def test_bundled_models_fold_whole() -> None:
    network = load_model("cells")
    folded = fold_normalisation(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(folded(image), network(image), atol=1e-4, rtol=0)
