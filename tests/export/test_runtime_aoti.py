"""AOTInductor packages in `bottomup_fast.runtime`: torch's libraries without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bottomup_fast as bf
from bottomup_fast import runtime
from bottomup_fast.errors import InputError
from bottomup_fast.export import load_aoti
from bottomup_fast.runtime import aoti

MOST_GROWTH = 16 << 20
"""Bytes, for a segmenter in eight threads that has warmed up."""


def picture(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((9, 9, 1), np.uint8))[:height, :width]


@pytest.fixture
def fresh_backend() -> Iterator[None]:
    aoti._backend.cache_clear()
    yield
    aoti._backend.cache_clear()


@pytest.mark.parametrize("arguments", [{}, {"scale": 1.0, "tile_size": 32}, {"resolutions": [48]}])
def test_labels_are_those_of_the_torch_segmenter(
    aoti_file: Path, arguments: dict[str, Any]
) -> None:
    expecting = bf.Segmenter(load_aoti(aoti_file), "cpu", **arguments)
    segmenter = runtime.Segmenter(aoti_file, threads=1, **arguments)
    for shape in ((66, 83), (31, 40)):
        expected, found = expecting.segment(picture(*shape)), segmenter.segment(picture(*shape))
        assert np.array_equal(found.labels, expected.labels)
        assert found.scores == pytest.approx(expected.scores, abs=1e-5)
    assert len(found) > 1


PROGRAM = """
import sys
import numpy as np

class Refuse:
    def find_spec(self, name, path=None, target=None):
        # Whether torch is installed is asked for, from where it is not imported.
        if name.partition(".")[0] in ("pydantic", "timm", "torchvision", "onnxruntime"):
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Refuse())
from bottomup_fast import runtime
segmenter = runtime.Segmenter(sys.argv[1], threads=1)
found = segmenter.segment(np.load(sys.argv[2]))
assert "torch" not in sys.modules
np.save(sys.argv[3], found.labels)
"""


def test_torch_is_not_imported(aoti_file: Path, tmp_path: Path) -> None:
    pixels, labels = tmp_path / "pixels.npy", tmp_path / "labels.npy"
    np.save(pixels, picture(66, 83))
    command = [sys.executable, "-c", PROGRAM, aoti_file, pixels, labels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = bf.Segmenter(load_aoti(aoti_file), "cpu").segment(picture(66, 83)).labels
    assert np.array_equal(np.load(labels), expected)


@pytest.mark.parametrize("runs", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_many_threads(aoti_file: Path, runs: int) -> None:
    segmenter = runtime.Segmenter(aoti_file, threads=1)
    pixels = picture(40, 50)
    expected = segmenter.segment(pixels).labels

    def work(runs: int) -> bool:
        return all(np.array_equal(segmenter.segment(pixels).labels, expected) for _ in range(runs))

    def resident() -> int:
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, [max(2, runs // 10)] * 8))
        before = resident()
        assert all(threads.map(work, [runs] * 8))
        assert resident() - before < MOST_GROWTH


def test_refused_arguments(aoti_file: Path) -> None:
    with pytest.raises(InputError, match="threads: must be at least 1, got 0"):
        runtime.Segmenter(aoti_file, threads=0)
    network = runtime.AotiNetwork(aoti_file, threads=1)
    with pytest.raises(InputError, match="image: expected"):
        network(np.zeros((1, 32, 32), np.float32), 0, 0)


def test_without_torch(
    aoti_file: Path, monkeypatch: pytest.MonkeyPatch, fresh_backend: None
) -> None:
    monkeypatch.setattr(aoti, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="run by torch's libraries: pip install torch"):
        runtime.Segmenter(aoti_file)


def test_with_another_torch(
    aoti_file: Path, monkeypatch: pytest.MonkeyPatch, fresh_backend: None
) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "1.0+cpu")
    with pytest.raises(ImportError, match=r"built with torch .*, installed is 1\.0; install bot"):
        runtime.Segmenter(aoti_file)


def test_without_the_module(
    aoti_file: Path, monkeypatch: pytest.MonkeyPatch, fresh_backend: None
) -> None:
    monkeypatch.setitem(sys.modules, "bottomup_fast.runtime._runtime_aoti", None)
    with pytest.raises(ImportError, match=r"cannot be run with torch .*; install bottomup-fast"):
        runtime.Segmenter(aoti_file)
