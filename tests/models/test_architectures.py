from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from bottomup_fast.errors import InputError
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.registry import ARCHITECTURES, create_model, suggestion

LITE = "bottomup_efficientnet_lite0"


def without_weights(name: str, feature_dim: int | None = None) -> BottomUpNetwork:
    """On the meta device nothing is allocated or computed: even the largest network is free."""
    with torch.device("meta"):
        return create_model(name, feature_dim)


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_network_has_101_million_parameters() -> None:
    count = count_parameters(without_weights("bottomup_convnext_base", 128))
    print(f"bottomup_convnext_base: {count:,} parameters")
    assert abs(count - 101e6) < 1e6


def test_smaller_networks_are_smaller() -> None:
    assert count_parameters(without_weights("bottomup_convnext_tiny")) < 33e6
    assert count_parameters(without_weights(LITE)) < 4e6


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_maps_images_to_features(name: str) -> None:
    network = without_weights(name)
    assert network.feature_dim == min(128, ARCHITECTURES[name].width)
    features = network(torch.empty(2, 3, 70, 33, device="meta"))
    assert features.shape == (2, network.feature_dim, 70, 33)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("feature_dim", [16, None])
def test_no_decoder_layer_is_narrower_than_the_features(name: str, feature_dim: int | None) -> None:
    network = without_weights(name, feature_dim)
    widths = [m.out_channels for m in network.decoder.modules() if isinstance(m, nn.Conv2d)]
    assert min(widths) >= network.feature_dim


def test_the_papers_decoder_is_that_of_section_12() -> None:
    network = without_weights("bottomup_convnext_base", 128)
    assert network.encoder.channels == (128, 256, 512, 1024)
    decoder = network.decoder
    widths = [
        (project.in_channels, project.out_channels, project.kernel_size)
        for project in decoder.project
        if isinstance(project, nn.Conv2d)
    ]
    assert widths == [(c, 256, (3, 3)) for c in network.encoder.channels]
    assert len(decoder.fuse) == 4
    last = (decoder.reduce, decoder.refine, decoder.output)
    assert [conv.out_channels for conv in last] == [128, 128, 128]


def test_unknown_names_suggest_a_close_one() -> None:
    with pytest.raises(InputError, match="'bottomup_convnet_base'; did you mean 'bottomup_convnex"):
        create_model("bottomup_convnet_base")
    with pytest.raises(InputError, match="'resnet'; known are 'bottomup_convnext_base', "):
        create_model("resnet")
    assert suggestion("best", ["better", "beast"]) == "; did you mean 'beast'?"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feature_dim": 0}, "feature_dim must be at least 1, got 0"),
        ({"feature_dim": 65}, r"width \(64\) must be at least feature_dim \(65\)"),
        ({"position_scale": 0}, "position_scale must be positive, got 0"),
        ({"position_scale": float("nan")}, "position_scale must be positive, got nan"),
        ({"largest_scale": 9.0}, "largest_scale: needs a position_scale"),
        (
            {"position_scale": 9.0, "largest_scale": 9.0},
            r"largest_scale must be above position_scale \(9.0\), got 9.0",
        ),
        (
            {"position_scale": 9.0, "largest_scale": float("inf")},
            "largest_scale must be above position_scale",
        ),
        (
            {"feature_dim": 7, "position_scale": 4.0, "largest_scale": 9.0},
            "feature_dim must be at least 8 with a largest_scale, got 7",
        ),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_model(LITE, **settings)


def test_backbones_without_the_needed_feature_maps_are_refused() -> None:
    with pytest.raises(InputError, match="backbone 'no_such_net' is not a timm model"):
        BottomUpNetwork("no_such_net", 64, 16)
    with pytest.raises(InputError, match="'vit_tiny_patch16_224' has no features at stride 4"):
        BottomUpNetwork("vit_tiny_patch16_224", 64, 16)


def test_an_unreachable_hub_is_an_input_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **kwargs: object) -> nn.Module:
        raise OSError("no connection\nto the hub")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(
        InputError, match=r"^backbone 'tf_efficientnet_lite0': no connection to the"
    ):
        create_model(LITE, 16, pretrained_backbone=True)
