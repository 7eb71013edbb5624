from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from data.format_miniatures import BOXES, HEIGHT, WIDTH, WRITERS, save_map, scene

from bottomup_fast.data.dataset import Sample
from bottomup_fast.data.formats import open_dataset
from bottomup_fast.data.health import check_health, draw_sample
from bottomup_fast.errors import InputError


def test_health_tells_what_is_in_a_folder(tmp_path: Path) -> None:
    WRITERS["folder"](tmp_path)
    shutil.copy(tmp_path / "images" / "a.jpg", tmp_path / "images" / "c.jpg")
    speck = np.zeros((HEIGHT, WIDTH), np.uint16)
    speck[3, 4:8] = 7
    save_map(tmp_path / "masks" / "c.png", speck, np.uint16)
    (tmp_path / "masks" / "b.png").write_bytes(b"\x89PNG")
    health = check_health(open_dataset(tmp_path, on_error="skip"))
    labels = scene(crowd=-1)
    assert health.images == 2
    assert health.sizes == {"24x32": 2}
    assert health.segments == {"fewest": 1, "median": 2, "most": 3, "all": 4}
    assert health.tiny_segments == 1
    assert health.without_segments == []
    assert health.ignored == (labels < 0).sum() / labels.size / 2
    assert health.unlabelled == ((labels == 0).sum() + labels.size - 4) / labels.size / 2
    assert health.duplicates == [["a", "c"]]
    assert len(health.broken) == 1
    assert "b.png: not a readable label map" in health.broken[0]


def test_overlapping_masks_count_whole(tmp_path: Path) -> None:
    WRITERS["evican"](tmp_path)
    health = check_health(open_dataset(tmp_path, split="train", on_error="skip"))
    assert health.segments["all"] == len(BOXES)
    assert health.without_segments == ["2_train2019_Background"]
    assert health.broken == []


def test_nothing_to_read_has_a_health_too(tmp_path: Path) -> None:
    WRITERS["folder"](tmp_path)
    for path in (tmp_path / "masks").iterdir():
        path.unlink()
    health = check_health(open_dataset(tmp_path, "folder", on_error="skip"))
    assert (health.images, health.segments, health.ignored) == (0, {}, 0)
    assert len(health.broken) == 2
    with pytest.raises(InputError, match=r"a\.png"):
        check_health(open_dataset(tmp_path, "folder"))


def test_pictures_show_segments_and_darken_what_is_ignored() -> None:
    labels = scene(crowd=-1)
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    plain, segments = draw_sample(Sample("a", image, labels, {}))
    np.testing.assert_array_equal(plain, image)
    assert (segments[labels == 0] == 90).all()
    assert (segments[labels < 0] == 30).all()
    assert (segments[labels > 0] != 90).any(-1).all()
