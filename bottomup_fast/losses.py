"""The training loss of the paper as one module."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from bottomup_fast import ops
from bottomup_fast.errors import InputError
from bottomup_fast.ops.library import has_op
from bottomup_fast.reference import contrast, lines, losses

Normaliser = Literal["entities", "pairs", "sqrt-pairs"]


class LossTerms(NamedTuple):
    """The six terms, unweighted, and their weighted sum; 0-dimensional tensors."""

    attraction: Tensor
    repulsion: Tensor
    contrast: Tensor
    segment_mse: Tensor
    segment_gradient: Tensor
    norm: Tensor
    total: Tensor


class BottomUpLoss(nn.Module):
    """Attraction, repulsion, contrast and segment-space losses on projective features (eq. 9).

    The default weights are the paper's; which of its three numbers belongs to which term is
    assumed. Sums are float32 also for half-precision input and under autocast.

    Args:
        attraction_weight: weight of eq. 5.
        repulsion_weight: weight of eq. 6.
        segment_mse_weight: weight of the first half of eq. 8.
        contrast_weight: weight of the regional contrast; at 0 it is not computed and reported as 0.
        segment_gradient_weight: weight of the second half of eq. 8.
        norm_weight: weight of eq. 3.
        repulsion_normaliser: what eq. 6 is divided by: the number of entities, of ordered pairs of
            lines, or the root of the latter.
        max_entities: largest label that may occur.
        target_gradient: differentiate the target lines too, instead of taking them as constants.
        separate_terms: make every term differentiable, not only the total.
        precision: "highest": products of float32 numbers. "fast": the compiled ops round features,
            lines and slopes to bfloat16 where the processor multiplies that (AVX512-BF16). None:
            "fast" for half-precision features, else "highest".
        backend: "auto" takes the compiled ops for float32 and half-precision features, unless
            `target_gradient`; "reference" is plain torch, which also float64 takes.
        contrast_queries: pixels drawn per entity for the contrast.
        contrast_negatives: keys drawn per entity for the contrast.

    Raises:
        InputError: for a setting outside its range.
    """

    def __init__(
        self,
        attraction_weight: float = 1.0,
        repulsion_weight: float = 1.0,
        segment_mse_weight: float = 1.0,
        contrast_weight: float = 0.125,
        segment_gradient_weight: float = 0.05,
        norm_weight: float = 0.025,
        repulsion_normaliser: Normaliser = "entities",
        max_entities: int = 128,
        target_gradient: bool = False,
        separate_terms: bool = False,
        precision: Literal["highest", "fast"] | None = None,
        backend: Literal["auto", "reference"] = "auto",
        contrast_queries: int = 256,
        contrast_negatives: int = 512,
    ) -> None:
        super().__init__()
        self.weights = {
            "attraction": attraction_weight,
            "repulsion": repulsion_weight,
            "contrast": contrast_weight,
            "segment_mse": segment_mse_weight,
            "segment_gradient": segment_gradient_weight,
            "norm": norm_weight,
        }
        for name, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise InputError(f"{name}_weight must be finite and not negative, got {weight}")
        _require(repulsion_normaliser, "repulsion_normaliser", ("entities", "pairs", "sqrt-pairs"))
        _require(precision, "precision", (None, "highest", "fast"))
        _require(backend, "backend", ("auto", "reference"))
        for name, count in (
            ("max_entities", max_entities),
            ("contrast_queries", contrast_queries),
            ("contrast_negatives", contrast_negatives),
        ):
            if count < 1:
                raise InputError(f"{name} must be at least 1, got {count}")
        self.repulsion_normaliser = repulsion_normaliser
        self.precision = precision
        self.backend = backend
        self.max_entities = max_entities
        self.target_gradient = target_gradient
        self.separate_terms = separate_terms
        self.contrast_queries = contrast_queries
        self.contrast_negatives = contrast_negatives

    def forward(self, features: Tensor, labels: Tensor, seed: int | Tensor = 0) -> LossTerms:
        """Loss of raw features against a label map.

        Args:
            features: (B, D, H, W) raw network output.
            labels: (B, H, W) integers: -1 ignore, 0 background, 1..max_entities.
            seed: of the contrast's draws, in [0, 2^63); one for the batch, whose images are then
                told apart by their position, or a (B,) tensor with one per image.

        Returns:
            The terms, float64 for float64 features, else float32; 0 where there are no pixels.

        Raises:
            InputError: on wrong shapes, dtypes, devices, label values or seeds, or features that
                are not finite.
        """
        check_feature_shape(features)
        compiled = self.backend == "auto" and not self.target_gradient and has_op(features)
        if not compiled:
            check_features(features)
        check_labels(labels, features, self.max_entities, by_op=compiled)
        seeds = _image_seeds(seed, len(features), features.device)
        if compiled:
            return self._compiled_terms(features, _int32(labels), seeds)
        features = lines.at_least_float32(features)
        if labels.numel() == 0:
            nothing = features.sum()
            term = nothing if self.separate_terms else nothing.detach()
            return LossTerms(term, term, term, term, term, term, total=nothing)
        with torch.autocast(features.device.type, enabled=False):
            return self._terms(features, labels, seeds)

    def _compiled_terms(self, features: Tensor, labels: Tensor, seeds: Tensor) -> LossTerms:
        half = features.dtype.itemsize < 4
        fast = half if self.precision is None else self.precision == "fast"
        terms, total = ops.losses(
            features,
            labels,
            ops.target_lines(features.detach(), labels, self.max_entities, fast=fast),
            torch.tensor(list(self.weights.values())),
            seeds,
            self.repulsion_normaliser,
            self.contrast_queries if self.weights["contrast"] > 0 else 0,
            self.contrast_negatives,
            self.separate_terms,
            fast=fast,
        )
        return LossTerms._make([*terms.unbind(), total])

    def _terms(self, features: Tensor, labels: Tensor, seeds: Tensor) -> LossTerms:
        height, width = labels.shape[1:]
        flat_labels = labels.flatten(1).long()
        # Entities beyond the largest label present would only add zero rows.
        num_entities = int(flat_labels.max().clamp_min(0))
        raw = features.flatten(2).mT
        length = lines.norm(raw, dim=-1)
        x = lines.divide_by_norm(raw, length, dim=-1)
        member = losses.Membership.of(flat_labels, num_entities, features.dtype)
        source = x if self.target_gradient else x.detach()
        targets = lines.principal_lines(lines.scatter_matrices(source, flat_labels, num_entities))
        cosines = x @ targets.mT
        sigma, usable = losses.segment_space(cosines, targets, member)
        counts = (member.valid & usable.unsqueeze(1)).unsqueeze(-1)
        residual = torch.where(counts, sigma - member.one_hot[..., 1:], 0)
        per_image = {
            "attraction": losses.attraction_term(cosines, member),
            "repulsion": losses.repulsion_term(cosines, member, self.repulsion_normaliser),
            "segment_mse": losses.segment_mse_term(residual, member),
            "segment_gradient": losses.segment_gradient_term(residual, member, height, width),
            "norm": losses.norm_term(length, member.valid),
        }
        if self.weights["contrast"] > 0:
            per_image["contrast"] = contrast.contrast_term(
                x,
                flat_labels,
                targets,
                seeds,
                self.contrast_queries,
                self.contrast_negatives,
            )
        else:
            per_image["contrast"] = raw.new_zeros(len(raw))
        terms = {name: term.mean() for name, term in per_image.items()}
        total = raw.sum() * 0 + sum(self.weights[name] * term for name, term in terms.items())
        if not self.separate_terms:
            terms = {name: term.detach() for name, term in terms.items()}
        return LossTerms(**terms, total=total)


def target_lines(features: Tensor, labels: Tensor, num_entities: int) -> Tensor:
    """Average line of each entity (eq. 4), `reference.target_lines` of checked input.

    Args:
        features: (B, D, H, W) raw network output, any float dtype.
        labels: (B, H, W) integers: -1 ignore, 0 background, 1..num_entities.
        num_entities: K.

    Returns:
        (B, K+1, D) unit lines, row 0 the background's, rows of absent labels zero; float64 for
        float64 features, else float32.

    Raises:
        InputError: on wrong shapes, dtypes, devices or label values, or features that are not
            finite.
    """
    if num_entities < 0:
        raise InputError(f"num_entities must not be negative, got {num_entities}")
    check_feature_shape(features)
    compiled = has_op(features)
    if not compiled:
        check_features(features)
    check_labels(labels, features, num_entities, "num_entities", by_op=compiled)
    if compiled:
        return ops.target_lines(features, _int32(labels), num_entities)
    with torch.autocast(features.device.type, enabled=False):
        return lines.target_lines(features, labels.long(), num_entities)


def check_features(features: Tensor, name: str = "features") -> None:
    """Raise InputError unless `features` is a finite (B, D, H, W) float tensor with D >= 1."""
    check_feature_shape(features, name)
    if not features.isfinite().all():
        raise InputError(f"{name} contain NaN or Inf")


def check_feature_shape(features: Tensor, name: str = "features") -> None:
    """The same without looking at the values."""
    kind = features.dtype if isinstance(features, Tensor) else type(features).__name__
    if kind not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise InputError(f"{name} must be a float tensor of 16, 32 or 64 bits, got {kind}")
    if features.ndim != 4:
        raise InputError(f"{name} must be (B, D, H, W), got shape {tuple(features.shape)}")
    if features.shape[1] < 1:
        raise InputError(f"{name} must have at least one dimension, got D = 0")


def check_labels(
    labels: Tensor,
    features: Tensor,
    limit: int,
    limit_name: str = "max_entities",
    by_op: bool = False,
) -> None:
    """Raise InputError unless `labels` is an integer (B, H, W) map in -1..limit on their device.

    Compiled code does not look at the values; its ops do. Nor is a GPU waited for if a compiled op
    will look (`by_op`).
    """
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError(f"labels must be an integer tensor, got {kind}")
    expected = (features.shape[0], *features.shape[2:])
    if tuple(labels.shape) != expected:
        raise InputError(f"labels must be {expected} to fit features, got {tuple(labels.shape)}")
    if labels.device != features.device:
        raise InputError(f"labels are on {labels.device}, features on {features.device}")
    unseen = torch.compiler.is_compiling() or (by_op and labels.device.type != "cpu")
    if labels.numel() and not unseen:
        lowest, highest = map(int, labels.long().aminmax())
        if lowest < -1:
            raise InputError(f"labels must be at least -1, got {lowest}")
        if highest > limit:
            raise InputError(f"labels go up to {highest}, but {limit_name} is {limit}")


def _int32(labels: Tensor) -> Tensor:
    """Labels as the ops take them; those beyond the range of int32 stay out of range."""
    return labels if labels.dtype == torch.int32 else labels.long().clamp(-2, 2**31 - 1).int()


def _require(value: object, name: str, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def _image_seeds(seed: int | Tensor, batch: int, device: torch.device) -> Tensor:
    """(B, 2): the seed and the image counter of each image."""
    if isinstance(seed, Tensor):
        unknown = torch.compiler.is_compiling() or seed.device.type != "cpu"
        if seed.shape != (batch,) or seed.is_floating_point() or (not unknown and (seed < 0).any()):
            raise InputError(f"seed must be an integer in [0, 2^63) or a ({batch},) tensor of them")
        seeds = seed.to(device, torch.long)
        return torch.stack([seeds, torch.zeros_like(seeds)], dim=1)
    if not hasattr(seed, "__index__") or not 0 <= seed < 2**63:
        raise InputError(f"seed must be an integer in [0, 2^63), got {seed}")
    image = torch.arange(batch, device=device)
    return torch.stack([torch.full_like(image, seed), image], dim=1)
