from __future__ import annotations

from typing import Any

import pytest
import torch

from bottomup_fast import InputError, cluster, mean_shift

FEATURES = torch.ones(3, 4, 5)
POINTS = torch.ones(2, 6, 3)


def with_value(tensor: torch.Tensor, value: float) -> torch.Tensor:
    changed = tensor.clone()
    changed.view(-1)[7] = value
    return changed


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ([[1.0]], r"^features must be a float tensor of 16, 32 or 64 bits, got list$"),
        (FEATURES.numpy(), r"^features must be a float tensor .* got ndarray$"),
        (FEATURES.int(), r"^features must be a float tensor .* got torch.int32$"),
        (FEATURES.to(torch.complex64), r"^features must be a float tensor .* got torch.complex64$"),
        (FEATURES[0], r"^features must be .*\(B, D, H, W\), got shape \(4, 5\)$"),
        (FEATURES[None, None], r"^features must be .*got shape \(1, 1, 3, 4, 5\)$"),
        (FEATURES[:0], r"^features must have at least one dimension, got D = 0$"),
        (with_value(FEATURES, float("nan")), r"^features contain NaN or Inf$"),
        (with_value(FEATURES, -float("inf")), r"^features contain NaN or Inf$"),
        (with_value(FEATURES.half(), float("inf")), r"^features contain NaN or Inf$"),
    ],
)
def test_features(features: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        cluster(features)


@pytest.mark.parametrize("bandwidth", [0, -1, 45.001, 90, float("nan"), float("inf")])
def test_bandwidth(bandwidth: float) -> None:
    reason = rf"^bandwidth_deg must be in \(0, 45\], got {bandwidth}$"
    with pytest.raises(InputError, match=reason):
        cluster(FEATURES, bandwidth)
    with pytest.raises(InputError, match=reason):
        mean_shift(POINTS, POINTS, bandwidth)
    cluster(FEATURES, 45)


@pytest.mark.parametrize("support", [0, -3])
def test_support(support: int) -> None:
    with pytest.raises(InputError, match=rf"^min_support must be at least 1, got {support}$"):
        cluster(FEATURES, min_support=support)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (torch.ones(4, 5), r"^mask must be bool .*, got torch.float32"),
        (torch.ones(5, 4, dtype=torch.bool), r"^mask must be bool .*5, 4\)$"),
        (torch.ones(1, 4, 5, dtype=torch.bool), r"^mask must be bool .*1, 4, 5\)$"),
        (torch.ones(4, 5, dtype=torch.bool, device="meta"), r"^mask is on meta, features on cpu$"),
        (torch.ones(4, 5, dtype=torch.bool).numpy(), r"^mask must be a bool tensor, got ndarray$"),
    ],
)
def test_mask(mask: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        cluster(FEATURES, mask=mask)


def test_mask_of_a_batch() -> None:
    mask = torch.ones(4, 5, dtype=torch.bool)
    with pytest.raises(InputError, match=r"^mask must be bool \(2, 4, 5\), got torch.bool \(4, 5"):
        cluster(torch.stack([FEATURES, FEATURES]), mask=mask)


@pytest.mark.parametrize(
    ("points", "seeds", "reason"),
    [
        (POINTS.numpy(), POINTS, r"^points must be a float tensor of shape \(B, count, D\)$"),
        (POINTS, POINTS.long(), r"^seeds must be a float tensor of shape"),
        (POINTS[0], POINTS, r"^points must be a float tensor of shape"),
        (POINTS, POINTS[0, 0], r"^seeds must be a float tensor of shape"),
        (with_value(POINTS, float("nan")), POINTS, r"^points contain NaN or Inf$"),
        (POINTS, with_value(POINTS, float("inf")), r"^seeds contain NaN or Inf$"),
        (POINTS, POINTS[:1], r"^seeds \(1, 6, 3\) must have the B and D of points \(2, 6, 3\)$"),
        (POINTS, POINTS[..., :2], r"^seeds \(2, 6, 2\) must have the B and D of points"),
        (POINTS, POINTS.double(), r"^seeds must have the dtype and device of points$"),
        (POINTS[..., :0], POINTS[..., :0], r"^points must have at least one dimension, got D = 0$"),
    ],
)
def test_points_and_seeds(points: Any, seeds: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        mean_shift(points, seeds)


def test_steps() -> None:
    with pytest.raises(InputError, match=r"^max_steps must not be negative, got -1$"):
        mean_shift(POINTS, POINTS, max_steps=-1)
