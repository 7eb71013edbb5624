from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damage import flip_bit
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.models import weights
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.weights import SETTINGS_KEY, list_models, load_model, save_model
from bottomup_fast.settings import ModelSettings

OUTPUT = "decoder.output.bias"


@pytest.fixture
def model_file(tmp_path: Path, network: BottomUpNetwork, settings: ModelSettings) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_model(path, network, settings)
    return path


def rewrite(path: Path, settings: str | None = None, **changes: Tensor | None) -> None:
    """Replace tensors (None: leave out) or the settings of a model file."""
    with safe_open(path, framework="pt") as file:
        old = file.metadata()[SETTINGS_KEY]
    tensors = load_file(path) | changes
    kept = {name: value for name, value in tensors.items() if value is not None}
    save_file(kept, path, metadata={SETTINGS_KEY: settings or old})


def test_round_trip(model_file: Path, network: BottomUpNetwork, settings: ModelSettings) -> None:
    loaded = load_model(model_file)
    assert loaded.settings == settings
    assert not loaded.training
    original = network.state_dict()
    for name, value in loaded.state_dict().items():
        assert value.dtype == original[name].dtype
        torch.testing.assert_close(value, original[name], rtol=2**-11, atol=2**-24)
    image = torch.rand(1, 3, 40, 50)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), network(image), atol=5e-3, rtol=0)


def test_weights_are_stored_in_half_precision(model_file: Path) -> None:
    tensors = load_file(model_file)
    assert {value.dtype for value in tensors.values()} == {torch.float16, torch.int64}
    assert model_file.stat().st_size < 2.1 * sum(value.numel() for value in tensors.values())


def test_a_failed_save_leaves_the_old_file_alone(
    model_file: Path,
    network: BottomUpNetwork,
    settings: ModelSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full_disk(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    before = model_file.read_bytes()
    monkeypatch.setattr(weights, "save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_model(model_file, network, settings)
    assert model_file.read_bytes() == before
    assert os.listdir(model_file.parent) == [model_file.name]


# Names


def test_bundled_models_go_by_name(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model_file.parent / "tiny.md").write_text("about it")
    monkeypatch.setattr(weights, "BUNDLED_MODELS", model_file.parent)
    assert list_models() == ["tiny"]
    loaded = load_model("tiny")
    assert loaded.settings is not None
    assert loaded.settings.name == "tiny"
    with pytest.raises(InputError, match="unknown model 'tinny'; did you mean 'tiny'"):
        load_model("tinny")


def test_without_bundled_models_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "BUNDLED_MODELS", tmp_path / "weights")
    assert list_models() == []
    with pytest.raises(InputError, match=r"lost\.safetensors: no such model file"):
        load_model(tmp_path / "lost.safetensors")


# What is not a model


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({OUTPUT: None}, f"weights: {OUTPUT} is missing"),
        ({"extra": torch.zeros(1)}, "weights: extra is unknown"),
        ({OUTPUT: torch.zeros(16)}, rf"weights: {OUTPUT} has shape \(16,\)"),
        ({OUTPUT: torch.full((3,), np.nan)}, f"weights: {OUTPUT} contains NaN or Inf"),
        ({OUTPUT: torch.full((3,), -np.inf)}, f"weights: {OUTPUT} contains NaN or Inf"),
        ({OUTPUT: torch.zeros(3, dtype=torch.int32)}, f"weights: {OUTPUT} has type torch.int32"),
        (
            {OUTPUT: torch.zeros(3).to(torch.float8_e5m2)},
            f"weights: {OUTPUT} has type torch.float8",
        ),
        ({"settings": "{"}, "settings: Invalid JSON"),
        ({"settings": "{}"}, "settings.name: Field required"),
    ],
)
def test_files_that_do_not_fit_are_named(
    model_file: Path, changes: dict[str, Any], problem: str
) -> None:
    rewrite(model_file, **changes)
    with pytest.raises(InputError, match=rf"tiny\.safetensors: {problem}"):
        load_model(model_file)


@pytest.mark.parametrize(
    ("part", "change", "problem"),
    [
        ("architecture", {"name": "bottomup_lite"}, "settings: unknown architecture 'bottomup_li"),
        ("architecture", {"feature_dim": 0}, "settings.architecture.feature_dim: Input should"),
        (
            "architecture",
            {"feature_dim": 99, "position_scale": None},
            r"settings: width \(64\) must be at least",
        ),
        ("architecture", {"feature_dim": 5000}, "settings.architecture.feature_dim: Input should"),
        ("architecture", {"feature_dim": 8}, r"weights: decoder.output.weight has shape \(3, 16, "),
        ("clustering", {"bandwith": 45}, "settings.clustering.bandwith: Extra inputs"),
    ],
)
def test_foreign_settings_are_named(
    model_file: Path, settings: ModelSettings, part: str, change: dict[str, Any], problem: str
) -> None:
    content = settings.model_dump(mode="json")
    content[part] |= change
    changed = ModelSettings.model_construct(**content).model_dump_json(warnings=False)
    rewrite(model_file, settings=changed)
    with pytest.raises(InputError, match=rf"tiny\.safetensors: {problem}"):
        load_model(model_file)


def test_other_safetensors_files_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors: not a model of this package"):
        load_model(tmp_path / "other.safetensors")


def test_truncated_files_are_refused(model_file: Path) -> None:
    content = model_file.read_bytes()
    for length in (0, 1, 8, 500, len(content) // 2, len(content) - 1):
        model_file.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"tiny\.safetensors: not a readable safetensors"):
            load_model(model_file)


def test_a_damaged_header_is_an_input_error_or_harmless(model_file: Path) -> None:
    content = model_file.read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    rng = np.random.default_rng(0)
    problems = []
    for position in rng.integers(0, header, 40):
        model_file.write_bytes(flip_bit(content, int(position), rng))
        try:
            load_model(model_file)
        except InputError as error:
            problems.append(str(error))
    assert len(problems) > 20
    assert all("tiny.safetensors: " in text and "\n" not in text for text in problems)


def test_no_damaged_weight_is_loaded(model_file: Path) -> None:
    content = model_file.read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    rng = np.random.default_rng(1)
    for position in rng.integers(header, len(content), 40):
        model_file.write_bytes(flip_bit(content, int(position), rng))
        with pytest.raises(InputError, match=r"tiny\.safetensors: damaged, its checksum does not"):
            load_model(model_file)


@pytest.mark.slow
def test_five_hundred_damaged_bytes_are_errors_or_harmless(
    model_file: Path, network: BottomUpNetwork
) -> None:
    content = model_file.read_bytes()
    expected = load_model(model_file).state_dict()
    rng = np.random.default_rng(2)
    problems = []
    for position in rng.integers(0, len(content), 500):
        model_file.write_bytes(flip_bit(content, int(position), rng))
        try:
            found = load_model(model_file).state_dict()
        except InputError as error:
            problems.append(str(error))
        else:
            assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert len(problems) > 400
    assert all("tiny.safetensors: " in problem for problem in problems)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.pt"):
        torch.save({"state_dict": Bomb(tmp_path / "exploded")}, tmp_path / name)
        with pytest.raises(InputError, match=name):
            load_model(tmp_path / name)
    assert not (tmp_path / "exploded").exists()
