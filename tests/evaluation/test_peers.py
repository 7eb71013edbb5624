from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.peers import METHODS, open_method


def discs(dtype=np.uint8, bright=True):
    """Two discs of radius 9 that touch, and one apart, on a plain ground."""
    rows, columns = np.indices((60, 80))
    labels = np.zeros((60, 80), np.int32)
    for label, (y, x) in enumerate(((20, 20), (20, 37), (42, 62)), 1):
        labels[np.hypot(rows - y, columns - x) <= 9] = label
    high = np.iinfo(dtype).max
    low = 10
    grey = np.where((labels > 0) == bright, high - 20, low).astype(dtype)
    return Sample("discs", np.repeat(grey[..., None], 3, axis=2), labels, {})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bright", [True, False])
def test_otsu_and_watershed_part_discs_that_touch(dtype, bright):
    sample = discs(dtype, bright)
    found = open_method("otsu-watershed")(sample)
    assert len(found) == 3
    for label in (1, 2, 3):
        true = sample.labels == label
        best = np.bincount(found.labels[true]).argmax()
        mask = found.labels == best
        assert (mask & true).sum() / (mask | true).sum() > 0.8


def test_otsu_and_watershed_find_nothing_in_a_constant_image():
    image = np.full((20, 30, 3), 70, np.uint8)
    sample = Sample("flat", image, np.zeros((20, 30), np.int32), {})
    assert len(open_method("otsu-watershed")(sample)) == 0


def test_felzenszwalb_parts_every_pixel_and_heeds_its_scale():
    rng = np.random.default_rng(0)
    sample = discs()
    noisy = np.clip(sample.image.astype(int) + rng.integers(-60, 60, (60, 80, 1)), 0, 255)
    sample = Sample("noisy", noisy.astype(np.uint8), sample.labels, {})
    few, many = (open_method(f"felzenszwalb:{scale}")(sample) for scale in ("5000", "1"))
    assert few.labels.min() == many.labels.min() == 1
    assert len(few) < len(many)
    assert np.bincount(many.labels.ravel())[1:].min() >= 50
    default, same = (
        open_method(text)(sample).labels for text in ("felzenszwalb", "felzenszwalb:300")
    )
    np.testing.assert_array_equal(default, same)


def test_a_model_of_this_package():
    from bottomup_fast import Segmenter

    sample = discs()
    found = open_method("bottomup:cells", "cpu")(sample)
    np.testing.assert_array_equal(
        found.labels, Segmenter("cells", "cpu").segment(sample.image).labels
    )


@pytest.fixture
def cellpose(monkeypatch):
    """A stand-in of Cellpose's interface that returns the labels 2 and 5."""

    class CellposeModel:
        def __init__(self, **arguments):
            self.arguments = arguments

        def eval(self, image):
            masks = np.zeros(image.shape[:2], np.uint16)
            masks[:5], masks[10:12] = 5, 2
            return masks, None, None

    models = ModuleType("cellpose.models")
    models.CellposeModel = CellposeModel
    monkeypatch.setitem(sys.modules, "cellpose", ModuleType("cellpose"))
    monkeypatch.setitem(sys.modules, "cellpose.models", models)


def test_cellpose(cellpose):
    method = open_method("cellpose:cyto3", "cpu")
    found = method(discs())
    assert method.model.arguments["pretrained_model"] == "cyto3"
    assert method.model.arguments["gpu"] is False
    assert np.unique(found.labels).tolist() == [0, 1, 2]
    assert (found.labels[:5] == 1).all()
    assert "pretrained_model" not in open_method("cellpose", "cpu").model.arguments


def test_stardist(monkeypatch):
    seen = []

    class StarDist2D:
        @classmethod
        def from_pretrained(cls, name):
            seen.append(name)
            return cls()

        def predict_instances(self, image):
            seen.append(image)
            labels = np.zeros(image.shape, np.int32)
            labels[:5], labels[10:12] = 3, 1  # object 2 lies under the others
            return labels, {"prob": np.array([0.5, 0.6, 0.75])}

    models = ModuleType("stardist.models")
    models.StarDist2D = StarDist2D
    monkeypatch.setitem(sys.modules, "stardist", ModuleType("stardist"))
    monkeypatch.setitem(sys.modules, "stardist.models", models)
    found = open_method("stardist")(discs())
    assert seen[0] == "2D_versatile_fluo"
    assert seen[1].shape == (60, 80)
    assert (found.labels[:5] == 2).all()
    assert found.scores.tolist() == [0.5, 0.75]


@pytest.mark.parametrize("name", ["cellpose", "stardist"])
def test_a_package_that_is_missing_is_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, f"{name}.models", None)
    with pytest.raises(InputError, match=rf"^--method: {name} needs a package; pip install {name}"):
        open_method(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("yolo", "--method: unknown 'yolo'; expected bottomup, predictions, "),
        ("", "--method: unknown ''"),
        ("predictions", "--method: predictions needs an argument, predictions:DIR|FILE.json"),
        ("sam:", "--method: sam needs an argument, sam:NAME|DIR"),
        ("otsu-watershed:3", "--method: otsu-watershed takes no argument, got '3'"),
        ("felzenszwalb:low", "--method: felzenszwalb takes a scale above 0, got 'low'"),
        ("felzenszwalb:nan", "--method: felzenszwalb takes a scale above 0, got 'nan'"),
        ("bottomup:gone.safetensors", "gone.safetensors: no such model file"),
    ],
)
def test_a_bad_method_is_named(text, reason):
    with pytest.raises(InputError) as raised:
        open_method(text)
    assert str(raised.value).startswith(reason)
    assert "\n" not in str(raised.value)


def test_every_kind_has_its_function():
    from importlib import import_module

    for kind in METHODS.values():
        module = import_module(f"bottomup_fast.evaluation.peers.{kind.module}")
        assert callable(getattr(module, kind.function))


def test_sam_s_empty_masks_are_left_out():
    from bottomup_fast.evaluation.peers.sam import AutomaticMasks

    masks = [np.zeros((60, 80), bool), np.ones((60, 80), bool), np.eye(60, 80, dtype=bool)]
    calls = SimpleNamespace(settings=None)

    def pipeline(image, **settings):
        calls.settings = settings
        return {"masks": masks, "scores": np.array([0.9, 0.8, 0.7])}

    found = AutomaticMasks(pipeline, points_per_batch=4)(discs(np.uint16))
    assert (len(found), found.scores.tolist()) == (2, [0.8, 0.7])
    assert calls.settings == {"points_per_batch": 4}
