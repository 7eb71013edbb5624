from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from skimage.color import rgb2lab

from bottomup_fast.components import relabel_by_appearance, shared_borders
from bottomup_fast.errors import InputError
from bottomup_fast.overlay import colour_labels, draw_overlay, picture_grid

LABELS = np.zeros((20, 30), np.int32)
LABELS[2:10, 2:12] = 1
LABELS[2:10, 12:25] = 2
LABELS[14:, :] = -1
GREY = np.full((20, 30, 3), 100, np.uint8)


def mosaic(segments: int, side: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """Voronoi cells of random points."""
    points = np.random.default_rng(seed).random((segments, 2)) * side
    pixels = np.indices((side, side)).reshape(2, -1).T
    nearest = cKDTree(points).query(pixels)[1]
    return relabel_by_appearance(nearest.reshape(side, side) + 1)


def test_background_and_ignored_pixels_keep_the_image() -> None:
    overlay = draw_overlay(GREY, LABELS)
    assert overlay.shape == GREY.shape
    assert overlay.dtype == np.uint8
    np.testing.assert_array_equal(overlay[LABELS <= 0], GREY[LABELS <= 0])
    assert (overlay[LABELS > 0] != 100).any(axis=-1).all()


def test_tint_and_rim() -> None:
    colours = colour_labels(LABELS)
    overlay = draw_overlay(GREY, LABELS, alpha=0.25)
    np.testing.assert_array_equal(overlay[2, 2:12], colours[2, 2:12])
    np.testing.assert_array_equal(overlay[5, 11:13], colours[5, 11:13])
    np.testing.assert_allclose(overlay[5, 5], 75 + 0.25 * colours[5, 5], atol=0.5)
    plain = draw_overlay(GREY, LABELS, alpha=0.25, boundary=False)
    assert len(np.unique(plain[LABELS == 1], axis=0)) == 1


def test_alpha_of_zero_and_one() -> None:
    np.testing.assert_array_equal(draw_overlay(GREY, LABELS, 0.0, boundary=False), GREY)
    full = draw_overlay(GREY, LABELS, 1.0)
    np.testing.assert_array_equal(full[LABELS > 0], colour_labels(LABELS)[LABELS > 0])


def test_rims_are_wider_on_large_images() -> None:
    labels = np.zeros((1300, 1300), np.int32)
    labels[100:1200, 100:1200] = 1
    overlay = draw_overlay(np.zeros((1300, 1300), np.uint8), labels, alpha=0.0)
    assert overlay[600].any(axis=-1).sum() == 4


def test_images_of_sixteen_bits_are_stretched() -> None:
    dim = np.linspace(0, 900, 600, dtype=np.uint16).reshape(20, 30)
    overlay = draw_overlay(dim, LABELS)
    assert overlay[0, 0, 0] == 0
    assert overlay[-1, -1, 0] == 255


def test_touching_segments_differ_clearly() -> None:
    for segments, seed in ((5, 0), (60, 1), (250, 2)):
        labels = mosaic(segments, 200, seed)
        lab = rgb2lab(colour_labels(labels))
        for segment, others in shared_borders(labels).items():
            own = lab[labels == segment][0]
            for other in others:
                assert np.linalg.norm(own - lab[labels == other][0]) > 38


def test_colours_are_flat_black_outside_and_do_not_depend_on_the_numbers() -> None:
    colours = colour_labels(LABELS)
    assert not colours[LABELS <= 0].any()
    for segment in (1, 2):
        assert len(np.unique(colours[segment == LABELS], axis=0)) == 1
    renamed = np.where(LABELS == 1, 2_000_000_000, LABELS)
    np.testing.assert_array_equal(colour_labels(renamed), colours)
    assert not colour_labels(np.zeros((2, 3), int)).any()


def test_all_of_the_palette_is_used() -> None:
    colours = colour_labels(mosaic(250, 200, 3))
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) > 15


def test_overlay_errors() -> None:
    with pytest.raises(InputError, match=r"^image: size \(20, 29\) differs from labels"):
        draw_overlay(GREY[:, 1:], LABELS)
    for alpha in (-0.1, 1.1, np.nan):
        with pytest.raises(InputError, match=r"^alpha: expected 0 to 1"):
            draw_overlay(GREY, LABELS, alpha)
    with pytest.raises(InputError, match=r"^labels: expected integers"):
        colour_labels(LABELS.astype(float))


def test_picture_grid_places_every_picture_in_its_cell() -> None:
    red, blue = np.zeros((10, 20, 3), np.uint8), np.zeros((40, 80, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    grey = np.full((40, 40), 90, np.uint8)
    grid = picture_grid([[red, blue], [grey]])
    assert grid.shape == (86, 166, 3)
    assert grid[20, 40].tolist() == [255, 0, 0]
    assert grid[20, 126].tolist() == [0, 0, 255]
    assert grid[66, 40].tolist() == [90, 90, 90]
    for y, x in ((43, 40), (20, 83), (66, 5), (66, 126)):
        assert grid[y, x].tolist() == [255, 255, 255]


def test_picture_grid_titles_stand_above() -> None:
    grid = picture_grid([[GREY, GREY]], ["one", "two"])
    header = grid[:-20]
    assert 0 < len(header) < 40
    for half in (header[:, :30], header[:, 36:]):
        assert half.min() < 100


def test_picture_grid_cells_are_bounded() -> None:
    assert picture_grid([[np.zeros((3000, 1500), np.uint8)]]).shape == (1024, 1024, 3)


def test_picture_grid_errors() -> None:
    with pytest.raises(InputError, match=r"^rows: no picture$"):
        picture_grid([])
    with pytest.raises(InputError, match=r"^rows: no picture$"):
        picture_grid([[]])
    with pytest.raises(InputError, match=r"^titles: 1 titles for 2 columns$"):
        picture_grid([[GREY, GREY]], ["one"])
    for bad in (GREY.astype(float), GREY[..., :2], GREY[:0], GREY[0, 0]):
        with pytest.raises(InputError, match=r"^rows: expected uint8 pictures"):
            picture_grid([[bad]])
