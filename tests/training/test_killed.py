"""Trainings that die at any moment, or are told to stop, go on as if nothing had been."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from bottomup_fast.training.config import TrainingConfig
from bottomup_fast.training.trainer import train

MakeSettings = Callable[..., dict[str, Any]]
Start = Callable[[TrainingConfig], "subprocess.Popen[str]"]
STEPS = 24


@pytest.fixture
def make_run(
    make_settings: MakeSettings, make_folder: Callable[[str, int], Path], tmp_path: Path
) -> Callable[[str], TrainingConfig]:
    """A run of two sources with validation, whose files change all the time."""
    shapes = {"kind": "shapes", "size": 80, "max_shapes": 5, "backdrop": "background"}
    sources = [shapes, {"kind": "folder", "path": str(make_folder("grey", 4))}]

    def make(name: str) -> TrainingConfig:
        settings = make_settings(
            output=str(tmp_path / name),
            model__architecture__foreground=True,
            data__sources=sources,
            data__workers=1,
            optimiser__steps=STEPS,
            checkpoint_every=3,
            log_every=1,
            validation={"source": shapes, "every": 4, "images": 2, "pictures": 1},
        )
        return TrainingConfig.model_validate(settings)

    return make


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def run(config: TrainingConfig) -> subprocess.Popen[str]:
        path = config.output.with_suffix(".yaml")
        path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
        process = subprocess.Popen(
            [sys.executable, "-m", "bottomup_fast", "train", str(path), "--device", "cpu"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()


def read_log(folder: Path) -> list[list[str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.reader(file))


def logged_steps(folder: Path) -> int:
    """Last step in the log, of which a part may be written."""
    path = folder / "log.csv"
    lines = path.read_text().splitlines() if path.is_file() else []
    steps = [line.split(",")[0] for line in lines[1:]]
    return max((int(step) for step in steps if step), default=0)


def wait_for_step(process: subprocess.Popen[str], folder: Path, step: int) -> None:
    while process.poll() is None and logged_steps(folder) < step:
        time.sleep(0.002)


def assert_same_end(whole: TrainingConfig, other: TrainingConfig) -> None:
    for name in ("checkpoint", "last", "best"):
        expected, found = (load_file(run.output / f"{name}.safetensors") for run in (whole, other))
        assert expected.keys() == found.keys()
        assert [key for key in expected if not torch.equal(expected[key], found[key])] == [], name
    assert read_log(whole.output) == read_log(other.output)
    assert sorted(whole.output.rglob("*.png")) != []
    for run in (whole, other):
        assert list(run.output.rglob(".*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments_it_ends_as_uninterrupted(
    make_run: Callable[[str], TrainingConfig], start: Start, seed: int
) -> None:
    whole, killed = make_run("whole"), make_run("killed")
    train(whole)
    generator = random.Random(seed)
    deaths = 0
    for step in sorted(generator.sample(range(1, STEPS), 4)):
        process = start(killed)
        wait_for_step(process, killed.output, step)
        time.sleep(generator.uniform(0, 0.15))
        process.kill()
        deaths += process.wait() == -signal.SIGKILL
    assert deaths >= 3
    last = start(killed)
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0, output
    assert_same_end(whole, killed)


@pytest.mark.slow
def test_sigterm_writes_a_checkpoint_and_the_run_goes_on_from_there(
    make_run: Callable[[str], TrainingConfig], start: Start
) -> None:
    whole, stopped = make_run("whole"), make_run("stopped")
    train(whole)
    process = start(stopped)
    wait_for_step(process, stopped.output, 4)
    # As schedulers do: to every process of the job, the workers included.
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM, output
    done = int(load_file(stopped.output / "checkpoint.safetensors")["optimiser.0.step"])
    assert 4 <= done <= 8
    assert done == logged_steps(stopped.output)
    assert f"\nstopped after {done} of {STEPS} steps; the same command continues\n" in output
    assert "Traceback" not in output
    train(stopped)
    assert_same_end(whole, stopped)
