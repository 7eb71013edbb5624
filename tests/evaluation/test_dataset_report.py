from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from bottomup_fast.errors import InputError
from bottomup_fast.evaluation import (
    DatasetReport,
    average_precision,
    evaluate_segments,
    f1_score,
    format_table,
)
from bottomup_fast.evaluation.average_precision import COCO_THRESHOLDS

EMPTY, FULL = np.zeros((6, 6), int), np.ones((6, 6), int)


def rendered(table):
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()


def expected(images):
    preds, trues, scores = zip(*images, strict=True)
    matching = average_precision(preds, trues, COCO_THRESHOLDS, kind="matching")
    coco = average_precision(preds, trues, COCO_THRESHOLDS, scores)
    return evaluate_segments(preds, trues).as_dict() | {
        "images": len(images),
        "f1": f1_score(preds, trues),
        "ap_matching_50": matching[0.5],
        "ap_matching_75": matching[0.75],
        "ap_matching": np.mean(list(matching.values())),
        "ap_coco_50": coco[0.5],
        "ap_coco_75": coco[0.75],
        "ap_coco": np.mean(list(coco.values())),
    }


@pytest.fixture
def images(make_pair):
    rng = np.random.default_rng(0)
    pairs = [make_pair(rng, (30 + n, 40), n) for n in (6, 12, 20, 9, 4)]
    for _, true in pairs:
        true[5:8, :10] = -1
    return [(pred, true, rng.random(pred.max())) for pred, true in pairs]


@pytest.fixture
def report(images):
    report = DatasetReport()
    for i, (pred, true, scores) in enumerate(images):
        report.add(f"image-{i}", "phase" if i % 2 else "fluorescence", pred, true, scores)
    return report


def test_every_metric_is_that_of_its_own_function(images, report):
    assert report.overall() == pytest.approx(expected(images), abs=1e-12)
    groups = report.by_group()
    assert list(groups) == ["fluorescence", "phase"]
    assert groups["fluorescence"] == pytest.approx(expected(images[::2]), abs=1e-12)
    assert groups["phase"] == pytest.approx(expected(images[1::2]), abs=1e-12)


def test_as_dict_survives_json(report):
    plain = report.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain) == ["overall", "groups"]


def test_a_table_never_mixes_the_two_average_precisions(report):
    coco, matching = report.rows("coco"), report.rows("matching")
    assert [row["group"] for row in coco] == ["fluorescence", "phase", "all"]
    assert not any("matching" in key for row in coco for key in row)
    assert not any("coco" in key for row in matching for key in row)
    assert coco[-1].items() <= (report.overall() | {"group": "all"}).items()
    assert {"ap_coco_50", "ap_coco_75", "ap_coco", "f1", "recall"} <= coco[0].keys()


def test_images_without_group_count_overall_only():
    report = DatasetReport()
    report.add("a", None, FULL, FULL)
    report.add("b", "cells", EMPTY, FULL)
    assert report.overall()["recall"] == 0.5
    assert list(report.by_group()) == ["cells"]


def test_a_set_without_truth_has_none_not_nan():
    report = DatasetReport()
    report.add("a", "empty", EMPTY, EMPTY)
    metrics = report.overall()
    assert metrics["segments"] == 0
    assert metrics["f1"] == metrics["ap_matching"] == 1.0
    for name in ("recall", "miou", "boundary_iou", "ap_coco", "ap_coco_50", "ap_coco_75"):
        assert metrics[name] is None
    assert " - " in rendered(format_table(report.rows(), "empty"))


def test_without_scores_the_ranking_is_that_of_the_images():
    report = DatasetReport()
    report.add("a", None, FULL, FULL)
    report.add("b", None, FULL, EMPTY)
    assert report.overall()["ap_coco_50"] == 1.0


def test_bad_input_names_the_image():
    report = DatasetReport()
    with pytest.raises(InputError, match=r"^report: no image"):
        report.overall()
    with pytest.raises(InputError, match=r"^image 'a': pred_labels\[0\]: shape"):
        report.add("a", None, FULL[:2], FULL)
    with pytest.raises(InputError, match=r"^image 'a': scores: expected shape \(1,\)"):
        report.add("a", None, FULL, FULL, [0.5, 0.5])
    report.add("a", None, FULL, FULL)
    with pytest.raises(InputError, match=r"^name: image 'a' was added before"):
        report.add("a", None, FULL, FULL)
    with pytest.raises(InputError, match=r"^scores: image 'b'"):
        report.add("b", None, FULL, FULL, [0.5])
    with pytest.raises(InputError, match=r"^kind: 'voc'"):
        report.rows("voc")
    assert report.overall()["images"] == 1


def test_table_shows_all_columns_and_escapes_nothing_away():
    rows = [{"name": "[bold]cells[/bold]", "f1": 0.12349}, {"name": "rest", "segments": 7}]
    text = rendered(format_table(rows, "title [red]"))
    for part in ("title [red]", "[bold]cells[/bold]", "0.123", "segments", "7", "-"):
        assert part in text
    assert rendered(format_table([], "nothing"))
