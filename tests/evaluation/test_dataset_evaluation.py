from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from skimage.measure import label

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation import DatasetReport, f1_score, separation
from bottomup_fast.evaluation.dataset import (
    ConstantFeatures,
    entity_separation,
    evaluate_dataset,
)
from bottomup_fast.evaluation.results import DatasetEvaluation, objects_touch
from bottomup_fast.models.weights import build_network
from bottomup_fast.preprocessing import to_unit_range
from bottomup_fast.segmentation import Segmentation
from bottomup_fast.segmenter import Segmenter
from bottomup_fast.settings import ModelSettings


def make_network(foreground=True, **clustering):
    settings = ModelSettings.model_validate(
        {
            "name": "tiny",
            "architecture": {
                "name": "bottomup_efficientnet_lite0",
                "feature_dim": 8,
                "foreground": foreground,
            },
            "preprocessing": {"scale": 1.0},
            "clustering": clustering,
        }
    )
    torch.manual_seed(0)
    network = build_network(settings)
    network.settings = settings
    with torch.no_grad():  # freshly made, it gives all pixels nearly the same feature
        for layer in network.decoder.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.bias.zero_()
                layer.weight.mul_(2)
    return network


def make_sample(number, labels=None, height=40, width=56):
    rng = np.random.default_rng(number)
    if labels is None:
        labels = np.zeros((height, width), np.int32)
        labels[5:20, 5:20] = 1
        labels[5:20, 20 + number % 2 : 40] = 2
        labels[30:, 30:] = 3
        labels[:3] = -1
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Sample(f"image{number}", image, labels, {"kind": "odd" if number % 2 else "even"})


@torch.inference_mode()
def outputs(network, sample):
    """Features and foreground probability of an image at its own size."""
    unit = torch.from_numpy(to_unit_range(sample.image, network.settings.preprocessing))
    view = ((unit - 0.5) / 0.5).permute(2, 0, 1).unsqueeze(0)
    features, logits = network.eval().forward_with_foreground(view, torch.zeros(1, 2))
    return features[0], None if logits is None else torch.sigmoid(logits[0])


@pytest.mark.parametrize(
    ("rows", "touch"),
    [
        ([[1, 1, 2]], True),
        ([[1], [2]], True),
        ([[1, 0, 2]], False),
        ([[1, -1, 2]], False),
        ([[1, 0], [0, 2]], False),
        ([[1, 1], [-1, 0]], False),
        ([[3]], False),
    ],
)
def test_objects_touch_by_four_neighbours(rows, touch):
    assert objects_touch(np.array(rows, np.int32)) is touch


def test_constant_features_segment_the_connected_pieces_of_the_foreground():
    sample = make_sample(0)
    _, probability = outputs(make_network(), sample)
    middle = probability.flatten().sort().values[1000:1200]
    gap = int(middle.diff().argmax())  # no pixel is so close to the threshold that rounding tells
    threshold = middle[gap : gap + 2].mean().item()
    network = make_network(foreground_threshold=threshold, min_area=30)
    mask = (probability > threshold).numpy()
    pieces = label(mask, connectivity=1)
    areas = np.bincount(pieces.ravel())
    assert (areas < 30).any()
    # Specks go to their only neighbour, the background.
    expected = label(mask & (areas >= 30)[pieces], connectivity=1)
    assert expected.max() > 1
    found = Segmenter(ConstantFeatures(network), "cpu").segment(sample.image)
    np.testing.assert_array_equal(found.labels, expected)
    scores = [probability.numpy()[expected == n].mean() for n in range(1, expected.max() + 1)]
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4)


def test_constant_features_need_a_foreground():
    with pytest.raises(InputError, match=r"^constant features: the model has no foreground"):
        ConstantFeatures(make_network(foreground=False))


def test_the_measures_are_those_of_the_report():
    segmenter = Segmenter(make_network(split_components=True), "cpu")
    samples = [make_sample(number) for number in range(4)]
    result = evaluate_dataset(segmenter, iter(samples), "kind")
    report, touching = DatasetReport(), DatasetReport()
    for number, sample in enumerate(samples):
        found = segmenter.segment(sample.image)
        report.add(sample.name, sample.metadata["kind"], found.labels, sample.labels, found.scores)
        if number % 2 == 0:
            touching.add(sample.name, None, found.labels, sample.labels, found.scores)
        assert result.images[number].f1 == f1_score(found.labels, sample.labels)
        assert result.images[number].touching == (number % 2 == 0)
        assert result.images[number].seconds > 0
    measures = result.measures()
    assert list(measures) == ["even", "odd", "touching", "all"]
    expected = report.by_group() | {"touching": touching.overall(), "all": report.overall()}
    assert {group: found.metrics for group, found in measures.items()} == expected
    plain = result.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain["groups"]) == ["even", "odd", "touching"]
    assert plain["overall"].items() >= report.overall().items()


def test_without_touching_objects_there_is_no_such_group():
    segmenter = Segmenter(make_network(), "cpu")
    result = evaluate_dataset(segmenter, [make_sample(1)], separation=False)
    assert list(result.measures()) == ["all"]
    assert result.measures()["all"].separation is None
    with pytest.raises(InputError, match="no image"):
        DatasetEvaluation().measures()


def test_the_best_and_the_worst_are_kept():
    evaluation = DatasetEvaluation()
    for number in range(8):
        truth = np.zeros((8, 16), np.int32)
        truth[0] = np.arange(16) // 2 + 1
        found = Segmentation(np.where(truth <= number, truth, 0))
        evaluation.add(make_sample(number, truth, 8, 16), found)
    assert [one.sample.name for one in evaluation.worst] == [f"image{n}" for n in range(6)]
    assert [one.sample.name for one in evaluation.best] == [f"image{n}" for n in range(7, 1, -1)]


@pytest.mark.parametrize("foreground", [True, False])
def test_separation_is_that_of_the_features_at_work(foreground):
    network, sample = make_network(foreground), make_sample(0)
    found = entity_separation(Segmenter(network, "cpu", precision="highest"), sample)
    features, _ = outputs(network, sample)
    expected = separation(features, torch.from_numpy(sample.labels))
    assert (found.pairs, found.entities) == (expected.pairs, expected.entities) == (3, 3)
    assert found.inter_mean == pytest.approx(expected.inter_mean, rel=1e-5)
    assert found.intra_entity == pytest.approx(expected.intra_entity, rel=1e-5)


def test_separation_of_a_tiled_image_is_that_of_the_whole():
    network, sample = make_network(), make_sample(0, height=300, width=40)
    whole = entity_separation(Segmenter(network, "cpu"), sample)
    tiled = entity_separation(Segmenter(network, "cpu", tile_size=32), sample)
    assert tiled.entities == whole.entities == 3
    assert tiled.intra_entity == pytest.approx(whole.intra_entity, abs=0.02)


@pytest.mark.parametrize("size", [{"scale": 0.5}, {"resolutions": (32, 64)}])
def test_separation_at_another_size(size):
    found = entity_separation(Segmenter(make_network(), "cpu", **size), make_sample(0))
    assert found.entities == 3


def test_separation_is_the_mean_over_images_with_two_entities():
    segmenter = Segmenter(make_network(), "cpu")
    lonely = make_sample(3, np.pad(np.ones((20, 20), np.int32), ((20, 0), (36, 0))))
    empty = make_sample(5, np.zeros((40, 56), np.int32))
    two = make_sample(4)
    two.labels[two.labels == 3] = 0
    result = evaluate_dataset(segmenter, [make_sample(0), two, lonely, empty])
    parts = [entity_separation(segmenter, sample) for sample in (make_sample(0), two)]
    mean = result.measures()["all"].separation
    assert (mean["images"], mean["pairs"], mean["entities"]) == (2, 4, 5)
    assert mean["inter_mean"] == pytest.approx(np.mean([part.inter_mean for part in parts]))
    assert mean["intra_entity"] == pytest.approx(np.mean([part.intra_entity for part in parts]))
    assert np.cos(np.radians(mean["inter_degrees"])) == pytest.approx(mean["inter_mean"])
