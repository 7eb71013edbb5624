"""Call a family's functions on the PTX that nvcc writes, interpreted without a GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from compilation import Family, ptx_library
from devices import Argument, DeviceError, Schedule, require_success, scalar


class PtxDevice:
    """PTX as nvcc wrote it, interpreted by the tool in the folder `ptxrun`, races watched.

    The interpreter stands in for the CUDA runtime, which torch loads too: it has a process of its
    own, without torch.
    """

    def __init__(self, kernels: Family, ptxrun: Path, schedule: Schedule) -> None:
        self.capability = schedule.capability
        library = str(ptx_library(kernels, schedule.capability))
        self._process = _process()
        self._interpreter = (ptxrun, library, schedule)

    def run(self, name: str, *arguments: Argument) -> None:
        require_success(name, self._call(name, arguments, ctypes.c_int))

    def size(self, name: str, *arguments: Argument) -> int:
        return self._call(name, arguments, ctypes.c_int64)

    def _call(self, name: str, arguments: tuple[Argument, ...], result: type) -> int:
        call = self._process.submit(_call_there, *self._interpreter, name, arguments, result)
        status, message, written = call.result()
        for mine, theirs in zip(arguments, written, strict=True):
            if isinstance(mine, np.ndarray):
                mine[...] = theirs
        if message:
            raise DeviceError(message, status)
        return status


@cache
def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"))


def _call_there(
    ptxrun: Path,
    library: str,
    schedule: Schedule,
    name: str,
    arguments: tuple[Argument, ...],
    result: type,
) -> tuple[int, str, tuple[Argument, ...]]:
    """Call a function in the interpreter's process: its result, what was wrong, the arguments."""
    device = _interpreted(ptxrun, library, schedule)
    try:
        return device.call(name, arguments, result), "", arguments
    except DeviceError as error:
        return error.status or 0, str(error), arguments


class InterpretedLibrary:
    """A library in the interpreter's process."""

    def __init__(self, ptxrun: Path, library: str, schedule: Schedule) -> None:
        self.capability = schedule.capability
        order = {"forward": "fwd", "reverse": "rev", "random": f"rand:{schedule.seed}"}
        interpreter = _load_ptxrun(ptxrun)
        self._cuda = interpreter.FakeCuda(
            _translate(ptxrun, library),
            race=True,
            order=order[schedule.order],
            cpasync=schedule.copies,
        )
        self._library = self._cuda.load(library)
        self._error = interpreter.PtxError

    def call(self, name: str, arguments: tuple[Argument, ...], result: type) -> int:
        # All devices share one runtime, which calls the one that was made last.
        runtime = self._cuda.rt
        runtime.fake_set_callback(self._cuda.cb)
        self._library.cuda_host_set(b"capability", ctypes.c_int64(self.capability))
        arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
        passed = [
            self._cuda.ptr(argument) if isinstance(argument, np.ndarray) else scalar(argument)
            for argument in arguments
        ]
        function = getattr(self._library, name)
        function.restype = result
        status = int(function(*passed))
        for array in arrays:
            runtime.fake_unregister(ctypes.c_void_p(array.ctypes.data))
        self._cuda.keep.clear()
        try:
            self._cuda.check()
        except self._error as error:
            raise DeviceError(str(error), status) from None
        return status


@cache
def _interpreted(ptxrun: Path, library: str, schedule: Schedule) -> InterpretedLibrary:
    return InterpretedLibrary(ptxrun, library, schedule)


@cache
def _load_ptxrun(folder: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("ptxrun", folder / "ptxrun.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["ptxrun"] = module
    specification.loader.exec_module(module)
    return module


@cache
def _translate(folder: Path, library: str) -> list[Any]:
    """Return the interpreter's modules; it refuses a source file's PTX that has no kernels."""
    interpreter = _load_ptxrun(folder)
    texts = interpreter.fatbin_ptx(library)
    return [interpreter.Module(ptx) for ptx in texts if ".entry" in ptx]
