from __future__ import annotations

import json
import os
import signal
import sys

import pytest
import ray
import ray.cloudpickle
import torch

from bottomup_fast import Segmentation
from bottomup_fast.collection import ray_engine
from bottomup_fast.collection.worker import Job, Worker

RESULTS = ("labels.png", "overlay.png", "record.json", "segments.json")


@pytest.fixture(scope="module")
def _cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def segment(run, model_file, image_folder, tmp_path):
    """Segment the images into the folder `name`."""
    return lambda name, *options: run(
        "segment", image_folder, "-m", model_file, "-o", tmp_path / name, *options
    )


@pytest.fixture
def _one_thread():
    """As each of two workers on two processors has; the network's last bits depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("_cluster", "_one_thread")
def test_ray_gives_what_the_local_engine_gives(segment, image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    local = segment("local")
    result = segment("ray", "--engine", "ray", "--workers", "2", "--json")
    assert result.exit_code == local.exit_code == 1
    *outcomes, counts = map(json.loads, result.stdout.splitlines())
    assert {outcome["image"] for outcome in outcomes} == {
        str(image_folder / name) for name in ("a1.png", "a2.png", "a10.png")
    }
    assert (counts["segmented"], counts["failed"]) == (2, 1)
    for folder in ("a1", "a10"):
        for name in RESULTS:
            ours, theirs = (tmp_path / engine / folder / name for engine in ("ray", "local"))
            assert ours.read_bytes() == theirs.read_bytes()
    for name in ("run.json", "failures.jsonl", "overview.png"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    assert sorted(os.listdir("ray")) == sorted(os.listdir("local"))
    again = segment("local", "--engine", "ray", "--workers", "1")
    assert "0 of 3 images segmented, 2 already there" in again.stdout


class _Deadly(ray_engine._Actor):
    """Ends its process at an image."""

    def __init__(self, job, recipe):
        super().__init__(job, recipe)
        real = self._worker.segmenter.segment

        def segment(path):
            if path.name == "a2.png":
                os.kill(os.getpid(), signal.SIGKILL)
            return real(path)

        self._worker.segmenter.segment = segment


@pytest.mark.slow
@pytest.mark.usefixtures("_cluster")
def test_an_image_that_kills_its_workers_fails_alone(segment, image_folder, tmp_path, monkeypatch):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(ray_engine, "_Actor", _Deadly)
    result = segment("out", "--engine", "ray", "--workers", "1")
    assert result.exit_code == 1
    assert f"error: {image_folder / 'a2.png'}: ended its worker 3 times\n" in result.stderr
    assert "2 of 3 images segmented, 1 failed" in result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("_cluster")
def test_what_no_worker_can_do_is_one_line(segment, tmp_path):
    result = segment("out", "--engine", "ray", "--workers", "1", "--device", "abacus")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: device: ")


@pytest.mark.parametrize(
    ("images", "workers", "blocks"), [(1, 1, 1), (100, 4, 100), (1000, 4, 256), (10**6, 4, 15625)]
)
def test_blocks_are_small_but_not_too_many(images, workers, blocks):
    assert ray_engine._blocks(images, workers) == blocks


@pytest.mark.parametrize(
    ("amount", "workers", "share"), [(16, 4, 4), (16, 5, 3), (2, 2, 1), (2, 3, 0.5), (1, 3, 1 / 3)]
)
def test_all_workers_fit(amount, workers, share):
    assert ray_engine._share(amount, workers) == share
    assert amount / share >= workers


@pytest.fixture
def actor(model_file, tmp_path):
    """An actor without Ray, and the digest of its recipe."""
    recipe = Worker(Job(str(model_file), tmp_path / "out")).recipe.digest()
    (tmp_path / "out").mkdir()
    return lambda device, digest=recipe: ray_engine._Actor(
        Job(str(model_file), tmp_path / "out", device), digest
    )


def result(actor, path):
    return json.loads(actor({"item": json.dumps([str(path), path.name, path.stem])})["result"])


def test_an_actor_works_like_any_worker(actor, image_folder, tmp_path):
    folder, outcome, fatal = result(actor("cpu"), image_folder / "a1.png")
    assert (folder, fatal) == ("a1", None)
    assert outcome["segments"] == len(Segmentation.load(tmp_path / "out" / "a1"))
    _, outcome, fatal = result(actor("cpu"), image_folder / "a2.png")
    assert str(image_folder / "a2.png") in outcome["error"]
    assert fatal is None


def test_what_no_actor_can_do_is_a_result(actor, image_folder, tmp_path):
    image = image_folder / "a1.png"
    assert result(actor("abacus"), image)[2].startswith("device: ")
    assert "the package's version is another" in result(actor("cpu", "other"), image)[2]
    (tmp_path / "out" / "a1").write_text("a file")
    assert "Not a directory" in result(actor("cpu"), image)[2]
