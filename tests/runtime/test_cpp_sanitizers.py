"""Threads, memory and damaged files in the C++ library, built with and without sanitizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from programs import run

from bottomup_fast.export.seal import seal

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {
    "plain": ["-O2"],
    "address": ["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-O1", "-g1", "-fsanitize=thread", "-fno-sanitize-recover=all"],
}
pytestmark = pytest.mark.slow


def build(folder: Path, kind: str, *programs: str) -> None:
    sources = [ROOT / "csrc/common/simd.cpp", *(ROOT / "csrc/meanshift_cpu").glob("*.cpp")]
    sources += (ROOT / "csrc/merging").glob("*.cpp")
    without = ("aoti.cpp", "tensorrt.cpp")  # they need other libraries
    runtime = (ROOT / "csrc/runtime").glob("*.cpp")
    sources += [file for file in runtime if file.name not in without]
    compile = [
        *("g++", "-std=c++20", "-Wno-psabi", "-pthread", *OPTIONS[kind]),
        *(f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/runtime/include'}"),
    ]
    objects = [folder / f"{file.parent.name}_{file.stem}.o" for file in sources]
    for source, target in zip(sources, objects, strict=True):
        run(*compile, "-c", source, "-o", target)
    for name in programs:
        source = ROOT / "tests/runtime" / f"{name}.cpp"
        run(*compile, source, *objects, "-o", folder / name)


# The thread sanitizer is slow, and sees a race in the first segmentations as well as in the last.
@pytest.mark.parametrize(("kind", "times"), [("plain", 200), ("address", 200), ("thread", 8)])
def test_many_threads_and_damaged_files(kind: str, times: int, tmp_path: Path) -> None:
    build(tmp_path, kind, "library_test", "damaged_test")
    assert run(tmp_path / "library_test", str(times)) == "ok\n"
    whole = tmp_path / "whole.pt2"
    whole.write_bytes(seal(np.random.default_rng(0).bytes(20_000)))
    assert run(tmp_path / "damaged_test", whole, tmp_path) == "ok\n"
