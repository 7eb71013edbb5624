"""Random shapes, strides, types and label maps against the reference, for minutes: `make fuzz`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from bottomup_fast import BottomUpLoss, cluster, ops

MINUTES = 5.0
"""For each of the tests below."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@st.composite
def feature_maps(draw: st.DrawFn) -> Tensor:
    """(B, D, H, W) features of a few lines and noise, in any layout."""
    batch, dim = draw(st.integers(1, 3)), draw(st.integers(1, 70))
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    groups = torch.randint(0, draw(st.integers(1, 12)), (batch, height, width), generator=generator)
    lines = torch.randn(12, dim, generator=generator)
    noise = draw(st.sampled_from([0.0, 0.1, 1.0]))
    features = lines[groups].movedim(-1, 1)
    features = features + noise * torch.randn(features.shape, generator=generator)
    features = features * draw(st.sampled_from([1e-3, 1.0, 1e3]))
    if draw(st.booleans()):
        features = features * (torch.rand(features[:, :1].shape, generator=generator) > 0.1)
    features = features.to(draw(st.sampled_from(DTYPES)))
    layout = draw(st.sampled_from(["contiguous", "last", "slice", "transposed"]))
    if layout == "last":
        return features.contiguous(memory_format=torch.channels_last)
    if layout == "slice":
        return torch.cat([features, features], dim=3)[..., ::2][..., : (width + 1) // 2]
    if layout == "transposed":
        return features.mT
    return features.contiguous()


def repeat(check: Callable[[], None]) -> None:
    end = time.monotonic() + 60 * MINUTES
    while time.monotonic() < end:
        check()


fuzz = settings(
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.fuzz
def test_losses() -> None:
    @fuzz
    @given(
        features=feature_maps(),
        entities=st.integers(0, 20),
        side=st.integers(1, 12),
        seed=st.integers(0, 2**31),
        precision=st.sampled_from(["highest", "fast"]),
    )
    def check(features: Tensor, entities: int, side: int, seed: int, precision: str) -> None:
        batch, _, height, width = features.shape
        generator = torch.Generator().manual_seed(seed)
        coarse = (batch, -(-height // side), -(-width // side))
        labels = torch.randint(-1, entities + 1, coarse, generator=generator)
        labels = labels.repeat_interleave(side, 1).repeat_interleave(side, 2)
        labels = labels[:, :height, :width]
        loss, plain = (
            BottomUpLoss(
                precision=precision,  # type: ignore[arg-type]
                backend=backend,  # type: ignore[arg-type]
                contrast_queries=9,
                contrast_negatives=11,
            )
            for backend in ("auto", "reference")
        )
        # Lines are ambiguous, and terms with them, where noise-free pixels leave no gap.
        lines = ops.target_lines(features, labels.int(), entities, fast=precision == "fast")
        assert lines.isfinite().all()
        wanted = features.detach().requires_grad_()
        terms = loss(wanted, labels, seed=1)
        gradient = torch.autograd.grad(terms.total, wanted)[0]
        assert gradient.isfinite().all()
        again = loss(features.contiguous(), labels, seed=1)
        assert all(torch.equal(a, b) for a, b in zip(terms, again, strict=True))
        expected = plain(features.double(), labels, seed=1)
        # These hold for any line of the eigenspace. Cosines err by two roundings to bfloat16.
        for name, error in (
            ("norm", 1e-5),
            ("attraction", 1e-5 if precision == "highest" else 0.02),
        ):
            actual, value = getattr(terms, name).double(), getattr(expected, name)
            torch.testing.assert_close(actual, value, atol=error, rtol=1e-4)

    repeat(check)


@pytest.mark.fuzz
def test_clusters() -> None:
    @fuzz
    @given(features=feature_maps(), bandwidth=st.floats(5, 45), seed=st.integers(0, 2**31))
    def check(features: Tensor, bandwidth: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        mask = torch.rand(features[:, 0].shape, generator=generator) > 0.2
        labels = cluster(features, bandwidth, mask=mask)
        assert torch.equal(labels, cluster(features.contiguous(), bandwidth, mask=mask))
        assert ((labels > 0) == mask).all()
        for image in labels:
            present = image.unique()
            assert present[present > 0].tolist() == list(range(1, int(image.max()) + 1))
        found = ops.cluster(features, mask, bandwidth, 10, fast=False)
        assert (found.score <= 1).all()
        for modes, count in zip(found.modes, found.num_modes.tolist(), strict=True):
            kept = modes[:count]
            similarity = (kept @ kept.T).abs().fill_diagonal_(0)
            assert (similarity < math.cos(math.radians(bandwidth)) + 1e-4).all()

    repeat(check)
