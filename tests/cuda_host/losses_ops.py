"""The ops of training on a device, from and to torch tensors, and what they are tested with.

Nothing here loads the package's compiled library, and tests load it only where they compare with
it: it may bring a CUDA runtime that takes the place of the interpreter's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from devices import Device
from numpy.typing import NDArray
from torch import Tensor

from bottomup_fast.reference import losses as reference
from bottomup_fast.reference.contrast import contrast_term
from bottomup_fast.reference.lines import norm, normalise

NORMALISERS = ("entities", "pairs", "sqrt-pairs")
TYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
WEIGHTS = (1.0, 1.0, 0.125, 1.0, 0.05, 0.025)
OK, NON_FINITE, LABELS = 0, 3, 4


@dataclass(frozen=True)
class Outcome:
    """What the losses gave: (6,) terms, their weighted sum, the gradient, the input as judged."""

    terms: Tensor
    total: Tensor
    gradient: Tensor
    status: int = OK


def blocks(
    seed: int,
    batch: int = 1,
    dim: int = 16,
    shape: tuple[int, int] = (19, 36),
    entities: int = 6,
    least: int = 3,
) -> tuple[Tensor, Tensor]:
    """Features scattered around a line per label, and labels in blocks of a few pixels.

    A pixel that is all of its entity has coordinates of exactly 0, where signs are a kink: entities
    of less than `least` pixels are ignored.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = shape
    coarse = (batch, -(-height // 3), -(-width // 5))
    labels = torch.randint(-1, entities + 1, coarse, generator=generator)
    labels = labels.repeat_interleave(3, 1).repeat_interleave(5, 2)[:, :height, :width]
    for image in labels:
        counts = torch.bincount(image.flatten() + 1, minlength=entities + 2)
        image[counts[image + 1] < least] = -1
    centres = torch.randn(batch, entities + 2, dim, generator=generator)
    places = torch.arange(batch).view(-1, 1, 1)
    features = centres[places, labels + 1].movedim(-1, 1)
    features = features + 0.6 * torch.randn(features.shape, generator=generator)
    return features.contiguous(), labels.int().contiguous()


def in_layout(features: Tensor, layout: str) -> Tensor:
    """The same with pixels or channels side by side in memory, or neither."""
    if layout == "pixels":
        return features.contiguous()
    if layout == "channels":
        return features.contiguous(memory_format=torch.channels_last)
    batch, dim, height, width = features.shape
    room = features.new_zeros(batch, dim + 1, 2 * height * width + 1)
    view = room[:, :dim, : 2 * height * width : 2].unflatten(2, (height, width))
    return view.copy_(features)


def memory_of(tensor: Tensor) -> NDArray[Any]:
    """All of the memory from the first of a tensor's numbers to the last."""
    span = 1 + sum(
        (size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True)
    )
    flat = tensor.detach().as_strided(
        (span if tensor.numel() else 0,), (1,), tensor.storage_offset()
    )
    return flat.view(torch.int16 if tensor.itemsize == 2 else tensor.dtype).numpy()


def description(features: Tensor) -> NDArray[np.int64]:
    """What the entry functions know of (B, D, H, W) features."""
    batch, dim, height, width = features.shape
    step = features.stride(3) if width > 1 else features.stride(2)
    strides = (features.stride(0), features.stride(1), step)
    return np.array([batch, dim, height * width, TYPES[features.dtype], *strides], np.int64)


def workspace_of(device: Device, name: str, *arguments: Any) -> NDArray[np.uint8]:
    """As much workspace as is asked for, full of NaN."""
    return np.full(device.size(f"{name}_workspace", *arguments), 0xFF, np.uint8)


def seeds_of(batch: int) -> Tensor:
    return torch.tensor([[3 + (1 << 40), 10 + image] for image in range(batch)]).view(-1, 2)


def target_lines(
    device: Device, features: Tensor, labels: Tensor, num_entities: int
) -> tuple[Tensor, int]:
    """(B, K+1, D) lines, and the status of the input."""
    maps = description(features)
    lines = torch.full((len(features), num_entities + 1, features.shape[1]), torch.nan)
    status = np.zeros(1, np.int32)
    workspace = workspace_of(device, "losses_target_lines", maps, num_entities)
    arguments = (memory_of(features), maps, labels.numpy(), num_entities)
    device.run("losses_target_lines", *arguments, lines.numpy(), workspace, status)
    return lines, int(status[0])


def contrast_samples(
    device: Device,
    labels: Tensor,
    easy: Tensor,
    lines: Tensor,
    seeds: Tensor,
    queries: int,
    negatives: int,
) -> tuple[Tensor, Tensor, int]:
    """(B, K, queries) and (B, K, negatives) pixels, and the status of the input."""
    batch, entities = len(labels), lines.shape[1] - 1
    sizes = (batch, labels[:1].numel(), lines.shape[2], entities)
    query_pixels = torch.full((batch, entities, queries), -7)
    key_pixels = torch.full((batch, entities, negatives), -7)
    status = np.zeros(1, np.int32)
    workspace = workspace_of(
        *(device, "losses_contrast_samples", batch, sizes[1], entities, queries, negatives)
    )
    device.run(
        *("losses_contrast_samples", *sizes, labels.numpy(), lines.numpy()),
        *(easy.view(torch.uint8).numpy(), seeds.numpy(), queries, negatives),
        *(query_pixels.numpy(), key_pixels.numpy(), workspace, status),
    )
    return query_pixels, key_pixels, int(status[0])


def losses(
    device: Device,
    features: Tensor,
    labels: Tensor,
    lines: Tensor,
    weights: Sequence[float] = WEIGHTS,
    normaliser: str = "entities",
    queries: int = 0,
    negatives: int = 30,
    with_gradient: bool = True,
    seeds: Tensor | None = None,
    fast: bool = False,
) -> Outcome:
    """The losses for given lines; without a gradient it is empty."""
    maps = description(features)
    seeds = seeds_of(len(features)) if seeds is None else seeds
    numbers = (*features.shape[2:], lines.shape[1] - 1, NORMALISERS.index(normaliser))
    arguments = np.array([*numbers, queries, negatives, fast], np.int64)
    terms, total = torch.full((len(WEIGHTS),), torch.nan), torch.full((1,), torch.nan)
    gradient = torch.full_like(features, torch.nan) if with_gradient else features.new_empty(0)
    layout = description(gradient) if with_gradient else maps
    status = np.zeros(1, np.int32)
    workspace = workspace_of(device, "losses_losses", maps, arguments)
    device.run(
        *("losses_losses", memory_of(features), maps, arguments, labels.numpy(), lines.numpy()),
        *(np.array(weights, np.float32), seeds.numpy(), terms.numpy(), total.numpy()),
        *(memory_of(gradient) if with_gradient else None, layout, workspace, status),
    )
    return Outcome(terms, total, gradient, int(status[0]))


def exact_losses(
    features: Tensor,
    labels: Tensor,
    lines: Tensor,
    weights: Sequence[float] = WEIGHTS,
    normaliser: str = "entities",
    queries: int = 0,
    negatives: int = 30,
) -> Outcome:
    """The same by the reference in float64."""
    raw = features.double().requires_grad_()
    points = raw.flatten(2).mT
    flat, exact = labels.flatten(1).long(), lines.double()
    member = reference.Membership.of(flat, lines.shape[1] - 1, torch.float64)
    x = normalise(points, -1)
    cosines = x @ exact.mT
    sigma, usable = reference.segment_space(cosines, exact, member)
    counted = (member.valid & usable.unsqueeze(1)).unsqueeze(-1)
    residual = torch.where(counted, sigma - member.one_hot[..., 1:], 0)
    contrast = x.new_zeros(len(x))
    if queries:
        contrast = contrast_term(x, flat, exact, seeds_of(len(x)), queries, negatives)
    of_images = (
        reference.attraction_term(cosines, member),
        reference.repulsion_term(cosines, member, normaliser),
        contrast,
        reference.segment_mse_term(residual, member),
        reference.segment_gradient_term(residual, member, *features.shape[2:]),
        reference.norm_term(norm(points, -1), member.valid),
    )
    terms = torch.stack([term.mean() for term in of_images])
    total = (terms * torch.tensor(weights, dtype=torch.float64)).sum()
    (gradient,) = torch.autograd.grad(total, raw)
    return Outcome(terms.detach(), total.detach(), gradient)


def assert_close(actual: Outcome, exact: Outcome, tolerance: float = 1e-5) -> None:
    """Terms and gradient within what float32 products may be off."""
    assert actual.status == OK
    torch.testing.assert_close(actual.terms.double(), exact.terms, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(actual.total[0].double(), exact.total, atol=1e-6, rtol=1e-5)
    error = (actual.gradient.double() - exact.gradient).norm()
    assert error <= tolerance * exact.gradient.norm() + 1e-12
