from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from bottomup_fast import ops

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def problem(
    batch: int = 2, dims: int = 19, height: int = 9, width: int = 15, modes: int = 8, seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, dims, height, width, generator=generator)
    lines = torch.randn(batch, modes, dims, generator=generator)
    return features, functional.normalize(lines, dim=-1)


def cosines(features: Tensor, modes: Tensor) -> Tensor:
    """(B, M, H, W) |cos| in float64."""
    norm = features.double().norm(dim=1, keepdim=True).clamp_min(1e-6)
    return torch.einsum("bmd,bdhw->bmhw", modes.double(), features.double() / norm).abs()


def check(features: Tensor, modes: Tensor) -> None:
    check_result(features, modes, *ops.assign(features, modes))


def check_result(features: Tensor, modes: Tensor, index: Tensor, score: Tensor) -> None:
    expected = cosines(features, modes)
    assert (index.dtype, score.dtype) == (torch.int32, torch.float32)
    assert index.shape == score.shape == expected[:, 0].shape
    assert index.is_contiguous()
    assert score.is_contiguous()
    torch.testing.assert_close(score.double(), expected.amax(1), atol=2e-6, rtol=0)
    # A pixel between two modes may fall to either, but never to a farther one.
    chosen = expected.gather(1, index.long().unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(chosen, expected.amax(1), atol=2e-6, rtol=0)


def same(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> bool:
    return torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    dims=st.integers(1, 40),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    modes=st.integers(1, 20),
    dtype=st.sampled_from(DTYPES),
    channels_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_matches_the_formula_in_float64(
    batch: int,
    dims: int,
    height: int,
    width: int,
    modes: int,
    dtype: torch.dtype,
    channels_last: bool,
    seed: int,
) -> None:
    features, lines = problem(batch, dims, height, width, modes, seed)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    check(features.to(dtype, memory_format=layout), lines)


@pytest.mark.parametrize("pixels", [1, 63, 64, 65, 128, 300])
@pytest.mark.parametrize("modes", [1, 5, 6, 7, 12, 100])
def test_sizes_around_the_tile_and_the_block_of_modes(pixels: int, modes: int) -> None:
    check(*problem(1, 33, 1, pixels, modes))


def test_sizes_of_the_paper() -> None:
    check(*problem(1, 128, 37, 61, 60))


def test_signs_change_nothing() -> None:
    features, modes = problem()
    expected = ops.assign(features, modes)
    pixel_signs = torch.randn(2, 1, 9, 15).sign()
    mode_signs = torch.randn(2, 8, 1).sign()
    assert same(ops.assign(features * pixel_signs, modes * mode_signs), expected)


def test_length_changes_nothing_where_squares_overflow_or_underflow() -> None:
    features, modes = problem()
    expected = ops.assign(features, modes)
    for scale in (1e-5, 1e18, 1e25, 1e37):
        index, score = ops.assign(features * scale, modes)
        assert torch.equal(index, expected[0])
        torch.testing.assert_close(score, expected[1], atol=1e-6, rtol=0)


def test_features_shorter_than_a_millionth_score_proportionally_less() -> None:
    features, modes = problem()
    features = functional.normalize(features, dim=1)
    index, score = ops.assign(features * 1e-8, modes)
    full_index, full_score = ops.assign(features, modes)
    assert torch.equal(index, full_index)
    torch.testing.assert_close(score, full_score * 0.01, atol=1e-8, rtol=1e-5)


def test_a_batch_is_a_loop_over_its_images() -> None:
    features, modes = problem(batch=4)
    num_modes = torch.tensor([8, 3, 0, 1], dtype=torch.int32)
    index, score = ops.assign(features, modes, num_modes)
    for i, count in enumerate(num_modes.tolist()):
        alone = ops.assign(features[i : i + 1], modes[i : i + 1, :count])
        assert same((index[i : i + 1], score[i : i + 1]), alone)


def test_modes_beyond_num_modes_are_not_read() -> None:
    features, modes = problem()
    modes[:, 5:] = torch.nan
    num_modes = torch.tensor([5, 5], dtype=torch.int32)
    assert same(ops.assign(features, modes, num_modes), ops.assign(features, modes[:, :5]))


def test_ties_and_zero_features_take_the_earliest_mode() -> None:
    features, modes = problem(modes=4)
    doubled = torch.cat([modes, -modes, modes], dim=1)
    assert same(ops.assign(features, doubled), ops.assign(features, modes))
    features[:, :, 2, 3] = 0
    index, score = ops.assign(features, modes)
    assert (index[:, 2, 3] == 0).all()
    assert (score[:, 2, 3] == 0).all()


def test_no_modes() -> None:
    features, modes = problem(modes=0)
    index, score = ops.assign(features, modes)
    assert (index == -1).all()
    assert (score == 0).all()


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)])
def test_nothing_to_assign(shape: tuple[int, ...]) -> None:
    index, score = ops.assign(torch.zeros(shape), torch.zeros(shape[0], 2, 3))
    assert index.shape == score.shape == (shape[0], *shape[2:])


def test_features_without_channels_are_zero_features() -> None:
    index, score = ops.assign(torch.zeros(1, 0, 2, 2), torch.zeros(1, 3, 0))
    assert (index == 0).all()
    assert (score == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_memory_layout_gives_the_same(dtype: torch.dtype) -> None:
    features, modes = problem()
    features = features.to(dtype)
    expected = ops.assign(features, modes)
    wider = torch.zeros(2, 19, 12, 20, dtype=dtype)
    wider[:, :, 2:11, 1:16] = features
    for view in (
        features.contiguous(memory_format=torch.channels_last),
        features.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        features.mT.contiguous().mT,
        wider[:, :, 2:11, 1:16],
    ):
        assert view.stride() != features.stride()
        assert same(ops.assign(view, modes), expected)
    assert same(ops.assign(features, modes.mT.contiguous().mT), expected)
    column = features[..., 4:5]
    assert same(ops.assign(column, modes), ops.assign(column.contiguous(), modes))
    row = wider[:, :, 4:5, 1:16]
    assert same(ops.assign(row, modes), ops.assign(row.contiguous(), modes))
    spread = features[:, :, 3:4, 3:4].expand(-1, -1, 9, 15)
    assert same(ops.assign(spread, modes), ops.assign(spread.contiguous(), modes))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_precision_number_is_read_exactly(dtype: torch.dtype) -> None:
    halves = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
    halves = halves[halves.isfinite()]
    # Alone in its feature, a number below 1e-6 shows in the score.
    beside_one = torch.stack([halves, torch.ones_like(halves)], dim=-1)
    alone = torch.stack([halves, torch.zeros_like(halves)], dim=-1)
    features = torch.stack([beside_one, alone]).permute(0, 2, 1).unsqueeze(2)
    modes = functional.normalize(torch.tensor([[1.0, 0.3], [0.2, 1.0], [1.0, -0.7]]), dim=-1)
    modes = modes.expand(2, 3, 2)
    assert same(ops.assign(features, modes), ops.assign(features.float(), modes))


@pytest.mark.parametrize("channels_last", [False, True])
def test_bitwise_the_same_for_any_number_of_threads(channels_last: bool) -> None:
    features, modes = problem(3, 32, 61, 67, 9)
    if channels_last:
        features = features.contiguous(memory_format=torch.channels_last)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            results.append(ops.assign(features, modes))
    finally:
        torch.set_num_threads(before)
    assert same(results[0], results[1])
    assert same(results[0], results[2])


INFO = ops.build_info()["cpu"]


@pytest.mark.parametrize("path", [path for path in INFO["available"] if path != INFO["path"]])
def test_the_other_instruction_sets_match_the_formula(path: str, tmp_path: Path) -> None:
    cases = [
        (features.to(dtype), modes)
        for dtype in DTYPES
        for features, modes in (problem(), problem(1, 128, 1, 70, 13))
    ]
    torch.save(cases, tmp_path / "cases.pt")
    script = f"""
import torch
from bottomup_fast import ops
cases = torch.load({str(tmp_path / "cases.pt")!r})
torch.save([ops.assign(*case) for case in cases], {str(tmp_path / "results.pt")!r})
print(ops.build_info()["cpu"]["path"])
"""
    environment = {**os.environ, "BOTTOMUP_CPU": path}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == path
    results = torch.load(tmp_path / "results.pt")
    for case, result in zip(cases, results, strict=True):
        check_result(*case, *result)
