from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bottomup_fast.errors import InputError
from bottomup_fast.training import checkpoint
from bottomup_fast.training.average import WeightAverage
from bottomup_fast.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from bottomup_fast.training.config import TrainingConfig

Tensors = dict[str, Tensor]
MakeConfig = Callable[..., TrainingConfig]


class Run:
    """What a checkpoint holds, of a network of two layers after `steps` updates."""

    def __init__(self, steps: int = 0, width: int = 8) -> None:
        torch.manual_seed(steps)
        layers: Any = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))
        self.network = layers.to(memory_format=torch.channels_last)
        self.average = WeightAverage(self.network, 0.9)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=0.1)
        for step in range(steps):
            self.optimiser.zero_grad()
            self.network(torch.randn(2, 3, 5, 5)).square().sum().backward()
            self.optimiser.step()
            self.average.update(self.network, step)

    def save(self, path: Path, progress: Progress) -> None:
        save_checkpoint(path, progress, self.network, self.average.network, self.optimiser)

    def load(self, path: Path, config: TrainingConfig) -> Progress:
        return load_checkpoint(path, config, self.network, self.average.network, self.optimiser)


@pytest.fixture
def config(make_config: MakeConfig) -> TrainingConfig:
    return make_config()


@pytest.fixture
def path(tmp_path: Path, config: TrainingConfig) -> Path:
    file = tmp_path / "run" / "checkpoint.safetensors"
    Run(steps=3).save(file, Progress(3, 0.25, config.model_dump_json()))
    return file


def test_everything_comes_back_exactly(path: Path, config: TrainingConfig) -> None:
    saved, loaded = Run(steps=3), Run()
    assert loaded.load(path, config) == Progress(3, 0.25, config.model_dump_json())
    for part in ("network", "average"):
        one, other = getattr(saved, part), getattr(loaded, part)
        modules = (one, other) if part == "network" else (one.network, other.network)
        states = [module.state_dict() for module in modules]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    expected = saved.optimiser.state_dict()["state"]
    restored = loaded.optimiser.state_dict()["state"]
    assert expected.keys() == restored.keys()
    for index, state in expected.items():
        for name, value in state.items():
            assert torch.equal(value, restored[index][name])
            assert value.stride() == restored[index][name].stride()


def test_the_first_score_is_worse_than_any(tmp_path: Path, config: TrainingConfig) -> None:
    path = tmp_path / "first.safetensors"
    Run().save(path, Progress(0, float("-inf"), config.model_dump_json()))
    assert Run().load(path, config).best_score == float("-inf")


def test_another_configuration_is_refused_whatever_its_network(
    path: Path, make_config: MakeConfig
) -> None:
    run = Run(width=5)
    before = [value.clone() for value in run.network.state_dict().values()]
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: of a run with another config"):
        run.load(path, make_config(optimiser__learning_rate=0.5))
    after = run.network.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_another_number_of_processes_is_refused(tmp_path: Path, config: TrainingConfig) -> None:
    path = tmp_path / "two.safetensors"
    Run(steps=1).save(path, Progress(1, 0, config.model_dump_json(), processes=2))
    with pytest.raises(InputError, match=r"of a run of 2 processes, not 1; start as many"):
        Run().load(path, config)
    run = Run()
    parts = (run.network, run.average.network, run.optimiser)
    assert load_checkpoint(path, config, *parts, processes=2).step == 1


def test_a_run_may_move_and_load_its_images_otherwise(
    path: Path, make_config: MakeConfig, tmp_path: Path
) -> None:
    moved = make_config(output=str(tmp_path / "moved"), data__workers=2, data__cache_images=5)
    assert Run().load(path, moved).step == 3


def test_settings_that_came_later_have_their_defaults(
    tmp_path: Path, config: TrainingConfig
) -> None:
    older = config.model_dump_json(exclude={"seed", "loss"})
    run = Run()
    run.save(tmp_path / "old.safetensors", Progress(1, 0, older))
    with pytest.raises(InputError, match="of a run with another configuration"):
        run.load(tmp_path / "old.safetensors", config)
    defaults = TrainingConfig.model_validate_json(older)
    assert run.load(tmp_path / "old.safetensors", defaults).step == 1


def test_settings_that_are_no_more_are_another_configuration(
    tmp_path: Path, config: TrainingConfig
) -> None:
    run = Run()
    run.save(tmp_path / "old.safetensors", Progress(1, 0, '{"momentum": 0.9}'))
    with pytest.raises(InputError, match="of a run with another configuration"):
        run.load(tmp_path / "old.safetensors", config)


def test_corrupt_files_are_named(path: Path, config: TrainingConfig) -> None:
    content = path.read_bytes()
    for damaged in (b"", content[:50], content[: len(content) // 2], content[:-1], b"x" * 500):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"checkpoint\.safetensors: not a readable check") as e:
            Run().load(path, config)
        assert "\n" not in str(e.value)


def test_pickles_and_models_are_no_checkpoints(path: Path, config: TrainingConfig) -> None:
    torch.save({"step": 3}, path)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: not a readable checkpoint"):
        Run().load(path, config)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: not a readable checkpoint"):
        Run().load(path, config)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {k: v for k, v in tensors.items() if k != "network.0.bias"},
        lambda tensors: {k: v for k, v in tensors.items() if not k.startswith("average.")},
        lambda tensors: tensors | {"network.0.bias": torch.zeros(3)},
        lambda tensors: tensors | {"optimiser.one.step": torch.zeros(())},
    ],
    ids=["missing", "no average", "shape", "index"],
)
def test_tensors_that_do_not_fit_are_refused(
    path: Path, config: TrainingConfig, change: Callable[[Tensors], Tensors]
) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(change(load_file(path)), path, metadata=metadata)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: does not fit") as caught:
        Run().load(path, config)
    assert "\n" not in str(caught.value)


def test_a_failed_save_keeps_the_old_checkpoint(
    path: Path, config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(tensors: object, file: Path, metadata: object) -> None:
        file.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        Run().save(path, Progress(4, 0.5, config.model_dump_json()))
    assert Run().load(path, config).step == 3
    assert os.listdir(path.parent) == [path.name]
