from __future__ import annotations

import json

import numpy as np
import pytest
from data.format_miniatures import HEIGHT, WIDTH, WRITERS
from PIL import Image

from bottomup_fast.data.formats import open_dataset
from bottomup_fast.data.health import check_health


@pytest.fixture
def coco(tmp_path):
    WRITERS["coco-instances"](tmp_path / "coco")
    return tmp_path / "coco"


def test_json_is_the_health(run, coco):
    result = run("data", "check", coco, "--split", "val", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    health = check_health(open_dataset(coco, split="val", on_error="skip"))
    assert health.as_dict().items() <= report.items()
    assert report["folder"] == str(coco)
    assert (report["format"], report["split"]) == ("coco-instances", "val")
    assert report["background"] == "unknown"


def test_text_tells_everything(run, coco):
    result = run("data", "check", coco, "--split", "train")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{coco}: coco-instances, 0 means unknown background"
    assert "images: 2" in lines
    assert "sizes: 24x32 (2)" in lines
    assert "segments: fewest 3, median 3, most 3, all 6" in lines
    assert lines[-1] == "broken: 0"


def test_broken_files_are_told_and_end_with_1(run, coco, tmp_path):
    (coco / "train2017" / "000000000139.jpg").unlink()
    (coco / "train2017" / "000000000285.jpg").write_bytes(b"\xff\xd8\xff")
    (coco / "annotations" / "instances_val2017.json").unlink()
    result = run("data", "check", coco, "--format", "coco-instances", "-o", tmp_path / "s.png")
    assert result.exit_code == 1
    assert "broken: 2\n" in result.stdout
    assert "no image '000000000139.jpg' in" in result.stdout
    assert "000000000285.jpg: " in result.stdout
    assert not (tmp_path / "s.png").exists()
    as_json = run("data", "check", coco, "--json")
    assert as_json.exit_code == 1
    assert len(json.loads(as_json.stdout)["broken"]) == 2


def test_the_contact_sheet_shows_images_beside_their_segments(run, coco, tmp_path):
    path = tmp_path / "out" / "sheet.png"
    result = run("data", "check", coco, "--split", "val", "--output", path)
    assert result.stdout.splitlines()[-1] == f"written to {path}"
    with Image.open(path) as sheet:
        assert sheet.size == (4 * WIDTH + 3 * 6, HEIGHT)
        pixels = np.asarray(sheet)
    sample = open_dataset(coco, split="val")[0]
    np.testing.assert_array_equal(pixels[:, :WIDTH], sample.image)
    segments = pixels[:, WIDTH + 6 : 2 * WIDTH + 6]
    same = (segments == sample.image).all(-1)
    assert same[sample.labels == 0].all()
    assert not same[sample.labels == 1].all()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((), "error: {coco}: split None may be instances_train2017.json, instances_val2017.json"),
        (("--split", "test"), "error: {coco}: nothing for split 'test'"),
        (("--format", "coca"), "error: format: unknown 'coca'"),
    ],
)
def test_what_cannot_be_opened_ends_with_2(run, coco, options, problem):
    result = run("data", "check", coco, *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(problem.format(coco=coco))
    assert result.stderr.count("\n") == 1
