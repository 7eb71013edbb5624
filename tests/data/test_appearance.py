from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bottomup_fast.data.transforms import (
    AugmentationSettings,
    FloatImage,
    Labels,
    augment,
    ignore_beyond,
    tidy_labels,
    vary_appearance,
)

NOTHING = {"grey": 0.0, "colour": 0.0, "gamma": 0.0, "blur": 0.0, "noise": 0.0}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture() -> FloatImage:
    return rng(9).uniform(0.1, 0.9, (30, 40, 3)).astype(np.float32)


def vary(seed: int = 0, **settings: float) -> FloatImage:
    return vary_appearance(
        picture(), AugmentationSettings.model_validate(NOTHING | settings), rng(seed)
    )


# Appearance


def test_without_strength_nothing_changes() -> None:
    np.testing.assert_allclose(vary(), picture(), atol=1e-6)


def test_inversion_shuffling_and_grey() -> None:
    np.testing.assert_allclose(vary(invert=1), 1 - picture(), atol=1e-6)
    grey = picture().mean(-1, keepdims=True)
    np.testing.assert_allclose(vary(grey=1), np.broadcast_to(grey, picture().shape), atol=1e-6)
    orders = {
        tuple(
            int(
                np.abs(picture() - vary(seed, channel_shuffle=1)[..., c, None])
                .mean((0, 1))
                .argmin()
            )
            for c in range(3)
        )
        for seed in range(20)
    }
    assert len(orders) > 3
    assert all(sorted(order) == [0, 1, 2] for order in orders)


@pytest.mark.parametrize("change", [{"gamma": 0.3}, {"colour": 0.2}, {"blur": 3}, {"noise": 0.2}])
def test_each_strength_changes_the_image_by_its_seed(change: Mapping[str, float]) -> None:
    views = [vary(seed, **change) for seed in range(6)]
    assert max(np.abs(view - picture()).mean() for view in views) > 0.02
    assert any((view != views[0]).any() for view in views[1:])
    np.testing.assert_array_equal(views[3], vary(3, **change))


def test_gamma_and_colour_keep_the_order_of_intensities() -> None:
    for seed in range(6):
        view = vary(seed, gamma=0.3, colour=0.2)
        for c in range(3):
            order = picture()[..., c].argsort(axis=None)
            assert (np.diff(view[..., c].ravel()[order]) >= 0).all()


def test_noise_is_no_stronger_than_asked() -> None:
    for seed in range(6):
        assert (vary(seed, noise=0.1) - picture()).std() < 0.1


# Both together


def test_augmented_views_are_finite_tidy_and_repeatable() -> None:
    labels = rng(1).integers(-1, 30, (10, 10)).repeat(8, 0).repeat(8, 1).astype(np.int32)
    image = rng(2).random((80, 80, 3), np.float32)
    settings = AugmentationSettings(
        rotate=True, invert=0.5, channel_shuffle=0.5, min_entity_pixels=20
    )
    for seed in range(6):
        view, view_labels = augment(image, labels, 48, settings, rng(seed))
        assert view.dtype == np.float32
        assert np.isfinite(view).all()
        counts = np.bincount(view_labels[view_labels > 0])
        assert (counts[1:] >= 20).all()
        again, labels_again = augment(image, labels, 48, settings, rng(seed))
        np.testing.assert_array_equal(view, again)
        np.testing.assert_array_equal(view_labels, labels_again)


# Labels

label_maps = arrays(
    np.int32, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(-1, 6)
)


@given(labels=label_maps, min_pixels=st.integers(0, 6))
def test_tidy_labels_are_consecutive_and_small_remains_ignored(
    labels: Labels, min_pixels: int
) -> None:
    tidy = tidy_labels(labels, min_pixels)
    assert tidy.dtype == np.int32
    np.testing.assert_array_equal(np.unique(tidy[tidy > 0]), np.arange(1, tidy.max(initial=0) + 1))
    np.testing.assert_array_equal(tidy[labels <= 0], labels[labels <= 0])
    last = 0
    for label in range(1, 7):
        values = np.unique(tidy[labels == label])
        if (labels == label).sum() >= max(1, min_pixels):
            last += 1
            assert values.tolist() == [last]
        else:
            assert values.tolist() in ([], [-1])


@given(labels=label_maps, max_entities=st.integers(1, 6))
def test_at_most_the_largest_entities_are_kept(labels: Labels, max_entities: int) -> None:
    tidy = tidy_labels(labels, max_entities=max_entities)
    areas = np.bincount(labels[labels > 0], minlength=7)[1:]
    kept = np.bincount(tidy[tidy > 0], minlength=1)[1:]
    assert sorted(kept, reverse=True) == sorted(areas[areas > 0], reverse=True)[:max_entities]


def test_crops_keep_at_most_the_largest_entities() -> None:
    labels = np.kron(np.arange(1, 17, dtype=np.int32).reshape(4, 4), np.ones((16, 16), np.int32))
    image = np.zeros((64, 64, 3), np.float32)
    settings = AugmentationSettings(min_entity_pixels=20)
    for seed in range(10):
        every = augment(image, labels, 48, settings, rng(seed))[1]
        largest = augment(image, labels, 48, settings, rng(seed), max_entities=3)[1]
        np.testing.assert_array_equal(largest, tidy_labels(every, max_entities=3))


def test_of_equally_large_entities_the_first_are_kept() -> None:
    labels = np.array([[3, 3, 5, 5, 9, 9, 9]], np.int32)
    assert tidy_labels(labels, max_entities=2).tolist() == [[1, 1, -1, -1, 2, 2, 2]]


@given(labels=label_maps, distance=st.floats(0.5, 9))
def test_only_unlabelled_pixels_far_from_every_entity_are_ignored(
    labels: Labels, distance: float
) -> None:
    ignoring = ignore_beyond(labels, distance)
    np.testing.assert_array_equal(ignoring[labels != 0], labels[labels != 0])
    entities = np.argwhere(labels > 0)
    for place in np.argwhere(labels == 0):
        gaps = np.linalg.norm(entities - place, axis=1)
        near = len(gaps) > 0 and gaps.min() <= distance
        assert ignoring[tuple(place)] == (0 if near else -1)
