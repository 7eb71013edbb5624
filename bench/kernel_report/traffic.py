"""Memory traffic of the launchers, counted while the host execution model runs the kernels."""

from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cuda_host"))
from compilation import counting_library, family  # noqa: E402
from devices import HostDevice, Schedule  # noqa: E402

SECTOR = 32
"""Bytes that memory moves at a time."""


@dataclass(frozen=True)
class Launch:
    """One launch as it was asked for, and what it moved."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    read_sectors: int
    written_sectors: int
    read_bytes: int
    written_bytes: int
    multiplications: int
    """Tensor core instructions, of 2 * 16 * 8 * 16 operations each."""

    @property
    def moved_bytes(self) -> int:
        return SECTOR * (self.read_sectors + self.written_sectors)

    @property
    def threads(self) -> int:
        return self.block[0] * self.block[1] * self.block[2]


class CountingDevice(HostDevice):
    """The execution model with a counter at every access."""

    def __init__(self, name: str, capability: int, processors: int) -> None:
        super().__init__(family(name), Schedule(capability), counting_library)
        self._library.cuda_host_traffic.restype = ctypes.c_char_p
        self._set("processors", processors)

    def launches(self) -> list[Launch]:
        """Return what was launched since the last call."""
        records = json.loads(self._library.cuda_host_traffic())
        return [
            Launch(**{**each, "grid": tuple(each["grid"]), "block": tuple(each["block"])})
            for each in records
        ]

    def _set(self, option: str, value: int) -> None:
        assert self._library.cuda_host_set(option.encode(), ctypes.c_int64(value))
