from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bottomup_fast import Segmentation, Segmenter


@pytest.fixture
def image(image_folder):
    return image_folder / "a1.png"


def test_an_image_gives_what_the_segmenter_gives(run, model_file, image, tmp_path):
    output = tmp_path / ("a-path-that-is-longer-than-a-line-of-eighty-characters" * 2) / "out"
    result = run("segment", image, "--model", model_file, "--output", output)
    assert result.exit_code == 0, result.stderr
    expected = Segmenter(model_file).segment(image)
    saved = Segmentation.load(output)
    assert len(expected) > 1
    np.testing.assert_array_equal(saved.labels, expected.labels)
    assert saved.segments == expected.segments
    assert sorted(path.name for path in output.iterdir()) == [
        "labels.png",
        "overlay.png",
        "segments.json",
    ]
    assert f"{len(expected)} segments in " in result.stdout
    assert result.stdout.endswith(f" s, written to {output}\n")


def test_the_default_output_is_named_after_the_image(run, model_file, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("segment", image, "-m", model_file).exit_code == 0
    assert len(Segmentation.load(tmp_path / "segments" / "a1")) > 0


def test_json_is_one_object(run, model_file, image, tmp_path):
    result = run("segment", image, "-m", model_file, "-o", tmp_path / "out", "--json")
    record = json.loads(result.stdout)
    assert record.pop("seconds") > 0
    assert record == {
        "image": str(image),
        "output": str(tmp_path / "out"),
        "segments": len(Segmentation.load(tmp_path / "out")),
        "error": None,
    }


def test_options_reach_the_segmenter(run, model_file, image, tmp_path):
    for number, (options, arguments) in enumerate(
        {
            ("--scale", "0.5"): {"scale": 0.5},
            ("--resolutions", "32,64"): {"resolutions": (32, 64)},
            ("--keep-background", "--device", "cpu"): {"keep_background": True},
        }.items()
    ):
        output = tmp_path / str(number)
        assert run("segment", image, "-m", model_file, "-o", output, *options).exit_code == 0
        expected = Segmenter(model_file, **arguments).segment(image)
        np.testing.assert_array_equal(Segmentation.load(output).labels, expected.labels)


def test_an_image_is_segmented_again(run, model_file, image, tmp_path):
    run("segment", image, "-m", model_file, "-o", tmp_path / "out")
    Image.new("RGB", (24, 16), "red").save(image)
    run("segment", image, "-m", model_file, "-o", tmp_path / "out")
    assert Segmentation.load(tmp_path / "out").labels.shape == (16, 24)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--resolutions", "big"], "--resolutions: expected pixels such as 256,512, got 'big'"),
        (["--resolutions", "64,32"], "resolutions or scale: "),
        (["--scale", "nan"], "resolutions or scale: "),
        (["--scale", "1", "--resolutions", "64"], "resolutions and scale: give one of them"),
        (["--device", "abacus"], "device: "),
        (["--model", "nuclei"], "unknown model 'nuclei'"),
        (["--model", "gone.safetensors"], "gone.safetensors: no such model file"),
    ],
)
def test_a_wrong_option_is_named(run, model_file, image, tmp_path, options, reason):
    result = run("segment", image, "-m", model_file, "-o", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {reason}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_broken_image_is_an_error(run, model_file, image_folder, tmp_path):
    result = run("segment", image_folder / "a2.png", "-m", model_file, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {image_folder / 'a2.png'}: ")
    assert result.stderr.count("\n") == 1


def test_the_images_own_folder_is_refused(run, model_file, image):
    before = sorted(image.parent.iterdir())
    result = run("segment", image, "-m", model_file, "-o", image.parent / ".")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --output: ")
    assert sorted(image.parent.iterdir()) == before


def test_an_output_that_cannot_be_a_folder_is_named(run, model_file, image, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("segment", image, "-m", model_file, "-o", tmp_path / "file")
    assert result.exit_code == 2
    assert result.stderr == f"error: {tmp_path / 'file'}: File exists\n"
