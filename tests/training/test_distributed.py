"""Several processes that train together, started by torchrun."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import yaml
from safetensors.torch import load_file

from bottomup_fast.errors import InputError
from bottomup_fast.training.config import TrainingConfig
from bottomup_fast.training.distributed import Processes, Terminated, _fresh_part, join
from bottomup_fast.training.trainer import train

MakeConfig = Callable[..., TrainingConfig]
MakeFolder = Callable[[str, int], Path]
Curve = dict[tuple[str, str, str], float]


def torchrun(config: TrainingConfig, *options: str) -> subprocess.Popen[str]:
    path = config.output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = ["--nproc-per-node", "2", *options, "-m", "bottomup_fast", "train", str(path)]
    return subprocess.Popen(
        [*launcher, *program, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def read_curve(config: TrainingConfig) -> Curve:
    with (config.output / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    curve = {(row["step"], row["kind"], row["name"]): float(row["value"]) for row in rows}
    assert len(curve) == len(rows)
    return curve


@pytest.fixture
def make_run(
    make_config: MakeConfig, make_folder: MakeFolder, tmp_path: Path
) -> Callable[..., TrainingConfig]:
    """Mixed sources, one with known background, one without, which fills some images alone."""
    shapes = {"kind": "shapes", "size": 80, "max_shapes": 5, "backdrop": "background"}
    sources = [shapes, {"kind": "folder", "path": str(make_folder("grey", 4))}]

    def make(name: str, **changes: Any) -> TrainingConfig:
        settings = {
            "output": str(tmp_path / name),
            "model__architecture__foreground": True,
            "data__sources": sources,
            "optimiser__steps": 6,
            "optimiser__bfloat16": False,
            "optimiser__learning_rate": 1e-4,
            "validation": {"source": shapes, "every": 4, "images": 2, "pictures": 1},
            "log_every": 1,
        }
        return make_config(**settings | changes)

    return make


def test_two_processes_train_as_one_with_the_double_batch(
    make_run: Callable[..., TrainingConfig],
) -> None:
    two = make_run("two")
    process = torchrun(two)
    one = make_run("one", data__batch_size=4)
    accumulated = make_run("accumulated", optimiser__accumulate=2)
    train(one)
    train(accumulated)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert output.startswith(f"starts on cpu in 2 processes in {two.output}\n")
    assert output.count("\nmodel: ") == 1
    expected = read_curve(one)
    terms = {name for _, kind, name in expected if kind == "training"}
    assert terms >= {"total", "contrast", "foreground", "gradient_norm", "learning_rate"}
    assert {step for step, *_ in expected} == {"1", "2", "3", "4", "5", "6"}
    assert read_curve(two) == pytest.approx(expected, rel=1e-5)
    assert read_curve(accumulated) == pytest.approx(expected, rel=1e-5)
    weights = [load_file(run.output / "checkpoint.safetensors") for run in (one, two)]
    for name, value in weights[0].items():
        if name.startswith("network."):
            torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_what_one_process_fails_with_ends_all_and_is_said_once(
    make_run: Callable[..., TrainingConfig], make_folder: MakeFolder
) -> None:
    root = make_folder("broken", 40)
    (root / "masks" / "7.png").write_bytes(b"no image")
    source = {"kind": "folder", "path": str(root)}
    config = make_run("failing", data__sources=[source], optimiser__steps=1000, validation=None)
    process = torchrun(config)
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    said = [line for line in errors.splitlines() if "error: " in line]
    assert len(said) == 1, errors
    assert said[0].startswith(f"error: {root}/masks/7.png: not a readable label map")
    assert "bottomup_fast/training" not in errors


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_after_a_killed_worker_the_others_start_again_from_the_checkpoint(
    make_run: Callable[..., TrainingConfig], seed: int
) -> None:
    changes = {"optimiser__steps": 40, "checkpoint_every": 3}
    whole, killed = make_run("whole", **changes), make_run("killed", **changes)
    uninterrupted = torchrun(whole)
    _, errors = uninterrupted.communicate(timeout=300)
    assert uninterrupted.returncode == 0, errors
    process = torchrun(killed, "--max-restarts", "1")
    generator = random.Random(seed)
    while process.poll() is None and not (killed.output / "checkpoint.safetensors").is_file():
        time.sleep(0.01)
    time.sleep(generator.uniform(0, 0.5))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(generator.choice(children)), signal.SIGKILL)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "continues on cpu in 2 processes" in output
    assert read_curve(killed) == read_curve(whole)
    expected, found = (load_file(run.output / "checkpoint.safetensors") for run in (whole, killed))
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.mark.slow
def test_sigterm_stops_all_processes_at_the_same_step(
    make_run: Callable[..., TrainingConfig],
) -> None:
    config = make_run("stopped", optimiser__steps=1000, checkpoint_every=1000, validation=None)
    process = torchrun(config)
    log = config.output / "log.csv"
    while process.poll() is None and not (log.is_file() and "\n2," in log.read_text()):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=300)
    done = int(load_file(config.output / "checkpoint.safetensors")["optimiser.0.step"])
    assert {int(step) for step, *_ in read_curve(config)} == set(range(1, done + 1))
    assert f"\nstopped after {done} of 1000 steps; the same command continues\n" in output, errors


def test_processes_started_again_do_not_meet_those_that_are_gone() -> None:
    store = dist.HashStore()
    parts = []
    for delay in (0.0, 0.1):  # the second time the first process, with its answers, is late
        with ThreadPoolExecutor(3) as pool:
            others = [pool.submit(_fresh_part, store, rank, 3) for rank in (1, 2)]
            time.sleep(delay)
            first = pool.submit(_fresh_part, store, 0, 3)
            started = [future.result(timeout=20) for future in (first, *others)]
        started[0].set("address", str(delay))
        assert [part.get("address") for part in started] == [str(delay).encode()] * 3
        parts.append(started[1])
    assert parts[0].get("address") == b"0.0"


# One process alone


def test_alone_there_is_nobody_to_wait_for() -> None:
    with join() as processes:
        assert processes == Processes(0, 1, torch.device("cpu"))
        assert processes.first
        with processes.together():
            pass
        assert not processes.stopping
        assert processes.mean([1.5, 2]) == [1.5, 2]
        with pytest.raises(InputError, match=r"^mine$"), processes.together():
            raise InputError("mine")
        module = torch.nn.Linear(1, 1)
        assert processes.replicate(module) is module


def test_sigterm_is_noted_at_the_next_chance_and_is_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with join() as processes:
        os.kill(os.getpid(), signal.SIGTERM)
        assert not processes.stopping
        with processes.together():
            pass
        assert processes.stopping
    assert signal.getsignal(signal.SIGTERM) == before
    assert Terminated("stopped").code == 143


def test_an_unknown_device_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="device: "), join("abacus"):
        pass
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="device: "), join("abacus"):
        pass


@pytest.mark.parametrize(
    ("device", "problem"),
    [("cuda:1", "with several processes each takes its own"), ("auto", "torch finds 2")],
)
def test_every_process_needs_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, device: str, problem: str
) -> None:
    monkeypatch.setattr(
        "bottomup_fast.training.distributed.choose_device", lambda _: torch.device("cuda")
    )
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"^device: .*{problem}"), join(device):
        pass
