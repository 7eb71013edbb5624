"""The shipped configurations on miniatures of the data sets they are for."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from data.format_miniatures import SPLITS, WRITERS

from bottomup_fast.data.formats import open_dataset
from bottomup_fast.evaluation.dataset import evaluate_dataset
from bottomup_fast.models.weights import load_model
from bottomup_fast.segmenter import Segmenter
from bottomup_fast.training.config import TrainingConfig, load_config
from bottomup_fast.training.stream import TrainingStream, stream_batches
from bottomup_fast.training.trainer import train

SMALL: dict[str, dict[str, Any]] = {
    "architecture": {"name": "bottomup_efficientnet_lite0", "feature_dim": 16},
    "data": {"crop": 64, "batch_size": 2, "workers": 0},
    "optimiser": {"epochs": None, "steps": 2, "warmup_steps": 1},
    "validation": {"every": 2, "images": 2},
}


def small(name: str, output: Path) -> TrainingConfig:
    """A shipped training, but of two steps with a small network."""
    config = load_config(name).model_dump(mode="json")
    config["model"]["architecture"] |= SMALL["architecture"]
    config["model"]["preprocessing"]["resolutions"] = [64]
    for part in ("data", "optimiser", "validation"):
        if config[part]:
            config[part] |= SMALL[part]
    config |= {"pretrained_backbone": False, "output": str(output), "log_every": 1}
    return TrainingConfig.model_validate(config)


def test_evican_is_trained_on_and_evaluated_by_difficulty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOTTOMUP_DATA", str(tmp_path))
    WRITERS["evican"](tmp_path / "evican")
    config = small("evican", tmp_path / "run")
    segmenter = Segmenter(load_model(train(config)))
    for level in ("easy", "medium", "difficult"):
        samples = open_dataset(tmp_path / "evican", "evican", split=level)
        overall = evaluate_dataset(segmenter, samples).measures()["all"].metrics
        assert overall["images"] == 1
        assert overall["segments"] == 3
        assert overall["ap_coco_50"] is not None
    assert (config.output / "best.safetensors").is_file()


def test_only_evicans_background_images_tell_what_is_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOTTOMUP_DATA", str(tmp_path))
    WRITERS["evican"](tmp_path / "evican")
    stream = TrainingStream(small("evican", tmp_path / "run"))
    samples = [stream[index] for index in range(12)]
    kinds = {(bool((s.labels > 0).any()), bool((s.foreground == 0).any())) for s in samples}
    assert {(True, False), (False, True)} <= kinds
    assert (True, True) not in kinds


def test_the_papers_mixture_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOTTOMUP_DATA", str(tmp_path))
    for folder, format in {"coco": "coco-panoptic", "ade20k": "ade20k", "cihp": "cihp"}.items():
        WRITERS[format](tmp_path / folder)
    config = small("paper", tmp_path / "run")
    stream = TrainingStream(config)
    assert stream.images_per_epoch() == sum(len(s) for s in stream.sources[:3])
    assert load_model(train(config)).feature_dim == 16


def test_all_formats_mix_whatever_the_number_of_workers(tmp_path: Path) -> None:
    sources: list[dict[str, Any]] = [{"kind": "shapes", "size": 64, "max_shapes": 4}]
    for name, write in WRITERS.items():
        write(tmp_path / name)
        sources.append({"kind": name, "path": str(tmp_path / name), "split": SPLITS[name]})
    config = small("smoke", tmp_path / "run").model_dump(mode="json")

    def first_batches(workers: int) -> list[Any]:
        config["data"] |= {"sources": sources, "workers": workers, "batch_size": 8}
        stream = TrainingStream(TrainingConfig.model_validate(config))
        return list(islice(stream_batches(stream, 0), 6))

    expected = first_batches(0)
    assert all((batch.labels > 0).any() for batch in expected)
    for workers in (1, 2):
        for one, other in zip(expected, first_batches(workers), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
