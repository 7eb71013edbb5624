from __future__ import annotations

import numpy as np
import pytest

from bottomup_fast.data.copy_paste import paste_objects
from bottomup_fast.data.transforms import AugmentationSettings, FloatImage, Labels, augment

SEEDS = range(12)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def scene(brightness: float, squares: int, size: int = 64) -> tuple[FloatImage, Labels]:
    """Squares of 12 x 12 in a row, labels 1 and up, each a little brighter than the last."""
    image = np.full((size, size, 3), brightness, np.float32)
    labels = np.zeros((size, size), np.int32)
    for number in range(1, squares + 1):
        place = np.s_[20:32, 14 * number - 10 : 14 * number + 2]
        image[place] += 0.05 * number
        labels[place] = number
    return image, labels


@pytest.mark.parametrize("seed", SEEDS)
def test_pasted_pixels_are_the_donors_and_all_others_stay(seed: int) -> None:
    image, labels = scene(0.2, 0)
    labels[40:50, 5:50] = 7
    donor, donor_labels = scene(0.7, 4)
    result, result_labels = paste_objects(image, labels, donor, donor_labels, rng(seed))
    new = result_labels > 7
    assert new.any()
    assert (donor_labels[new] > 0).all()
    assert np.array_equal(result_labels[~new], labels[~new])
    far_in = np.zeros_like(new)
    far_in[24:28] = new[24:28] & np.roll(new[24:28], 4, 1) & np.roll(new[24:28], -4, 1)
    assert np.allclose(result[far_in], donor[far_in], atol=0.02)
    assert np.array_equal(result[40:], image[40:])


@pytest.mark.parametrize("seed", SEEDS)
def test_each_object_is_taken_whole_or_not_at_all(seed: int) -> None:
    image, labels = scene(0.2, 0)
    donor, donor_labels = scene(0.7, 4)
    labels = paste_objects(image, labels, donor, donor_labels, rng(seed))[1]
    found = [set(np.unique(labels[donor_labels == number])) - {0} for number in range(1, 5)]
    assert all(len(kind) <= 1 for kind in found)
    kinds = [kind.pop() for kind in found if kind]
    assert kinds == list(range(1, len(kinds) + 1))
    # All but the outline, one pixel on each side.
    assert all((labels == kind).sum() == 100 for kind in kinds)


def test_every_number_of_objects_is_pasted_now_and_then() -> None:
    image, labels = scene(0.2, 0)
    counts = {
        int(paste_objects(image, labels, *scene(0.7, 3), rng(seed))[1].max()) for seed in range(40)
    }
    assert counts == {1, 2, 3}


def test_a_donor_without_objects_changes_nothing() -> None:
    image, labels = scene(0.2, 3)
    donor, donor_labels = scene(0.7, 0)
    donor_labels[:] = -1
    result, result_labels = paste_objects(image, labels, donor, donor_labels, rng(0))
    assert np.array_equal(result, image)
    assert np.array_equal(result_labels, labels)


def test_inputs_are_left_as_they_are() -> None:
    arguments = (*scene(0.2, 2), *scene(0.7, 3))
    before = [argument.copy() for argument in arguments]
    paste_objects(*arguments, rng(0))
    for argument, old in zip(arguments, before, strict=True):
        assert np.array_equal(argument, old)


def test_augment_pastes_what_the_donors_own_crop_shows() -> None:
    plain = AugmentationSettings(grey=0, colour=0, gamma=0, blur=0, noise=0, scale=(1, 1))
    for seed in SEEDS:
        image, labels = augment(*scene(0.2, 0), 64, plain, rng(seed), donor=scene(0.7, 3))
        assert labels.max() >= 1
        assert image[labels > 0].mean() > 0.6
        assert image[labels == 0].mean() < 0.35
