from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bottomup_fast.evaluation.masks import encode


@pytest.fixture
def sa1b(tmp_path):
    """Two images of SA-1B, whose masks overlap."""
    folder = tmp_path / "sa1b"
    folder.mkdir()
    for number in (7, 31):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 255, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"sa_{number}.jpg")
        masks = np.zeros((3, 40, 56), bool)
        masks[0, 2:30, 2:30], masks[1, 10:20, 10:20], masks[2, 20:, 20:] = True, True, True
        annotations = []
        for mask in masks:
            code = encode(mask)
            annotations.append(
                {"segmentation": {"size": [40, 56], "counts": code["counts"].decode()}}
            )
        content = {"image": {"width": 56, "height": 40}, "annotations": annotations}
        (folder / f"sa_{number}.json").write_text(json.dumps(content))
    return folder


def test_overlapping_truth_is_measured_mask_by_mask(run, model_file, sa1b):
    result = run("evaluate", sa1b, "-m", model_file, "--protocol", "sa1b", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["overall"]["segments"] == 6
    assert report["overall"]["separation"] is None
    assert report["protocol"]["name"] == "sa1b"
    rows = report["protocol"]["rows"]
    assert rows[0]["source"] == "measured here"
    assert rows[0]["images"] == 2
    assert rows[0]["mIoU"] == report["overall"]["miou"]
    assert [row["method"] for row in rows[1:]][-2:] == ["HQES", "the paper's own"]


def test_the_table_of_a_protocol(run, model_file, sa1b):
    result = run("evaluate", sa1b, "-m", model_file, "--protocol", "sa1b-dense")
    (table,) = result.stdout.split("┏")[1:]
    lines = [line for line in table.splitlines() if line.startswith("│")]
    assert lines[0].split("│")[1].strip() == "measured here"
    assert {line.split("│")[1].strip() for line in lines[1:]} == {
        "paper, Table 2, high object count"
    }
    assert any("0.529 │         93 " in line for line in lines)
    assert "none was measured here" in result.stdout
    assert result.stdout.splitlines()[-1].endswith(" s per image")


def test_separation(run, model_file, dataset):
    result = run("evaluate", dataset, "-m", model_file, "--protocol", "separation", "--json")
    report = json.loads(result.stdout)
    pooled, mean, *published = report["protocol"]["rows"]
    assert mean["intra-entity"] == pytest.approx(report["overall"]["separation"]["intra_entity"])
    assert 0 < pooled["intra-entity"] <= 1
    assert [row["inter-mean"] for row in published] == [0.024, 0.031, 0.029]


def test_difficulty_may_stand_in_the_metadata(run, model_file, dataset):
    names = [f"image{number}\t{'easy' if number < 2 else 'difficult'}" for number in range(4)]
    (dataset / "meta.tsv").write_text("\n".join(["name\tdifficulty", *names]))
    options = ("--protocol", "evican", "--format", "folder", "--json")
    result = run("evaluate", dataset, "-m", model_file, *options)
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    ours, *published = report["protocol"]["rows"]
    assert ours["easy AP50"] == report["groups"]["easy"]["ap_coco_50"]
    assert ours["difficult AP"] == report["groups"]["difficult"]["ap_coco"]
    assert ours["medium AP"] is None
    assert [row["method"] for row in published] == ["MRCNN", "DeepCeNS", "the paper's own"]


def test_a_format_without_a_protocol(run, model_file, sa1b):
    for options in ((), ("--format", "sa-1b")):
        result = run("evaluate", sa1b, "-m", model_file, "--json", *options)
        assert result.exit_code == 0, result.stderr
        report = json.loads(result.stdout)
        assert report["overall"]["segments"] == 6
        assert "protocol" not in report


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--protocol", "coco"], "--protocol: unknown 'coco'; expected ade20k, entityseg, sa1b"),
        (["--protocol", "sa1b"], "{dataset}: no images"),
        (["--format", "voc"], "format: unknown 'voc'"),
        (
            ["--protocol", "evican", "--format", "folder", "--group-by", "modality_guess"],
            "--group-by: --protocol evican has its own groups",
        ),
        (
            ["--protocol", "separation", "--features-constant"],
            "--features-constant: leaves no features for --protocol separation",
        ),
        (["--protocol", "evican", "--format", "folder"], "--group-by: no column 'difficulty' in "),
    ],
)
def test_a_wrong_option_is_named(run, model_file, dataset, options, reason):
    result = run("evaluate", dataset, "-m", model_file, *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {reason.format(dataset=dataset)}")
    assert result.stderr.count("\n") == 1
