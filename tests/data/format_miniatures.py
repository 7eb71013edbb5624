"""Every format in small, as it is published: a scene of a few rectangles, in two images a split."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import tifffile
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 24, 32
BOXES = {"large": (2, 2, 16, 18), "small": (5, 5, 7, 5), "other": (20, 12, 10, 10)}  # x, y, w, h
CROWD = (22, 0, 10, 4)


def box_mask(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def scene(crowd: int, rest: int = 0) -> NDArray[np.int32]:
    """Objects 1, 2 and 3, the second on top of the first."""
    labels = np.full((HEIGHT, WIDTH), rest, np.int32)
    labels[box_mask(*CROWD) > 0] = crowd
    for number, box in enumerate(BOXES.values(), 1):
        labels[box_mask(*box) > 0] = number
    return labels


def save_picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(values if path.suffix != ".tif" else values[..., 0]).save(path)


def save_map(path: Path, values: NDArray[Any], dtype: type[np.generic] = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, values.astype(dtype))
    else:
        Image.fromarray(values.astype(dtype)).save(path)


def save_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def polygon(x: int, y: int, width: int, height: int) -> list[float]:
    return [*(x, y), *(x + width, y), *(x + width, y + height), *(x, y + height)]


def compressed(box: tuple[int, int, int, int]) -> dict[str, Any]:
    code = pycocotools.mask.encode(np.asfortranarray(box_mask(*box)))
    return {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()}


def uncompressed(box: tuple[int, int, int, int]) -> dict[str, Any]:
    x, y, width, height = box
    counts = [x * HEIGHT + y]
    for _ in range(width - 1):
        counts += [height, HEIGHT - height]
    counts += [height, HEIGHT * WIDTH - sum(counts) - height]
    return {"size": [HEIGHT, WIDTH], "counts": counts}


def annotation(number: int, image: int, box: tuple[int, ...], **other: Any) -> dict[str, Any]:
    known = {"id": number, "image_id": image, "bbox": box, "area": box[2] * box[3]}
    return {**known, "iscrowd": 0, "category_id": 1, **other}


def image_record(number: int, file_name: str) -> dict[str, Any]:
    return {"id": number, "file_name": file_name, "height": HEIGHT, "width": WIDTH}


def coco_file(images: list[Any], annotations: list[Any], names: list[str]) -> dict[str, Any]:
    categories = [
        {"id": number, "name": name, "supercategory": name} for number, name in enumerate(names, 1)
    ]
    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def write_folder(root: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        save_picture(root / "images" / f"{name}.jpg", seed)
        save_map(root / "masks" / f"{name}.png", scene(crowd=65535), np.uint16)
    (root / "split.txt").write_text("train\ta\nval\tb\n")


def write_coco_panoptic(root: Path) -> None:
    numbers = {0: 0, 1: 3937500, 2: 4260062, 3: 2035955, 9: 258}
    lookup = np.zeros(10, np.int32)
    lookup[list(numbers)] = list(numbers.values())
    ids = lookup[scene(crowd=9)]
    for split in ("train", "val"):
        images, annotations = [], []
        for number in (139, 285):
            name = f"{number:012d}"
            save_picture(root / f"{split}2017" / f"{name}.jpg", number)
            colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1)
            save_map(root / "annotations" / f"panoptic_{split}2017" / f"{name}.png", colours)
            segments = [
                {
                    "id": int(value),
                    "category_id": 1,
                    "area": int((ids == value).sum()),
                    "bbox": [0, 0, 1, 1],
                    "iscrowd": int(value == numbers[9]),
                }
                for value in list(numbers.values())[1:]
            ]
            images.append(image_record(number, f"{name}.jpg"))
            annotations.append(
                {"image_id": number, "file_name": f"{name}.png", "segments_info": segments}
            )
        path = root / "annotations" / f"panoptic_{split}2017.json"
        save_json(path, coco_file(images, annotations, ["person"]))


def write_coco_instances(root: Path) -> None:
    for split in ("train", "val"):
        images, annotations = [], []
        for number in (139, 285):
            name = f"{number:012d}.jpg"
            save_picture(root / f"{split}2017" / name, number)
            images.append(image_record(number, name))
            large, small, other = BOXES.values()
            x, y, width, height = other
            halves = [polygon(x, y, 5, height), polygon(x + 5, y, width - 5, height)]
            forms = [
                (large, {"segmentation": [polygon(*large)]}),
                (small, {"segmentation": compressed(small), "category_id": 2}),
                (other, {"segmentation": halves}),
                (CROWD, {"segmentation": uncompressed(CROWD), "iscrowd": 1}),
            ]
            annotations += [
                annotation(10 * number + index, number, box, **form)
                for index, (box, form) in enumerate(forms)
            ]
        path = root / "annotations" / f"instances_{split}2017.json"
        save_json(path, coco_file(images, annotations, ["person", "bicycle"]))


def write_ade20k(root: Path) -> None:
    classes, objects = np.array([0, 2978, 165, 2978]), np.array([0, 255, 28, 140])
    labels = scene(crowd=0)
    for split, part in (("train", "training"), ("val", "validation")):
        for number in (1, 2):
            name = f"ADE_{split}_{number:08d}"
            folder = root / "images" / "ADE" / part / "urban" / "street"
            save_picture(folder / f"{name}.jpg", number)
            red, green = classes[labels] // 256 * 10, classes[labels] % 256
            save_map(folder / f"{name}_seg.png", np.stack([red, green, objects[labels]], -1))
            save_map(folder / f"{name}_parts_1.png", np.zeros((HEIGHT, WIDTH, 3)))
            save_map(folder / name / f"instance_000_{name}.png", labels == 1)
            save_json(folder / f"{name}.json", {"annotation": {"filename": f"{name}.jpg"}})


def write_ade20k_scene_parsing(root: Path) -> None:
    classes = np.array([0, 150, 3, 150])[scene(crowd=0)]
    for split, part in (("train", "training"), ("val", "validation")):
        for number in (1, 2):
            name = f"ADE_{split}_{number:08d}"
            save_picture(root / "images" / part / f"{name}.jpg", number)
            save_map(root / "annotations" / part / f"{name}.png", classes)
    (root / "objectInfo150.txt").write_text("Idx\tRatio\n")


def write_cihp(root: Path) -> None:
    labels = scene(crowd=0)
    for part, ids in (("Training", "train_id.txt"), ("Validation", "val_id.txt")):
        for name in ("0000006", "0000007"):
            save_picture(root / part / "Images" / f"{name}.jpg", int(name))
            save_map(root / part / "Instance_ids" / f"{name}.png", labels)
            save_map(root / part / "Human_ids" / f"{name}.png", np.array([0, 1, 1, 2])[labels])
            save_map(root / part / "Category_ids" / f"{name}.png", labels > 0)
        (root / part / ids).write_text("0000006\n0000007\n")
    save_picture(root / "Testing" / "Images" / "0000008.jpg")


def write_entityseg(root: Path) -> None:
    for split in ("train", "val"):
        images, annotations = [], []
        for number in (1, 2):
            name = f"{split}_{number}.jpg"
            save_picture(root / "images" / "entity_01_11580" / name, number)
            images.append({**image_record(number, name), "img_source": "coco"})
            annotations += [
                annotation(10 * number + index, number, box, segmentation=compressed(box))
                for index, box in enumerate(BOXES.values())
            ]
        path = root / "annotations" / "entity_segmentation" / f"entityv2_01_entity_{split}.json"
        save_json(path, coco_file(images, annotations, ["entity"]))


def write_sa1b(root: Path) -> None:
    for folder, number in (("sa_000000", 1), ("sa_000000", 2), ("sa_000001", 3)):
        save_picture(root / folder / f"sa_{number}.jpg", number)
        image = image_record(number, f"sa_{number}.jpg")
        annotations = [
            {
                "id": 500000000 + index,
                "segmentation": compressed(box),
                "bbox": box,
                "area": box[2] * box[3],
                "predicted_iou": 0.97,
                "stability_score": 0.98,
                "crop_box": [0, 0, WIDTH, HEIGHT],
                "point_coords": [[box[0] + 1.5, box[1] + 1.5]],
            }
            for index, box in enumerate(BOXES.values())
        ]
        image["image_id"] = image.pop("id")
        save_json(root / folder / f"sa_{number}.json", {"image": image, "annotations": annotations})


def write_evican(root: Path) -> None:
    large, small, other = BOXES.values()
    splits = {
        "train2019": "train2019",
        "val2019": "val2019",
        **{f"eval2019_{level}": "eval2019" for level in ("easy", "medium", "difficult")},
    }
    for split, part in splits.items():
        names = [f"1_{split}_HeLa.jpg"] + [f"2_{split}_Background.jpg"] * (part == "train2019")
        for seed, name in enumerate(names):
            save_picture(root / "images" / f"EVICAN_{part}" / name, seed)
        annotations = [
            annotation(1, 1, large, segmentation=[polygon(*large)]),
            annotation(2, 1, small, segmentation=[polygon(*small)], category_id=2),
            annotation(3, 1, other, segmentation=[polygon(*other)]),
        ]
        images = [image_record(number, name) for number, name in enumerate(names, 1)]
        path = root / "annotations" / f"instances_{split}_EVICAN2.json"
        save_json(path, coco_file(images, annotations, ["Cell", "Nucleus"]))


def write_livecell(root: Path) -> None:
    for split in ("train", "val", "test"):
        part = "livecell_test_images" if split == "test" else "livecell_train_val_images"
        images, annotations = [], []
        for number in (1, 2):
            name = f"A172_Phase_{split}_1_00d00h00m_{number}.tif"
            save_picture(root / "images" / part / name, number)
            images.append({**image_record(number, name), "original_filename": name})
            annotations += [
                annotation(10 * number + index, number, box, segmentation=[polygon(*box)])
                for index, box in enumerate(BOXES.values())
            ]
        path = root / "annotations" / "LIVECell" / f"livecell_coco_{split}.json"
        save_json(path, coco_file(images, annotations, ["cell"]))


def write_cellpose(root: Path) -> None:
    for split in ("train", "test"):
        for number in (0, 1):
            save_picture(root / split / f"{number:03d}_img.png", number)
            save_map(root / split / f"{number:03d}_masks.png", scene(crowd=0), np.uint16)


def write_stardist(root: Path) -> None:
    for split in ("train", "test"):
        for number in (0, 1):
            save_picture(root / split / "images" / f"cell{number}.tif", number)
            save_map(root / split / "masks" / f"cell{number}.tif", scene(crowd=0), np.uint16)


WRITERS: dict[str, Callable[[Path], None]] = {
    "folder": write_folder,
    "coco-panoptic": write_coco_panoptic,
    "coco-instances": write_coco_instances,
    "ade20k": write_ade20k,
    "ade20k-scene-parsing": write_ade20k_scene_parsing,
    "cihp": write_cihp,
    "entityseg": write_entityseg,
    "sa-1b": write_sa1b,
    "evican": write_evican,
    "livecell": write_livecell,
    "cellpose": write_cellpose,
    "stardist": write_stardist,
}
SPLITS = dict.fromkeys(WRITERS, "train") | {"sa-1b": "sa_000000"}
