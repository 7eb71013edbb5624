from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bottomup_fast.errors import InputError
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.weights import build_network, load_model
from bottomup_fast.settings import ModelSettings
from bottomup_fast.training import trainer
from bottomup_fast.training.config import TrainingConfig, load_config
from bottomup_fast.training.loss import TrainingLoss
from bottomup_fast.training.trainer import train

MakeConfig = Callable[..., TrainingConfig]


def read_log(config: TrainingConfig) -> list[list[str]]:
    with (config.output / "log.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


def test_a_run_leaves_a_model_and_its_configuration(make_config: MakeConfig) -> None:
    config = make_config(optimiser__steps=3, model__architecture__foreground=True)
    path = train(config)
    model = load_model(path)
    assert model.settings == config.model
    with torch.no_grad():
        features, logits = model.forward_with_foreground(torch.rand(1, 3, 40, 40))
    assert features.shape == (1, 16, 40, 40)
    assert logits is not None
    assert load_config(config.output / "config.yaml") == config
    names = {file.name for file in config.output.iterdir()}
    assert names == {
        "checkpoint.safetensors",
        "config.yaml",
        "events",
        "last.safetensors",
        "log.csv",
    }


def test_epochs_count_the_images_of_folders(
    make_config: MakeConfig, make_folder: Callable[[str, int], Path]
) -> None:
    source = {"kind": "folder", "path": str(make_folder("grey", 3))}
    config = make_config(
        data__sources=[source], optimiser__steps=None, optimiser__epochs=1, data__batch_size=2
    )
    train(config)
    state = load_file(config.output / "checkpoint.safetensors")
    assert state["optimiser.0.step"] == 2


def test_epochs_count_accumulated_batches(
    make_config: MakeConfig, make_folder: Callable[[str, int], Path]
) -> None:
    source = {"kind": "folder", "path": str(make_folder("grey", 5))}
    config = make_config(
        data__sources=[source],
        data__batch_size=1,
        optimiser__steps=None,
        optimiser__epochs=1,
        optimiser__accumulate=3,
    )
    train(config)
    state = load_file(config.output / "checkpoint.safetensors")
    assert state["optimiser.0.step"] == 2


@pytest.mark.slow
def test_a_compiled_network_trains_alike(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_modules = []
    compile_module = nn.Module.compile

    def trace(module: nn.Module) -> None:
        # All of torch.compile but its code generator, which takes minutes.
        compile_module(module, backend="aot_eager")
        compiled_modules.append(module)

    monkeypatch.setattr(nn.Module, "compile", trace)
    changes = {"optimiser__steps": 3, "optimiser__bfloat16": False, "log_every": 1}
    eager = make_config(output=str(tmp_path / "eager"), **changes)
    compiled = make_config(output=str(tmp_path / "compiled"), optimiser__compile=True, **changes)
    train(eager)
    assert compiled_modules == []
    train(compiled)
    assert len(compiled_modules) == 1
    curves = [{tuple(row[:3]): float(row[3]) for row in read_log(run)} for run in (eager, compiled)]
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)


def test_a_finished_run_is_not_run_again(make_config: MakeConfig) -> None:
    config = make_config(optimiser__steps=2)
    path = train(config)
    before = {file: file.read_bytes() for file in config.output.glob("*.*")}
    assert train(config) == path
    assert before == {file: file.read_bytes() for file in config.output.glob("*.*")}


def test_starting_anew_forgets_the_run_and_nothing_else(make_config: MakeConfig) -> None:
    config = make_config(optimiser__steps=2)
    first = load_file(train(config))
    (config.output / "notes.txt").write_text("mine")
    other = make_config(optimiser__steps=2, seed=1)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: of a run with another"):
        train(other)
    second = load_file(train(other, resume=False))
    assert not torch.equal(first["decoder.output.weight"], second["decoder.output.weight"])
    assert (config.output / "notes.txt").read_text() == "mine"


def test_a_checkpoint_of_a_larger_network_is_refused(make_config: MakeConfig) -> None:
    train(make_config(optimiser__steps=1))
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: of a run with another"):
        train(make_config(optimiser__steps=1, model__architecture__feature_dim=32))


def test_a_corrupt_checkpoint_is_named(make_config: MakeConfig) -> None:
    config = make_config(optimiser__steps=1)
    train(config)
    checkpoint = config.output / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"run.checkpoint\.safetensors: not a readable check"):
        train(config)


def test_frozen_parts_stay_as_pretrained(make_config: MakeConfig) -> None:
    config = make_config(optimiser__steps=2, optimiser__backbone_factor=0)
    train(config)
    torch.manual_seed(config.seed)
    start = build_network(config.model).state_dict()
    state = load_file(config.output / "checkpoint.safetensors")
    for name, value in start.items():
        if name.startswith("encoder"):
            assert torch.equal(value, state[f"network.{name}"]), name
    assert not torch.equal(start["decoder.output.weight"], state["network.decoder.output.weight"])


def test_a_run_starts_from_an_initial_model(make_config: MakeConfig, tmp_path: Path) -> None:
    first = train(make_config(optimiser__steps=2))
    config = make_config(
        optimiser__steps=1,
        optimiser__backbone_factor=0,
        initial_model=str(first),
        output=str(tmp_path / "second"),
        model__name="second",
    )
    second = train(config)
    before, after = load_file(first), load_file(second)
    for name, value in before.items():
        if name.startswith("encoder"):
            assert torch.equal(value, after[name]), name
    assert not torch.equal(before["decoder.output.weight"], after["decoder.output.weight"])
    assert load_model(second).settings == config.model


def test_an_initial_model_of_another_architecture_is_named(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    first = train(make_config(optimiser__steps=1))
    config = make_config(
        initial_model=str(first),
        model__architecture__feature_dim=32,
        output=str(tmp_path / "second"),
    )
    with pytest.raises(InputError, match=r"initial_model .*last\.safetensors: its architecture is"):
        train(config)


# Numbers that are not


def spoil_loss(monkeypatch: pytest.MonkeyPatch, at_call: int, term: str, value: float) -> None:
    calls = 0
    forward = TrainingLoss.forward

    def spoiled(self: TrainingLoss, *arguments: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += 1
        total, terms = forward(self, *arguments)  # type: ignore[arg-type]
        if calls == at_call:
            terms[term] = torch.tensor(value)
        return total, terms

    monkeypatch.setattr(TrainingLoss, "forward", spoiled)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_term(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    config = make_config(checkpoint_every=1, optimiser__steps=5)
    spoil_loss(monkeypatch, 3, "repulsion", value)
    with pytest.raises(FloatingPointError, match=r"^step 3: not finite: repulsion$"):
        train(config)
    state = load_file(config.output / "checkpoint.safetensors")
    assert state["optimiser.0.step"] == 2
    assert all(tensor.isfinite().all() for tensor in state.values())


def spoil_network(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[BottomUpNetwork], object]
) -> None:
    def build(settings: ModelSettings, pretrained: object) -> BottomUpNetwork:
        network = build_network(settings)
        change(network)
        return network

    monkeypatch.setattr(trainer, "build_network", build)


def test_features_that_are_not_finite_stop_the_run(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_weight(network: BottomUpNetwork) -> None:
        next(network.decoder.output.parameters()).data[3] = torch.nan

    spoil_network(monkeypatch, break_weight)
    with pytest.raises(FloatingPointError, match=r"^step 1: the features are no longer finite$"):
        train(make_config())


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_spoils_the_weights(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_gradient(network: BottomUpNetwork) -> None:
        next(network.decoder.output.parameters()).register_hook(
            lambda gradient: gradient * torch.inf
        )

    spoil_network(monkeypatch, break_gradient)
    config = make_config(checkpoint_every=1)
    with pytest.raises(FloatingPointError, match=r"^step 1: not finite: gradient_norm$"):
        train(config)
    assert not (config.output / "checkpoint.safetensors").exists()
