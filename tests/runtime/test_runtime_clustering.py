from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import bottomup_fast as bf
from bottomup_fast import ops, runtime


def random_features(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Noise around a line for each of some stripes of the image."""
    rng = np.random.default_rng(seed)
    *batch, dimensions, _, width = shape
    lines = rng.standard_normal((*batch, dimensions, 1, 5))
    stripe = np.arange(width) * 5 // max(width, 1)
    noise = rng.standard_normal(shape) * rng.choice([0.1, 0.5, 2])
    result: NDArray[np.float32] = (lines[..., stripe] + noise).astype(np.float32)
    return result


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.tuples(st.integers(1, 9), st.integers(0, 40), st.integers(0, 50)),
    st.sampled_from([45.0, 20.0, 3.0]),
    st.integers(1, 12),
    st.booleans(),
)
def test_clusters_are_those_of_the_torch_op(
    seed: int, shape: tuple[int, int, int], bandwidth: float, support: int, masked: bool
) -> None:
    features = random_features(seed, shape)
    mask = np.random.default_rng(seed).random(shape[1:]) < 0.7 if masked else None
    torch_mask = None if mask is None else torch.from_numpy(mask)
    expected = bf.cluster(torch.from_numpy(features), bandwidth, torch_mask, support)
    assert np.array_equal(runtime.cluster(features, bandwidth, mask, support), expected.numpy())


def test_a_large_image_in_any_number_of_threads() -> None:
    features = random_features(0, (16, 150, 200))
    expected = bf.cluster(torch.from_numpy(features), 30.0).numpy()
    try:
        for count in (0, 1, 5):
            runtime.set_helper_threads(count)
            assert np.array_equal(runtime.cluster(features, 30.0), expected)
    finally:
        runtime.set_helper_threads(1)


@pytest.mark.parametrize("precision", [None, "fast", "highest"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_batches_types_and_strides(dtype: Any, precision: Any) -> None:
    features = random_features(1, (2, 4, 60, 90)).astype(dtype)
    expected = bf.cluster(torch.from_numpy(features), 30.0, precision=precision).numpy()
    assert np.array_equal(runtime.cluster(features, 30.0, precision=precision), expected)
    strided = np.ascontiguousarray(features.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(runtime.cluster(strided, 30.0, precision=precision), expected)


def test_mean_shift_and_assign() -> None:
    features = random_features(2, (6, 30, 40))
    points = features.reshape(6, -1).T
    modes, support = runtime.mean_shift(points, points[::100], 30.0)
    expected = bf.mean_shift(
        torch.from_numpy(points)[None], torch.from_numpy(points[::100])[None], 30.0
    )
    assert np.array_equal(modes, expected[0][0].numpy())
    assert np.array_equal(support, expected[1][0].numpy())
    index, score = runtime.assign(features, modes)
    wanted = ops.assign(torch.from_numpy(features)[None], torch.from_numpy(modes)[None])
    assert np.array_equal(index, wanted[0][0].numpy())
    assert np.array_equal(score, wanted[1][0].numpy())
    assert (runtime.assign(features, modes[:0])[0] == -1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: runtime.cluster(f.tolist()), "features must be an array of floats, got list"),
        (
            lambda f: runtime.cluster(f.astype(int)),
            "features must be an array of floats, got int64",
        ),
        (lambda f: runtime.cluster(f[0]), r"features must have shape"),
        (lambda f: runtime.cluster(f[:0]), "at least one dimension"),
        (lambda f: runtime.cluster(f, 46), "bandwidth_deg must be in"),
        (lambda f: runtime.cluster(f, float("nan")), "bandwidth_deg must be in"),
        (lambda f: runtime.cluster(f, min_support=0), "min_support must be at least 1"),
        (lambda f: runtime.cluster(f, mask=f[0]), "mask must be bool"),
        (lambda f: runtime.cluster(f, mask=f[0, 1:] > 0), "mask must be bool"),
        (lambda f: runtime.cluster(f, precision="low"), "precision must be"),  # type: ignore[arg-type]
        (lambda f: runtime.cluster(f * np.nan), "features contain NaN or Inf"),
        (lambda f: runtime.mean_shift(f[0], f[0, :, 1:]), "must have one D"),
        (lambda f: runtime.mean_shift(f[0] * np.inf, f[0]), "points contain NaN or Inf"),
        (lambda f: runtime.mean_shift(f[0], f[0], max_steps=-1), "max_steps"),
        (lambda f: runtime.assign(f, f[0]), "must have one D"),
        (lambda f: runtime.assign(f, f[:, 0].T * np.nan), "modes contain NaN or Inf"),
        (lambda f: runtime.set_helper_threads(-1), "count: -1 is outside"),
    ],
)
def test_refused_input(call: Any, message: str) -> None:
    with pytest.raises(bf.InputError, match=message) as raised:
        call(np.ones((2, 3, 4), np.float32))
    assert "\n" not in str(raised.value)
