from __future__ import annotations

import itertools
import os
import signal
import sys

import numpy as np
from collection_cases import Threshold, make_collection, make_worker
from PIL import Image

from bottomup_fast import Segmentation
from bottomup_fast.collection.output import LOCK, RUN, claimed, finished

FILE_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")


def segment_all(job, items):
    """One run of the local engine; returns what it segmented."""
    worker, seen = make_worker(job)
    folders = [item.folder for item in items]
    with claimed(job.output, worker.recipe, folders, overwrite=job.overwrite):
        for item in items:
            assert worker(item).error is None
    return seen


def killed_at(moment, job, items):
    """Run in a process that kills itself before it opens or changes a file for the n-th time."""
    child = os.fork()
    if child == 0:
        moments = itertools.count(1)

        def kill(event, arguments):
            if event in FILE_EVENTS and next(moments) == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill)
        segment_all(job, items)
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def check_all_moments(job, items, prepare):
    """Kill at every moment there is; resuming repeats nothing and loses nothing."""
    digest = make_worker(job)[0].recipe.digest()
    for moment in itertools.count(1):
        prepare()
        killed = killed_at(moment, job, items)
        done = [
            item.path.name
            for item in items
            if finished(job.output / item.folder, item.path, digest) is not None
        ]
        again = segment_all(job, items)
        assert sorted(done + again) == sorted(item.path.name for item in items)
        for item in items:
            folder = job.output / item.folder
            expected = Threshold().segment(item.path).labels
            np.testing.assert_array_equal(Segmentation.load(folder).labels, expected)
        assert [file.name for file in job.output.rglob(".*")] == [LOCK]
        if not killed:
            return moment
    raise AssertionError


def test_a_run_killed_at_any_moment(tmp_path):
    items, job = make_collection(tmp_path, count=2)

    def prepare():
        for file in sorted(job.output.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()

    moments = check_all_moments(job, items, prepare)
    assert moments > 20
    assert {path.name for path in job.output.iterdir()} == {"0", "1", RUN, LOCK}


def test_a_run_over_other_results_killed_at_any_moment(tmp_path):
    items, job = make_collection(tmp_path, count=1)
    path = items[0].path
    bright = path.read_bytes()

    def prepare():
        Image.new("L", (12, 8)).save(path)
        segment_all(job, items)
        assert Segmentation.load(job.output / "0").num_segments == 0
        path.write_bytes(bright)

    assert check_all_moments(job, items, prepare) > 20
