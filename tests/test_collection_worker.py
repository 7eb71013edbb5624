from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from collection_cases import Threshold, make_collection, make_worker
from PIL import Image

from bottomup_fast import Segmentation
from bottomup_fast.collection.output import RECORD, UNFINISHED, finished
from bottomup_fast.collection.worker import ATTEMPTS


@pytest.fixture
def collection(tmp_path):
    return make_collection(tmp_path)


@pytest.fixture
def items(collection):
    return collection[0]


@pytest.fixture
def job(collection):
    return collection[1]


@pytest.fixture
def run(items):
    """Do the job; returns the outcomes and the names of the images that were segmented."""

    def do(job):
        worker, seen = make_worker(job)
        return [worker(item) for item in items], seen

    return do


def test_results_are_those_of_the_segmenter_with_a_record(run, job, items):
    outcomes, seen = run(job)
    assert seen == ["0.png", "1.png", "2.png"]
    for outcome, item in zip(outcomes, items, strict=True):
        folder = job.output / item.folder
        assert outcome.image == str(item.path)
        assert outcome.output == str(folder)
        assert outcome.segments == 1
        assert outcome.seconds > 0
        np.testing.assert_array_equal(
            Segmentation.load(folder).labels, Threshold().segment(item.path).labels
        )
        assert {file.name for file in folder.iterdir()} == {
            "labels.png",
            "overlay.png",
            "segments.json",
            RECORD,
        }
    assert list((job.output / UNFINISHED).iterdir()) == []


def test_what_is_finished_is_not_segmented_again(run, job):
    first, _ = run(job)
    outcomes, seen = run(job)
    assert seen == []
    assert outcomes == [replace(outcome, seconds=None) for outcome in first]


def test_a_copied_image_is_the_same_image(run, job, items):
    run(job)
    os.utime(items[1].path, (1, 1))
    assert run(job)[1] == []


def test_a_changed_image_is_segmented_again(run, job, items):
    run(job)
    Image.new("L", (12, 8), 255).save(items[1].path)
    assert run(job)[1] == ["1.png"]
    assert Segmentation.load(job.output / "1").labels.all()


@pytest.mark.parametrize("name", ["labels.png", "segments.json", "overlay.png", RECORD])
@pytest.mark.parametrize("damage", ["gone", "cut", "zeros"])
def test_damaged_results_are_made_again(run, job, name, damage):
    run(job)
    path = job.output / "1" / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut" else bytes(len(content)))
    assert run(job)[1] == ["1.png"]
    assert path.read_bytes() == content


def test_results_of_another_model_are_made_again(run, job, tmp_path):
    run(job)
    (tmp_path / "model.safetensors").write_bytes(b"another")
    assert len(run(job)[1]) == 3


def test_files_of_the_user_stay(run, job):
    run(job)
    (job.output / "1" / "mine.txt").write_text("notes")
    run(replace(job, overwrite=True))
    assert (job.output / "1" / "mine.txt").read_text() == "notes"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("out of\nmemory"), "RuntimeError: out of memory"),
        (OSError(5, "Input/output error"), "Input/output error"),
    ],
)
def test_an_image_that_fails_is_no_ones_else_fault(run, job, items, monkeypatch, error, reason):
    real = Threshold.segment

    def fail(self, path):
        if path.name == "1.png":
            raise error
        return real(self, path)

    monkeypatch.setattr(Threshold, "segment", fail)
    outcomes, _ = run(job)
    assert [outcome.error for outcome in outcomes] == [None, f"{items[1].path}: {reason}", None]
    assert not (job.output / "1").exists()


def test_a_missing_image_fails(run, job, items):
    items[1].path.unlink()
    assert run(job)[0][1].error == f"{items[1].path}: No such file or directory"


def test_results_that_cannot_be_written_end_the_run(run, job):
    job.output.mkdir()
    (job.output / "1").write_text("a file")
    with pytest.raises(NotADirectoryError):
        run(job)


def test_an_image_that_ends_every_worker_fails(run, job, items):
    for attempt in range(ATTEMPTS):
        assert finished(job.output / "1", items[1].path, "") is None
        (job.output / UNFINISHED / "1" / str(attempt)).mkdir(parents=True)
    outcomes, seen = run(job)
    assert seen == ["0.png", "2.png"]
    assert outcomes[1].error == f"{items[1].path}: ended its worker {ATTEMPTS} times"
