"""Training images prepared per second, by the number of workers: nuclei, and crops of photographs.

make bench, with the data sets under BOTTOMUP_DATA
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bottomup_fast.training.config import TrainingConfig, load_config
from bottomup_fast.training.stream import TrainingStream, stream_batches

BATCH, BATCHES = 8, 4


def nuclei() -> dict[str, Any]:
    """As `cells` trains: few images, which the workers keep."""
    return load_config("cells").model_dump(mode="json")


def photographs() -> dict[str, Any]:
    """As `paper` trains: each image is decoded anew, as of a data set that no memory holds."""
    config = load_config("paper").model_dump(mode="json")
    config["data"]["sources"] = [{"kind": "folder", "path": "coco_subset", "split": "train"}]
    config["data"]["cache_images"] = 0
    return config


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("settings", [nuclei, photographs])
def test_stream(
    benchmark: BenchmarkFixture,
    settings: Any,
    workers: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = settings()
    changed["data"] |= {"batch_size": BATCH, "workers": workers}
    config = TrainingConfig.model_validate(changed)
    batches = iter(stream_batches(TrainingStream(config), 0))
    # Past what the workers have prepared while nobody waited for it.
    list(islice(batches, 4 * max(1, workers)))
    side = config.data.crop
    benchmark.group = f"{settings.__name__}, crops of {side}x{side}"
    benchmark.pedantic(lambda: list(islice(batches, BATCHES)), rounds=5)
    rate = BATCH * BATCHES / benchmark.stats.stats.median
    benchmark.extra_info["images per second"] = round(rate, 1)
    with capsys.disabled():
        print(f"\n{settings.__name__}, {workers} workers: {rate:.1f} images per second")
