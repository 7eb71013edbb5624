from __future__ import annotations

import json

import numpy as np
import pycocotools.mask as rle
import pytest
from PIL import Image

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.masks import Masks, encode
from bottomup_fast.evaluation.peers import open_method
from bottomup_fast.segmentation import Segmentation

SIZE = (6, 8)
SQUARE, WIDE = np.zeros((2, *SIZE), bool)
SQUARE[1:4, 1:4], WIDE[2:5, :6] = True, True
LABELS = np.where(SQUARE, 7, np.where(WIDE, 3, 0)).astype(np.uint16)


def sample(name="img_000000000042", size=SIZE):
    return Sample(name, np.zeros((*size, 3), np.uint8), np.zeros(size, np.int32), {})


def record(mask, form="compressed", **others):
    code = encode(mask)
    code["counts"] = code["counts"].decode()
    if form == "counts":
        runs, flat = [0], mask.T.ravel()
        for before, pixel in zip([False, *flat[:-1]], flat, strict=True):
            if pixel != before:
                runs.append(0)
            runs[-1] += 1
        code["counts"] = runs
    return {"segmentation": code} | others


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def assert_masks(found, scores, masks=(SQUARE, WIDE)):
    assert isinstance(found, Masks)
    assert found.size == SIZE
    assert found.scores.tolist() == list(scores)
    for mask, expected in zip(found.masks, masks, strict=True):
        np.testing.assert_array_equal(rle.decode(mask), expected)


def test_label_map(tmp_path):
    values = LABELS.copy()
    values[5, 7] = 65535  # no segment
    Image.fromarray(values).save(tmp_path / f"{sample().name}.png")
    method = open_method(f"predictions:{tmp_path}")
    found = method(sample())
    assert isinstance(found, Segmentation)
    np.testing.assert_array_equal(found.labels, np.where(SQUARE, 1, np.where(WIDE, 2, 0)))
    assert found.scores.tolist() == [1.0, 1.0]
    assert not method.timed


def test_our_own_folder(tmp_path):
    saved = Segmentation(np.where(SQUARE, 1, np.where(WIDE, 2, 0)), scores=[0.2, 0.9])
    saved.save(tmp_path / sample().name)
    found = open_method(f"predictions:{tmp_path}")(sample())
    np.testing.assert_array_equal(found.labels, saved.labels)
    assert found.scores.tolist() == [0.2, 0.9]


@pytest.mark.parametrize("form", ["compressed", "counts"])
@pytest.mark.parametrize("score", ["score", "predicted_iou"])
def test_records_of_one_image(tmp_path, form, score):
    records = [record(SQUARE, form, **{score: 0.5}), record(WIDE, form, **{score: 0.25, "area": 1})]
    write(tmp_path / f"{sample().name}.json", records)
    found = open_method(f"predictions:{tmp_path}")(sample())
    assert_masks(found, (0.5, 0.25))


def test_the_layout_of_sa1b(tmp_path):
    records = [record(SQUARE, predicted_iou=0.5, stability_score=0.99), record(WIDE)]
    write(tmp_path / f"{sample().name}.json", {"image": {}, "annotations": records})
    assert_masks(open_method(f"predictions:{tmp_path}")(sample()), (0.5, 1.0))


def test_the_folder_of_sam_s_script(tmp_path):
    folder = tmp_path / sample().name
    folder.mkdir()
    for number, mask in enumerate((SQUARE, WIDE)):
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{number}.png")
    (folder / "metadata.csv").write_text("id,area,predicted_iou\n0,9,0.5\n1,18,0.75\n")
    assert_masks(open_method(f"predictions:{tmp_path}")(sample()), (0.5, 0.75))


@pytest.mark.parametrize("image_id", [42, "img_000000000042"])
@pytest.mark.parametrize("as_folder", [True, False])
def test_results_of_a_whole_data_set(tmp_path, image_id, as_folder):
    records = [
        record(SQUARE, image_id=image_id, score=0.5, category_id=1),
        record(WIDE, image_id=7, score=0.1, category_id=1),
        record(WIDE, image_id=image_id, score=0.25, category_id=3),
    ]
    write(tmp_path / "results.json", records)
    path = tmp_path if as_folder else tmp_path / "results.json"
    assert_masks(open_method(f"predictions:{path}")(sample()), (0.5, 0.25))


def test_a_file_that_lists_its_images(tmp_path):
    images = [
        {"id": 1, "file_name": "img_000000000042.jpg"},
        {"id": 42, "file_name": "empty.jpg"},
    ]
    content = {"images": images, "annotations": [record(SQUARE, image_id=1, score=0.5)]}
    write(tmp_path / "results.json", content)
    method = open_method(f"predictions:{tmp_path}")
    assert_masks(method(sample()), (0.5,), (SQUARE,))
    assert len(method(sample("empty"))) == 0


def test_polygons(tmp_path):
    polygon = {"segmentation": [[1, 1, 4, 1, 4, 4, 1, 4]], "score": 0.5}
    write(tmp_path / f"{sample().name}.json", [polygon])
    assert_masks(open_method(f"predictions:{tmp_path}")(sample()), (0.5,), (SQUARE,))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", "not valid JSON"),
        ('{"annotations": 3}', "annotations"),
        ("[{}]", "segmentation"),
        (
            '[{"segmentation": {"size": [6, 8], "counts": [5, 3]}}]',
            "record 0: segmentation: counts",
        ),
        ('[{"segmentation": {"size": [9, 8], "counts": [72]}}]', "record 0: segmentation: size"),
        ('[{"segmentation": {"size": [6, 8], "counts": "zz"}}]', "record 0: segmentation"),
        ('[{"segmentation": [[1, 1, 2, 2, 3, 1]], "score": NaN}]', "score"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, reason):
    path = tmp_path / f"{sample().name}.json"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        open_method(f"predictions:{tmp_path}")(sample())
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert "\n" not in message


def test_other_broken_predictions_are_named(tmp_path):
    name = sample().name
    method = open_method(f"predictions:{tmp_path}")
    with pytest.raises(InputError, match=rf"^{tmp_path}: no prediction for image '{name}'"):
        method(sample())
    with pytest.raises(InputError, match=r"gone: no such file or folder of predictions"):
        open_method(f"predictions:{tmp_path / 'gone'}")
    (tmp_path / name).mkdir()
    (tmp_path / name / "metadata.csv").write_text("id,area\n0,9\n")
    with pytest.raises(InputError, match=r"metadata\.csv: no table with id and predicted_iou"):
        method(sample())
    (tmp_path / name / "metadata.csv").write_text("id,predicted_iou\n0,0.5\n")
    with pytest.raises(InputError, match=r"0\.png: not a readable label map"):
        method(sample())
    Image.fromarray(LABELS).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match=r"42\.png: \(6, 8\), but its image is \(5, 8\)"):
        method(sample(size=(5, 8)))
