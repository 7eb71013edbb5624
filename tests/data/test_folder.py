from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from damage import flip_bit
from numpy.typing import NDArray
from PIL import Image

from bottomup_fast.data.folder import FolderDataset
from bottomup_fast.data.label_maps import read_label_map
from bottomup_fast.errors import InputError

LABELS = np.array([[0, 1, 300], [65535, 2, 2]], np.uint16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of 2 x 3 pixels: a and b for training, c for testing; c is red."""
    root = tmp_path / "cells"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for name, colour in (("a", "blue"), ("b", "blue"), ("c", "red")):
        suffix = "tif" if name == "b" else "png"
        Image.new("RGB", (3, 2), colour).save(root / "images" / f"{name}.{suffix}")
        Image.fromarray(LABELS).save(root / "masks" / f"{name}.png")
    (root / "split.txt").write_text("train\tb\ntrain\ta\n\ntest\tc\n")
    (root / "meta.tsv").write_text("name\tcolour\tsize\na\tblue\t1\nb\tblue\t2\nc\tred\t1\n")
    return root


def test_images_come_with_labels_and_metadata(folder: Path) -> None:
    dataset = FolderDataset(folder)
    assert [sample.name for sample in (dataset[i] for i in range(len(dataset)))] == ["a", "b", "c"]
    sample = dataset[2]
    assert sample.image.shape == (2, 3, 3)
    assert sample.image.dtype == np.uint8
    assert sample.image[0, 0].tolist() == [255, 0, 0]
    assert sample.labels.dtype == np.int32
    assert sample.labels.tolist() == [[0, 1, 300], [-1, 2, 2]]
    assert sample.metadata == {"name": "c", "colour": "red", "size": "1"}


def test_split_and_columns_choose_images(folder: Path) -> None:
    assert FolderDataset(folder, "train").names == ["a", "b"]
    assert FolderDataset(folder, "test").names == ["c"]
    assert FolderDataset(folder, where={"size": "1"}).names == ["a", "c"]
    assert FolderDataset(folder, "train", {"size": "1", "colour": "blue"}).names == ["a"]


def test_split_and_metadata_are_optional(folder: Path) -> None:
    (folder / "split.txt").unlink()
    (folder / "meta.tsv").unlink()
    dataset = FolderDataset(folder)
    assert len(dataset) == 3
    assert dataset[0].metadata == {}


def test_images_without_a_row_of_metadata_have_none(folder: Path) -> None:
    (folder / "meta.tsv").write_text("name\tcolour\na\tblue\n")
    assert FolderDataset(folder)[1].metadata == {}
    assert FolderDataset(folder, where={"colour": "blue"}).names == ["a"]


# Errors


@pytest.mark.parametrize("part", ["images", "masks"])
def test_missing_folders_are_named(folder: Path, part: str) -> None:
    (folder / part).rename(folder / "elsewhere")
    with pytest.raises(InputError, match=rf"cells: no folder '{part}' in it"):
        FolderDataset(folder)
    with pytest.raises(InputError, match=r"nowhere: no such folder"):
        FolderDataset(folder / "nowhere")


@pytest.mark.parametrize(
    ("split", "where", "problem"),
    [
        ("val", {}, r"split\.txt: no split 'val'; it has test, train"),
        (None, {"dye": "DAPI"}, r"meta\.tsv: no column 'dye'"),
        ("test", {"colour": "blue"}, r"cells: no images for split 'test' and {'colour': 'blue'}"),
    ],
)
def test_choices_that_leave_nothing_are_refused(
    folder: Path, split: str | None, where: dict[str, str], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        FolderDataset(folder, split, where)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, r"split\.txt: missing, but split 'train' was asked for"),
        ("train a\n", r"split\.txt: lines must be 'split<TAB>name'"),
        ("train\td\n", r"split\.txt: no image 'd' in .*images"),
        ("train\ta\ntrain\ta\n", r"split\.txt: 'a' is there twice"),
        ("train\t\xe4\n", r"split\.txt: not UTF-8 text"),
    ],
)
def test_bad_split_files_are_named(folder: Path, content: str | None, problem: str) -> None:
    (folder / "split.txt").unlink()
    if content is not None:
        (folder / "split.txt").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=problem):
        FolderDataset(folder, "train")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"colour\nred\n", "no column 'name'"),
        (b"name\tcolour\na\tr\xf6t\n", "not UTF-8 text"),
        (b"name\tcolour\na\n", r"1 cells in row \['a'\], expected 2"),
        (b"name\tcolour\na\tred\na\tblue\n", "'a' is there twice"),
        (b'name\tcolour\na\t"red\n', "not a tab-separated table"),
    ],
)
def test_bad_metadata_is_refused(folder: Path, content: bytes, problem: str) -> None:
    (folder / "meta.tsv").write_bytes(content)
    with pytest.raises(InputError, match=rf"meta\.tsv: {problem}"):
        FolderDataset(folder)


def test_images_of_one_name_are_refused(folder: Path) -> None:
    Image.new("RGB", (3, 2)).save(folder / "images" / "a.bmp")
    with pytest.raises(InputError, match=r"images.a\.png: of the same name as a\.bmp"):
        FolderDataset(folder)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match="no images for split None"):
        FolderDataset(tmp_path)


def save_colour(path: Path) -> None:
    Image.new("RGB", (3, 2)).save(path)


def save_binary(path: Path) -> None:
    Image.new("1", (3, 2)).save(path)


def save_other_size(path: Path) -> None:
    Image.new("L", (4, 2)).save(path)


def save_tiff(path: Path) -> None:
    Image.fromarray(np.zeros((2, 3), np.float32)).save(path, format="TIFF")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (Path.unlink, "not a readable label map .*No such file"),
        (save_colour, "a label map must be a grey 8- or 16-bit PNG"),
        (save_binary, "a label map must be a grey 8- or 16-bit PNG"),
        (save_other_size, r"\(2, 4\), but its image is \(2, 3\)"),
        (save_tiff, "not a readable label map"),
    ],
)
def test_masks_that_are_no_label_maps_are_named(
    folder: Path, spoil: Callable[[Path], None], problem: str
) -> None:
    spoil(folder / "masks" / "b.png")
    with pytest.raises(InputError, match=rf"masks.b\.png: {problem}"):
        FolderDataset(folder)[1]


def test_a_broken_image_is_named(folder: Path) -> None:
    (folder / "images" / "a.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"images.a\.png"):
        FolderDataset(folder)[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_maps_of_both_depths(tmp_path: Path, dtype: type[np.generic]) -> None:
    values: NDArray[np.generic] = np.arange(256).reshape(16, 16).astype(dtype)
    Image.fromarray(values).save(tmp_path / "map.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "map.png"), values)


def test_truncated_and_damaged_label_maps_never_raise_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 2**16, (16, 16)).astype(np.uint16)).save(path)
    content = path.read_bytes()
    for length in range(0, len(content) - 50, 7):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"map\.png: not a readable label map"):
            read_label_map(path)
    for position in rng.integers(0, len(content), 100):
        path.write_bytes(flip_bit(content, int(position), rng))
        with suppress(InputError):
            read_label_map(path)
