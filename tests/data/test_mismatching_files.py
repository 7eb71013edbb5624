"""Files that do not belong together: refused by name, or skipped and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from data.format_miniatures import HEIGHT, SPLITS, WIDTH, WRITERS, save_map, save_picture, scene
from PIL import Image

from bottomup_fast.data.formats import open_dataset
from bottomup_fast.errors import InputError

COLOUR = np.zeros((HEIGHT, WIDTH, 3))
Spoil = Callable[[Path], None]


def change_json(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def panoptic_json(change: Callable[[Any], object]) -> Spoil:
    path = "annotations/panoptic_train2017.json"
    return lambda root: change_json(root / path, change)


def instances_json(change: Callable[[Any], object]) -> Spoil:
    path = "annotations/instances_train2017.json"
    return lambda root: change_json(root / path, change)


def sa1b_json(change: Callable[[Any], object]) -> Spoil:
    return lambda root: change_json(root / "sa_000000" / "sa_1.json", change)


def first_segment(**values: Any) -> Callable[[Any], object]:
    return lambda content: content["annotations"][0].update(values)


def remove(path: str) -> Spoil:
    return lambda root: (root / path).unlink()


def larger_image(path: str) -> Spoil:
    def write(root: Path) -> None:
        Image.new("RGB", (WIDTH + 1, HEIGHT)).save(root / path)

    return write


def map_instead(path: str, values: Any, dtype: type[np.generic] = np.uint8) -> Spoil:
    return lambda root: save_map(root / path, np.asarray(values), dtype)


def pickled_masks(root: Path) -> None:
    (root / "train" / "000_masks.png").unlink()
    (root / "train" / "000_seg.npy").write_bytes(b"\x93NUMPY pickle")


def two_masks(root: Path) -> None:
    save_map(root / "train" / "000_cp_masks.png", scene(crowd=0))


def second_image(path: str) -> Spoil:
    return lambda root: save_picture(root / path)


def float_masks(root: Path) -> None:
    tifffile.imwrite(root / "train/masks/cell0.tif", np.full((HEIGHT, WIDTH), np.nan, np.float32))


def stack_of_masks(root: Path) -> None:
    tifffile.imwrite(root / "train/masks/cell0.tif", np.zeros((3, HEIGHT, WIDTH), np.uint16))


CASES: list[tuple[str, Spoil, str]] = [
    ("folder", larger_image("images/a.jpg"), r"a\.png: \(24, 32\), but its image is \(24, 33\)"),
    ("folder", remove("masks/a.png"), r"masks/a\.png: not a readable label map"),
    ("coco-panoptic", remove("train2017/000000000139.jpg"), "2017.json: no image '000000000139"),
    (
        "coco-panoptic",
        remove("annotations/panoptic_train2017/000000000139.png"),
        r"panoptic_train2017\.json: no map '000000000139\.png'",
    ),
    (
        "coco-panoptic",
        panoptic_json(lambda content: content["annotations"][0]["segments_info"].pop()),
        r"000000000139\.png: segment 258 is missing in the JSON",
    ),
    (
        "coco-panoptic",
        panoptic_json(
            lambda content: content["annotations"][0]["segments_info"].append({"id": 77})
        ),
        r"000000000139\.png: segment 77 is missing in the PNG",
    ),
    (
        "coco-panoptic",
        panoptic_json(lambda content: content["annotations"].pop(0)),
        r"panoptic_train2017\.json: no annotation of image '000000000139\.jpg'",
    ),
    (
        "coco-panoptic",
        map_instead("annotations/panoptic_train2017/000000000139.png", scene(crowd=0)),
        r"000000000139\.png: expected a PNG of mode RGB, got L",
    ),
    (
        "coco-instances",
        instances_json(lambda content: content["images"][0].update(width=WIDTH - 1)),
        r"image '000000000139\.jpg' is \(24, 32\), not \(24, 31\) as it says",
    ),
    (
        "coco-instances",
        instances_json(first_segment(segmentation={"size": [24, 32], "counts": [1, 2]})),
        r"train2017\.json: image '000000000139\.jpg', annotation 1390: segmentation: counts add up",
    ),
    (
        "coco-instances",
        instances_json(first_segment(iscrowd=2)),
        r"instances_train2017\.json: 0\.iscrowd: ",
    ),
    ("coco-instances", remove("train2017/000000000139.jpg"), "2017.json: no image '000000000139"),
    ("sa-1b", remove("sa_000000/sa_1.json"), r"sa_1\.jpg: no sa_1\.json beside it"),
    ("sa-1b", larger_image("sa_000000/sa_1.jpg"), r"sa_1\.json: its image is \(24, 33\), not"),
    ("sa-1b", sa1b_json(lambda content: content.pop("image")), r"sa_1\.json: image: Field"),
    ("sa-1b", sa1b_json(first_segment(segmentation=[])), r"sa_1\.json, annotation 500000000: seg"),
    (
        "ade20k",
        remove("images/ADE/training/urban/street/ADE_train_00000001_seg.png"),
        r"ADE_train_00000001\.jpg: no ADE_train_00000001_seg\.png beside it",
    ),
    (
        "ade20k-scene-parsing",
        map_instead("annotations/training/ADE_train_00000001.png", COLOUR),
        r"ADE_train_00000001\.png: expected a PNG of mode L or P, got RGB",
    ),
    ("cihp", remove("Training/Instance_ids/0000006.png"), "Instance_ids/0000006.png: not a read"),
    ("cellpose", pickled_masks, r"000_seg\.npy: a pickle, which is never loaded; save the masks"),
    ("cellpose", remove("train/000_masks.png"), r"000_img\.png: no masks beside it"),
    ("cellpose", remove("train/000_img.png"), r"000_masks\.png: no image 000_img or 000 beside it"),
    ("stardist", remove("train/masks/cell0.tif"), r"cell0\.tif: no label map 'cell0' in .*masks"),
    ("stardist", remove("train/images/cell0.tif"), r"cell0\.tif: no image 'cell0' in .*images"),
    ("stardist", float_masks, r"cell0\.tif: a label map must be one grey integer image, got float"),
    ("stardist", stack_of_masks, r"got uint16 \(3, 24, 32\)"),
    (
        "stardist",
        map_instead("train/masks/cell0.tif", np.full((HEIGHT, WIDTH), -2), np.int16),
        r"cell0\.tif: a label map must not hold negative numbers, got -2",
    ),
]
WHOLE: list[tuple[str, Spoil, str]] = [
    (
        "coco-instances",
        instances_json(lambda content: content["images"][0].update(id=285)),
        r"instances_train2017\.json: two images have the same id",
    ),
    (
        "coco-instances",
        instances_json(lambda content: content["images"][0].update(file_name="000000000285.png")),
        r"two images are named '000000000285'|no image '000000000285\.png'",
    ),
    (
        "coco-panoptic",
        panoptic_json(lambda content: content.pop("images")),
        r"panoptic_train2017\.json: images: Field required",
    ),
    ("stardist", second_image("train/images/cell0.png"), r"cell0\.tif: of the same name as"),
    ("cellpose", two_masks, r"000_masks\.png: of the same image as 000_cp_masks\.png"),
]


@pytest.mark.parametrize(("name", "spoil", "problem"), CASES + WHOLE)
def test_mismatches_are_refused_by_name(
    tmp_path: Path, name: str, spoil: Spoil, problem: str
) -> None:
    WRITERS[name](tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=problem):
        list(open_dataset(tmp_path, name, split=SPLITS[name]))


@pytest.mark.parametrize(("name", "spoil", "problem"), CASES)
def test_mismatches_are_skipped_and_counted(
    tmp_path: Path, name: str, spoil: Spoil, problem: str
) -> None:
    WRITERS[name](tmp_path)
    if name == "folder":
        (tmp_path / "split.txt").write_text("train\ta\ntrain\tb\n")
    whole = open_dataset(tmp_path, name, split=SPLITS[name])
    spoil(tmp_path)
    dataset = open_dataset(tmp_path, name, split=SPLITS[name], on_error="skip")
    for _ in range(2):
        assert [sample.name for sample in dataset] == whole.names[1:]
        assert len(dataset.skipped) == 1
    with pytest.raises(InputError, match=problem):
        raise InputError(dataset.skipped[0])
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.name == whole.names[1]
        np.testing.assert_array_equal(sample.labels, whole[1].labels)


def test_annotations_of_no_image_are_refused_or_left_out(tmp_path: Path) -> None:
    WRITERS["coco-instances"](tmp_path)
    instances_json(lambda content: content["annotations"][4].update(image_id=1))(tmp_path)
    problem = (
        r"instances_train2017\.json: 1 annotations are of no image in it, first annotations\.4"
    )
    with pytest.raises(InputError, match=problem):
        open_dataset(tmp_path, split="train")
    dataset = open_dataset(tmp_path, split="train", on_error="skip")
    assert [len(sample.masks or ()) for sample in dataset] == [3, 2]
    assert len(dataset.skipped) == 1


@pytest.mark.parametrize(
    ("place", "found"), [("entity_01_11580/images_merge", True), ("entity_02_11598", False)]
)
def test_images_are_never_taken_from_another_folder(
    tmp_path: Path, place: str, found: bool
) -> None:
    WRITERS["entityseg"](tmp_path)
    images = tmp_path / "images"
    (images / place).mkdir(parents=True)
    (images / "entity_01_11580" / "train_1.jpg").rename(images / place / "train_1.jpg")

    def with_folder(content: Any) -> None:
        for image in content["images"]:
            image["file_name"] = f"entity_01_11580/{image['file_name']}"

    folder = tmp_path / "annotations" / "entity_segmentation"
    change_json(folder / "entityv2_01_entity_train.json", with_folder)
    dataset = open_dataset(tmp_path, split="train", on_error="skip")
    names = ["entity_01_11580/train_1", "entity_01_11580/train_2"]
    assert dataset.names == (names if found else names[1:])


def test_where_all_is_broken_nothing_is_returned(tmp_path: Path) -> None:
    WRITERS["folder"](tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"")
    dataset = open_dataset(tmp_path, on_error="skip")
    assert list(dataset) == []
    assert len(dataset.skipped) == 2
    with pytest.raises(InputError, match=r"every image is broken; first .*a\.jpg"):
        dataset[1]
    with pytest.raises(InputError, match=r"b\.jpg"):
        dataset.read(1)


def test_positions_are_those_of_a_list(tmp_path: Path) -> None:
    WRITERS["folder"](tmp_path)
    dataset = open_dataset(tmp_path)
    assert dataset[-1].name == "b"
    with pytest.raises(IndexError, match=r"index must be in 0\.\.1, got 2"):
        dataset[2]


@pytest.mark.parametrize("option", ["background", "on_error"])
def test_options_are_checked(tmp_path: Path, option: str) -> None:
    WRITERS["folder"](tmp_path)
    options: dict[str, Any] = {option: "x"}
    with pytest.raises(InputError, match=f"{option}: expected '.*' or '.*', got 'x'"):
        open_dataset(tmp_path, **options)
