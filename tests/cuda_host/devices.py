"""Call a family's functions on the execution model; process_device.py and ptx_device.py: elsewhere.

A device has `run(name, *arguments)`, which raises DeviceError when the function returns an error
or anything was found wrong, and `size(name, *arguments)`, which returns an int64_t. Arguments are
C-contiguous numpy arrays (pointers; what the kernels write is in them afterwards), None (a null
pointer), int and bool (int64_t or any shorter integer), float (double) and numpy scalars (their own
type: np.float32(1) is a float).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from compilation import Family, host_library
from numpy.typing import NDArray

Argument = NDArray[Any] | np.generic | int | float | None
GUARD = 256  # bytes before and after an array, and what it is aligned to
ORDERS = {"forward": 0, "reverse": 1, "random": 2}


class DeviceError(RuntimeError):
    """What a device found wrong; `status` is what the function returned, None if it did not."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Schedule:
    """The device that is played, and how it runs threads and lands copies."""

    capability: int = 80
    order: str = "forward"
    copies: str = "lazy"
    seed: int = 0

    def options(self) -> dict[str, int]:
        return {
            "capability": self.capability,
            "order": ORDERS[self.order],
            "seed": self.seed,
            "eager": int(self.copies == "eager"),
        }


class Device(Protocol):
    """See the module's description."""

    capability: int

    def run(self, name: str, *arguments: Argument) -> None: ...

    def size(self, name: str, *arguments: Argument) -> int: ...


# A device of a family, a kind ("host", "address", "thread", "none" or "ptxrun") and a schedule.
MakeDevice = Callable[[str, str, Schedule], Device]


class HostDevice:
    """The execution model in this process."""

    def __init__(
        self,
        kernels: Family,
        schedule: Schedule,
        build: Callable[[Family], Path] = host_library,
    ) -> None:
        self.capability = schedule.capability
        self._schedule = schedule
        self._library = ctypes.CDLL(str(build(kernels)))
        self._library.cuda_host_report.restype = ctypes.c_char_p

    def run(self, name: str, *arguments: Argument) -> None:
        require_success(name, self._call(name, arguments, ctypes.c_int))

    def size(self, name: str, *arguments: Argument) -> int:
        return self._call(name, arguments, ctypes.c_int64)

    def _call(self, name: str, arguments: tuple[Argument, ...], result: type) -> int:
        for option, value in self._schedule.options().items():
            self._library.cuda_host_set(option.encode(), ctypes.c_int64(value))
        self._library.cuda_host_clear()
        guarded: dict[tuple[int, int], GuardedArray] = {}
        passed = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                if place(argument) not in guarded:
                    guarded[place(argument)] = GuardedArray(argument)
                passed.append(ctypes.c_void_p(guarded[place(argument)].address))
            else:
                passed.append(scalar(argument))
        function = getattr(self._library, name)
        function.restype = result
        status = int(function(*passed))
        report = self._library.cuda_host_report().decode()
        for guard in guarded.values():
            report = report or guard.finish(name)
        if report:
            raise DeviceError(report, status)
        return status


class GuardedArray:
    """A copy of an array between two guards."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self._room = np.full(array.nbytes + 3 * GUARD, 0xFF, np.uint8)
        self._start = GUARD + -(self._room.ctypes.data + GUARD) % GUARD
        self._bytes = self._room[self._start : self._start + array.nbytes]
        self._bytes[:] = array.reshape(-1).view(np.uint8)
        self.address = self._room.ctypes.data + self._start

    def finish(self, name: str) -> str:
        """Copy the array back; return what is wrong with the guards."""
        end = self._start + self._array.nbytes
        if self._array.flags.writeable:
            self._array.reshape(-1).view(np.uint8)[:] = self._bytes
        elif not np.array_equal(self._array.reshape(-1).view(np.uint8), self._bytes):
            return f"{name} wrote to a read-only array"
        if (self._room[: self._start] != 0xFF).any():
            return f"{name} wrote before an array of shape {self._array.shape}"
        if (self._room[end:] != 0xFF).any():
            return f"{name} wrote past an array of shape {self._array.shape}"
        return ""


def require_success(name: str, status: int) -> None:
    if status != 0:
        raise DeviceError(f"{name} returned the error {status}", status)


def place(array: NDArray[Any]) -> tuple[int, int]:
    if not array.flags.c_contiguous:
        raise ValueError("arrays must be C-contiguous")
    return array.ctypes.data, array.nbytes


def scalar(value: np.generic | int | float | None) -> Any:
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, np.generic):
        return np.ctypeslib.as_ctypes_type(value.dtype)(value.item())
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value)
