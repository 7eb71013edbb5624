"""What the execution model does with correct kernels."""

from __future__ import annotations

import numpy as np
import pytest
from devices import Device
from numpy.typing import NDArray

FAMILY = "model"

pytestmark = pytest.mark.small


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def bfloat16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to bfloat16, to the nearest, ties to even."""
    bits = values.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def bfloat16_values(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_threads_meet_at_a_barrier(device: Device, count: int) -> None:
    values, result = normal(count), np.zeros(count, np.float32)
    device.run("model_reverse_blocks", values, result, count)
    padded = np.zeros((count + 63) // 64 * 64, np.float32)
    padded[:count] = values
    np.testing.assert_array_equal(result, padded.reshape(-1, 64)[:, ::-1].reshape(-1)[:count])


def test_threads_and_blocks_have_three_indices(device: Device) -> None:
    result = np.zeros((2, 2, 3, 3, 4, 5), np.int32)
    device.run("model_number_threads", result)
    weights = (100000, 10000, 1000, 100, 10, 1)
    expected = sum(w * i for w, i in zip(weights, np.indices(result.shape), strict=True))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("threads", [32, 40, 96])
@pytest.mark.parametrize(("argument", "width"), [(1, 32), (5, 32), (3, 8), (1, 2), (0, 16)])
def test_shuffles(device: Device, threads: int, argument: int, width: int) -> None:
    values, result = normal(threads), np.zeros((4, threads), np.float32)
    device.run("model_shuffle", values, result, threads, argument, width)
    thread = np.arange(threads)
    first = thread // width * width
    sources = np.stack(
        [
            first + argument % width,
            np.where(thread - argument >= first, thread - argument, thread),
            np.where(thread + argument < first + width, thread + argument, thread),
            np.where(thread ^ argument < first + width, thread ^ argument, thread),
        ]
    )
    present = sources < threads  # another lane's value is undefined
    np.testing.assert_array_equal(
        result[present], np.broadcast_to(values, sources.shape)[0][sources[present]]
    )


def test_lanes_that_diverge_shuffle_among_themselves(device: Device) -> None:
    values = normal(64).astype(np.float64)
    result = np.zeros_like(values)
    device.run("model_shuffle_in_halves", values, result)
    thread = np.arange(64)
    expected = np.where(thread % 32 < 16, values + values[thread ^ 1], values - values[thread ^ 2])
    np.testing.assert_array_equal(result, expected)


def test_votes(device: Device) -> None:
    values = np.random.default_rng(1).integers(-2, 4, 64).astype(np.int32)
    values[32:] = np.minimum(values[32:], 2)
    values[40] = -3
    result = np.zeros((2, 32, 4), np.uint32)
    device.run("model_vote", values, result)
    for warp in range(2):
        lanes = values[warp * 32 : warp * 32 + 32]
        ballot = sum(1 << lane for lane in range(32) if lanes[lane] > 0)
        assert (result[warp, :, 0] == ballot).all()
        assert (result[warp, :, 1] == (lanes > 2).any()).all()
        assert (result[warp, :, 2] == (lanes > -3).all()).all()
        text = f"{ballot:032b}"
        first, leading = 32 - text.rindex("1"), text.index("1")
        assert (result[warp, :, 3] == text.count("1") * 10000 + first * 100 + leading).all()


@pytest.mark.capability(80)
def test_reductions_of_a_warp(device: Device) -> None:
    values = np.random.default_rng(2).integers(-50, 50, 64).astype(np.int32)
    result = np.zeros((2, 32, 4), np.int32)
    device.run("model_reduce", values, result)
    for warp in range(2):
        lanes = values[warp * 32 : warp * 32 + 32]
        expected = [lanes.sum(), lanes.min(), lanes.max(), np.bitwise_or.reduce(lanes)]
        assert (result[warp] == expected).all()


def test_atomics(device: Device) -> None:
    bins, blocks = 7, 3
    values = np.random.default_rng(3).integers(0, bins, 96 * blocks).astype(np.int32)
    result = np.zeros(bins + 4, np.int32)
    device.run("model_count_values", values, result, blocks, bins)
    np.testing.assert_array_equal(result[:bins], np.bincount(values, minlength=bins))
    assert result[bins:].tolist() == [bins - 1, 0, (1 << bins) - 1, 7]


def test_named_barriers(device: Device) -> None:
    values, result = normal(5, 64), np.zeros(64, np.float32)
    device.run("model_produce_and_consume", values, result, 5)
    np.testing.assert_allclose(result, values.sum(0)[::-1], rtol=1e-5, atol=1e-6)


def test_kernels_of_a_stream_follow_each_other(device: Device) -> None:
    values, copy = np.full(70, 9, np.int32), np.zeros(70, np.int32)
    device.run("model_add_twice", values, copy, 70)
    assert (values == 2).all()
    assert (copy == 2).all()


@pytest.mark.capability(80)
def test_packing_rounds_to_the_nearest(device: Device) -> None:
    values = np.concatenate(
        [normal(300) * 100, [0, -0.0, 1 + 2**-11, 1 + 3 * 2**-11, 65504, 65520, 1e-7, 6e-8, 1e9]]
    ).astype(np.float32)
    packed = np.zeros((len(values), 2), np.uint32)
    back = np.zeros_like(values)
    device.run("model_pack", values, packed, back, len(values))
    halves = packed[:, 0].copy().view(np.uint16).reshape(-1, 2)
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    np.testing.assert_array_equal(halves[:, 0], expected.view(np.uint16))
    np.testing.assert_array_equal(halves[:, 1], (-expected).view(np.uint16))
    np.testing.assert_array_equal(back, expected.astype(np.float32))
    halves = packed[:, 1].copy().view(np.uint16).reshape(-1, 2)
    np.testing.assert_array_equal(halves[:, 0], bfloat16_bits(values))
    np.testing.assert_array_equal(halves[:, 1], bfloat16_bits(-values))


@pytest.mark.capability(80)
@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("last_bytes", [0, 4, 16])
def test_copies_land_when_they_are_waited_for(device: Device, rows: int, last_bytes: int) -> None:
    values, result = normal(rows, 64, 4), np.zeros(64, np.float32)
    device.run("model_sum_rows", values, result, rows, last_bytes)
    values[-1, :, last_bytes // 4 :] = 0
    expected = np.roll(values.astype(np.float64).sum((0, 2)), -1)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.capability(80)
@pytest.mark.parametrize("bfloat16", [False, True])
def test_products_of_tensor_cores(device: Device, bfloat16: bool) -> None:
    a, b = normal(16, 16), normal(24, 16)[16:, :].reshape(16, 8).copy()
    if bfloat16:
        a_bits, b_bits = bfloat16_bits(a), bfloat16_bits(b)
        a, b = bfloat16_values(a_bits), bfloat16_values(b_bits)
    else:
        a_bits, b_bits = a.astype(np.float16).view(np.uint16), b.astype(np.float16).view(np.uint16)
        a, b = (bits.view(np.float16).astype(np.float32) for bits in (a_bits, b_bits))
    result = np.zeros((16, 8), np.float32)
    device.run("model_multiply", a_bits, b_bits, result, bfloat16)
    expected = 1 + a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(result, expected, rtol=2e-6, atol=2e-6)


def test_matrices_are_spread_over_the_lanes(device: Device) -> None:
    values = np.arange(256, dtype=np.uint16).reshape(4, 8, 8)
    result = np.zeros((2, 32, 4, 2), np.uint16)
    device.run("model_spread_matrices", values, result.view(np.uint32))
    lane, half = np.arange(32)[:, None], np.arange(2)[None, :]
    row, column = lane // 4, lane % 4 * 2 + half
    for number in range(4):
        np.testing.assert_array_equal(result[0, :, number], values[number][row, column])
        np.testing.assert_array_equal(result[1, :, number], values[number][column, row])
