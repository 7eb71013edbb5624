from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import bottomup_fast as bf
from bottomup_fast import runtime, segmenter
from bottomup_fast.export import ExportedNetwork, latency
from bottomup_fast.export.check import picture
from bottomup_fast.models.network import BottomUpNetwork


def pixels() -> NDArray[np.uint8]:
    return (picture(60, 70) * 255).byte().permute(1, 2, 0).numpy()


def test_stages_add_up_and_change_nothing(network: BottomUpNetwork) -> None:
    names = ("read_image", "to_unit_range", "resize", "pixel_maps")
    functions = [getattr(segmenter, name) for name in names]
    timed = latency.make_segmenter(network, "eager")
    seconds, labels = latency.measure(timed, pixels(), runs=3, warmup=1)
    assert tuple(seconds) == latency.STAGES
    assert all(len(values) == 3 and min(values) > 0 for values in seconds.values())
    assert functions == [getattr(segmenter, name) for name in names]
    assert (
        labels == bf.Segmenter(network, "cpu", precision="highest").segment(pixels()).labels
    ).all()


@pytest.mark.parametrize("backend", ["onnxruntime", "cpp-onnxruntime"])
def test_onnxruntime_runs_the_file(
    backend: latency.Backend,
    network: BottomUpNetwork,
    onnx_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latency, "export_onnx", lambda _, path: shutil.copy(onnx_file, path))
    timed = latency.make_segmenter(network, backend)
    if isinstance(timed, bf.Segmenter):
        assert isinstance(timed.network, latency.TimedNetwork)
        assert isinstance(timed.network.network, ExportedNetwork)
    else:
        assert isinstance(timed, runtime.Segmenter)
    seconds, labels = latency.measure(timed, pixels(), runs=2, warmup=0)
    assert all(len(values) == 2 and min(values) > 0 for values in seconds.values())
    assert (
        labels == bf.Segmenter(network, "cpu", precision="highest").segment(pixels()).labels
    ).mean() > 0.99


def test_bfloat16_is_measured_where_the_processor_has_units_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latency, "multiplies_bfloat16", lambda: True)
    assert latency.suitable_backends() == list(latency.BACKENDS)
    monkeypatch.setattr(latency, "multiplies_bfloat16", lambda: False)
    plain = [name for name in latency.BACKENDS if "bfloat16" not in name]
    assert latency.suitable_backends() == plain


def test_the_network_in_bfloat16(network: BottomUpNetwork) -> None:
    timed = latency.make_segmenter(network, "eager-bfloat16")
    _, labels = latency.measure(timed, pixels(), runs=1, warmup=0)
    assert isinstance(timed, bf.Segmenter)
    inner = cast(latency.TimedNetwork, timed.network).network
    assert {value.dtype for value in inner.parameters()} == {torch.bfloat16}
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    assert labels.max() > 0


def test_percentiles_are_milliseconds() -> None:
    found = latency.percentiles([number / 1000 for number in range(101)])
    assert found == pytest.approx({"p50": 50, "p95": 95, "p99": 99})
