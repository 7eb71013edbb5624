from __future__ import annotations

import sys

import pytest
import yaml

from bottomup_fast.models.weights import load_model
from bottomup_fast.training import distributed, trainer


@pytest.fixture
def config(tmp_path):
    """Two steps on small procedural scenes."""
    path = tmp_path / "tiny.yaml"
    shapes = {"kind": "shapes", "size": 48, "max_shapes": 3}
    content = {
        "model": {
            "name": "tiny",
            "architecture": {"name": "bottomup_efficientnet_lite0", "feature_dim": 8},
            "preprocessing": {"resolutions": [32]},
        },
        "data": {"sources": [shapes], "crop": 32, "batch_size": 1, "workers": 0},
        "loss": {"contrast_queries": 8, "contrast_negatives": 8, "max_entities": 8},
        "optimiser": {"steps": 2, "warmup_steps": 1, "bfloat16": False},
        "validation": {"source": shapes, "every": 2, "images": 1, "pictures": 1},
        "output": str(tmp_path / "run"),
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_it_trains_and_says_what_to_do_next(run, config, tmp_path):
    result = run("train", config, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "run"
    assert result.stdout.startswith(f"starts on cpu in {folder}\n")
    for path in (folder / "log.csv", folder / "pictures", folder / "last.safetensors"):
        assert f" {path}" in result.stdout
        assert path.exists()
    assert f"\nmodel of the best validation: {folder / 'best.safetensors'}\n" in result.stdout
    assert load_model(folder / "best.safetensors").feature_dim == 8
    for command in ("segment IMAGE", "evaluate DATASET"):
        assert f"bottomup {command} --model {folder / 'best.safetensors'}\n" in result.stdout
    again = run("train", config)
    assert again.exit_code == 0
    assert again.stdout.startswith("continues on ")


def test_restart_begins_anew(run, config, tmp_path):
    output = tmp_path / "elsewhere"
    assert run("train", config, "--output", output).exit_code == 0
    assert not (tmp_path / "run").exists()
    changed = yaml.safe_load(config.read_text()) | {"seed": 1, "validation": None}
    config.write_text(yaml.safe_dump(changed))
    refused = run("train", config, "--output", output)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"error: {output / 'checkpoint.safetensors'}: of a run with")
    restarted = run("train", config, "--output", output, "--restart")
    assert restarted.exit_code == 0
    assert restarted.stdout.startswith("starts on ")


def test_processes_that_torchrun_starts_again_do_not_begin_anew(run, config, monkeypatch):
    assert run("train", config, "--restart").exit_code == 0
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert run("train", config, "--restart").stdout.startswith("continues on ")


def test_sigterm_is_told_in_one_line(run, config, monkeypatch):
    def stopped(*arguments):
        raise distributed.Terminated("stopped after 1 of 2 steps")

    monkeypatch.setattr(trainer, "train_among", stopped)
    result = run("train", config)
    assert result.exit_code == 143
    assert result.stdout.endswith("\nstopped after 1 of 2 steps; the same command continues\n")


def test_a_failure_elsewhere_is_told_elsewhere(run, config, monkeypatch):
    def failed(*arguments):
        raise distributed.FailedElsewhere("process 1 failed")

    monkeypatch.setattr(trainer, "train_among", failed)
    result = run("train", config)
    assert result.exit_code == 2
    assert result.stderr == ""


def test_a_bad_configuration_is_one_line(run, config):
    gone = run("train", "gone.yaml")
    assert gone.exit_code == 2
    assert gone.stderr == "error: gone.yaml: no such configuration file\n"
    config.write_text(f"{config.read_text()}\nseeed: 1\n")
    unknown = run("train", config)
    assert unknown.exit_code == 2
    assert unknown.stderr.startswith(f"error: {config}: unknown setting 'seeed'")
    assert unknown.stderr.count("\n") == 1


def test_an_unknown_device_is_an_error(run, config, tmp_path):
    result = run("train", config, "--device", "abacus")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: device: ")
    assert not (tmp_path / "run").exists()


def test_without_tensorboard_the_extra_is_named(run, config, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    result = run("train", config)
    assert result.exit_code == 2
    assert result.stderr == (
        "error: train: tensorboard is missing; pip install 'bottomup-fast[train]'\n"
    )
