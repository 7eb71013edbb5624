from __future__ import annotations

import json

import numpy as np
from PIL import Image


def test_a_table_of_stages(run, model_file, tmp_path) -> None:
    path = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    options = ("--backends", "eager", "--runs", 2, "--warmup", 1, "--image", path)
    result = run("bench", model_file, *options)
    assert result.exit_code == 0, result.stderr
    for word in ("backend", "stage", "p50", "p95", "p99", "decode", "network", "cluster", "merge"):
        assert word in result.stdout
    assert "eager: 100.00% of the pixels segmented as by eager" in result.stdout


def test_json(run, model_file) -> None:
    options = ("--backends", "eager", "--runs", 1, "--warmup", 0, "--resolutions", "32,64")
    result = run("bench", model_file, *options, "--threads", 1, "--json")
    report = json.loads(result.stdout)
    assert report["resolutions"] == [32, 64]
    assert report["threads"] == 1
    stages = ["decode", "network", "cluster", "merge", "encode", "total"]
    assert [row["stage"] for row in report["rows"]] == stages
    assert report["rows"][-1]["p50"] >= max(row["p50"] for row in report["rows"][:-1])


def test_what_is_refused(run, model_file) -> None:
    result = run("bench", model_file, "--backends", "eager,magic")
    assert result.exit_code == 2
    assert "--backends: 'magic' is none of eager, compile, onnxruntime, aoti" in result.stderr
    result = run("bench", model_file, "--resolutions", "x")
    assert result.exit_code == 2
    assert "--resolutions: expected pixels" in result.stderr
