from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bottomup_fast.errors import InputError
from bottomup_fast.overlay import draw_overlay
from bottomup_fast.segmentation import Segmentation

LABELS = np.zeros((12, 20), np.int32)
LABELS[1:6, 2:9] = 1
LABELS[7:, :] = 2
LABELS[8, 4] = 3
IMAGE = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
METADATA = {"model": "cells", "bandwidth_deg": 45.0, "resolutions": [256, 512]}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    result = Segmentation(
        LABELS,
        scores=[0.1 + 0.2, 1 / 3, 1],
        predicted_iou=[0.5, 0.6, 0.7],
        stability_score=[1e-17, 0.25, 0.125],
        image=IMAGE,
        metadata=METADATA,
    )
    assert result.save(tmp_path / "new" / "out") == tmp_path / "new" / "out"
    return tmp_path / "new" / "out"


def test_save_writes_three_files(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == [
        "labels.png",
        "overlay.png",
        "segments.json",
    ]
    with Image.open(saved / "labels.png") as labels:
        assert labels.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(labels), LABELS)
    with Image.open(saved / "overlay.png") as overlay:
        np.testing.assert_array_equal(np.asarray(overlay), draw_overlay(IMAGE, LABELS))
    content = json.loads((saved / "segments.json").read_text())
    assert content["format"] == "bottomup_fast.segmentation"
    assert (content["version"], content["height"], content["width"]) == (1, 12, 20)
    assert content["metadata"] == METADATA
    assert content["segments"] == Segmentation.load(saved).segments


def test_load_reads_back_what_save_wrote(saved: Path, tmp_path: Path) -> None:
    loaded = Segmentation.load(str(saved))
    np.testing.assert_array_equal(loaded.labels, LABELS)
    assert loaded.labels.dtype == np.int32
    assert loaded.scores.tolist() == [0.1 + 0.2, 1 / 3, 1]
    assert loaded.predicted_iou.tolist() == [0.5, 0.6, 0.7]
    assert loaded.stability_score.tolist() == [1e-17, 0.25, 0.125]
    assert loaded.metadata == METADATA
    assert loaded.image is None
    loaded.save(tmp_path / "again")
    for name in ("labels.png", "segments.json"):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_map_of_background_goes_round(tmp_path: Path) -> None:
    empty = np.zeros((3, 4), np.int32)
    loaded = Segmentation.load(Segmentation(empty).save(tmp_path))
    np.testing.assert_array_equal(loaded.labels, empty)
    assert loaded.segments == []


def test_the_overlay_follows_the_image_given_or_kept(saved: Path, tmp_path: Path) -> None:
    other = 255 - IMAGE
    Image.fromarray(other).save(tmp_path / "other.png")
    loaded = Segmentation.load(saved)
    loaded.save(saved, tmp_path / "other.png")
    with Image.open(saved / "overlay.png") as overlay:
        np.testing.assert_array_equal(np.asarray(overlay), draw_overlay(other, LABELS))
    loaded.save(saved)
    assert not (saved / "overlay.png").exists()


def test_up_to_65534_segments_are_saved(tmp_path: Path) -> None:
    many = np.arange(1, 65536).reshape(255, 257)
    with pytest.raises(InputError, match=r"^labels: 65535 segments, labels.png holds 65534$"):
        Segmentation(many).save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_save_errors_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^image: size"):
        Segmentation(LABELS).save(tmp_path / "out", IMAGE[1:])
    with pytest.raises(InputError, match=r"absent\.png: no such file$"):
        Segmentation(LABELS).save(tmp_path / "out", tmp_path / "absent.png")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file: cannot be written \("):
        Segmentation(LABELS).save(tmp_path / "file")


@pytest.mark.parametrize("name", ["labels.png", "segments.json"])
def test_missing_truncated_and_foreign_files(saved: Path, name: str) -> None:
    path = saved / name
    content = path.read_bytes()
    for broken in (b"", content[: len(content) // 2], b"\xff\xfe\x00", b"[1, 2]", b"null"):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=rf"{name}: ") as info:
            Segmentation.load(saved)
        assert "\n" not in str(info.value)
    path.unlink()
    with pytest.raises(InputError, match=rf"{name}: (no such file|cannot be read)"):
        Segmentation.load(saved)


def changed(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Callable[[Path], None]:
    """Apply `change` to the content of segments.json and its first segment."""

    def rewrite(folder: Path) -> None:
        path = folder / "segments.json"
        content = json.loads(path.read_text())
        change(content, content["segments"][0])
        path.write_text(json.dumps(content))

    return rewrite


@pytest.mark.parametrize(
    "change",
    [
        changed(lambda content, first: content.update(format="coco")),
        changed(lambda content, first: content.update(version=2)),
        changed(lambda content, first: content.update({"two\nlines": 1})),
        changed(lambda content, first: content.update(metadata={"a": float("nan")})),
        changed(lambda content, first: content.update(height=13)),
        changed(lambda content, first: content.update(width="20")),
        changed(lambda content, first: content.update(metadata=None)),
        changed(lambda content, first: content.pop("segments")),
        changed(lambda content, first: content["segments"].pop()),
        changed(lambda content, first: content["segments"].reverse()),
        changed(lambda content, first: content["segments"].append(first)),
        changed(lambda content, first: first.pop("score")),
        changed(lambda content, first: first.update(score=float("nan"))),
        changed(lambda content, first: first.update(score=float("inf"))),
        changed(lambda content, first: first.update(area=36)),
        changed(lambda content, first: first.update(bbox=[2, 1, 7, 4])),
        changed(lambda content, first: first.update(label=2)),
        changed(lambda content, first: first["segmentation"].update(size=[20, 12])),
        changed(lambda content, first: first["segmentation"].update(counts="")),
        changed(lambda content, first: first["segmentation"].update(counts="o7")),
        changed(lambda content, first: first["segmentation"].update(counts="ooooooo")),
    ],
)
def test_changed_records(saved: Path, change: Callable[[Path], None]) -> None:
    change(saved)
    with pytest.raises(InputError, match=r"(segments\.json|labels\.png): ") as info:
        Segmentation.load(saved)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "labels",
    [
        np.where(LABELS == 3, 2, LABELS).astype(np.uint16),
        np.where(LABELS == 3, 65535, LABELS).astype(np.uint16),
        np.roll(LABELS, 1, axis=1).astype(np.uint16),
        LABELS.T.astype(np.uint16),
        LABELS.astype(np.uint8),
        IMAGE,
    ],
)
def test_another_label_map(saved: Path, labels: Any) -> None:
    Image.fromarray(labels).save(saved / "labels.png")
    with pytest.raises(InputError, match=r"(segments\.json|labels\.png): "):
        Segmentation.load(saved)


def test_label_maps_over_the_limit(saved: Path) -> None:
    with pytest.raises(InputError, match=r"labels\.png: more than max_pixels = 100 pixels$"):
        Segmentation.load(saved, max_pixels=100)
