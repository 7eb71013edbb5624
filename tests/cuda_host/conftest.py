"""Run a test of CUDA kernels on several devices that are none: how such a test is written.

A test module names its family, which is csrc/<family>_cuda/*.cu with the functions of
entries/<family>.cpp, and asks for the fixture `device`:

    FAMILY = "meanshift"

    def test_something(device: Device) -> None:
        result = np.zeros(7, np.float32)
        device.run("meanshift_something", points, result, len(points), 0.5)  # raises DeviceError
        assert_close(result, ...)

The test then runs once for each schedule of SCHEDULES: different device capabilities, orders of
threads and blocks, asynchronous copies that land as late or as early as they may. `devices.py`
tells what arguments are; `device.capability` is 75, 80, 86 or 90. `test_model.py` has examples.

`@pytest.mark.small` marks tests whose problems are small enough to run under the sanitizers too,
for address and undefined behaviour and for races, and, if the environment variable PTXRUN names the
folder of the interpreter of PTX, on that. These runs have the marks `address`, `thread` and
`ptxrun`: select with -m, for example -m thread or -m "not thread and not address".
`@pytest.mark.capability(80)` leaves the older devices out.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from compilation import family
from devices import Device, HostDevice, MakeDevice, Schedule
from process_device import ProcessDevice
from ptx_device import PtxDevice

SCHEDULES = (
    Schedule(80, "forward", "lazy"),
    Schedule(86, "reverse", "eager"),
    Schedule(90, "random", "lazy", seed=1),
    Schedule(75, "random", "eager", seed=2),
)
SMALL_SCHEDULES = {
    "address": (
        Schedule(80, "forward", "lazy"),
        Schedule(80, "reverse", "eager"),
        Schedule(75, "reverse"),
    ),
    "thread": (
        Schedule(80, "forward", "lazy"),
        Schedule(80, "random", "eager", seed=3),
        Schedule(75, "random", seed=4),
    ),
}
PTX_SCHEDULES = tuple(
    Schedule(capability, copies=copies)
    for capability in (75, 80, 90)
    for copies in ("lazy", "eager")
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "small: also under sanitizers, and as PTX with PTXRUN")
    config.addinivalue_line("markers", "address: under the address sanitizer")
    config.addinivalue_line("markers", "thread: under the thread sanitizer")
    config.addinivalue_line("markers", "ptxrun: as interpreted PTX")
    config.addinivalue_line("markers", "capability(least): not on devices of a lesser capability")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" not in metafunc.fixturenames:
        return
    needs = metafunc.definition.get_closest_marker("capability")
    least = needs.args[0] if needs else 0
    wanted = [("host", schedule) for schedule in SCHEDULES]
    if metafunc.definition.get_closest_marker("small"):
        wanted += [(kind, each) for kind, all_of in SMALL_SCHEDULES.items() for each in all_of]
        if os.environ.get("PTXRUN"):
            wanted += [("ptxrun", schedule) for schedule in PTX_SCHEDULES]
    wanted = [(kind, schedule) for kind, schedule in wanted if schedule.capability >= least]
    parameters = [
        pytest.param(
            (kind, each),
            id=f"{kind}-{each.capability}-{each.order}-{each.copies}",
            marks=[] if kind == "host" else getattr(pytest.mark, kind),
        )
        for kind, each in wanted
    ]
    metafunc.parametrize("device", parameters, indirect=True)


@pytest.fixture(scope="session")
def make_device() -> Iterator[MakeDevice]:
    """Devices by family, kind and schedule, each made once."""
    made: list[Device] = []

    @functools.cache
    def make(name: str, kind: str, schedule: Schedule) -> Device:
        kernels = family(name)
        device: Device
        if kind == "host":
            device = HostDevice(kernels, schedule)
        elif kind == "ptxrun":
            device = PtxDevice(kernels, Path(os.environ["PTXRUN"]), schedule)
        else:
            device = ProcessDevice(kernels, kind, schedule)
        made.append(device)
        return device

    yield make
    for device in made:
        if isinstance(device, ProcessDevice):
            device.close()


@pytest.fixture
def device(request: pytest.FixtureRequest, make_device: MakeDevice) -> Device:
    return make_device(request.module.FAMILY, *request.param)
