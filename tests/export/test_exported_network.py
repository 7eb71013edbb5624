from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from bottomup_fast.errors import InputError
from bottomup_fast.export import Description, ExportedNetwork, export_onnx
from bottomup_fast.export.graph import NormalisedNetwork, check_sides, fix_padding
from bottomup_fast.models.network import BottomUpNetwork

Make = Callable[..., BottomUpNetwork]


def exported(network: BottomUpNetwork, *sides: int) -> tuple[ExportedNetwork, list[Tensor]]:
    """The network's own graph in place of a file, and the images it was given."""
    assert network.settings is not None
    graph = NormalisedNetwork(network, "float32")
    seen: list[Tensor] = []

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        seen.append(inputs[0])
        return graph(*inputs)

    return ExportedNetwork(Description(network.settings, "onnx", resolutions=sides), run), seen


def normalised(network: BottomUpNetwork, image: Tensor) -> Tensor:
    assert network.settings is not None
    preprocessing = network.settings.preprocessing
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    return (image - mean) / std


@pytest.mark.parametrize("foreground", [True, False])
@pytest.mark.parametrize("position", [True, False])
def test_it_gives_what_the_network_gives(
    make_network: Make, foreground: bool, position: bool
) -> None:
    network = make_network(foreground=foreground, position=position)
    found, seen = exported(network)
    image, corner = torch.rand(2, 3, 50, 70), torch.tensor([[7.0, 3.0], [0.0, 20.0]])
    with torch.no_grad():
        features, logits = found.forward_with_foreground(image, corner)
        expected, truth = network.forward_with_foreground(normalised(network, image), corner)
        torch.testing.assert_close(features, expected)
        torch.testing.assert_close(logits, truth)
        torch.testing.assert_close(found(image), network(normalised(network, image)))
    assert seen[0].shape == (2, 3, 64, 96)


def test_settings_leave_the_normalisation_to_the_file(network: BottomUpNetwork) -> None:
    found, _ = exported(network)
    assert found.settings is not None
    assert found.settings.preprocessing.mean == (0, 0, 0)
    assert found.settings.preprocessing.std == (1, 1, 1)
    assert network.settings is not None
    assert found.settings.preprocessing.resolutions == network.settings.preprocessing.resolutions


def test_fixed_sizes_are_padded_to(network: BottomUpNetwork) -> None:
    found, seen = exported(network, 96)
    with torch.no_grad():
        assert found(torch.rand(1, 3, 50, 64)).shape == (1, 6, 50, 64)
    assert seen[0].shape == (1, 3, 96, 96)
    several, seen = exported(network, 64, 128)
    with torch.no_grad():
        several(torch.rand(1, 3, 50, 97))
    assert seen[0].shape == (1, 3, 64, 128)


def test_too_large_images_are_refused(network: BottomUpNetwork) -> None:
    found, _ = exported(network, 64)
    with pytest.raises(InputError, match=r"^image: 40x65 pixels after scaling.* takes 64 at most"):
        found(torch.rand(1, 3, 40, 65))


class Padded(nn.Module):
    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.conv = Conv2dSame(3, 6, kernel, stride=2, groups=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@pytest.mark.parametrize("kernel", [3, 5])
def test_constant_padding_is_the_same_for_even_sizes(kernel: int) -> None:
    module = Padded(kernel)
    image = torch.rand(1, 3, 10, 24)
    with torch.no_grad():
        expected = module(image)
        fix_padding(module)
        assert not any(isinstance(child, Conv2dSame) for child in module.modules())
        assert torch.equal(module(image), expected)


def test_the_network_is_left_alone(network: BottomUpNetwork) -> None:
    graph = NormalisedNetwork(network, "float16")
    assert {parameter.dtype for parameter in graph.network.parameters()} == {torch.float16}
    assert graph.network.position is not None
    assert graph.network.position.frequencies.dtype == torch.float32
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("sides", "problem"),
    [((48,), "multiples of 32"), ((0,), "multiples"), ((9000,), "9000"), ((96, 64), "ascending")],
)
def test_impossible_sides_are_refused(sides: tuple[int, ...], problem: str) -> None:
    with pytest.raises(InputError, match=f"^resolutions must be .*{problem}"):
        check_sides(sides)


def test_what_cannot_be_exported(make_network: Make, tmp_path) -> None:
    bare = make_network()
    bare.settings = None
    with pytest.raises(InputError, match="model: the network has no settings"):
        export_onnx(bare, tmp_path / "m.onnx")
    with pytest.raises(InputError, match="model: exported already"):
        export_onnx(exported(make_network())[0], tmp_path / "m.onnx")
    with pytest.raises(InputError, match="unknown model 'cell'"):
        export_onnx("cell", tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
