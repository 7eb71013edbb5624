"""What the execution model's device answers, refuses and repeats."""

from __future__ import annotations

import numpy as np
import pytest
from devices import DeviceError, MakeDevice, Schedule

MULTIPROCESSORS, MAJOR, MINOR, SHARED = 16, 75, 76, 97  # of cudaDeviceAttr
INVALID_VALUE, INVALID_CONFIGURATION, LAUNCH_FAILURE = 1, 9, 719
KIB = 1024


@pytest.mark.parametrize(("capability", "shared"), [(75, 64), (80, 163), (86, 99), (90, 227)])
def test_shared_memory_of_the_device(make_device: MakeDevice, capability: int, shared: int) -> None:
    device = make_device("model", "host", Schedule(capability))
    assert device.size("model_attribute", MAJOR) == capability // 10
    assert device.size("model_attribute", MINOR) == capability % 10
    assert device.size("model_attribute", SHARED) == shared * KIB
    device.run("model_synchronise", 1, 1, 32, shared * KIB)
    with pytest.raises(DeviceError) as refused:
        device.run("model_synchronise", 1, 1, 32, shared * KIB + 1)
    assert refused.value.status == INVALID_VALUE


def test_more_than_48_kib_must_be_asked_for(make_device: MakeDevice) -> None:
    device = make_device("model", "host", Schedule(90))
    with pytest.raises(DeviceError) as refused:
        device.run("model_launch_without_attribute", 96 * KIB)
    assert refused.value.status == INVALID_VALUE


@pytest.mark.parametrize(("grid", "block"), [(0, 32), (1, 0), (1, 1025), (1 << 31, 32)])
def test_impossible_launches(make_device: MakeDevice, grid: int, block: int) -> None:
    device = make_device("model", "host", Schedule())
    with pytest.raises(DeviceError) as refused:
        device.run("model_synchronise", 1, grid, block, 0)
    assert refused.value.status == INVALID_CONFIGURATION


def test_the_largest_block(make_device: MakeDevice) -> None:
    make_device("model", "host", Schedule()).run("model_synchronise", 3, 2, 1024, 0)


@pytest.mark.parametrize(
    ("name", "wrapper"),
    [
        ("model_multiply", "multiply_float16"),
        ("model_sum_rows", "copy_async"),
        ("model_reduce", "__reduce_add_sync"),
        ("model_pack", "pack_float16"),
    ],
)
def test_what_older_devices_lack(make_device: MakeDevice, name: str, wrapper: str) -> None:
    values = np.zeros(256, np.float32)
    arguments = {
        "model_multiply": (values, values, values.copy(), 0),
        "model_sum_rows": (values, values.copy(), 1, 16),
        "model_reduce": (values, values.copy()),
        "model_pack": (values, values.copy(), values.copy(), 32),
    }[name]
    with pytest.raises(DeviceError) as refused:
        make_device("model", "host", Schedule(75)).run(name, *arguments)
    assert f"{wrapper} needs compute capability 8.0, the device has 7.5" in str(refused.value)
    assert refused.value.status == LAUNCH_FAILURE
    make_device("model", "host", Schedule(80)).run(name, *arguments)


@pytest.mark.parametrize(("order", "first"), [("forward", 1), ("reverse", 0)])
def test_order_of_blocks(make_device: MakeDevice, order: str, first: int) -> None:
    result = np.zeros(64, np.float32)
    make_device("bugs", "host", Schedule(order=order)).run("bug_racing_blocks", result)
    assert (result[:32] == first).all()


def test_a_random_order_repeats_with_its_seed(make_device: MakeDevice) -> None:
    orders = set()
    for seed in range(8):
        device = make_device("model", "host", Schedule(order="random", seed=seed))
        results = []
        for _ in range(2):
            result = np.zeros(65, np.int32)
            device.run("model_arrival_order", result)
            results.append(result)
        np.testing.assert_array_equal(*results)
        assert sorted(results[0][1:]) == list(range(64))
        orders.add(tuple(results[0]))
    assert len(orders) == 8


def test_read_only_arrays_stay_as_they_are(make_device: MakeDevice) -> None:
    for kind in ("host", "address"):
        device = make_device("model", kind, Schedule())
        values, copy = np.zeros(64, np.int32), np.zeros(64, np.int32)
        values.flags.writeable = False
        with pytest.raises(DeviceError, match="read-only"):
            device.run("model_add_twice", values, copy, 64)
        assert not values.any()


@pytest.mark.parametrize("kind", ["host", "none", "address", "thread"])
def test_arguments_arrive(make_device: MakeDevice, kind: str) -> None:
    first = (-1, np.float32(1.5), -(2**40), 2.5, np.uint32(2**32 - 1), -3.5, 7, 4.5, 9)
    then = (np.float32(-5.5), 11, 6.5, np.int32(-13), 7.5, 15, 8.5, -9.5, 10.5)
    last = (None, np.float32(11.5), True)
    result = np.zeros(21)
    device = make_device("model", kind, Schedule())
    device.run("model_arguments", result, *first, *then, *last)
    assert result.tolist() == [*map(float, (*first, *then)), 0.0, 11.5, 1.0]


@pytest.mark.parametrize("kind", ["host", "none"])
def test_an_array_passed_twice_is_one(make_device: MakeDevice, kind: str) -> None:
    values = np.zeros(70, np.int32)
    make_device("model", kind, Schedule()).run("model_add_twice", values, values, 70)
    assert (values == 2).all()


def test_arrays_must_be_contiguous(make_device: MakeDevice) -> None:
    values = np.zeros((70, 2), np.int32)[:, 0]
    with pytest.raises(ValueError, match="contiguous"):
        make_device("model", "host", Schedule()).run("model_add_twice", values, values, 70)
