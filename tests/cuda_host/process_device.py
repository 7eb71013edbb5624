"""Call a family's functions in a process of their own, watched by sanitizers.

The other side is model/server.cpp. Sanitizers write to a file what they see; a call that makes them
write has failed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
import threading
from functools import cache
from typing import Any

import numpy as np
from compilation import Family, host_library, server
from devices import Argument, DeviceError, Schedule, place, require_success, scalar
from numpy.typing import NDArray

SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0",
    "TSAN_OPTIONS": "atexit_sleep_ms=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
SECONDS = 300.0  # of a call; a longer one is taken for an endless loop


class ProcessDevice:
    """The execution model, its kernels compiled for a sanitizer: "address", "thread" or "none"."""

    def __init__(self, kernels: Family, sanitizer: str, schedule: Schedule) -> None:
        self.capability = schedule.capability
        self._options = b"".join(
            b"o" + _text(option) + struct.pack("<q", value)
            for option, value in schedule.options().items()
        )
        self._server = _server(str(server(sanitizer)), str(host_library(kernels, sanitizer)))

    def run(self, name: str, *arguments: Argument) -> None:
        # An int fills the lower half of its register.
        require_success(name, ctypes.c_int32(self.size(name, *arguments)).value)

    def size(self, name: str, *arguments: Argument) -> int:
        arrays: list[NDArray[Any]] = []
        request = self._options + b"c" + _text(name)
        for argument in arguments:
            request += _pack(argument, arrays)
        return self._server.call(name, request + b".", arrays)

    def close(self) -> None:
        self._server.close()


class Server:
    """A process that calls functions of one library; started anew after anything went wrong."""

    def __init__(self, program: str, library: str) -> None:
        self._command = (*_fixed_addresses(), program, library)
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def call(self, name: str, request: bytes, arrays: list[NDArray[Any]]) -> int:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                env=os.environ | SANITIZER_OPTIONS,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
            )
        start = self._complaints.seek(0, 2)
        watchdog = threading.Timer(SECONDS, self._process.kill)
        watchdog.start()
        try:
            status, report = self._exchange(self._process, request, arrays)
        except (BrokenPipeError, struct.error):
            code = self._process.wait()
            self._process = None
            raise DeviceError(self._said(start) or f"{name} ended with the code {code}") from None
        finally:
            watchdog.cancel()
        complaints = self._said(start)
        if report or complaints:
            self.close()
            raise DeviceError("\n".join(filter(None, (report, complaints))), status)
        return status

    def _exchange(
        self, process: subprocess.Popen[bytes], request: bytes, arrays: list[NDArray[Any]]
    ) -> tuple[int, str]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request)
        process.stdin.flush()
        status, length = struct.unpack("<qQ", process.stdout.read(16))
        report = process.stdout.read(length).decode()
        for array in arrays:
            data = process.stdout.read(array.nbytes)
            if array.flags.writeable:
                array.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8)
            elif data != array.tobytes():
                report = report or "a read-only array was written to"
        return status, report

    def _said(self, start: int) -> str:
        self._complaints.seek(start)
        return self._complaints.read().decode(errors="replace")


@cache
def _server(program: str, library: str) -> Server:
    return Server(program, library)


@cache
def _fixed_addresses() -> tuple[str, ...]:
    """The thread sanitizer of older compilers cannot bear the random addresses of newer kernels."""
    command = ("setarch", "-R")
    if shutil.which(command[0]) is None:
        return ()
    works = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if works else ()


def _pack(argument: Argument, arrays: list[NDArray[Any]]) -> bytes:
    if isinstance(argument, np.ndarray):
        places = [place(array) for array in arrays]
        if place(argument) in places:
            return b"s" + struct.pack("<Q", places.index(place(argument)))
        arrays.append(argument)
        return b"a" + struct.pack("<Q", argument.nbytes) + argument.tobytes()
    value = scalar(argument)
    if isinstance(value, ctypes.c_double | ctypes.c_float):
        return b"f" + bytes(value).ljust(8, b"\0")
    return b"i" + struct.pack("<q", value.value or 0)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
