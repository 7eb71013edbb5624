"""Metadata in files whose checksum is right: never more than an error."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bottomup_fast.errors import InputError
from bottomup_fast.export import Description, aoti, load_aoti, load_onnx, read_engine
from bottomup_fast.export.description import Format, parse_metadata
from bottomup_fast.export.seal import DIGEST, seal
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.runtime import AotiNetwork, OnnxNetwork
from bottomup_fast.runtime.description import settings_and_sides

FLIPS = 500


def damaged(whole: bytes, flips: int = FLIPS, cuts: int = 100) -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    for _ in range(flips):
        content = bytearray(whole)
        content[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        yield bytes(content)
    for length in rng.integers(0, len(whole), cuts):
        yield whole[:length]


def refused(read: Callable[[bytes], object], contents: Iterator[bytes]) -> int:
    """How many of the contents are refused by an error that names the file and what to do."""
    count = 0
    for content in contents:
        message = "model.bin: export the model again"
        try:
            read(content)
        except InputError as error:
            message = str(error)
            count += 1
        assert message.startswith("model.bin: ")
        assert "export the model again" in message
    return count


@pytest.fixture
def text(network: BottomUpNetwork) -> bytes:
    assert network.settings is not None
    description = Description(network.settings, "aoti", "float32", (64,), "2.11.0", "cpu")
    return json.dumps(description.to_metadata()).encode()


def test_flipped_metadata(text: bytes) -> None:
    def with_torch(content: bytes) -> object:
        metadata = parse_metadata("model.bin", "a package", content)
        return Description.from_metadata("model.bin", metadata, "aoti")

    def without_torch(content: bytes) -> object:
        metadata = parse_metadata("model.bin", "a package", content)
        return settings_and_sides("model.bin", metadata, "aoti")

    for read in (with_torch, without_torch):
        assert refused(read, damaged(text)) > 300


def test_flipped_settings(text: bytes) -> None:
    metadata = json.loads(text)

    def changed(content: bytes) -> dict[str, str]:
        return metadata | {"bottomup_fast": content.decode("latin-1")}

    def with_torch(content: bytes) -> object:
        return Description.from_metadata("model.bin", changed(content), "aoti")

    def without_torch(content: bytes) -> object:
        return settings_and_sides("model.bin", changed(content), "aoti")

    settings = metadata["bottomup_fast"].encode()
    for read in (with_torch, without_torch):
        assert refused(read, damaged(settings)) > 300


NONSENSE = ["", "[]", "3", "null", "{}", "[" * 100_000, '{"preprocessing": 3}', "NaN", "\x00"]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_settings_that_are_none(text: bytes, nonsense: str) -> None:
    changed = json.loads(text) | {"bottomup_fast": nonsense}
    with pytest.raises(InputError, match=r"model\.bin: metadata: .*export the model again"):
        settings_and_sides("model.bin", changed, "aoti")
    with pytest.raises(InputError, match=r"model\.bin: metadata: .*export the model again"):
        Description.from_metadata("model.bin", changed, "aoti")


@pytest.mark.parametrize("nonsense", [*NONSENSE, '{"layout": 1}', '{"layout": []}'])
def test_metadata_that_is_none(nonsense: str) -> None:
    with pytest.raises(InputError, match=r"model\.bin: .*export the model again"):
        Description.from_metadata(
            "model.bin", parse_metadata("model.bin", "a package", nonsense.encode()), "aoti"
        )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"layout": "2"}, "written in layout 2, this version reads 1"),
        ({"format": "tensorrt"}, "an export to tensorrt, not to aoti"),
        ({"fixed_resolutions": "64,x"}, "export the model again"),
        ({"fixed_resolutions": "-64"}, "export the model again"),
        ({"fixed_resolutions": "9" * 5000}, "export the model again"),
    ],
)
def test_other_versions_and_formats(text: bytes, change: dict[str, str], problem: str) -> None:
    changed = json.loads(text) | change
    readers: tuple[Callable[[str, dict[str, str], Format], Any], ...] = (
        Description.from_metadata,
        settings_and_sides,
    )
    for read in readers:
        with pytest.raises(InputError, match=rf"model\.bin: .*{problem}"):
            read("model.bin", changed, "aoti")


def test_settings_of_a_newer_version_name_it(text: bytes) -> None:
    metadata = json.loads(text)
    settings = json.loads(metadata["bottomup_fast"]) | {"colour_space": "Lab"}
    changed = metadata | {"bottomup_fast": json.dumps(settings), "bottomup_fast_version": "9.9"}
    problem = r"colour_space.*written by bottomup_fast 9\.9, this is .*; export the model again"
    with pytest.raises(InputError, match=problem):
        Description.from_metadata("model.bin", changed, "aoti")
    with pytest.raises(InputError, match=problem):
        settings_and_sides("model.bin", changed, "aoti")


# Whole files, sealed again


@pytest.mark.parametrize("flips", [50, pytest.param(FLIPS, marks=pytest.mark.slow)])
def test_engines(text: bytes, tmp_path: Path, flips: int) -> None:
    path = tmp_path / "model.engine"

    def read(content: bytes) -> object:
        path.write_bytes(seal(b"engine" + content))
        try:
            return read_engine(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), "model.bin")) from error

    described = text.replace(b'"format": "aoti"', b'"format": "tensorrt"')
    whole = described + len(described).to_bytes(8, "little")
    assert refused(read, damaged(whole, flips, flips // 5)) > flips // 2


def test_archives(aoti_file: Path) -> None:
    """Only the metadata is read: the rest is a program."""
    with zipfile.ZipFile(aoti_file) as archive:
        names = [name for name in archive.namelist() if name.endswith("wrapper_metadata.json")]
        stored = {name: archive.read(name) for name in names}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, content in stored.items():
                archive.writestr(name, content)
        refused(lambda content: aoti._read_metadata("model.bin", content), damaged(file.getvalue()))


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_onnx, OnnxNetwork])
def test_onnx_files(load: Callable[[Path], object], onnx_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    content = onnx_file.read_bytes()[:-DIGEST]
    start = content.rindex(b"bottomup_fast") - 500

    def read(metadata: bytes) -> object:
        path.write_bytes(seal(content[:start] + metadata))
        try:
            return load(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), "model.bin")) from error

    assert refused(read, damaged(content[start:])) > 100


@pytest.mark.parametrize("load", [load_aoti, AotiNetwork])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"runtime": "1.0"}, r"compiled by torch 1\.0, this is .*; export the model again"),
        ({"cpu_instructions": "avx9999"}, "compiled for a CPU with avx9999, which this one lacks"),
        ({"layout": "0"}, "written in layout 0, this version reads 1; export the model again"),
        ({"format": "onnx"}, "an export to onnx, not to aoti; export the model again"),
        ({"device": "cuda"}, "compiled for cuda, "),
        ({"bottomup_fast": "{"}, "metadata: .*export the model again"),
    ],
)
def test_packages_for_other_machines(
    load: Callable[[Path], object],
    aoti_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    problem: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    path = tmp_path / "changed.pt2"
    file = io.BytesIO()
    with zipfile.ZipFile(aoti_file) as whole, zipfile.ZipFile(file, "w") as archive:
        for name in whole.namelist():
            content = whole.read(name)
            if name.endswith("wrapper_metadata.json"):
                content = json.dumps(json.loads(content) | change).encode()
            archive.writestr(name, content)
    path.write_bytes(aoti._seal_zip(file.getvalue()))
    with pytest.raises(InputError, match=rf"changed\.pt2: {problem}"):
        load(path)
