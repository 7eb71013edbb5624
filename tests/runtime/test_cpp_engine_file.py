"""Engine files as the C++ library reads them: without TensorRT and without a GPU."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from damage import flip_bit
from random_models import tiny_settings

from bottomup_fast.export.description import Description
from bottomup_fast.export.seal import seal
from bottomup_fast.export.tensorrt_engine import read_engine

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = "tensorrt_rtx 1.7.1.116"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = tmp_path_factory.mktemp("engine") / "engine_test"
    names = ("engine_file", "export_file", "json", "settings", "sha256")
    sources = [ROOT / f"csrc/runtime/{name}.cpp" for name in names]
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    includes = (f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/runtime/include'}")
    command = ["g++", "-std=c++20", "-O1", *sanitizers, *includes, *sources]
    test = ROOT / "tests/runtime/engine_test.cpp"
    subprocess.run([*command, test, "-o", result], check=True)
    return result


def said(program: Path, *files: Path, runtime: str = RUNTIME) -> list[str]:
    command = [program, runtime, *files]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def metadata(position_scale: float | None = None, **changes: str) -> dict[str, str]:
    settings = tiny_settings(True, position_scale)
    described = Description(settings, "tensorrt", "float16", (256, 512), RUNTIME, "cuda 8.9")
    return described.to_metadata() | changes


def write(path: Path, text: bytes, length: int | None = None, engine: bytes = b"engine") -> Path:
    size = len(text) if length is None else length
    path.write_bytes(seal(engine + text + size.to_bytes(8, "little")))
    return path


@pytest.mark.parametrize("position_scale", [None, 12.0])
def test_what_python_reads(program: Path, tmp_path: Path, position_scale: float | None) -> None:
    file = write(tmp_path / "a.engine", json.dumps(metadata(position_scale)).encode())
    description, engine = read_engine(file)
    expected = [engine.decode(), str(description.settings.architecture.feature_dim), "256", "512"]
    assert said(program, file) == [" ".join(expected + ["origin"] * (position_scale is not None))]


def test_what_is_refused(program: Path, tmp_path: Path) -> None:
    text = json.dumps(metadata()).encode()
    good = write(tmp_path / "good.engine", text)
    cut = tmp_path / "cut.engine"
    cut.write_bytes(good.read_bytes()[:-1])
    empty = tmp_path / "empty.engine"
    empty.write_bytes(b"")
    other = {
        "missing": (tmp_path / "missing.engine", "no such file"),
        "cut": (cut, "truncated"),
        "empty": (empty, "truncated"),
        "nothing": (write(tmp_path / "nothing.engine", b"", engine=b""), "not a TensorRT engine"),
        "long": (write(tmp_path / "long.engine", text, 2**64 - 1), "not a TensorRT engine"),
        "all": (write(tmp_path / "all.engine", text, engine=b""), "not a TensorRT engine"),
        "list": (write(tmp_path / "list.engine", b"[1]"), "not a TensorRT engine"),
        "number": (write(tmp_path / "number.engine", b'{"layout": 1}'), "not a TensorRT engine"),
        "deep": (write(tmp_path / "deep.engine", b"[" * 100_000), "not a TensorRT engine"),
    }
    changed = {
        "onnx": ({"format": "onnx"}, "an export to onnx, not to tensorrt"),
        "layout": ({"layout": "2"}, "written in layout 2"),
        "version": (
            {"runtime": "tensorrt 10.9.0.34"},
            f"built by tensorrt 10.9.0.34, this is {RUNTIME}",
        ),
        "descending": ({"fixed_resolutions": "512,256"}, "no ascending fixed_resolutions"),
        "none": ({"fixed_resolutions": ""}, "no ascending fixed_resolutions"),
        "words": ({"fixed_resolutions": "big"}, "fixed_resolutions"),
        "settings": ({"bottomup_fast": "{}"}, "metadata"),
    }
    for name, (changes, reason) in changed.items():
        content = json.dumps(metadata(**changes)).encode()
        other[name] = (write(tmp_path / f"{name}.engine", content), reason)
    lines = said(program, *(file for file, _ in other.values()))
    assert len(lines) == len(other)
    for line, (file, reason) in zip(lines, other.values(), strict=True):
        assert line.startswith(f"{file}: ")
        assert reason in line


def test_damaged_bytes(program: Path, tmp_path: Path) -> None:
    content = write(tmp_path / "a.engine", json.dumps(metadata()).encode()).read_bytes()
    rng = np.random.default_rng(0)
    files = []
    for i, place in enumerate(rng.integers(0, len(content), 500)):
        files.append(tmp_path / f"{i}.engine")
        files[-1].write_bytes(flip_bit(content, int(place), rng))
    for file, line in zip(files, said(program, *files), strict=True):
        assert line.startswith(f"{file}: ")
