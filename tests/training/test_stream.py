from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bottomup_fast.errors import InputError
from bottomup_fast.training.config import TrainingConfig
from bottomup_fast.training.stream import Batch, TrainingStream, stream_batches

MakeConfig = Callable[..., TrainingConfig]
MakeFolder = Callable[[str, int], Path]

# The image as it is, so that its grey value tells where it comes from.
NO_VARIATION = {"grey": 0, "colour": 0, "gamma": 0, "blur": 0, "noise": 0}
AS_STORED = {"normalisation": "range", "mean": [0, 0, 0], "std": [1, 1, 1], "scale": 1}


def assert_same(one: Batch, other: Batch) -> None:
    for name, a, b in zip(Batch._fields, one, other, strict=True):
        assert torch.equal(a, b), name


def grey_value(sample: Batch) -> int:
    return int(sample.images.mean().mul(255).round())


def folder(path: Path, **settings: Any) -> dict[str, Any]:
    return {"kind": "folder", "path": str(path), **settings}


def test_the_form_of_a_batch(make_config: MakeConfig) -> None:
    batch = next(iter(stream_batches(TrainingStream(make_config()), 0)))
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.images.dtype == torch.float32
    assert batch.labels.shape == batch.foreground.shape == (2, 64, 64)
    assert batch.labels.dtype == torch.int32
    assert batch.foreground.dtype == torch.int8
    assert batch.origin.shape == (2, 2)
    assert batch.seeds.shape == (2,)
    assert batch.seeds.dtype == torch.int64


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_resuming_change_nothing(
    make_config: MakeConfig, make_folder: MakeFolder, workers: int
) -> None:
    sources = [{"kind": "shapes", "size": 80}, folder(make_folder("grey", 3))]
    alone = TrainingStream(make_config(data__sources=sources))
    helped = TrainingStream(make_config(data__sources=sources, data__workers=workers))
    expected = list(islice(stream_batches(alone, 0), 5))
    for one, other in zip(expected, islice(stream_batches(helped, 0), 5), strict=True):
        assert_same(one, other)
    assert_same(expected[3], next(iter(stream_batches(helped, 3))))
    assert_same(expected[4], next(iter(stream_batches(alone, 4))))


def test_samples_depend_on_index_and_seed_alone(make_config: MakeConfig) -> None:
    stream, again = TrainingStream(make_config()), TrainingStream(make_config())
    late = stream[7]
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    again[3]
    assert_same(late, again[7])
    assert not torch.equal(late.images, stream[8].images)
    assert late.seeds != stream[8].seeds
    other = TrainingStream(make_config(seed=1))
    assert not torch.equal(late.images, other[7].images)


def test_batches_hold_consecutive_samples(make_config: MakeConfig) -> None:
    stream = TrainingStream(make_config())
    second = next(iter(stream_batches(stream, 1)))
    for row, index in enumerate((2, 3)):
        assert_same(Batch(*(part[row] for part in second)), stream[index])


def test_processes_share_what_one_would_see_with_larger_batches(make_config: MakeConfig) -> None:
    shares = [
        islice(stream_batches(TrainingStream(make_config(data__workers=1)), 3, rank, 2), 2)
        for rank in range(2)
    ]
    alone = stream_batches(TrainingStream(make_config(data__batch_size=4)), 3)
    for one, other, expected in zip(*shares, islice(alone, 2), strict=True):
        together = Batch(*(torch.cat(parts) for parts in zip(one, other, strict=True)))
        assert_same(together, expected)


def test_workers_leave_sigterm_to_the_training(make_config: MakeConfig) -> None:
    batches = iter(stream_batches(TrainingStream(make_config(data__workers=1)), 0))
    first = next(batches)
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGTERM)
    assert next(batches).images.shape == first.images.shape


# Labels


def test_foreground_is_unknown_where_background_is(make_config: MakeConfig) -> None:
    def values(backdrop: str) -> set[int]:
        sources = [{"kind": "shapes", "size": 80, "max_shapes": 5, "backdrop": backdrop}]
        stream = TrainingStream(make_config(data__sources=sources))
        return {int(v) for i in range(6) for v in stream[i].foreground.unique()}

    assert values("background") >= {0, 1}
    assert values("entity") <= {-1, 1}


@pytest.mark.parametrize(("background", "value"), [("unknown", -1), ("complete", 0)])
def test_a_folders_background_is_what_its_source_says(
    make_config: MakeConfig, make_folder: MakeFolder, background: str, value: int
) -> None:
    sources = [folder(make_folder("grey", 1), background=background)]
    stream = TrainingStream(make_config(data__sources=sources))
    for index in range(4):
        sample = stream[index]
        assert set(sample.foreground[sample.labels == 0].tolist()) == {value}
        assert set(sample.foreground[sample.labels > 0].tolist()) == {1}


def test_labels_are_eroded_and_the_foreground_is_not(
    make_config: MakeConfig, make_folder: MakeFolder
) -> None:
    sources = [folder(make_folder("grey", 1), background="complete")]
    whole = TrainingStream(make_config(data__sources=sources, data__erosion=1))
    eroded = TrainingStream(make_config(data__sources=sources, data__erosion=5))
    for index in range(4):
        before, after = whole[index], eroded[index]
        changed = before.labels != after.labels
        assert changed.any()
        assert set(after.labels[changed].tolist()) == {-1}
        assert (before.labels[changed] > 0).all()
        assert torch.equal(before.foreground, after.foreground)
        assert set(after.foreground[changed].tolist()) == {1}


def test_surround_leaves_only_pixels_near_entities(make_config: MakeConfig) -> None:
    sources = [{"kind": "shapes", "size": 80, "backdrop": "background", "max_shapes": 2}]
    every = TrainingStream(make_config(data__sources=sources, data__erosion=1))
    near = TrainingStream(make_config(data__sources=sources, data__erosion=1, data__surround=4))
    ignored = 0
    for index in range(6):
        one, other = every[index], near[index]
        assert_same(one._replace(labels=other.labels), other)
        differs = one.labels != other.labels
        assert (one.labels[differs] == 0).all()
        assert (other.labels[differs] == -1).all()
        ignored += int(differs.sum())
    assert ignored > 0


def test_at_most_max_entities_are_kept(make_config: MakeConfig) -> None:
    sources = [{"kind": "shapes", "size": 80, "max_shapes": 30}]
    stream = TrainingStream(make_config(data__sources=sources, loss__max_entities=3))
    counts = [int(stream[index].labels.max()) for index in range(5)]
    assert max(counts) == 3


# Images


def test_images_are_normalised_by_mean_and_std(
    make_config: MakeConfig, make_folder: MakeFolder
) -> None:
    preprocessing = {**AS_STORED, "mean": [0.1, 0.2, 0.3], "std": [0.5, 1, 2]}
    stream = TrainingStream(
        make_config(
            data__sources=[folder(make_folder("grey", 1))],
            data__augmentation=NO_VARIATION,
            model__preprocessing=preprocessing,
        )
    )
    grey = 100 / 255
    expected = torch.tensor([(grey - 0.1) / 0.5, grey - 0.2, (grey - 0.3) / 2])
    image = stream[0].images
    torch.testing.assert_close(image.mean((1, 2)), expected, atol=2e-3, rtol=0)
    assert image.std(dim=(1, 2)).max() < 1e-4


def test_sources_are_drawn_by_weight_and_their_images_evenly(
    make_config: MakeConfig, make_folder: MakeFolder
) -> None:
    sources = [folder(make_folder("a", 1), weight=1), folder(make_folder("b", 4), weight=3)]
    stream = TrainingStream(
        make_config(
            data__sources=sources,
            data__crop=32,
            data__augmentation=NO_VARIATION,
            model__preprocessing=AS_STORED,
        )
    )
    drawn = [grey_value(stream[index]) for index in range(400)]
    counts = {value: drawn.count(value) for value in set(drawn)}
    assert set(counts) == {100, 101, 102, 103}
    # The grey value 100 is that of a's only image and of the first of b's four.
    assert abs(counts[100] - 400 * (1 / 4 + 3 / 16)) < 45
    assert all(abs(counts[value] - 75) < 35 for value in (101, 102, 103))


def test_images_are_decoded_once(
    make_config: MakeConfig, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder("grey", 2)
    stream = TrainingStream(make_config(data__sources=[folder(root)]))
    first = [stream[index] for index in range(6)]
    for path in root.rglob("*.png"):
        path.unlink()
    for index, sample in enumerate(first):
        assert_same(sample, stream[index])


def test_broken_files_are_left_out_and_named_if_so_wished(
    make_config: MakeConfig, make_folder: MakeFolder, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder("grey", 3)
    (root / "masks" / "1.png").write_bytes(b"no image")
    changes = {"data__augmentation": NO_VARIATION, "model__preprocessing": AS_STORED}
    strict = TrainingStream(make_config(data__sources=[folder(root)], **changes))
    with pytest.raises(InputError, match=r"masks/1\.png: not a readable label map"):
        [strict[index] for index in range(20)]
    source = folder(root, on_error="skip")
    stream = TrainingStream(make_config(data__sources=[source], data__workers=0, **changes))
    with caplog.at_level(logging.WARNING):
        values = {grey_value(stream[index]) for index in range(20)}
    assert values == {100, 102}
    (message,) = caplog.messages
    assert message.startswith(f"skipped: {root}/masks/1.png: not a readable label map")


def test_an_epoch_is_the_images_of_all_folders(
    make_config: MakeConfig, make_folder: MakeFolder
) -> None:
    shapes = {"kind": "shapes"}
    assert TrainingStream(make_config(data__sources=[shapes])).images_per_epoch() == 1000
    sources = [folder(make_folder("a", 2)), shapes, folder(make_folder("b", 3))]
    assert TrainingStream(make_config(data__sources=sources)).images_per_epoch() == 5


def test_origins_lie_all_over_an_imagined_image(make_config: MakeConfig) -> None:
    stream = TrainingStream(make_config())
    origins = torch.stack([stream[index].origin for index in range(20)])
    assert origins.min() >= 0
    assert 512 < origins.max() < 1024


def test_missing_data_is_named(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lost: no such folder"):
        TrainingStream(make_config(data__sources=[folder(tmp_path / "lost")]))


def test_objects_are_pasted_from_annotated_images_only(
    make_config: MakeConfig, make_folder: MakeFolder
) -> None:
    sources = [{"kind": "shapes", "size": 80}, folder(make_folder("grey", 3))]
    augmentation = {"paste": 1.0, **NO_VARIATION}
    pasting = TrainingStream(make_config(data__sources=sources, data__augmentation=augmentation))
    plain = TrainingStream(make_config(data__sources=sources, data__augmentation=NO_VARIATION))
    assert_same(pasting[3], pasting[3])
    assert any(not torch.equal(pasting[i].images, plain[i].images) for i in range(5))
    with pytest.raises(InputError, match="paste: needs a source of annotated images"):
        TrainingStream(make_config(data__sources=sources[:1], data__augmentation={"paste": 0.5}))
