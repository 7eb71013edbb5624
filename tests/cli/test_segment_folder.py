from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from bottomup_fast import Segmentation, Segmenter


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def segment(run, model_file, image_folder, output):
    return lambda *options: run("segment", image_folder, "-m", model_file, "-o", output, *options)


def summary(output):
    with (output / "summary.csv").open(newline="") as file:
        return {row.pop("image"): row for row in csv.DictReader(file)}


def test_every_image_but_the_broken_one_is_segmented(segment, model_file, image_folder, output):
    result = segment()
    assert result.exit_code == 1
    segmenter = Segmenter(model_file)
    for name in ("a1", "a10"):
        expected = segmenter.segment(image_folder / f"{name}.png").labels
        np.testing.assert_array_equal(Segmentation.load(output / name).labels, expected)
    assert f"error: {image_folder / 'a2.png'}: " in result.stderr
    assert result.stdout == f"2 of 3 images segmented, 1 failed; written to {output}\n"
    rows = summary(output)
    assert list(rows) == ["a1.png", "a2.png", "a10.png"]
    assert int(rows["a1.png"]["segments"]) == len(Segmentation.load(output / "a1"))
    assert float(rows["a10.png"]["seconds"]) > 0
    assert rows["a1.png"]["error"] == rows["a2.png"]["segments"] == ""
    assert str(image_folder / "a2.png") in rows["a2.png"]["error"]
    assert [row["folder"] for row in rows.values()] == ["a1", "a2", "a10"]


def test_failures_are_recorded_until_they_are_mended(segment, image_folder, output):
    segment()
    (failure,) = map(json.loads, (output / "failures.jsonl").read_text().splitlines())
    assert failure["image"] == str(image_folder / "a2.png")
    assert failure["error"].startswith(f"{image_folder / 'a2.png'}: ")
    (image_folder / "a2.png").write_bytes((image_folder / "a1.png").read_bytes())
    assert segment().exit_code == 0
    assert not (output / "failures.jsonl").exists()


def test_the_overview_shows_the_overlays(segment, output):
    segment()
    with Image.open(output / "overview.png") as sheet, Image.open(output / "a1/overlay.png") as one:
        assert sheet.size == (2 * one.width + 6, one.height)
        np.testing.assert_array_equal(np.asarray(sheet)[:, : one.width], np.asarray(one))


def test_the_overview_has_at_most_24_small_pictures(run, model_file, tmp_path, output):
    (tmp_path / "many").mkdir()
    for number in range(26):
        Image.new("RGB", (400 if number == 0 else 8, 16)).save(tmp_path / f"many/{number}.png")
    assert run("segment", tmp_path / "many", "-m", model_file, "-o", output).exit_code == 0
    with Image.open(output / "overview.png") as sheet:
        assert sheet.size == (6 * 320 + 5 * 6, 4 * 16 + 3 * 6)


def test_what_is_there_is_skipped_and_the_rest_done(segment, output):
    segment()
    kept = (output / "a1" / "labels.png").stat().st_mtime_ns
    (output / "a10" / "overlay.png").unlink()
    result = segment()
    assert result.exit_code == 1
    assert "1 of 3 images segmented, 1 already there (--overwrite" in result.stdout
    assert (output / "a1" / "labels.png").stat().st_mtime_ns == kept
    assert (output / "a10" / "overlay.png").is_file()
    rows = summary(output)
    assert int(rows["a1.png"]["segments"]) == len(Segmentation.load(output / "a1"))
    assert rows["a1.png"]["seconds"] == ""


def test_damaged_output_is_not_taken_for_complete(segment, output):
    segment()
    (output / "a1" / "segments.json").write_text("{")
    assert "1 of 3 images segmented, 1 already there" in segment().stdout
    Segmentation.load(output / "a1")


def test_overwrite_segments_again(segment, output):
    segment()
    (output / "a1" / "labels.png").write_bytes(b"")
    result = segment("--overwrite")
    assert result.stdout == f"2 of 3 images segmented, 1 failed; written to {output}\n"
    Segmentation.load(output / "a1")


def test_json_is_one_object_an_image(segment, image_folder, output):
    result = segment("--json")
    assert result.exit_code == 1
    first, broken, last, counts = map(json.loads, result.stdout.splitlines())
    assert first["image"] == str(image_folder / "a1.png")
    assert first["segments"] == len(Segmentation.load(first["output"]))
    assert broken["segments"] is None
    assert str(image_folder / "a2.png") in broken["error"]
    assert last["error"] is None
    assert counts == {
        "output": str(output),
        "images": 3,
        "segmented": 2,
        "already_there": 0,
        "failed": 1,
    }
    again = json.loads(segment("--json").stdout.splitlines()[0])
    assert again == first | {"seconds": None}


def test_an_interrupted_run_leaves_its_summary(segment, output, monkeypatch):
    real = Segmenter.segment

    def interrupted(self, image):
        if image.name == "a10.png":
            raise KeyboardInterrupt
        return real(self, image)

    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "segment", interrupted)
        assert segment().exit_code == 130
    assert list(summary(output)) == ["a1.png", "a2.png"]
    assert "1 of 3 images segmented, 1 already there" in segment().stdout


def test_images_of_one_stem_do_not_share_a_folder(segment, image_folder, output):
    Image.new("RGB", (16, 16), "blue").save(image_folder / "a1.bmp")
    (image_folder / "a2.png").unlink()
    assert segment().exit_code == 0
    folders = sorted(path.name for path in output.iterdir() if path.is_dir())
    assert folders == ["a1.bmp", "a1.png", "a10"]


def test_the_default_output(run, model_file, image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("segment", image_folder, "-m", model_file)
    assert len(Segmentation.load("segments/a1")) > 0
    assert (tmp_path / "segments" / "summary.csv").is_file()


def test_only_broken_images(segment, image_folder, output):
    for name in ("a1.png", "a10.png"):
        (image_folder / name).unlink()
    assert segment().exit_code == 1
    assert not (output / "overview.png").exists()
    assert list(summary(output)) == ["a2.png"]


def test_a_folder_without_images_is_an_error(run, model_file, tmp_path):
    (tmp_path / "empty").mkdir()
    result = run("segment", tmp_path / "empty", "-m", model_file, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr == f"error: {tmp_path / 'empty'}: no images in it\n"


def test_the_folder_of_the_images_is_refused(run, model_file, image_folder):
    result = run("segment", image_folder, "-m", model_file, "-o", image_folder)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: --output: {image_folder} is the folder of the images")


def test_a_list_of_images(run, model_file, image_folder, tmp_path, output):
    (tmp_path / "list.txt").write_text("images/a10.png\nimages/gone.png\nimages/a1.png\n")
    result = run("segment", tmp_path / "list.txt", "-m", model_file, "-o", output)
    assert result.exit_code == 1
    assert result.stderr.count("error: ") == 1
    assert f"error: {image_folder / 'gone.png'}: " in result.stderr
    assert list(summary(output)) == ["images/a10.png", "images/gone.png", "images/a1.png"]
    assert len(Segmentation.load(output / "a10")) > 0


def test_results_of_other_settings_are_refused(segment, output):
    segment()
    before = (output / "a1" / "labels.png").read_bytes()
    result = segment("--scale", "0.5")
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {output}: made otherwise (settings.preprocessing.scale 1.0, now 0.5); "
        "choose another --output, or --overwrite it\n"
    )
    assert (output / "a1" / "labels.png").read_bytes() == before
    assert "2 of 3 images segmented, 1 failed" in segment("--scale", "0.5", "--overwrite").stdout
    assert "0 of 3 images segmented, 2 already there" in segment("--scale", "0.5").stdout


def test_results_of_nobody_knows_what_are_refused(segment, output):
    (output / "a10").mkdir(parents=True)
    result = segment()
    assert result.exit_code == 2
    assert f"error: {output}: has a10, but no run.json says what made it; " in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--workers", "2"], "--workers: needs --engine ray"),
        (
            ["--engine", "ray"],
            "--engine ray: Ray Data is missing; pip install 'bottomup-fast[ray]'",
        ),
    ],
)
def test_a_wrong_engine_is_named(segment, output, monkeypatch, options, reason):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = segment(*options)
    assert result.exit_code == 2
    assert result.stderr == f"error: {reason}\n"
    assert not output.exists()


def test_ray_is_for_collections(run, model_file, image_folder, output):
    result = run("segment", image_folder / "a1.png", "-m", model_file, "--engine", "ray")
    assert result.exit_code == 2
    assert result.stderr == "error: --engine ray: needs a folder or a list of images\n"
