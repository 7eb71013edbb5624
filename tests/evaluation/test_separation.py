from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup_fast.errors import InputError
from bottomup_fast.evaluation import Separation, separation


def along(degrees):
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), 0.0]


def image(columns, labels):
    """Features (3, 1, W) and labels (1, W) from one feature a pixel."""
    return torch.tensor(columns).T.unsqueeze(1), torch.tensor([labels])


def test_angle_between_two_entities():
    features, labels = image([along(0), along(0), along(60), along(60)], [1, 1, 2, 2])
    result = separation(features, labels)
    assert result.inter_mean == pytest.approx(0.5, abs=1e-6)
    assert result.inter_degrees == pytest.approx(60, abs=1e-4)
    assert result.intra_entity == pytest.approx(1, abs=1e-6)
    assert result.intra_degrees == pytest.approx(0, abs=0.1)
    assert (result.pairs, result.entities) == (1, 2)


def test_spread_within_entities_counts_each_entity_alike():
    # Pixels 10 degrees to either side of the line at 30, and one entity of a single pixel.
    features, labels = image([along(20), along(40), [0.0, 0.0, 2.0]], [1, 1, 2])
    result = separation(features, labels)
    assert result.intra_entity == pytest.approx((math.cos(math.radians(10)) + 1) / 2, abs=1e-6)
    assert result.inter_mean == pytest.approx(0, abs=1e-6)


def test_mean_over_pairs():
    features, labels = image([along(0), along(45), along(90)], [1, 2, 3])
    result = separation(features, labels)
    assert result.pairs == 3
    assert result.inter_mean == pytest.approx(2 * math.sqrt(0.5) / 3, abs=1e-6)


def test_background_and_ignored_pixels_take_no_part():
    features, labels = image([along(0), along(80), along(60), along(17)], [1, -1, 2, 0])
    alone = separation(*image([along(0), along(60)], [1, 2]))
    assert separation(features, labels) == alone


def test_gaps_in_the_labels_do_not_matter():
    features, labels = image([along(0), along(50), along(60)], [1, 2, 2])
    assert separation(features, labels) == separation(features, labels * 30000)


@pytest.mark.parametrize("labels", [[0, -1, 0], [3, 3, 0]])
def test_fewer_than_two_entities_have_no_pair(labels):
    features, label_map = image([along(0), along(0), along(60)], labels)
    result = separation(features, label_map)
    assert result.inter_mean is None
    assert result.inter_degrees is None
    if max(labels) == 0:
        assert result == Separation(None, None, 0, 0)
        assert result.intra_degrees is None
    else:
        assert result.intra_entity == pytest.approx(1, abs=1e-6)


def test_a_batch_pools_pairs_and_entities_but_compares_no_two_images():
    first, first_labels = image([along(0), along(45), along(90)], [1, 2, 3])
    second, second_labels = image([along(0), along(0), along(60)], [1, 1, 2])
    a, b = separation(first, first_labels), separation(second, second_labels)
    both = separation(torch.stack([first, second]), torch.stack([first_labels, second_labels]))
    assert (both.pairs, both.entities) == (4, 5)
    assert both.inter_mean == pytest.approx((3 * a.inter_mean + b.inter_mean) / 4, abs=1e-12)
    assert both.intra_entity == pytest.approx(
        (3 * a.intra_entity + 2 * b.intra_entity) / 5, abs=1e-12
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_signs_and_lengths_change_nothing(seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 6, 5, 7, generator=generator)
    labels = torch.randint(-1, 4, (2, 5, 7), generator=generator)
    signs = torch.randint(0, 2, (2, 1, 5, 7), generator=generator) * 2.0 - 1
    lengths = torch.rand(2, 1, 5, 7, generator=generator) * 5 + 0.1
    plain, changed = separation(features, labels), separation(features * signs * lengths, labels)
    assert changed.inter_mean == pytest.approx(plain.inter_mean, abs=1e-6)
    assert changed.intra_entity == pytest.approx(plain.intra_entity, abs=1e-6)
    assert 0 <= plain.inter_mean <= 1
    assert 0 < plain.intra_entity <= 1


def test_antipodal_features_do_not_cancel():
    features, labels = image([along(30), along(210), along(30), along(210)], [1, 1, 1, 1])
    assert separation(features, labels).intra_entity == pytest.approx(1, abs=1e-6)


def test_as_dict_is_plain():
    features, labels = image([along(0), along(60)], [1, 2])
    result = separation(features.requires_grad_(), labels).as_dict()
    assert {type(value) for value in result.values()} == {float, int}
    assert result["inter_degrees"] == pytest.approx(60, abs=1e-4)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.ones(2, 3), torch.ones(2, 3).long(), "features: expected"),
        (torch.ones(3, 4, 5), torch.ones(5, 4).long(), "labels: expected shape"),
        (torch.ones(2, 3, 4, 5), torch.ones(4, 5).long(), "labels: expected shape"),
        (torch.ones(3, 4, 5).long(), torch.ones(4, 5).long(), "features: expected a float"),
        (torch.ones(3, 4, 5), torch.ones(4, 5), "labels: expected an integer"),
        (torch.ones(3, 4, 5), torch.ones(4, 5) > 0, "labels: expected an integer"),
        (torch.full((3, 4, 5), torch.nan), torch.ones(4, 5).long(), "features: a value"),
    ],
)
def test_bad_input(features, labels, message):
    with pytest.raises(InputError, match=f"^{message}"):
        separation(features, labels)
