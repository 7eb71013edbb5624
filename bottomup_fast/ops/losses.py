"""The ops of training: target lines, the contrast's draws, and all losses with their gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bottomup_fast.ops.library import check_features, input_errors, register_without_gradient

NORMALISERS = ("entities", "pairs", "sqrt-pairs")
TERMS = ("attraction", "repulsion", "contrast", "segment_mse", "segment_gradient", "norm")


def target_lines(
    features: Tensor, labels: Tensor, num_entities: int, *, fast: bool = False
) -> Tensor:
    """Average line of each entity (eq. 4), features read once.

    Args:
        features: (B, D, H, W) raw features, any float dtype, contiguous or channels-last.
        labels: (B, H, W) int32: -1 ignore, 0 background, 1..num_entities.
        num_entities: K.
        fast: multiply numbers rounded to bfloat16, with float32 sums, where the processor can.

    Returns:
        (B, K+1, D) float32 unit lines, row 0 the background's, rows of absent labels zero; the
        component of largest magnitude is positive. They have no gradient. The angle to the exact
        line is at most 1e-6 of its eigenvalue over the gap to the next, unless `fast`. Bitwise the
        same for any number of threads.

    Raises:
        InputError: wrong shapes, dtypes or devices, labels out of range, features not finite. What
            only the values tell is a RuntimeError in compiled code.
    """
    check_features(features)
    with input_errors("target_lines"):
        return _target_lines(features, labels, num_entities, fast)


def contrast_samples(
    labels: Tensor, easy: Tensor, lines: Tensor, seeds: Tensor, queries: int, negatives: int
) -> tuple[Tensor, Tensor]:
    """Draw the contrast's queries and keys, as `reference.contrast` does.

    Args:
        labels: (B, H, W) int32: -1 ignore, 0 background, 1..K.
        easy: (B, H, W) bool: pixels near their line, drawn only after all others of their entity.
        lines: (B, K+1, D) float32 target lines.
        seeds: (B, 2) int64: seed in [0, 2^63) and image counter in [0, 2^32) of each image.
        queries: pixels per entity, without replacement.
        negatives: keys per entity.

    Returns:
        (B, K, queries) and (B, K, negatives) int64 positions in raster order; -1 where an entity
        has fewer pixels, and everywhere in images with fewer than two entities.

    Raises:
        InputError: wrong shapes, dtypes or devices, or labels out of range.
    """
    with input_errors("contrast_samples"):
        return _contrast_samples(labels, easy, lines, seeds, queries, negatives)


def losses(
    features: Tensor,
    labels: Tensor,
    lines: Tensor,
    weights: Tensor,
    seeds: Tensor,
    normaliser: str = "entities",
    queries: int = 256,
    negatives: int = 512,
    separate_terms: bool = False,
    *,
    fast: bool = False,
) -> tuple[Tensor, Tensor]:
    """All terms of eq. 9 for given target lines.

    The gradient with respect to the features is made along with the terms, if autograd will want
    it, and the backward pass only scales it; with `separate_terms` it is made in the backward pass.

    Args:
        features: (B, D, H, W) raw features, any float dtype, contiguous or channels-last; computed
            in float32 unless `fast`.
        labels: (B, H, W) int32: -1 ignore, 0 background, 1..K.
        lines: (B, K+1, D) float32 target lines, constants.
        weights: (6,) float32 on the CPU, of the terms in the order of `TERMS`.
        seeds: (B, 2) int64, as in `contrast_samples`.
        normaliser: of the repulsion (eq. 6), one of `NORMALISERS`.
        queries: of the contrast; 0 leaves it out.
        negatives: of the contrast.
        separate_terms: make every term differentiable, not only the total.
        fast: multiply features and lines, and lines and slopes, rounded to bfloat16, with float32
            sums, where the processor can; the rest, and the contrast, stay float32.

    Returns:
        (6,) float32 terms, means over the batch, and their weighted sum (). Bitwise the same for
        any number of threads.

    Raises:
        InputError: wrong shapes, dtypes or devices, labels out of range, features not finite. What
            only the values tell is a RuntimeError in compiled code.
    """
    check_features(features)
    with_gradient = torch.is_grad_enabled() and features.requires_grad and not separate_terms
    with input_errors("losses"):
        terms, total, _ = _losses(
            features,
            labels,
            lines,
            weights,
            seeds,
            NORMALISERS.index(normaliser),
            queries,
            negatives,
            fast,
            with_gradient,
        )
    return (terms if separate_terms else terms.detach()), total


def _target_lines_fake(features: Tensor, labels: Tensor, num_entities: int, fast: bool) -> Tensor:
    shape = (features.shape[0], num_entities + 1, features.shape[1])
    return features.new_empty(shape, dtype=torch.float32)


def _contrast_samples_fake(
    labels: Tensor, easy: Tensor, lines: Tensor, seeds: Tensor, queries: int, negatives: int
) -> tuple[Tensor, Tensor]:
    rows = (labels.shape[0], lines.shape[1] - 1)
    return seeds.new_empty(*rows, queries), seeds.new_empty(*rows, negatives)


def _losses_fake(
    features: Tensor,
    labels: Tensor,
    lines: Tensor,
    weights: Tensor,
    seeds: Tensor,
    normaliser: int,
    queries: int,
    negatives: int,
    fast: bool,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    terms = features.new_empty(len(TERMS), dtype=torch.float32)
    gradient = torch.empty_like(features) if with_gradient else features.new_empty(0)
    return terms, terms.new_empty(()), gradient


def _save_for_losses(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    gradient = output[2]
    ctx.mark_non_differentiable(gradient)
    # Else autograd would fill a tensor of the features' size with zeros for the gradient's own.
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:5], gradient)
    *ctx.settings, ctx.with_gradient = inputs[5:]


def _losses_backward(
    ctx: Any, of_terms: Tensor | None, of_total: Tensor | None, _: None
) -> tuple[Tensor | None, ...]:
    features, labels, lines, weights, seeds, gradient = ctx.saved_tensors
    if ctx.with_gradient:
        if of_total is None:
            return (None,) * 10
        scale = of_total
    else:
        scale = features.new_ones((), dtype=torch.float32)
        coefficients = torch.zeros_like(weights) if of_terms is None else of_terms.to(weights)
        if of_total is not None:
            coefficients = coefficients + of_total.to(weights) * weights
        with torch.no_grad():
            *_terms, gradient = _losses(
                features, labels, lines, coefficients, seeds, *ctx.settings, True
            )
    # The usual upstream gradient of a loss is one, and costs no pass over memory. Tracers' tensors
    # have no value to look at, and a GPU's would have to be waited for.
    known = type(scale) is Tensor and scale.device.type == "cpu"
    if known and not torch.is_grad_enabled() and scale.item() == 1:
        return gradient, *[None] * 9
    return _scale_gradient(gradient, scale, features), *[None] * 9


@torch.library.custom_op("bottomup_fast::scale_gradient", mutates_args=())
def _scale_gradient(gradient: Tensor, scale: Tensor, features: Tensor) -> Tensor:
    """Gradient times scale; takes the features too, so that a second derivative is noticed."""
    return gradient * scale.to(gradient.dtype)


@_scale_gradient.register_fake
def _scale_gradient_fake(gradient: Tensor, scale: Tensor, features: Tensor) -> Tensor:
    return torch.empty_like(gradient)


def _refuse_double_backward(ctx: Any, gradient: Tensor) -> None:
    raise RuntimeError(
        "the compiled losses cannot be differentiated twice; use BottomUpLoss(backend='reference')"
    )


_ops = torch.ops.bottomup_fast
_target_lines: Callable[..., Tensor] = _ops.target_lines.default
_contrast_samples: Callable[..., tuple[Tensor, Tensor]] = _ops.contrast_samples.default
_losses: Callable[..., tuple[Tensor, Tensor, Tensor]] = _ops.losses.default
for _name, _fake in (
    ("target_lines", _target_lines_fake),
    ("contrast_samples", _contrast_samples_fake),
    ("losses", _losses_fake),
):
    torch.library.register_fake(f"bottomup_fast::{_name}", _fake)
for _name in ("target_lines", "contrast_samples"):
    register_without_gradient(f"bottomup_fast::{_name}")
torch.library.register_autograd(
    "bottomup_fast::losses", _losses_backward, setup_context=_save_for_losses
)
_scale_gradient.register_autograd(_refuse_double_backward)
