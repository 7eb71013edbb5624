from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation import Separation, paper, relative_improvement
from bottomup_fast.evaluation.masks import encode
from bottomup_fast.evaluation.protocols import (
    PROTOCOLS,
    check_group,
    fill_relative,
    find_protocol,
    open_parts,
    protocol_rows,
)
from bottomup_fast.evaluation.results import DatasetEvaluation
from bottomup_fast.evaluation.selection import Selection
from bottomup_fast.evaluation.separation import pool
from bottomup_fast.segmentation import Segmentation

PUBLISHED = (paper.ADE20K, paper.SA1B, paper.SA1B_DENSE)


def write_sa1b(folder, objects):
    """SA-1B with the given numbers of objects, by the numbers of their images."""
    folder.mkdir(exist_ok=True)
    for number, count in objects.items():
        Image.new("RGB", (6, 5)).save(folder / f"sa_{number}.jpg")
        mask = encode(np.eye(5, 6, dtype=bool))
        record = {"segmentation": {"size": [5, 6], "counts": mask["counts"].decode()}}
        content = {
            "image": {"width": 6, "height": 5, "file_name": f"sa_{number}.jpg"},
            "annotations": [record | {"id": n} for n in range(count)],
        }
        (folder / f"sa_{number}.json").write_text(json.dumps(content))


def evaluated(recalled, group=None, separation=None, images=1):
    """An evaluation in which so many of ten segments are found whole, the others not at all."""
    truth = np.repeat(np.arange(1, 11, dtype=np.int32), 4).reshape(10, 4)
    evaluation = DatasetEvaluation()
    for number in range(images):
        sample = Sample(f"image{number}", np.zeros((10, 4, 3), np.uint8), truth, {})
        found = Segmentation(np.where(truth <= recalled, truth, 0))
        evaluation.add(sample, found, group=group, separation=separation)
    return evaluation


@pytest.mark.parametrize("table", PUBLISHED)
def test_the_published_percentages_follow_from_the_published_recalls(table):
    recalls = {row["method"]: row["recall"] for row in table.rows()}
    expected = relative_improvement(recalls)
    for row in table.rows():  # both are rounded
        assert row["relative %"] == pytest.approx(expected[row["method"]], abs=1.0)
    assert table.weakest_recall() == min(recalls.values())


def test_the_published_angles_follow_from_the_published_similarities():
    for row in paper.ABLATION.rows():
        for figure in ("inter-mean", "intra-entity"):
            angle = np.degrees(np.arccos(row[figure]))
            assert row[f"{figure} deg."] == pytest.approx(angle, abs=0.1)


def test_every_method_of_the_tables_has_its_row():
    rivals = {"kMaX-DeepLab", "MaskDINO", "Mask2Former", "OneFormer", "OWES"}
    assert rivals < paper.ADE20K.methods.keys()
    assert rivals | {"HQES"} < paper.SA1B.methods.keys()
    assert paper.SA1B.methods.keys() == paper.SA1B_DENSE.methods.keys()
    assert rivals | {"SAM ViT-B"} < paper.ENTITYSEG.methods.keys()
    assert {"MRCNN", "DeepCeNS"} < paper.EVICAN.methods.keys()
    for row in paper.ENTITYSEG.rows():  # what is lost is never made up
        assert [row[column] for column in paper.QUALITY] == [None] * 4
    assert paper.ENTITYSEG.weakest_recall() is None


def test_measured_rows_stand_before_the_paper_s_and_are_marked():
    rows = protocol_rows(PROTOCOLS["ade20k"], {"ours": evaluated(5, images=3)})
    assert [row["source"] for row in rows] == ["measured here"] + ["paper, Table 1"] * 7
    ours, published = rows[0], rows[1:]
    assert ours["method"] == "ours"
    assert (ours["mIoU"], ours["Boundary IoU"], ours["recall"], ours["images"]) == (
        0.5,
        0.5,
        0.5,
        3,
    )
    assert ours["relative %"] == pytest.approx(100 * (0.5 / 0.376 - 1))
    assert [{k: v for k, v in row.items() if k != "source"} for row in published] == (
        paper.ADE20K.rows()
    )


def test_relative_is_against_the_weakest_measured_where_the_paper_s_is_lost():
    measured = {"a": evaluated(5), "b": evaluated(4)}
    rows = protocol_rows(PROTOCOLS["entityseg"], measured)
    assert [row["relative %"] for row in rows[:2]] == pytest.approx([25.0, 0.0])
    nothing = [{"recall": 0.0, "relative %": None}, {"recall": None, "relative %": None}]
    fill_relative(nothing)
    assert [row["relative %"] for row in nothing] == [None, None]


def test_precision_stands_by_difficulty():
    rows = protocol_rows(PROTOCOLS["evican"], {"ours": evaluated(10, "medium")})
    assert rows[0]["medium AP50"] == rows[0]["medium AP"] == pytest.approx(1.0)
    assert rows[0]["easy AP50"] is None
    assert {row["source"] for row in rows[1:]} == {"paper, Table 4"}
    with pytest.raises(InputError, match=r"^--protocol: no image is of difficulty easy"):
        protocol_rows(PROTOCOLS["evican"], {"ours": evaluated(10)})


def test_separation_over_pairs_and_over_images():
    evaluation = DatasetEvaluation()
    parts = [Separation(0.2, 0.9, 1, 2), Separation(0.4, 0.6, 3, 3), Separation(None, 0.5, 0, 1)]
    for number, part in enumerate(parts):
        labels = np.zeros((4, 4), np.int32)
        sample = Sample(f"image{number}", np.zeros((4, 4, 3), np.uint8), labels, {})
        evaluation.add(sample, Segmentation(labels), separation=part)
    pooled, mean, *published = protocol_rows(PROTOCOLS["separation"], {"ours": evaluation})
    assert pooled["inter-mean"] == pytest.approx((0.2 + 3 * 0.4) / 4)
    assert pooled["intra-entity"] == pytest.approx((2 * 0.9 + 3 * 0.6 + 0.5) / 6)
    assert pooled["inter-mean deg."] == pytest.approx(np.degrees(np.arccos(0.35)))
    assert (mean["method"], mean["inter-mean"]) == ("ours, mean over images", pytest.approx(0.3))
    assert mean["intra-entity"] == pytest.approx(0.75)  # of the images with two entities
    assert len(published) == 3
    assert pool([]) == Separation(None, None, 0, 0)


def test_sa1b_takes_the_first_images_by_number(tmp_path, monkeypatch):
    monkeypatch.setattr("bottomup_fast.evaluation.selection.SA1B_IMAGES", 3)
    write_sa1b(tmp_path, {2: 1, 10: 1, 9: 1, 100: 1})
    selection = Selection(open_parts(tmp_path, PROTOCOLS["sa1b"]))
    assert [selection.name(n) for n in range(3)] == ["sa_2", "sa_9", "sa_10"]
    assert len(selection) == 3
    assert len(selection.read(0).masks) == 1


def test_sa1b_dense_takes_the_images_with_the_most_objects(tmp_path, monkeypatch):
    monkeypatch.setattr("bottomup_fast.evaluation.selection.SA1B_DENSE_IMAGES", 3)
    write_sa1b(tmp_path, {1: 2, 2: 5, 3: 2, 4: 3, 5: 9, 10: 5})
    (tmp_path / "sa_5.json").write_text("{")  # a broken file has no objects
    selection = Selection(open_parts(tmp_path, PROTOCOLS["sa1b-dense"]))
    assert [selection.name(n) for n in range(len(selection))] == ["sa_2", "sa_10", "sa_4"]


def test_the_numbers_of_images_are_the_paper_s(tmp_path):
    from bottomup_fast.evaluation import selection

    assert (selection.SA1B_IMAGES, selection.SA1B_DENSE_IMAGES) == (1000, 500)


def test_dense_images_of_another_format_are_counted_by_reading_them(dataset_folder):
    parts = open_parts(dataset_folder, PROTOCOLS["sa1b-dense"], format="folder")
    assert [parts[0].images.names[index] for index in parts[0].chosen] == ["b2", "a1", "c3"]


@pytest.fixture
def dataset_folder(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for name, count in (("a1", 2), ("b2", 3), ("c3", 1)):
        labels = np.zeros((4, 5), np.uint16)
        labels[0, :count] = np.arange(1, count + 1)
        Image.new("RGB", (5, 4)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(labels).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def test_difficulties_are_the_splits_of_evican(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images" / "EVICAN_eval2019").mkdir(parents=True)
    for number, part in enumerate(("difficult", "easy", "medium")):
        Image.new("RGB", (6, 5)).save(tmp_path / "images" / "EVICAN_eval2019" / f"{part}.jpg")
        content = {
            "images": [{"id": number, "file_name": f"{part}.jpg", "height": 5, "width": 6}],
            "annotations": [
                {"image_id": number, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
            ],
            "categories": [{"id": 1, "name": "cell"}],
        }
        path = tmp_path / "annotations" / f"instances_eval2019_{part}_EVICAN2.json"
        path.write_text(json.dumps(content))
    parts = open_parts(tmp_path, PROTOCOLS["evican"])
    check_group("difficulty", parts)
    selection = Selection(parts)
    samples = [selection.read(n) for n in range(3)]
    assert [(s.name, s.metadata["difficulty"]) for s in samples] == [
        (name, name) for name in paper.DIFFICULTIES
    ]
    single = open_parts(tmp_path, PROTOCOLS["evican"], split="easy")
    assert [part.group for part in single] == [("difficulty", "easy")]


def test_a_folder_is_opened_as_one_whatever_else_it_looks_like(dataset_folder):
    (dataset_folder / "annotations").mkdir()
    empty = {"images": [], "annotations": [], "categories": []}
    (dataset_folder / "annotations" / "instances_val2017.json").write_text(json.dumps(empty))
    for protocol in (None, PROTOCOLS["separation"]):
        (part,) = open_parts(dataset_folder, protocol)
        assert list(part.images.names) == ["a1", "b2", "c3"]


def test_a_limit_is_spaced_evenly(dataset_folder):
    parts = open_parts(dataset_folder)
    assert [Selection(parts, 2).name(n) for n in range(2)] == ["a1", "b2"]
    assert len(Selection(parts, 9)) == 3


def test_what_is_unknown_is_named(dataset_folder):
    with pytest.raises(InputError, match=r"^--protocol: unknown 'coco'; expected ade20k, entity"):
        find_protocol("coco")
    with pytest.raises(InputError, match=r"^format: unknown 'voc'"):
        open_parts(dataset_folder, format="voc")
    with pytest.raises(InputError, match="images"):
        open_parts(dataset_folder, PROTOCOLS["ade20k"])
    with pytest.raises(InputError, match=r"^--group-by: no column 'stain' in "):
        check_group("stain", open_parts(dataset_folder))
