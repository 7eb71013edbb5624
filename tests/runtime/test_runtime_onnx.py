from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import flip_bit
from PIL import Image

import bottomup_fast as bf
from bottomup_fast import runtime

NUCLEI = Path(__file__).resolve().parents[2] / "examples/nuclei.png"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bottomup_fast.export import export_onnx

    path = tmp_path_factory.mktemp("onnx") / "cells.onnx"
    export_onnx("cells", path)
    return path


def test_labels_are_those_of_the_torch_segmenter_on_the_same_file(exported: Path) -> None:
    from bottomup_fast.export import load_onnx

    pixels = np.asarray(Image.open(NUCLEI).convert("RGB"))[:200, :240]
    cases: list[dict[str, Any]] = [
        {},
        {"resolutions": [128, 256]},
        {"scale": 1.5, "tile_size": 128},
    ]
    for arguments in cases:
        expecting = bf.Segmenter(load_onnx(exported, threads=1), "cpu", **arguments)
        segmenter = runtime.Segmenter(exported, threads=1, **arguments)
        expected, found = expecting.segment(pixels), segmenter.segment(pixels)
        assert np.array_equal(found.labels, expected.labels)
        assert found.scores == pytest.approx(expected.scores, abs=1e-5)
        assert len(found) > 3


def test_damaged_files_are_refused(exported: Path, tmp_path: Path) -> None:
    content = exported.read_bytes()
    path = tmp_path / "damaged.onnx"
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content), size=20).tolist():
        path.write_bytes(flip_bit(content, place, rng))
        with pytest.raises(bf.InputError, match=str(path)):
            runtime.Segmenter(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(bf.InputError, match="truncated"):
        runtime.Segmenter(path)
    with pytest.raises(bf.InputError, match="no such file"):
        runtime.Segmenter(tmp_path / "missing.onnx")


def test_a_file_with_its_clustering_is_refused(tmp_path: Path) -> None:
    from bottomup_fast.export import export_onnx

    path = tmp_path / "labels.onnx"
    export_onnx("cells", path, clustering=True)
    with pytest.raises(bf.InputError, match=r"again without --with-clustering$"):
        runtime.Segmenter(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "2"}, "written in layout 2"),
        ({"format": "aoti"}, "an export to aoti, not to onnx"),
        ({"bottomup_fast": "{"}, "settings are not a model's"),
        ({"bottomup_fast": None}, "no metadata"),
    ],
)
def test_foreign_metadata_is_refused(
    exported: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    import onnx

    model = onnx.load(exported)
    for entry in list(model.metadata_props):
        if entry.key == "sha256":
            model.metadata_props.remove(entry)
        elif entry.key in changes:
            value = changes[entry.key]
            if value is None:
                model.metadata_props.remove(entry)
            else:
                entry.value = value
    content = model.SerializeToString()
    body = content + b"\x72\x4a\x0a\x06sha256\x12\x40"
    path = tmp_path / "foreign.onnx"
    path.write_bytes(body + sha256(body).hexdigest().encode())
    with pytest.raises(bf.InputError, match=message):
        runtime.Segmenter(path)
