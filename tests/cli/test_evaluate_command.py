from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bottomup_fast import Segmenter
from bottomup_fast.data.folder import FolderDataset
from bottomup_fast.evaluation.dataset import ConstantFeatures, evaluate_dataset
from bottomup_fast.models.weights import load_model


@pytest.fixture
def evaluate(run, model_file, dataset):
    def command(*options):
        result = run("evaluate", dataset, "--model", model_file, *options)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return command


def without_times(report):
    if isinstance(report, dict):
        return {k: without_times(v) for k, v in report.items() if not k.startswith("seconds")}
    return [without_times(v) for v in report] if isinstance(report, list) else report


def test_json_is_the_evaluation(evaluate, model_file, dataset):
    report = json.loads(evaluate("--split", "val", "--group-by", "modality_guess", "--json"))
    samples = FolderDataset(dataset, "val")
    segmenter = Segmenter(load_model(model_file))
    expected = evaluate_dataset(segmenter, (samples[i] for i in range(3)), "modality_guess")
    assert without_times(expected.as_dict()).items() <= without_times(report).items()
    assert list(report["groups"]) == ["grey", "colour", "touching"]
    assert report["settings"]["name"] == "tiny"
    assert (report["split"], report["features_constant"]) == ("val", False)


def test_tables_keep_the_average_precisions_apart(evaluate):
    text = evaluate("--group-by", "modality_guess")
    matching, coco, separation = text.split("┏")[1:]
    for table in (matching, coco, separation):
        first_cells = [line.split()[1] for line in table.splitlines() if line.startswith("│")]
        assert first_cells == ["grey", "colour", "touching", "all"]
    assert matching.count("ap_50") == coco.count("ap_50") == 1
    assert "f1" in matching
    assert "f1" not in coco
    assert "boundary_iou" in coco
    assert "intra_degrees" in separation
    assert text.splitlines()[-1].endswith(" s per image")


def test_where_and_limit_choose_images(evaluate):
    one = json.loads(evaluate("--where", "modality_guess=colour", "--limit", "1", "--json"))
    assert [image["name"] for image in one["images"]] == ["image2"]
    spaced = json.loads(evaluate("--limit", "2", "--json"))
    assert [image["name"] for image in spaced["images"]] == ["image0", "image2"]


def test_output_holds_the_report_and_pictures(evaluate, tmp_path):
    output = tmp_path / "out"
    printed = json.loads(evaluate("--output", output, "--json"))
    assert json.loads((output / "report.json").read_text()) == printed
    for name in ("worst.png", "best.png"):
        with Image.open(output / name) as sheet:
            assert sheet.size == (3 * 56 + 2 * 6, 4 * 40 + 3 * 6 + 16)
    assert f"written to {output}: " in evaluate("--output", output)


def test_the_first_column_of_a_picture_is_the_image(evaluate, dataset, tmp_path):
    report = json.loads(evaluate("--output", tmp_path / "out", "--json"))
    with Image.open(tmp_path / "out" / "best.png") as sheet:
        shown = np.asarray(sheet)[16:56, :56]
    with Image.open(dataset / "images" / f"{report['best'][0]}.png") as image:
        np.testing.assert_array_equal(shown, np.asarray(image))


def test_constant_features(evaluate, model_file, dataset):
    report = json.loads(evaluate("--features-constant", "--json"))
    samples = FolderDataset(dataset)
    segmenter = Segmenter(ConstantFeatures(load_model(model_file)))
    expected = evaluate_dataset(segmenter, (samples[i] for i in range(4)), separation=False)
    assert without_times(report)["overall"] == without_times(expected.as_dict())["overall"]
    assert report["overall"]["separation"] is None
    assert "intra_degrees" not in evaluate("--features-constant")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--where", "colour"], "--where: expected COLUMN=VALUE, got 'colour'"),
        (["--where", "stain=red"], "{dataset}/meta.tsv: no column 'stain'"),
        (["--group-by", "stain"], "--group-by: no column 'stain' in {dataset}/meta.tsv"),
        (["--split", "test"], "{dataset}/split.txt: no split 'test'; it has train, val"),
        (["--model", "gone.safetensors"], "gone.safetensors: no such model file"),
    ],
)
def test_a_wrong_option_is_named(run, model_file, dataset, options, reason):
    result = run("evaluate", dataset, "-m", model_file, *options)
    assert result.exit_code == 2
    assert result.stderr == f"error: {reason.format(dataset=dataset)}\n"


def test_what_is_no_data_set_is_named(run, model_file, tmp_path):
    result = run("evaluate", tmp_path, "-m", model_file)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {tmp_path}: none of the formats folder, ")


def test_a_broken_image_is_named(run, model_file, dataset):
    (dataset / "images" / "image1.png").write_bytes(b"\x89PNG")
    result = run("evaluate", dataset, "-m", model_file, "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"error: {dataset / 'images' / 'image1.png'}: " in result.stderr
