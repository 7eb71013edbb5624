"""Table 5's figures: how far apart entities lie in feature space, and how close their pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bottomup_fast.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Separation:
    """Similarity |cos| of entities' lines with each other and with their own pixels.

    Attributes:
        inter_mean: mean |m_i . m_j| over the pairs of entities of the same image; None without a
            pair.
        intra_entity: mean over entities of the mean |m_i . x_p| over their pixels; None without an
            entity.
        pairs: number of pairs.
        entities: number of entities.
    """

    inter_mean: float | None
    intra_entity: float | None
    pairs: int
    entities: int

    @property
    def inter_degrees(self) -> float | None:
        """The angle whose cosine is `inter_mean`, 0 to 90 degrees."""
        return _degrees(self.inter_mean)

    @property
    def intra_degrees(self) -> float | None:
        """The angle whose cosine is `intra_entity`, 0 to 90 degrees."""
        return _degrees(self.intra_entity)

    def as_dict(self) -> dict[str, float | int | None]:
        """The figures by name, angles included, fit for JSON."""
        angles = {"inter_degrees": self.inter_degrees, "intra_degrees": self.intra_degrees}
        return asdict(self) | angles


def _degrees(cosine: float | None) -> float | None:
    return None if cosine is None else math.degrees(math.acos(min(1.0, cosine)))


def separation(features: Tensor, labels: Tensor) -> Separation:
    """Inter-mean and intra-entity similarity of an image or a batch, as in the paper's Table 5.

    The line m_i of an entity is the principal eigenvector of the sum of x x^T over its pixels
    (eq. 4). Pairs and entities of all images count alike; lines of different images are never
    compared. Computed in float64, without gradient.

    Args:
        features: (D, H, W) or (B, D, H, W) raw network output, any float dtype; the features are
            normalised here.
        labels: (H, W) or (B, H, W) integers; 1 and above are entities, nothing else takes part.

    Raises:
        InputError: ranks, sizes or dtypes do not fit, or a feature is not finite.
    """
    import torch

    from bottomup_fast.reference import normalise, target_lines

    _check(features, labels)
    if features.dim() == 3:
        features, labels = features.unsqueeze(0), labels.unsqueeze(0)
    between: list[float] = []
    within: list[float] = []
    with torch.no_grad():
        for image, image_labels in zip(features, labels.to(features.device).long(), strict=True):
            entities, sizes = image_labels[image_labels > 0].unique(return_counts=True)
            number = torch.searchsorted(entities, image_labels) + 1
            number[image_labels <= 0] = -1
            x = normalise(image.double().unsqueeze(0))
            lines = target_lines(x, number.unsqueeze(0), len(entities))[0, 1:]
            first, second = torch.triu_indices(len(lines), len(lines), offset=1, device=x.device)
            between += (lines @ lines.mT).abs()[first, second].tolist()
            by_entity = number.flatten().argsort(stable=True)[number.numel() - int(sizes.sum()) :]
            runs = torch.split(x[0].flatten(1)[:, by_entity], sizes.tolist(), dim=1)
            within += [
                (line @ run).abs().mean().item() for line, run in zip(lines, runs, strict=True)
            ]
    return Separation(_mean(between), _mean(within), len(between), len(within))


def pool(images: Iterable[Separation]) -> Separation:
    """The figures of several images together: pairs and entities of all of them count alike."""
    parts = list(images)
    pairs, entities = sum(part.pairs for part in parts), sum(part.entities for part in parts)
    inter = math.fsum((part.inter_mean or 0.0) * part.pairs for part in parts)
    intra = math.fsum((part.intra_entity or 0.0) * part.entities for part in parts)
    return Separation(
        inter / pairs if pairs else None, intra / entities if entities else None, pairs, entities
    )


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _check(features: Tensor, labels: Tensor) -> None:
    import torch

    if features.dim() not in (3, 4):
        raise InputError(
            f"features: expected (D, H, W) or (B, D, H, W), got {tuple(features.shape)}"
        )
    expected = (*features.shape[:-3], *features.shape[-2:])
    if labels.shape != expected:
        raise InputError(f"labels: expected shape {expected}, got {tuple(labels.shape)}")
    if not features.is_floating_point():
        raise InputError(f"features: expected a float dtype, got {features.dtype}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"labels: expected an integer dtype, got {labels.dtype}")
    if not features.isfinite().all():
        raise InputError("features: a value is not finite")
