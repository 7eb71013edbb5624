from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bottomup_fast import Segmenter
from bottomup_fast.export import (
    check,
    export_onnx,
    load_onnx,
    load_onnx_labels,
    onnx_file,
    read_engine,
)
from bottomup_fast.models.weights import build_network, save_model
from bottomup_fast.settings import ModelSettings

SETTINGS = {
    "name": "calm",
    "licence": "Apache-2.0",
    "architecture": {
        "name": "bottomup_efficientnet_lite0",
        "feature_dim": 8,
        "foreground": True,
    },
    "preprocessing": {"normalisation": "percentile", "scale": 1.0},
}


@pytest.fixture(scope="module")
def calm_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As freshly made: all pixels have nearly the same feature, which rounding hardly changes."""
    settings = ModelSettings.model_validate(SETTINGS)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "calm.safetensors"
    save_model(path, build_network(settings), settings)
    return path


@pytest.fixture(scope="module")
def exported(calm_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(calm_model, path)
    return path


@pytest.fixture
def exports_once(exported: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Tracing takes seconds: it gives the file of `exported` whatever is asked."""
    asked: list[tuple[Any, ...]] = []

    def onnx_bytes(network: object, *settings: Any) -> bytes:
        asked.append(settings[:2])
        entry = len(onnx_file.CHECKSUM_ENTRY) + 64
        return exported.read_bytes()[:-entry]

    monkeypatch.setattr(onnx_file, "onnx_bytes", onnx_bytes)
    monkeypatch.setattr("bottomup_fast.export.tensorrt_engine.onnx_bytes", onnx_bytes)
    return asked


def test_onnx(run, calm_model, exports_once, tmp_path) -> None:
    output = tmp_path / "out" / "model.onnx"
    result = run("export", calm_model, "--to", "onnx", "-o", output, "--resolutions", "64")
    assert result.exit_code == 0, result.stderr
    assert exports_once == [("float32", 64)]
    assert result.stdout.startswith(f"{output}: onnx, float32, sides 64, ")
    assert " MB; features within " in result.stdout
    assert " of the model's, 0 of 22788 pixels in another segment" in result.stdout
    image = np.asarray(Image.new("RGB", (64, 64), (200, 30, 90)))
    found = Segmenter(load_onnx(output), "cpu").segment(image)
    assert found.labels.shape == (64, 64)


def test_onnx_with_clustering(run, calm_model, exports_once, tmp_path) -> None:
    output = tmp_path / "model.onnx"
    result = run("export", calm_model, "--to", "onnx", "-o", output, "--with-clustering", "--json")
    assert result.exit_code == 0, result.stderr
    comparison = json.loads(result.stdout)["comparison"]
    assert comparison["differing_labels"] == 0
    labels = load_onnx_labels(output)(np.zeros((1, 3, 32, 64), np.float32))
    assert labels.shape == (1, 32, 64)


def test_json(run, calm_model, exports_once, tmp_path) -> None:
    output = tmp_path / "model.onnx"
    result = run(
        "export", calm_model, "--to", "onnx", "-o", output, "--resolutions", "64", "--json"
    )
    report = json.loads(result.stdout)
    assert report["output"] == str(output)
    assert report["bytes"] == output.stat().st_size
    assert report["licence"] == "Apache-2.0"
    assert report["comparison"]["max_difference"] <= 1e-4
    assert report["comparison"]["differing_pixels"] == 0


def test_a_file_that_differs_from_the_model_is_not_left(
    run, calm_model, exports_once, tmp_path, monkeypatch
) -> None:
    monkeypatch.setitem(check.TOLERANCE, "float32", 1e-12)
    result = run("export", calm_model, "--to", "onnx", "-o", tmp_path / "model.onnx")
    assert result.exit_code == 2
    assert "error: exported onnx: features differ from the model's by" in result.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_check(run, calm_model, exports_once, tmp_path) -> None:
    output = tmp_path / "model.onnx"
    options = ("--resolutions", "64", "--precision", "float16", "--no-check")
    result = run("export", calm_model, "--to", "onnx", "-o", output, *options)
    assert exports_once == [("float16", 64)]
    assert result.stdout.endswith("; not compared\n")


def test_tensorrt(run, calm_model, exports_once, tmp_path) -> None:
    output = tmp_path / "model.engine"
    options = ("--library", "tensorrt_rtx", "--compute-capability", "8.9", "--inspect")
    result = run(
        "export", calm_model, "--to", "tensorrt", "-o", output, *options, "--resolutions", 64
    )
    assert result.exit_code == 0, result.stderr
    assert exports_once == [("float16", None)]
    assert "operations" in result.stdout
    assert "Conv+" in result.stdout
    assert "not compared: it runs on a GPU" in result.stdout
    assert read_engine(output)[0].resolutions == (64,)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--to", "onnx", "--resolutions", "256,512"), "--resolutions: a file for onnx is of one"),
        (("--to", "onnx", "--resolutions", "big"), "--resolutions: expected pixels"),
        (("--to", "onnx", "--resolutions", "50"), "resolutions must be multiples of 32"),
        (("--to", "onnx", "--precision", "bfloat16"), "precision: bfloat16"),
        (("--to", "aoti"), "must end in .pt2"),
        (("--to", "onnx", "--inspect"), "for --to tensorrt only"),
        (("--to", "aoti", "--with-clustering"), "--with-clustering: for --to onnx only"),
        (("--to", "tensorrt", "--library", "tensorrt_rtx", "--max-batch", "0"), "max_batch must"),
    ],
)
def test_what_is_refused(run, calm_model, tmp_path, arguments, problem) -> None:
    result = run("export", calm_model, "-o", tmp_path / "model.file", *arguments)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_unknown_models_and_formats(run, tmp_path) -> None:
    result = run("export", "cell", "--to", "onnx", "-o", tmp_path / "m.onnx")
    assert result.exit_code == 2
    assert "unknown model 'cell'; did you mean 'cells'?" in result.stderr
    result = run("export", "cells", "--to", "caffe", "-o", tmp_path / "m")
    assert result.exit_code == 2
    assert "caffe" in result.stderr
