from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bottomup_fast import Segmentation, Segmenter

COUNT = 12


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(COUNT):
        coarse = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((56, 40), 0).save(tmp_path / f"images/{number}.png")
    return tmp_path / "images"


@pytest.fixture
def start(model_file, images, tmp_path):
    """Start `bottomup segment` on the images in a process of its own."""
    places = [str(images), "--model", str(model_file), "--output", str(tmp_path / "out")]

    def run(*options):
        return subprocess.Popen(
            [sys.executable, "-m", "bottomup_fast", "segment", *places, "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    return run


def finished(output: Path) -> dict[Path, tuple[int, int]]:
    """The files of all finished images, and what would change if they were written again."""
    files = [file for record in output.glob("*/record.json") for file in record.parent.iterdir()]
    return {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def wait_for(process, output, count):
    while len(list(output.glob("*/record.json"))) < count:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "kills"),
    [((), 3), (("--engine", "ray", "--workers", "2"), 1)],
    ids=["local", "ray"],
)
def test_a_killed_run_goes_on(start, images, model_file, tmp_path, options, kills):
    output = tmp_path / "out"
    rng = random.Random(0)
    kept: dict[Path, tuple[int, int]] = {}
    for kill in range(kills):
        process = start(*options)
        wait_for(process, output, (kill + 1) * COUNT // (kills + 2))
        time.sleep(rng.random() / 10)
        process.kill()
        process.communicate()
        now = finished(output)
        assert now.items() >= kept.items()
        kept = now
    process = start(*options)
    printed = process.communicate()[0].decode().splitlines()
    assert process.returncode == 0
    *outcomes, counts = map(json.loads, printed)
    assert finished(output).items() >= kept.items()
    assert {outcome["image"] for outcome in outcomes} == {
        str(images / f"{number}.png") for number in range(COUNT)
    }
    # Workers of a killed driver may have finished what they were at.
    assert COUNT > counts["already_there"] >= len({file.parent for file in kept})
    assert counts["segmented"] == COUNT - counts["already_there"]
    segmenter = Segmenter(model_file)
    for number in range(COUNT):
        expected = segmenter.segment(images / f"{number}.png").labels
        np.testing.assert_array_equal(Segmentation.load(output / str(number)).labels, expected)
    assert not list(output.rglob(".*[!k]"))  # nothing hidden but .lock
