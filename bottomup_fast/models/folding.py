"""Batch normalisation folded into convolutions, for inference: fewer passes over memory."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bottomup_fast.models.encoder import STRIDES
from bottomup_fast.models.network import BottomUpNetwork


def fold_normalisation(network: BottomUpNetwork) -> BottomUpNetwork:
    """Return what computes the same, up to rounding, with fewer layers, for inference only.

    A convolution whose output goes to a batch normalisation with fixed statistics takes over its
    scale and offset. The network itself stays as it is; it is returned if there is nothing to fold.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return network
    folded = copy.deepcopy(network).eval()
    owner = {
        child: (module, name)
        for module in folded.modules()
        for name, child in module.named_children()
    }
    for convolution, norm in _followed_by_norms(folded):
        _take_over(convolution, norm)
        module, name = owner[norm]
        # timm's normalisations are followed by an activation of their own.
        setattr(module, name, getattr(norm, "act", nn.Identity()))
    return folded


@torch.no_grad()
def _followed_by_norms(network: BottomUpNetwork) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Pairs as they occur when the network runs."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # the tensor is kept, or its id would be reused
    pairs = []

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made[id(output)] = module, output

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in made:
            assert isinstance(module, nn.BatchNorm2d)
            pairs.append((made[id(inputs[0])][0], module))

    hooks = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after))
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(before))
    some = next(network.parameters())
    network.forward_with_foreground(some.new_zeros(1, 3, 2 * STRIDES[-1], 2 * STRIDES[-1]))
    for hook in hooks:
        hook.remove()
    return pairs


@torch.no_grad()
def _take_over(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    # In double precision: only the result is rounded.
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    offset = -norm.running_mean.double() * scale
    if convolution.bias is not None:
        offset += convolution.bias.double() * scale
    if norm.affine:
        scale, offset = scale * norm.weight.double(), offset * norm.weight.double() + norm.bias
    weight = convolution.weight
    convolution.weight = nn.Parameter((weight.double() * scale[:, None, None, None]).to(weight))
    convolution.bias = nn.Parameter(offset.to(weight))
