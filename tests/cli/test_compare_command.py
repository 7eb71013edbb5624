from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

METHODS = ("--method", "felzenszwalb", "--method", "Otsu=otsu-watershed")


@pytest.fixture
def predictions(dataset, tmp_path):
    """Perfect label maps of all images but the last."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    for number in range(3):
        name = f"image{number}.png"
        (folder / name).write_bytes((dataset / "masks" / name).read_bytes())
    return folder


def test_tables_pictures_and_json(run, dataset, model_file, tmp_path):
    output = tmp_path / "out"
    result = run("compare", dataset, *METHODS, "--method", f"bottomup:{model_file}", "-o", output)
    assert result.exit_code == 0, result.stderr
    quality, matching, coco = result.stdout.split("┏")[1:]
    for table in (quality, matching, coco):
        rows = [line.split()[1] for line in table.splitlines() if line.startswith("│")]
        assert rows == ["felzenszwalb", "Otsu", f"bottomup:{model_file}"]
    assert "relative %" in quality
    assert "F1" in matching
    assert "F1" not in coco
    assert f"written to {output}: comparison.md, comparison.json, comparison.png" in result.stdout
    report = json.loads((output / "comparison.json").read_text())
    assert list(report["methods"]) == ["felzenszwalb", "Otsu", f"bottomup:{model_file}"]
    assert report["specifications"]["Otsu"] == "otsu-watershed"
    for found in report["methods"].values():
        assert [image["name"] for image in found["images"]] == [f"image{n}" for n in range(4)]
        assert all(image["seconds"] > 0 for image in found["images"])
    markdown = (output / "comparison.md").read_text()
    assert markdown.startswith(
        "## Methods\n\n| method | mIoU | Boundary IoU | recall | relative % |"
    )
    assert "\n| Otsu | " in markdown
    with Image.open(output / "comparison.png") as sheet:
        assert sheet.size == (5 * 56 + 4 * 6, 4 * 40 + 3 * 6 + 16)


def test_predictions_and_a_failing_image(run, dataset, predictions, tmp_path):
    output = tmp_path / "out"
    named = f"OneFormer=predictions:{predictions}"
    result = run("compare", dataset, "--method", named, "-o", output, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    found = report["methods"]["OneFormer"]
    reason = f"{predictions}: no prediction for image 'image3'"
    assert found["failures"] == {"image3": reason}
    assert found["overall"]["recall"] == pytest.approx(9 / 12)
    assert found["overall"]["seconds_per_image"] is None
    assert f"- OneFormer failed on image3: {reason}" in (output / "comparison.md").read_text()
    assert json.loads((output / "comparison.json").read_text()) == report


def test_a_protocol_brings_the_paper_s_rows(run, dataset, predictions):
    options = ("--protocol", "ade20k", "--format", "folder", "--limit", "1", "--json")
    result = run("compare", dataset, "--method", f"predictions:{predictions}", *METHODS, *options)
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert list(report["tables"]) == [
        "Table 1",
        "Methods",
        "F1 at IoU 0.5, and AP as TP / (TP + FP + FN)",
        "COCO's AP (ranked by score)",
    ]
    rows = report["tables"]["Table 1"]
    assert [row["source"] for row in rows] == ["measured here"] * 3 + ["paper, Table 1"] * 7
    assert rows[0]["recall"] == 1.0
    assert rows[0]["relative %"] == pytest.approx(100 * (1 / 0.376 - 1))
    assert rows[6]["method"] == "OneFormer"
    assert rows[6]["recall"] == 0.484


def test_broken_images_are_left_out_and_told(run, dataset):
    (dataset / "images" / "image1.png").write_bytes(b"\x89PNG")
    result = run("compare", dataset, *METHODS, "--split", "val")
    assert result.exit_code == 1
    assert f"not read: {dataset / 'images' / 'image1.png'}: " in result.stdout
    assert "│ Otsu " in result.stdout


def test_the_number_of_pictures(run, dataset, tmp_path):
    for count, rows in ((2, 2), (9, 4)):
        output = tmp_path / str(count)
        run("compare", dataset, *METHODS, "-o", output, "--pictures", count)
        with Image.open(output / "comparison.png") as sheet:
            assert sheet.size == (4 * 56 + 3 * 6, rows * 40 + (rows - 1) * 6 + 16)
    run("compare", dataset, *METHODS, "-o", tmp_path / "none", "--pictures", 0)
    assert not (tmp_path / "none" / "comparison.png").exists()


def test_overlapping_predictions_are_not_flattened(run, dataset, tmp_path):
    from bottomup_fast.evaluation.masks import encode

    folder = tmp_path / "sam"
    folder.mkdir()
    for number in range(4):
        with Image.open(dataset / "masks" / f"image{number}.png") as file:
            labels = np.asarray(file)
        masks = [labels == label for label in (1, 2, 3)] + [np.ones_like(labels, bool)]
        records = []
        for mask in masks:  # the last would hide the others, or they would cut holes into it
            code = encode(mask)
            code["counts"] = code["counts"].decode()
            records.append({"segmentation": code, "predicted_iou": 0.9})
        (folder / f"image{number}.json").write_text(json.dumps(records))
    result = run("compare", dataset, "--method", f"predictions:{folder}", "--json")
    found = json.loads(result.stdout)["methods"][f"predictions:{folder}"]
    assert (found["overall"]["recall"], found["overall"]["miou"]) == (1.0, 1.0)
    assert [image["found"] for image in found["images"]] == [4] * 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--method", "yolo"], "--method: unknown 'yolo'; expected bottomup, predictions, "),
        ([*METHODS, "--method", "felzenszwalb"], "--method: 'felzenszwalb' has a name twice"),
        (["--method", "=felzenszwalb"], "--method: '=felzenszwalb' has no name"),
        ([*METHODS, "--protocol", "coco"], "--protocol: unknown 'coco'; expected ade20k, "),
        ([*METHODS, "--protocol", "separation"], "--protocol: separation measures features"),
        ([*METHODS, "--protocol", "evican", "--format", "folder"], "--group-by: no column 'diff"),
        ([*METHODS, "--format", "voc"], "format: unknown 'voc'"),
        ([*METHODS, "--where", "colour"], "--where: expected COLUMN=VALUE, got 'colour'"),
        (["--method", "predictions:gone"], "gone: no such file or folder of predictions"),
    ],
)
def test_a_wrong_option_is_named(run, dataset, options, reason):
    result = run("compare", dataset, *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {reason}")
    assert result.stderr.count("\n") == 1


def test_a_method_is_needed(run, dataset):
    assert run("compare", dataset).exit_code == 2
