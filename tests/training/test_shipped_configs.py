from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import torch
import yaml

from bottomup_fast.data.sources import DatasetSource
from bottomup_fast.errors import InputError
from bottomup_fast.models.weights import build_network
from bottomup_fast.training import trainer
from bottomup_fast.training.config import load_config

CONFIGS = sorted(Path(str(files("bottomup_fast") / "configs")).glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_loads_and_describes_a_network(path: Path) -> None:
    config = load_config(path)
    assert load_config(path.stem) == config == load_config(path.name)
    assert config.model.name == path.stem
    with torch.device("meta"):
        network = build_network(config.model)
    assert config.loss.max_entities >= 1
    assert network.feature_dim == config.model.architecture.feature_dim


def test_the_shipped_configurations() -> None:
    assert {path.stem for path in CONFIGS} >= {"cells", "evican", "paper", "smoke"}


def test_the_papers_network_has_101_million_parameters() -> None:
    with torch.device("meta"):
        network = build_network(load_config("paper").model)
    count = sum(parameter.numel() for parameter in network.parameters())
    print(f"paper: {count:,} parameters")
    assert abs(count - 101e6) < 1e6


def test_the_papers_training_is_as_the_paper_says() -> None:
    config = load_config("paper")
    assert config.optimiser.epochs == 60
    assert config.pretrained_backbone is True
    assert config.loss.contrast_weight == 0.125
    assert config.loss.segment_gradient_weight == 0.05
    assert config.loss.norm_weight == 0.025
    assert config.data.erosion == 5
    kinds = [source.kind for source in config.data.sources]
    assert kinds == ["coco-panoptic", "ade20k", "cihp", "shapes"]
    real = [source for source in config.data.sources if isinstance(source, DatasetSource)]
    assert {source.split for source in real} <= {"train", "training"}


def test_values_the_paper_does_not_give_are_marked() -> None:
    path = next(path for path in CONFIGS if path.stem == "paper")
    marked = [line for line in path.read_text().splitlines() if line.endswith("# assumed")]
    names = {next(iter(yaml.safe_load(line.strip().removeprefix("- ")))) for line in marked}
    assert names >= {"learning_rate", "crop", "batch_size", "weight", "mean", "std", "resolutions"}


@pytest.mark.parametrize("name", ["paper", "evican"])
def test_missing_data_is_named_before_any_weights_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def no_network(*args: object) -> None:
        pytest.fail("the network was built before the data was opened")

    monkeypatch.setattr(trainer, "build_network", no_network)
    monkeypatch.setenv("BOTTOMUP_DATA", str(tmp_path))
    config = load_config(name).model_copy(update={"output": tmp_path / "run"})
    first = config.data.sources[0]
    assert isinstance(first, DatasetSource)
    with pytest.raises(InputError, match=f"{tmp_path / first.path}: no such folder"):
        trainer.train(config)
    assert not (tmp_path / "run").exists()
