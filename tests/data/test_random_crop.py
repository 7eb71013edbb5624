from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bottomup_fast.data.transforms import AugmentationSettings, FloatImage, Labels, random_crop

SEEDS = range(8)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def mosaic(height: int, width: int, cells: int = 12) -> tuple[FloatImage, Labels]:
    """Voronoi cells; the colour of a pixel tells its label, 0 among them."""
    rows, columns = np.indices((height, width))
    seeds = rng(0).uniform(0, 1, (cells, 2)) * (height, width)
    to_seed = np.hypot(rows[..., None] - seeds[:, 0], columns[..., None] - seeds[:, 1])
    labels = to_seed.argmin(-1).astype(np.int32)
    return palette(cells)[labels], labels


def palette(cells: int) -> NDArray[np.float32]:
    return rng(1).permutation(np.linspace(0, 1, 3 * cells)).reshape(cells, 3).astype(np.float32)


def label_by_colour(image: FloatImage, cells: int = 12) -> Labels:
    distance = np.abs(image[:, :, None] - palette(cells)).sum(-1)
    return np.asarray(distance.argmin(-1), np.int32)


def interior(labels: Labels) -> NDArray[np.bool_]:
    """Known pixels whose neighbours all have the same label."""
    same = ndimage.maximum_filter(labels, 5) == ndimage.minimum_filter(labels, 5)
    return np.asarray(same & (labels >= 0))


@pytest.mark.parametrize(
    "settings",
    [
        AugmentationSettings(scale=(1, 1), flip=False),
        AugmentationSettings(scale=(1, 1), flip=True),
        AugmentationSettings(scale=(1, 1), flip=False, rotate=True),
        AugmentationSettings(scale=(0.5, 0.5), flip=False),
        AugmentationSettings(scale=(2.5, 2.5), flip=False),
        AugmentationSettings(scale=(1, 1), flip=False, stretch=2.0),
        AugmentationSettings(scale=(0.5, 2), flip=True, rotate=True, stretch=1.5, focus=0.5),
    ],
    ids=["plain", "flip", "rotate", "shrink", "enlarge", "stretch", "all"],
)
def test_image_and_labels_stay_aligned(settings: AugmentationSettings) -> None:
    image, labels = mosaic(150, 190)
    for seed in SEEDS:
        view, view_labels = random_crop(image, labels, 96, settings, rng(seed))
        inner = interior(view_labels)
        assert inner.mean() > 0.3
        assert (label_by_colour(view) == view_labels)[inner].mean() > 0.995


@pytest.mark.parametrize("rotate", [False, True])
def test_the_generator_alone_decides(rotate: bool) -> None:
    image, labels = mosaic(90, 70)
    settings = AugmentationSettings(rotate=rotate, focus=0.5)
    one, same, other = (random_crop(image, labels, 40, settings, rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])
    assert (one[0] != other[0]).any()


def test_types_and_shapes() -> None:
    image, labels = mosaic(90, 70)
    view, view_labels = random_crop(image, labels, 48, AugmentationSettings(), rng(0))
    assert view.shape == (48, 48, 3)
    assert view_labels.shape == (48, 48)
    assert view.dtype == np.float32
    assert view_labels.dtype == np.int32


def test_stretched_objects_are_longer_or_wider_and_keep_their_area() -> None:
    rows, columns = np.indices((160, 160)) - 79.5
    disc = (np.hypot(rows, columns) < 30).astype(np.int32)
    settings = AugmentationSettings(scale=(1, 1), stretch=2.0)
    ratios = []
    for seed in range(40):
        _, view = random_crop(np.zeros((160, 160, 3), np.float32), disc, 150, settings, rng(seed))
        height, width = (np.ptp(np.nonzero(view == 1)[axis]) + 1 for axis in (0, 1))
        assert (view == 1).sum() == pytest.approx(disc.sum(), rel=0.03)
        ratios.append(height / width)
    assert 0.49 < min(ratios) < 0.7
    assert 1.4 < max(ratios) < 2.05


def test_half_of_the_crops_are_mirrored() -> None:
    image, labels = mosaic(64, 64)
    labels[:] = np.arange(64) // 8
    settings = AugmentationSettings(scale=(1, 1))
    steps = [
        np.sign(np.diff(random_crop(image, labels, 32, settings, rng(seed))[1][16]).sum())
        for seed in range(60)
    ]
    assert 20 < steps.count(1) < 40
    assert steps.count(1) + steps.count(-1) == 60


def test_rotations_take_every_angle() -> None:
    rows = np.repeat(np.arange(101, dtype=np.int32)[:, None], 101, axis=1)
    image = np.zeros((101, 101, 3), np.float32)
    settings = AugmentationSettings(scale=(1, 1), flip=False, rotate=True)
    angles = []
    for seed in range(60):
        view = random_crop(image, rows, 21, settings, rng(seed))[1].astype(float)
        angles.append(
            np.arctan2(view[20].mean() - view[0].mean(), view[:, 20].mean() - view[:, 0].mean())
        )
    assert (np.histogram(angles, 4, (-np.pi, np.pi))[0] > 5).all()


@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_zoom_scales_areas_by_its_square(zoom: float) -> None:
    labels = np.zeros((200, 200), np.int32)
    labels[90:110, 90:110] = 1
    image = np.zeros((200, 200, 3), np.float32)
    settings = AugmentationSettings(scale=(zoom, zoom), focus=1)
    areas = [(random_crop(image, labels, 96, settings, rng(s))[1] == 1).sum() for s in SEEDS]
    assert abs(max(areas) - 400 * zoom**2) < 45 * zoom**2


def test_beyond_the_image_labels_are_ignored_and_pixels_mirrored() -> None:
    image, labels = mosaic(40, 60)
    settings = AugmentationSettings(scale=(1, 1))
    for seed in SEEDS:
        view, view_labels = random_crop(image, labels, 128, settings, rng(seed))
        inside = view_labels >= 0
        assert 39 * 59 <= inside.sum() <= 40 * 60
        assert inside.any(1).sum() * inside.any(0).sum() == inside.sum()
        assert view.min() >= 0
        assert view.max() <= 1
        assert view[~inside].std() > 0.1


def test_crops_of_a_large_image_stay_inside() -> None:
    image, labels = mosaic(200, 150)
    for seed in SEEDS:
        view_labels = random_crop(
            image, labels, 64, AugmentationSettings(scale=(0.8, 1.5), rotate=True), rng(seed)
        )[1]
        assert (view_labels >= 0).mean() > 0.98


def test_a_crop_that_just_fits_is_put_where_it_fits() -> None:
    image, labels = mosaic(66, 67)
    for seed in SEEDS:
        view_labels = random_crop(image, labels, 64, AugmentationSettings(scale=(1, 1)), rng(seed))[
            1
        ]
        # Half a pixel at the border may lie beyond the outermost pixel centres.
        assert (view_labels[1:-1, 1:-1] >= 0).all()


@pytest.mark.parametrize("rotate", [False, True])
def test_focus_puts_an_entity_into_the_crop(rotate: bool) -> None:
    labels = np.zeros((400, 400), np.int32)
    labels[300:306, 60:66] = 1
    image = np.zeros((400, 400, 3), np.float32)

    def share(focus: float) -> float:
        settings = AugmentationSettings(focus=focus, rotate=rotate)
        found = [
            (random_crop(image, labels, 64, settings, rng(s))[1] == 1).any() for s in range(30)
        ]
        return float(np.mean(found))

    assert share(1.0) == 1
    assert 0.2 < share(0.5) < 0.8
    assert share(0.0) < 0.2


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (300, 2), (20, 20)])
@pytest.mark.parametrize("label", [-1, 0, 1])
def test_no_image_is_too_small_or_too_empty(shape: tuple[int, int], label: int) -> None:
    settings = AugmentationSettings(scale=(0.3, 3), rotate=True, focus=1)
    for seed in SEEDS:
        view, view_labels = random_crop(
            np.full((*shape, 3), 0.5, np.float32),
            np.full(shape, label, np.int32),
            32,
            settings,
            rng(seed),
        )
        np.testing.assert_allclose(view, 0.5, atol=1e-6)
        assert set(np.unique(view_labels)) <= {-1, label}
