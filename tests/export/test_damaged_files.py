from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bottomup_fast import runtime
from bottomup_fast.errors import InputError
from bottomup_fast.export import (
    EngineOptions,
    export_tensorrt,
    load_aoti,
    load_onnx,
    load_tensorrt,
    read_engine,
)
from bottomup_fast.export.seal import DIGEST, seal
from bottomup_fast.models.network import BottomUpNetwork

Load = Callable[[Path], object]
LOADERS: dict[str, Load] = {
    "onnx": load_onnx,
    "aoti": load_aoti,
    "tensorrt": read_engine,
    "onnx without torch": runtime.OnnxNetwork,
    "aoti without torch": runtime.AotiNetwork,
}
MOST_MEMORY = 64 << 20
"""Bytes by which a process may grow that reads hundreds of damaged files of a few MB."""


@pytest.fixture(scope="session")
def engine_file(
    network: BottomUpNetwork,
    traced: Callable[..., bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("engine") / "tiny.engine"
    options = EngineOptions((64,), compute_capability="8.9", library="tensorrt_rtx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bottomup_fast.export.tensorrt_engine.onnx_bytes", traced)
        export_tensorrt(network, path, precision="float32", options=options)
    return path


@pytest.fixture(params=list(LOADERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def exported(onnx_file: Path, aoti_file: Path, engine_file: Path) -> dict[str, Path]:
    return {"onnx": onnx_file, "aoti": aoti_file, "tensorrt": engine_file}


@pytest.fixture
def whole(kind: str, exported: dict[str, Path]) -> bytes:
    return exported[kind.split()[0]].read_bytes()


def refusal(kind: str, path: Path, content: bytes) -> str:
    """What the loader says; nothing keeps the error, which refers to all that was read."""
    path.write_bytes(content)
    try:
        LOADERS[kind](path)
    except InputError as error:
        message = str(error)
    else:
        pytest.fail("the file was taken")
    assert "damaged.pt2: " in message
    assert "export the model again" in message
    assert "\n" not in message
    return message


def resident() -> int:
    """Bytes of memory that the process holds."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("flips", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_flipped_bytes(kind: str, whole: bytes, tmp_path: Path, flips: int) -> None:
    rng = np.random.default_rng(flips)
    places = rng.integers(0, len(whole), flips)
    places[: flips // 5] = len(whole) - 1 - rng.integers(0, 2000, flips // 5)  # where headers are
    refusal(kind, tmp_path / "damaged.pt2", whole[1:])
    before = resident()
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        refusal(kind, tmp_path / "damaged.pt2", damaged)
    assert resident() - before < MOST_MEMORY


@pytest.mark.parametrize("cuts", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_truncated_files(kind: str, whole: bytes, tmp_path: Path, cuts: int) -> None:
    edges = [0, 1, DIGEST - 1, DIGEST, DIGEST + 1, len(whole) - DIGEST, len(whole) - 1]
    inside = np.random.default_rng(cuts).integers(0, len(whole), cuts).tolist()
    for length in edges + inside:
        refusal(kind, tmp_path / "damaged.pt2", whole[:length])


def test_foreign_files(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.txt", "nothing")
    for content in (b"", rng.bytes(5000), b"a" * 64, archive.getvalue(), b"\x89PNG\r\n" * 50):
        refusal(kind, tmp_path / "damaged.pt2", content)


def test_sealed_nonsense(kind: str, tmp_path: Path) -> None:
    """What has a right checksum but is nothing that the loader knows."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.txt", "nothing")
    rng = np.random.default_rng(0)
    for content in (
        b"",
        rng.bytes(5000),
        archive.getvalue(),
        b"{}" + (2).to_bytes(8, "little"),
        b"engine{}" + (2).to_bytes(8, "little"),
        b"engine[]" + (2).to_bytes(8, "little"),
        b"engine" + (2**60).to_bytes(8, "little"),
    ):
        refusal(kind, tmp_path / "damaged.pt2", seal(content))


def test_files_of_another_format(exported: dict[str, Path], tmp_path: Path) -> None:
    for kind in LOADERS:
        for other, path in exported.items():
            if other != kind.split()[0]:
                refusal(kind, tmp_path / "damaged.pt2", path.read_bytes())


def test_missing_files(tmp_path: Path) -> None:
    for load in (*LOADERS.values(), load_tensorrt):
        with pytest.raises(InputError, match=r"no\.file: no such file"):
            load(tmp_path / "no.file")
        with pytest.raises(InputError, match="no such file"):
            load(tmp_path)
