"""The losses of one image in float64 numpy, loop by loop from the equations: the tests' oracle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Pixel = tuple[int, int]
Lines = dict[int, Array]


def unit(feature: Array) -> Array:
    x: Array = feature / max(np.sqrt(sum(value**2 for value in feature)), 1e-6)
    return x


def line_of(features: list[Array]) -> Array:
    """Eq. 4; the sign is left to chance, for no term may depend on it."""
    scatter = np.zeros((len(features[0]), len(features[0])))
    for x in map(unit, features):
        scatter += np.outer(x, x)
    return np.linalg.eigh(scatter)[1][:, -1]


class SlowLoss:
    """Terms of `features` (D, H, W) and `labels` (H, W); `lines` by label, if constants."""

    def __init__(self, features: Array, labels: Labels, lines: Lines | None = None) -> None:
        self.height, self.width = labels.shape
        self.members: dict[int, list[Pixel]] = {}
        self.feature: dict[Pixel, Array] = {}
        for row in range(self.height):
            for column in range(self.width):
                pixel = row, column
                self.feature[pixel] = features[:, row, column]
                if labels[pixel] >= 0:
                    self.members.setdefault(int(labels[pixel]), []).append(pixel)
        self.x = {pixel: unit(feature) for pixel, feature in self.feature.items()}
        self.valid = [pixel for pixels in self.members.values() for pixel in pixels]
        self.entities = sorted(label for label in self.members if label > 0)
        self.lines = lines or {
            label: line_of([self.feature[pixel] for pixel in pixels])
            for label, pixels in self.members.items()
        }

    def norm(self) -> float:
        deviations = [(np.linalg.norm(self.feature[pixel]) - 1) ** 2 for pixel in self.valid]
        return float(np.mean(deviations)) if deviations else 0.0

    def attraction(self) -> float:
        if not self.entities:
            return 0.0
        means = [
            np.mean([1 - abs(self.lines[i] @ self.x[pixel]) for pixel in self.members[i]])
            for i in self.entities
        ]
        return float(sum(means) / len(self.entities))

    def repulsion(self, normaliser: str = "entities") -> float:
        n = len(self.members)
        if n < 2 or not self.entities:
            return 0.0
        total = 0.0
        for i in self.members:
            for j in self.members:
                if i != j:
                    cosines = [abs(self.lines[i] @ self.x[pixel]) for pixel in self.members[j]]
                    total += float(np.mean(cosines))
        pairs = float(n * (n - 1))
        divisors = {"entities": len(self.entities), "pairs": pairs, "sqrt-pairs": np.sqrt(pairs)}
        return float(total / divisors[normaliser])

    def degenerate(self) -> bool:
        lines = [self.lines[i] for i in self.entities]
        if len(lines) > len(lines[0]):
            return True
        for i, first in enumerate(lines):
            if any(abs(first @ second) > 0.98 for second in lines[:i]):
                return True
        gram = np.array([[first @ second for second in lines] for first in lines])
        return bool(np.linalg.cond(gram) > 1e4)

    def residuals(self) -> list[dict[Pixel, float]]:
        """R_i on the valid pixels, for each entity; none in a degenerate image."""
        if not self.entities or self.degenerate():
            return []
        inverse = np.linalg.pinv(np.stack([self.lines[i] for i in self.entities], axis=1))
        return [
            {pixel: abs(row @ self.x[pixel]) - (pixel in self.members[i]) for pixel in self.valid}
            for i, row in zip(self.entities, inverse, strict=True)
        ]

    def segment_mse(self) -> float:
        means = [np.mean([r**2 for r in residual.values()]) for residual in self.residuals()]
        return float(sum(means) / len(means)) if means else 0.0

    def segment_gradient(self) -> float:
        residuals = self.residuals()
        total = 0.0
        for residual in residuals:
            for step in (1, 2, 4, 8):
                changes = []
                for row in range(0, self.height, step):
                    for column in range(0, self.width, step):
                        here = row, column
                        for there in ((row + step, column), (row, column + step)):
                            if here in residual and there in residual:
                                changes.append(abs(residual[there] - residual[here]))
                total += sum(changes) / max(1, len(changes))
        return total / len(residuals) if residuals else 0.0

    def terms(self, normaliser: str = "entities") -> dict[str, float]:
        """Every term but the contrast, whose draws are not the equations' to fix."""
        return {
            "attraction": self.attraction(),
            "repulsion": self.repulsion(normaliser),
            "segment_mse": self.segment_mse(),
            "segment_gradient": self.segment_gradient(),
            "norm": self.norm(),
        }


def random_case(
    seed: int,
    batch: int = 1,
    dim: int = 6,
    entities: int = 4,
    shape: tuple[int, int] = (6, 7),
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Raw features (B, D, H, W), scattered around a line for each label, and labels (B, H, W).

    Labels are blocky at one image in two; background, ignored pixels and label numbers that do not
    occur are left to chance.
    """
    rng = np.random.default_rng(seed)
    labels = np.empty((batch, *shape), dtype=np.int64)
    for image in range(batch):
        side = int(rng.integers(1, 3))
        coarse = [-(-size // side) for size in shape]
        drawn = rng.integers(-1, entities + 1, coarse).repeat(side, 0).repeat(side, 1)
        labels[image] = drawn[: shape[0], : shape[1]]
        if entities > 2:
            labels[image][labels[image] == rng.integers(1, entities)] = rng.integers(-1, 1)
    centres = rng.normal(size=(entities + 2, dim))
    sign = rng.choice([-1, 1], (*labels.shape, 1))
    features = sign * centres[labels] + 0.3 * rng.normal(size=(*labels.shape, dim))
    features *= rng.uniform(0.2, 2, (*labels.shape, 1))
    return torch.from_numpy(features).movedim(-1, 1).to(dtype), torch.from_numpy(labels)


def slow_image_losses(features: Tensor, labels: Tensor) -> list[SlowLoss]:
    arrays = features.detach().double().numpy(), labels.numpy()
    return [SlowLoss(image, map_) for image, map_ in zip(*arrays, strict=True)]


@pytest.fixture(scope="session")
def make_case() -> Callable[..., tuple[Tensor, Tensor]]:
    return random_case


@pytest.fixture(scope="session")
def slow_losses() -> Callable[[Tensor, Tensor], list[SlowLoss]]:
    return slow_image_losses


@pytest.fixture(scope="session")
def slow_loss() -> type[SlowLoss]:
    return SlowLoss
