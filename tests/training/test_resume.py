"""A training that is killed and resumed ends bitwise as one that was not."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from bottomup_fast.models.weights import load_model
from bottomup_fast.training import trainer
from bottomup_fast.training.config import TrainingConfig

MakeSettings = Callable[..., dict[str, Any]]

PREPARE = """
import os, signal, sys
from pathlib import Path
import torch
from bottomup_fast.training import checkpoint, trainer
from bottomup_fast.training.config import load_config
from bottomup_fast.training.logs import TrainingLog

def die():
    os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
"""
BETWEEN_CHECKPOINTS = """
write = TrainingLog.write
def write_and_die(log, step, *arguments):
    write(log, step, *arguments)
    if step == 6:
        die()
TrainingLog.write = write_and_die
"""
WHILE_WRITING_ONE = """
save_file = checkpoint.save_file
def save_half(tensors, path, metadata):
    save_file(tensors, path, metadata)
    os.truncate(path, os.path.getsize(path) // 2)
    die()
checkpoint.save_file = save_half
"""
TRAIN = """
trainer.train(load_config(sys.argv[1]))
"""


@pytest.fixture
def make_run(make_settings: MakeSettings, tmp_path: Path) -> Callable[[str], TrainingConfig]:
    def make(name: str) -> TrainingConfig:
        settings = make_settings(
            output=str(tmp_path / name),
            log_every=1,
            model__architecture__foreground=True,
            model__architecture__position_scale=10,
            data__sources=[
                {"kind": "shapes", "size": 80, "max_shapes": 5, "backdrop": "background"}
            ],
        )
        return TrainingConfig.model_validate(settings)

    return make


def run_until_killed(config: TrainingConfig, death: str) -> None:
    path = config.output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    result = subprocess.run(
        [sys.executable, "-c", PREPARE + death + TRAIN, str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr


@pytest.mark.slow
def test_killed_twice_and_resumed_is_as_uninterrupted(
    make_run: Callable[[str], TrainingConfig],
) -> None:
    whole, killed = make_run("whole"), make_run("killed")
    trainer.train(whole)

    checkpoint = killed.output / "checkpoint.safetensors"
    for death, last_step, leftovers in ((BETWEEN_CHECKPOINTS, 6, 0), (WHILE_WRITING_ONE, 8, 1)):
        run_until_killed(killed, death)
        assert load_file(checkpoint)["optimiser.0.step"] == 4
        assert max(int(row["step"]) for row in read_log(killed.output)) == last_step
        assert len(list(killed.output.glob(".*.safetensors"))) == leftovers

    trainer.train(killed)
    assert list(killed.output.glob(".*")) == []
    expected = load_file(whole.output / "checkpoint.safetensors")
    resumed = load_file(checkpoint)
    assert expected.keys() == resumed.keys()
    assert [name for name in expected if not torch.equal(expected[name], resumed[name])] == []
    model, other = (load_file(run.output / "last.safetensors") for run in (whole, killed))
    assert [name for name in model if not torch.equal(model[name], other[name])] == []
    assert load_model(killed.output / "last.safetensors").settings == killed.model

    assert read_log(whole.output) == read_log(killed.output)
    steps = defaultdict(list)
    for row in read_log(killed.output):
        steps[row["name"]].append(int(row["step"]))
    assert {"total", "attraction", "foreground", "gradient_norm"} <= steps.keys()
    assert all(logged == list(range(1, 13)) for logged in steps.values())


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))
