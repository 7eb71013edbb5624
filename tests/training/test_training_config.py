from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bottomup_fast.data.sources import data_path
from bottomup_fast.errors import InputError
from bottomup_fast.training.config import TrainingConfig, load_config

MakeSettings = Callable[..., dict[str, Any]]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[object], TrainingConfig]:
    def load(content: object) -> TrainingConfig:
        path = tmp_path / "run.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return load_config(path)

    return load


Load = Callable[[object], TrainingConfig]


def test_defaults_are_the_papers_loss_weights(load: Load, make_settings: MakeSettings) -> None:
    loss = load(make_settings()).loss
    assert (loss.contrast_weight, loss.segment_gradient_weight, loss.norm_weight) == (
        0.125,
        0.05,
        0.025,
    )
    assert loss.attraction_weight == loss.repulsion_weight == loss.segment_mse_weight == 1


def test_a_dumped_configuration_loads_as_the_same(load: Load, make_settings: MakeSettings) -> None:
    config = load(make_settings(data__augmentation={"scale": [1, 2]}, pretrained_backbone="b.st"))
    assert config.pretrained_backbone == Path("b.st")
    assert load(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"otput": "x"}, "unknown setting 'otput'; did you mean 'output'"),
        ({"zzz": 1}, "unknown setting 'zzz'; known are 'model', 'pretrained_backbone', "),
        ({"optimiser__learning_rat": 1}, "'optimiser.learning_rat'; did you mean 'learning_rate'"),
        (
            {"model__architecture__feature_dims": 1},
            "'model.architecture.feature_dims'; did you mean 'feature_dim'",
        ),
        (
            {"data__augmentation__rotation": True},
            "'data.augmentation.rotation'; did you mean 'rotate'",
        ),
        (
            {"data__sources": [{"kind": "folder", "path": "x", "splits": "train"}]},
            r"'data\.sources\.0\.folder\.splits'; did you mean 'split'",
        ),
        (
            {"data__sources": [{"kind": "coco-panoptic", "path": "x", "wher": {}}]},
            r"'data\.sources\.0\.coco-panoptic\.wher'; did you mean 'where'",
        ),
        (
            {"validation": {"source": {"kind": "evican", "path": "x", "slit": "val"}}},
            r"'validation\.source\.evican\.slit'; did you mean 'split'",
        ),
        ({"optimiser__acumulate": 2}, "'optimiser.acumulate'; did you mean 'accumulate'"),
        (
            {"data__sources": [{"kind": "shapes"}, {"kind": "shapes", "max_shape": 3}]},
            r"'data\.sources\.1\.shapes\.max_shape'; did you mean 'max_shapes'",
        ),
    ],
)
def test_unknown_settings_are_refused_by_their_dotted_name(
    load: Load, make_settings: MakeSettings, change: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        load(make_settings(**change))
    assert str(caught.value).count("run.yaml: ") == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"optimiser__steps": None}, "optimiser: Value error, give either steps or epochs"),
        ({"optimiser__epochs": 3}, "optimiser: Value error, give either steps or epochs"),
        ({"optimiser__steps": "many"}, "optimiser.steps: Input should be a valid integer"),
        ({"optimiser__learning_rate": 0}, "optimiser.learning_rate: Input should be greater"),
        (
            {"optimiser__learning_rate": float("inf")},
            "optimiser.learning_rate: Input should be a f",
        ),
        ({"data__crop": 16}, "data.crop: Input should be greater than or equal to 32"),
        ({"data__surround": 0}, "data.surround: Input should be greater than 0"),
        ({"data__erosion": 4}, "data.erosion: Input should be 1, 3, 5, 7 or 9"),
        ({"data__sources": []}, "data.sources: .* at least 1"),
        ({"data__sources": [{"kind": "video"}]}, r"data\.sources\.0: .*'folder', 'coco-panoptic'"),
        ({"data__sources": [{}]}, r"data\.sources\.0: .*'kind'"),
        ({"data__sources": [{"kind": "folder"}]}, r"data\.sources\.0\.folder\.path: Field requir"),
        (
            {"data__sources": [{"kind": "folder", "path": "x", "on_error": "hide"}]},
            r"data\.sources\.0\.folder\.on_error: Input should be 'raise' or 'skip'",
        ),
        ({"optimiser__accumulate": 0}, "optimiser.accumulate: Input should be greater"),
        ({"loss__repulsion_normaliser": "none"}, "loss.repulsion_normaliser: Input should be"),
        ({"loss": [1]}, "loss: Input should be"),
        ({"seed": -1}, "seed: Input should be greater"),
        ({"model__preprocessing": {}}, "model.preprocessing: .*give either scale or resolutions"),
    ],
)
def test_invalid_values_are_refused_by_their_dotted_name(
    load: Load, make_settings: MakeSettings, change: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=rf"run\.yaml: {problem}") as caught:
        load(make_settings(**change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("model: [1, 2", "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("- 1\n- 2\n", "must be a mapping of settings"),
        ("", "must be a mapping of settings"),
    ],
)
def test_files_that_are_no_configuration(load: Load, content: str, problem: str) -> None:
    with pytest.raises(InputError, match=rf"run\.yaml: {problem}") as caught:
        load(content)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lost\.yaml: no such configuration file"):
        load_config(tmp_path / "lost.yaml")
    with pytest.raises(InputError, match=r"^lost: no such configuration file"):
        load_config("lost")
    with pytest.raises(InputError, match="no such configuration file"):
        load_config(tmp_path)


def test_a_file_in_a_folder_does_not_stand_for_a_shipped_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such configuration file"):
        load_config(tmp_path / "smoke.yaml")


def test_relative_data_paths_start_at_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOTTOMUP_DATA", "/data")
    assert data_path(Path("cells")) == Path("/data/cells")
    assert data_path(Path("/elsewhere/cells")) == Path("/elsewhere/cells")
