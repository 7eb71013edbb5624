from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from bottomup_fast import Segmenter, segmenter
from bottomup_fast.export import ExportedNetwork, latency
from bottomup_fast.export.check import picture
from bottomup_fast.models.network import BottomUpNetwork


def test_stages_add_up_and_change_nothing(network: BottomUpNetwork) -> None:
    image = (picture(60, 70) * 255).byte().permute(1, 2, 0).numpy()
    functions = (segmenter.read_image, segmenter.to_unit_range, segmenter.pixel_maps)
    timed = Segmenter(latency.make_network(network, "eager"), "cpu")
    seconds, labels = latency.measure(timed, image, runs=3, warmup=1)
    assert tuple(seconds) == latency.STAGES
    assert all(len(values) == 3 and min(values) > 0 for values in seconds.values())
    assert functions == (segmenter.read_image, segmenter.to_unit_range, segmenter.pixel_maps)
    assert (labels == Segmenter(network, "cpu").segment(image).labels).all()


def test_onnxruntime_runs_the_file(
    network: BottomUpNetwork, onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "export_onnx", lambda _, path: shutil.copy(onnx_file, path))
    timed = latency.make_network(network, "onnxruntime")
    assert isinstance(timed.network, ExportedNetwork)
    features, _ = timed.forward_with_foreground(torch.rand(1, 3, 40, 64))
    assert features.shape == (1, 6, 40, 64)
    assert timed.seconds > 0


def test_percentiles_are_milliseconds() -> None:
    found = latency.percentiles([number / 1000 for number in range(101)])
    assert found == pytest.approx({"p50": 50, "p95": 95, "p99": 99})
