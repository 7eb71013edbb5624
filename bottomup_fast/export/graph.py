"""A network with its normalisation as one graph, captured with the sizes that may change."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from bottomup_fast.errors import InputError
from bottomup_fast.export.description import Precision
from bottomup_fast.models.folding import fold_normalisation
from bottomup_fast.models.network import MULTIPLE, BottomUpNetwork

MAX_SIDE = 8192
"""Largest side, pixels, of a graph of any size."""
MAX_BATCH = 64


@dataclass(frozen=True)
class Captured:
    """A graph; `inputs` and `outputs` are the names of its tensors in order."""

    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class NormalisedNetwork(nn.Module):
    """(B, 3, H, W) float32 in [0, 1], and (B, 2) corners for models with a position code.

    Its results are float32 whatever the precision of the network: features (B, D, H, W) in (-1, 1),
    and (B, H, W) logits of the foreground where the model has it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: BottomUpNetwork, precision: Precision) -> None:
        super().__init__()
        assert network.settings is not None
        preprocessing = network.settings.preprocessing
        self.dtype: torch.dtype = getattr(torch, precision)
        self.network = copy.deepcopy(fold_normalisation(network)).to("cpu", self.dtype).eval()
        if self.network.position is not None:  # half precision would round places by whole pixels
            self.network.position.float()
        fix_padding(self.network)
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1))

    def forward(self, image: Tensor, origin: Tensor | None = None) -> tuple[Tensor, ...]:
        """The network's features, and its foreground logits where it has them.

        `forward_with_foreground` without what graphs would carry along for nothing: padding, which
        these sizes need not, and autocast.
        """
        network = self.network
        normalised = ((image - self.mean) / self.std).to(self.dtype)
        output = network.decoder(network.encoder(normalised))
        features = output[:, : network.described]
        if network.position is not None:
            features = network.position(features, origin)
        features = torch.tanh(features).float()
        return (
            (features, output[:, network.described].float()) if network.foreground else (features,)
        )


def fix_padding(module: nn.Module) -> None:
    """Give convolutions of stride 2 with TensorFlow's "same" padding a constant one, in place.

    Theirs is computed from the size of each image, which for even sizes, as all of ours are, always
    gives the same: kernel - 2, the larger half at the end.
    """
    for name, child in list(module.named_children()):
        if not isinstance(child, Conv2dSame):
            fix_padding(child)
            continue
        assert child.stride == (2, 2)
        total = max(0, child.kernel_size[0] - 2)
        before, after = total // 2, total - total // 2
        plain = nn.Conv2d(
            child.in_channels,
            child.out_channels,
            child.kernel_size,  # type: ignore[arg-type]
            child.stride,
            groups=child.groups,
        )
        plain.weight, plain.bias = child.weight, child.bias
        setattr(module, name, nn.Sequential(nn.ZeroPad2d((before, after, before, after)), plain))


def capture(
    network: BottomUpNetwork, precision: Precision, side: int | None, device: str = "cpu"
) -> Captured:
    """Trace a network's inference.

    Args:
        network: with settings.
        precision: of its weights and activations.
        side: of the square images; None for any height and width that are multiples of 32.
        device: to trace for.
    """
    module = NormalisedNetwork(network, precision).to(device)
    height, width = (2 * MULTIPLE, 3 * MULTIPLE) if side is None else (side, side)
    batch = Dim("batch", min=1, max=MAX_BATCH)
    image: dict[int, object] = {0: batch}
    if side is None:
        for axis, name in ((2, "rows"), (3, "columns")):
            image[axis] = MULTIPLE * Dim(name, min=1, max=MAX_SIDE // MULTIPLE)
    arguments = [torch.zeros(2, 3, height, width, device=device)]
    sizes: list[dict[int, object]] = [image]
    inputs: tuple[str, ...] = ("image",)
    if network.position is not None:
        arguments.append(torch.zeros(2, 2, device=device))
        sizes.append({0: batch})
        inputs = ("image", "origin")
    with torch.no_grad():
        program = torch.export.export(module, tuple(arguments), dynamic_shapes=tuple(sizes))
    outputs = ("features", "foreground_logits") if network.foreground else ("features",)
    return Captured(program, inputs, outputs)


def check_sides(resolutions: tuple[int, ...]) -> None:
    """Raise InputError unless all are multiples of 32 within range, ascending."""
    if list(resolutions) != sorted(set(resolutions)):
        raise InputError(f"resolutions must be ascending, got {resolutions}")
    for side in resolutions:
        if side % MULTIPLE or not MULTIPLE <= side <= MAX_SIDE:
            raise InputError(
                f"resolutions must be multiples of {MULTIPLE} up to {MAX_SIDE}, got {side}"
            )
