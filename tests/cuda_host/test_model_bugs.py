"""Kernels with a bug: each is found, with a message that leads to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import process_device
import pytest
from devices import Device, DeviceError, MakeDevice, Schedule
from numpy.typing import NDArray

SOURCE = Path(__file__).parent / "kernels" / "bugs.cu"
ORDERS = ("forward", "reverse", "random")


def values(count: int) -> NDArray[Any]:
    return np.arange(count, dtype=np.float32)


def floats() -> NDArray[Any]:
    return np.zeros(64, np.float32)


def ints() -> NDArray[Any]:
    return np.zeros(64, np.int32)


def lines_in(kernel: str, *comments: str) -> list[int]:
    """Return the lines of a kernel that end in these comments."""
    text = SOURCE.read_text().splitlines()
    start = next(number for number, line in enumerate(text) if f"void {kernel}(" in line)
    return [
        next(n + 1 for n in range(start, len(text)) if text[n].endswith(f"// {comment}"))
        for comment in comments
    ]


def report_of(device: Device, bug: str, *arguments: NDArray[Any]) -> str:
    with pytest.raises(DeviceError) as caught:
        device.run(f"bug_{bug}", *arguments)
    return str(caught.value)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("bug", "arguments"),
    [
        ("missing_barrier", [floats]),
        ("missing_barrier_of_a_loop", [floats]),
        ("missing_warp_barrier", [floats]),
        ("racing_atomic", [ints]),
    ],
)
def test_a_race_is_reported_with_both_lines(
    make_device: MakeDevice, order: str, bug: str, arguments: list[Any]
) -> None:
    device = make_device("bugs", "thread", Schedule(order=order))
    report = report_of(device, bug, *(make() for make in arguments))
    assert "data race" in report
    for line in lines_in(bug, "the write", "the read"):
        assert f"bugs.cu:{line}" in report


def test_blocks_that_write_the_same_place_race(make_device: MakeDevice) -> None:
    report = report_of(make_device("bugs", "thread", Schedule()), "racing_blocks", floats())
    (line,) = lines_in("racing_blocks", "the write")
    assert "data race" in report
    assert len(re.findall(f"bugs.cu:{line}", report)) >= 2


@pytest.mark.parametrize("order", ORDERS)
def test_an_overwritten_stage_is_a_race_when_copies_land_at_once(
    make_device: MakeDevice, order: str
) -> None:
    device = make_device("bugs", "thread", Schedule(order=order, copies="eager"))
    report = report_of(device, "overwritten_stage", values(256), floats())
    (line,) = lines_in("overwritten_stage", "the read")
    assert "data race" in report
    assert f"bugs.cu:{line}" in report


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bug", ["missing_wait", "short_wait"])
def test_a_copy_that_is_not_waited_for_is_not_there(
    make_device: MakeDevice, bug: str, order: str
) -> None:
    result = floats()
    device = make_device("bugs", "host", Schedule(order=order, copies="lazy"))
    device.run(f"bug_{bug}", values(256), result)
    assert np.isnan(result[:32]).all()


def test_shared_memory_that_nobody_wrote_is_nan(make_device: MakeDevice) -> None:
    result = floats()
    make_device("bugs", "host", Schedule()).run("bug_unwritten_shared", result)
    assert np.isnan(result[0])
    assert (result[1:32] == 1).all()


def test_the_value_of_a_lane_that_takes_no_part_is_nan(make_device: MakeDevice) -> None:
    result = floats()
    make_device("bugs", "host", Schedule()).run("bug_value_of_an_absent_lane", result)
    assert np.isnan(result[:16]).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["host", "address", "thread"])
@pytest.mark.parametrize(
    ("bug", "arguments", "message"),
    [
        (
            "early_exit",
            [],
            r"divergent barrier\n  40 threads wait at __syncthreads, .*bugs.cu:\d+, "
            r"the first is \(\d+, 0, 0\)\n  24 threads have left",
        ),
        (
            "two_barriers",
            [],
            r"divergent barrier: other threads of the block wait at .*bugs.cu:\d+",
        ),
        ("caller_outside_mask", [ints], r"thread \(\d+, 0, 0\), .*: wrong mask: __shfl_sync"),
        (
            "absent_lane",
            [ints],
            r"wrong mask or divergent warp\n  31 threads wait at "
            r"__shfl_xor_sync, .*mask 0xffffffff\n  1 threads have left",
        ),
        (
            "different_operations",
            [ints],
            r"divergent warp: some lanes are at (__any|__syncw).*, "
            r"others at (__any|__syncw)",
        ),
        (
            "named_barrier_waits_for_too_many",
            [],
            r"deadlock\n  64 threads wait at named_barrier, "
            r".*\n  32 threads have left",
        ),
        ("named_barrier_counts_differ", [], r"disagree how many meet .* (64|96) .* and (64|96)"),
        ("misaligned_matrix", [ints], r"load_matrices: the address is not a multiple of 16"),
        ("copy_left_alone", [lambda: values(128)], r"bugs.cu:\d+: nobody waits for this copy"),
        ("misaligned_copy", [lambda: values(200)], r"copy_async: the address is not a multiple"),
    ],
)
def test_the_model_reports(
    make_device: MakeDevice,
    kind: str,
    order: str,
    bug: str,
    arguments: list[Any],
    message: str,
) -> None:
    device = make_device("bugs", kind, Schedule(order=order))
    report = report_of(device, bug, *(make() for make in arguments))
    assert re.match(rf"kernel bottomup::\(anonymous namespace\)::{bug}\(.*\), block \(", report)
    assert re.search(message, report)


@pytest.mark.parametrize(
    ("bug", "arguments", "message"),
    [
        ("shared_write_past_end", [], "use-after-poison"),
        ("shared_read_past_end", [floats], "use-after-poison"),
        ("global_write_past_end", [lambda: values(32)], "heap-buffer-overflow"),
        ("global_read_past_end", [lambda: values(32), floats], "heap-buffer-overflow"),
        ("misaligned_vector", [lambda: values(200), floats], "misaligned address"),
        ("shift_too_far", [ints], "shift exponent 32 is too large"),
    ],
)
def test_the_address_and_undefined_behaviour_sanitizers_report(
    make_device: MakeDevice, bug: str, arguments: list[Any], message: str
) -> None:
    device = make_device("bugs", "address", Schedule())
    report = report_of(device, bug, *(make() for make in arguments))
    assert message in report
    assert re.search(rf"{bug}.*bugs.cu:\d+", report) or "bugs.cu" in report


@pytest.mark.parametrize(
    ("bug", "arguments", "message"),
    [
        ("shared_write_past_end", [], "wrote past the end of the 128 bytes of shared memory"),
        ("global_write_past_end", [lambda: values(32)], r"wrote past an array of shape \(32,\)"),
    ],
)
def test_writes_past_an_end_are_seen_without_sanitizers(
    make_device: MakeDevice, bug: str, arguments: list[Any], message: str
) -> None:
    device = make_device("bugs", "host", Schedule())
    assert re.search(message, report_of(device, bug, *(make() for make in arguments)))


@pytest.mark.parametrize("kind", ["host", "address", "thread"])
def test_a_device_works_on_after_a_report(make_device: MakeDevice, kind: str) -> None:
    device = make_device("bugs", kind, Schedule())
    report_of(device, "early_exit")
    result = floats()
    device.run("bug_unwritten_shared", result)
    assert (result[1:32] == 1).all()


def test_an_endless_loop_ends(make_device: MakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_device, "SECONDS", 1.0)
    report = report_of(make_device("bugs", "none", Schedule()), "endless_loop", ints())
    assert "bug_endless_loop ended with the code -9" in report
