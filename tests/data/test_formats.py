from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pycocotools.mask
import pytest
from data.format_miniatures import BOXES, SPLITS, WRITERS, box_mask, scene
from numpy.typing import NDArray
from PIL import Image

from bottomup_fast.data.dataset import AnnotatedImages
from bottomup_fast.data.formats import FORMATS, FormatName, detect_format, open_dataset
from bottomup_fast.errors import InputError

LABELS = {
    "folder": scene(crowd=-1),
    "coco-panoptic": scene(crowd=-1, rest=-1),
    "coco-instances": scene(crowd=-1),
}
OVERLAPPING = ("coco-instances", "entityseg", "sa-1b", "evican", "livecell")
COMPLETE = ("livecell", "cellpose", "stardist")
NAMES = {
    "folder": ["a"],
    "coco-panoptic": ["000000000139", "000000000285"],
    "coco-instances": ["000000000139", "000000000285"],
    "ade20k": ["ADE_train_00000001", "ADE_train_00000002"],
    "ade20k-scene-parsing": ["ADE_train_00000001", "ADE_train_00000002"],
    "cihp": ["Training/0000006", "Training/0000007"],
    "entityseg": ["train_1", "train_2"],
    "sa-1b": ["sa_1", "sa_2"],
    "evican": ["1_train2019_HeLa", "2_train2019_Background"],
    "livecell": [f"A172_Phase_train_1_00d00h00m_{number}" for number in (1, 2)],
    "cellpose": ["train/000", "train/001"],
    "stardist": ["train/cell0", "train/cell1"],
}


@pytest.fixture(params=WRITERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(name: str, tmp_path: Path) -> Path:
    WRITERS[name](tmp_path)
    return tmp_path


@pytest.fixture
def dataset(name: str, root: Path) -> AnnotatedImages:
    return open_dataset(root, name, split=SPLITS[name])


def partition(labels: NDArray[np.int32]) -> list[list[int]]:
    """Which pixels belong together, whatever the numbers; -1 and 0 keep theirs."""
    values, first = np.unique(labels, return_index=True)
    kept = np.where(values > 0, first + 1, values)
    return [[int(value) for value in row] for row in kept[np.searchsorted(values, labels)]]


def test_every_format_is_there() -> None:
    assert set(FORMATS) == set(get_args(FormatName)) == set(WRITERS)


def test_the_samples_are_those_of_the_published_layout(name: str, dataset: AnnotatedImages) -> None:
    assert dataset.names == NAMES[name]
    assert len(dataset) == len(NAMES[name])
    assert [sample.name for sample in dataset] == NAMES[name]
    expected = LABELS.get(name, scene(crowd=0))
    sample = dataset[0]
    assert sample.image.shape == (*expected.shape, 3)
    assert sample.labels.dtype == np.int32
    assert partition(sample.labels) == partition(expected)
    assert dataset.background == ("complete" if name in COMPLETE else "unknown")


def test_masks_are_whole_where_they_may_overlap(name: str, dataset: AnnotatedImages) -> None:
    sample = dataset[0]
    if name not in OVERLAPPING:
        assert sample.masks is None
        return
    assert sample.masks is not None
    assert len(sample.masks) == len(BOXES)
    for index, (mask, box) in enumerate(zip(sample.masks, BOXES.values(), strict=True)):
        decoded = pycocotools.mask.decode(mask)
        np.testing.assert_array_equal(decoded, box_mask(*box))
        assert decoded[sample.labels == index + 1].all()


def test_the_format_is_told_by_the_files(name: str, root: Path) -> None:
    assert detect_format(root) == name


def test_the_meaning_of_unlabelled_pixels_may_be_overruled(name: str, root: Path) -> None:
    dataset = open_dataset(root, name, split=SPLITS[name], background="complete")
    assert dataset.background == "complete"


def test_unknown_splits_are_refused(name: str, root: Path) -> None:
    with pytest.raises(InputError, match=r"split 'nowhere'|no split 'nowhere'") as error:
        open_dataset(root, name, split="nowhere")
    assert "\n" not in str(error.value)


# What is particular to one format


def test_splits_of_other_formats(tmp_path: Path) -> None:
    for name, split, first in [
        ("coco-panoptic", "val2017", "000000000139"),
        ("ade20k", "val", "ADE_val_00000001"),
        ("cihp", "val", "Validation/0000006"),
        ("evican", "difficult", "1_eval2019_difficult_HeLa"),
        ("evican", "instances_eval2019_easy_EVICAN2", "1_eval2019_easy_HeLa"),
        ("livecell", "test", "A172_Phase_test_1_00d00h00m_1"),
        ("stardist", "test", "test/cell0"),
    ]:
        WRITERS[name](tmp_path / name)
        assert open_dataset(tmp_path / name, split=split).names[0] == first


def test_without_a_split_all_folders_are_read(tmp_path: Path) -> None:
    for name in ("ade20k", "ade20k-scene-parsing", "cihp", "cellpose", "stardist"):
        WRITERS[name](tmp_path / name)
        assert len(open_dataset(tmp_path / name, name)) == 4
    WRITERS["sa-1b"](tmp_path / "sa-1b")
    assert open_dataset(tmp_path / "sa-1b").names == ["sa_1", "sa_2", "sa_3"]


@pytest.mark.parametrize("name", ["coco-panoptic", "coco-instances", "entityseg", "livecell"])
def test_several_annotation_files_need_a_split(name: str, root: Path) -> None:
    with pytest.raises(InputError, match=r"train.*val.*\.json"):
        open_dataset(root, name)


def test_classes_come_with_the_masks(tmp_path: Path) -> None:
    WRITERS["evican"](tmp_path)
    dataset = open_dataset(tmp_path, "evican", split="train")
    assert dataset[0].categories == ("Cell", "Nucleus", "Cell")
    assert dataset[0].background is None
    assert dataset[1].background == "complete"
    assert not dataset[1].labels.any()


def test_people_are_whole_without_their_parts(tmp_path: Path) -> None:
    WRITERS["cihp"](tmp_path)
    (tmp_path / "Training" / "Instance_ids").rename(tmp_path / "parts")
    labels = open_dataset(tmp_path, "cihp", split="train")[0].labels
    assert partition(labels) == partition(np.array([0, 1, 1, 2])[scene(crowd=0)])


def test_all_parts_of_entityseg_in_one_file_are_preferred(tmp_path: Path) -> None:
    WRITERS["entityseg"](tmp_path)
    folder = tmp_path / "annotations" / "entity_segmentation"
    text = (folder / "entityv2_01_entity_train.json").read_text()
    (folder / "entityv2_010203_entity_train.json").write_text(text)
    assert len(open_dataset(tmp_path, split="train")) == 2


def test_objects_of_ade20k_may_share_a_number_across_classes(tmp_path: Path) -> None:
    WRITERS["ade20k"](tmp_path)
    path = next(tmp_path.rglob("ADE_train_00000001_seg.png"))
    with Image.open(path) as file:
        values = np.asarray(file).copy()
    values[..., 2][values[..., 2] == 28] = 255
    Image.fromarray(values).save(path)
    labels = open_dataset(tmp_path, split="train")[0].labels
    assert partition(labels) == partition(scene(crowd=0))


def test_ambiguous_and_unknown_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of the formats folder, coco-panoptic, .*stardist"):
        open_dataset(tmp_path)
    WRITERS["folder"](tmp_path)
    WRITERS["coco-instances"](tmp_path)
    with pytest.raises(InputError, match="may be folder or coco-instances"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match="unknown 'coco'; expected auto, folder"):
        open_dataset(tmp_path, "coco")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        open_dataset(tmp_path / "nowhere")
