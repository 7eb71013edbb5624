from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import euler_number
from skimage.measure import label as connected

from bottomup_fast.data.shape_drawing import (
    COMPACT,
    DETAILED,
    LETTERS,
    Points,
    _letter_outline,
    circle,
    cover,
    letter,
    line,
    random_outline,
    ring,
)
from bottomup_fast.data.shape_textures import LEAST_CONTRAST, PATTERNS, Appearance, Pattern, paint
from bottomup_fast.data.shapes import ShapesDataset, render_scene
from bottomup_fast.errors import InputError

SIZES = [(1, 1), (1, 50), (50, 1), (2, 3), (37, 53), (513, 300)]
SQUARE: Points = np.array([-1 - 1j, 1 - 1j, 1 + 1j, -1 + 1j])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def flat_appearance(*colour: float) -> Appearance:
    return Appearance(colours=np.array([colour, colour], np.float32))


def blank(size: int, grey: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    return np.full((size, size, 3), grey, np.float32), np.zeros((size, size), np.int32)


def assert_valid_scene(image: np.ndarray, labels: np.ndarray, height: int, width: int) -> None:
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert labels.shape == (height, width)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(np.unique(labels), np.arange(1, labels.max() + 1))


# Scenes


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_scenes_of_any_size_have_consecutive_labels(height: int, width: int) -> None:
    for seed in range(5):
        image, labels = render_scene(rng(seed), height, width)
        assert_valid_scene(image, labels, height, width)


def test_two_hundred_scenes_are_valid_and_varied() -> None:
    dataset = ShapesDataset(96, 96, seed=7, max_shapes=30)
    counts: list[int] = []
    areas: list[int] = []
    contrasts: list[float] = []
    for index in range(200):
        image, labels = dataset[index]
        assert_valid_scene(image, labels, 96, 96)
        counts.append(int(labels.max()))
        areas.extend(np.bincount(labels.ravel())[2:])
        contrasts.append(image.std())
    assert max(counts) <= 31
    assert max(counts) > 20
    assert np.mean(np.array(counts) >= 2) > 0.95
    assert np.mean(np.array(areas) <= 9) > 0.05
    assert max(areas) > 96 * 96 / 2
    assert min(contrasts) > 1


def test_max_shapes_bounds_the_number_of_labels() -> None:
    for seed in range(30):
        assert render_scene(rng(seed), 40, 40, max_shapes=1)[1].max() <= 2
        assert render_scene(rng(seed), 40, 40, max_shapes=5)[1].max() <= 6


def test_scene_depends_on_seed_and_index_alone() -> None:
    first, second = ShapesDataset(40, 50, seed=3), ShapesDataset(40, 50, seed=3)
    backwards = {index: second[index] for index in (2, 1, 0)}
    for index in range(3):
        for left, right in zip(first[index], backwards[index], strict=True):
            np.testing.assert_array_equal(left, right)
    assert (first[0][0] != first[1][0]).any()
    assert (first[0][0] != ShapesDataset(40, 50, seed=4)[0][0]).any()


def test_background_backdrop_is_zero_and_shapes_are_the_same() -> None:
    hidden_backdrops = 0
    for index in range(60):
        image, entity = ShapesDataset(4, 4)[index]
        same_image, background = ShapesDataset(4, 4, backdrop="background")[index]
        np.testing.assert_array_equal(image, same_image)
        visible = int((background == 0).any())
        hidden_backdrops += not visible
        np.testing.assert_array_equal(background + visible, entity)
    assert hidden_backdrops > 0


def test_length_and_iteration_end() -> None:
    assert len(ShapesDataset(8, 8)) == 2**31 - 1
    dataset = ShapesDataset(8, 8, length=3)
    assert len(dataset) == len(list(dataset)) == 3  # type: ignore[call-overload]
    with pytest.raises(IndexError, match=r"index must be in 0\.\.2, got -1"):
        dataset[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0}, "height must be an integer of at least 1, got 0"),
        ({"width": -4}, "width must be an integer of at least 1, got -4"),
        ({"width": 2.5}, "width must be an integer of at least 1, got 2.5"),
        ({"max_shapes": 0}, "max_shapes must be an integer of at least 1, got 0"),
        ({"length": 0}, "length must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"backdrop": "sky"}, "backdrop must be one of entity, background, got 'sky'"),
    ],
)
def test_bad_settings_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ShapesDataset(**{"height": 8, "width": 8, **arguments})  # type: ignore[arg-type]


def test_render_scene_refuses_bad_sizes() -> None:
    with pytest.raises(InputError, match="height must be an integer of at least 1, got 0"):
        render_scene(rng(), 0, 8)
    with pytest.raises(InputError, match="max_shapes must be an integer of at least 1, got -1"):
        render_scene(rng(), 8, 8, max_shapes=-1)


# Coverage


def test_half_covered_pixels_are_exact() -> None:
    box, alpha = cover([2 * SQUARE + (4.5 + 4.25j)], 10, 10)
    assert box == (slice(2, 7), slice(2, 7))
    np.testing.assert_allclose(alpha[0], 0.75 * np.array([0.5, 1, 1, 1, 0.5]))
    np.testing.assert_allclose(alpha[4], 0.25 * np.array([0.5, 1, 1, 1, 0.5]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(1.5, 20), st.floats(-3, 3), st.floats(-3, 3))
def test_coverage_sums_to_the_polygon_area(seed: int, radius: float, x: float, y: float) -> None:
    kind = [k for k in COMPACT + DETAILED if k is not line][seed % (len(COMPACT + DETAILED) - 1)]
    outline = [points + complex(32 + x, 32 + y) for points in kind(rng(seed), radius)]
    area = sum(np.vdot(points, np.roll(points, -1)).imag / 2 for points in outline)
    assert cover(outline, 64, 64)[1].sum() == pytest.approx(abs(area), rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(2, 60), st.integers(-30, 60), st.integers(-30, 60))
def test_frame_cuts_a_shape_without_changing_it(seed: int, radius: float, x: int, y: int) -> None:
    outline = [points + complex(x, y) for points in random_outline(rng(seed), radius)]
    whole, cut = np.zeros((200, 200)), np.zeros((30, 40))
    box, alpha = cover([points + (90 + 90j) for points in outline], 200, 200)
    whole[box] = alpha
    box, alpha = cover(outline, 30, 40, margin=3)
    cut[box] = alpha
    np.testing.assert_allclose(cut, whole[90:120, 90:130], atol=1e-6)


def test_ring_has_a_hole() -> None:
    _, alpha = cover(ring(rng(), 20), 64, 64)
    assert alpha.shape == (20, 20)  # a quarter: the centre is the frame's corner
    assert alpha[0, 0] == 0
    assert alpha[0, 18] == 1


def test_thin_lines_stay_connected() -> None:
    for seed in range(40):
        outline = [points + (32 + 32j) for points in line(rng(seed), 20)]
        _, alpha = cover(outline, 64, 64)
        pieces = connected(alpha >= 0.5, connectivity=2)  # type: ignore[no-untyped-call]
        assert pieces.max() == 1


@pytest.mark.parametrize("character", ["A", "B", "C", "O", "8", "4", "T"])
def test_letters_look_like_the_font(character: str) -> None:
    reference = Image.new("L", (128, 128))
    font = ImageFont.load_default(size=100)
    ImageDraw.Draw(reference).text((64, 64), character, fill=255, font=font, anchor="mm")
    expected = np.asarray(reference) >= 128
    rows, columns = np.nonzero(expected)
    centre = complex(columns.min() + columns.max() + 1, rows.min() + rows.max() + 1) / 2
    outline = _letter_outline(character)
    tallest = np.ptp(np.concatenate(outline).imag)
    scale = (np.ptp(rows) + 1) / tallest
    box, alpha = cover([scale * points + centre for points in outline], 128, 128)
    drawn = np.zeros((128, 128), bool)
    drawn[box] = alpha >= 0.5
    assert (drawn & expected).sum() / (drawn | expected).sum() > 0.85
    holes = [euler_number(shape, 1) for shape in (drawn, expected)]  # type: ignore[no-untyped-call]
    assert holes[0] == holes[1]


def test_every_letter_is_a_stroke_within_its_circle() -> None:
    for character in LETTERS:
        outline = [20 * points + (32 + 32j) for points in _letter_outline(character)]
        _, alpha = cover(outline, 64, 64)
        assert 0.05 < alpha.sum() / (np.pi * 20**2) < 0.6
        assert max(np.abs(points - (32 + 32j)).max() for points in outline) <= 20 + 1e-9
    assert len({len(letter(rng(seed), 9)[0]) for seed in range(20)}) > 5


# Painting


def test_flat_shape_is_antialiased_along_its_edge_only() -> None:
    canvas, layers = blank(40, grey=20)
    outline = [circle(9) + (20.3 + 19.6j)]
    paint(canvas, layers, 1, outline, flat_appearance(200, 100, 60), rng())
    box, alpha = cover(outline, 40, 40)
    full = np.zeros((40, 40), np.float32)
    full[box] = alpha
    assert (canvas[full == 1] == (200, 100, 60)).all()
    assert (canvas[full == 0] == 20).all()
    np.testing.assert_allclose(canvas[..., 0], 20 + 180 * full, rtol=1e-5)
    np.testing.assert_array_equal(layers, full >= 0.5)


def test_later_shapes_hide_earlier_ones() -> None:
    canvas, layers = blank(20)
    for index in (1, 2, 3):
        outline = [4 * SQUARE + (6 + 6j) + (2 + 2j) * index]
        paint(canvas, layers, index, outline, flat_appearance(80 * index, 0, 0), rng())
    assert [layers[5, 5], layers[7, 7], layers[11, 11], layers[15, 15]] == [1, 2, 3, 3]
    np.testing.assert_array_equal(canvas[..., 0], 80 * layers)


def test_shape_that_owns_no_pixel_leaves_no_trace() -> None:
    canvas, layers = blank(8, grey=50)
    sliver = replace(flat_appearance(255, 255, 255), shadow=0.5, shadow_offset=1 + 1j)
    paint(canvas, layers, 1, [0.2 * SQUARE + (4.5 + 4.5j)], sliver, rng())
    assert (canvas == 50).all()
    assert not layers.any()


def test_shadow_darkens_the_image_and_leaves_the_labels() -> None:
    plain = flat_appearance(200, 200, 200)
    shadowed = replace(plain, shadow=0.6, shadow_offset=4 + 3j, shadow_blur=2.0)
    (bare, bare_layers), (dark, dark_layers) = blank(48, grey=120), blank(48, grey=120)
    outline = [circle(10) + (20 + 20j)]
    paint(bare, bare_layers, 1, outline, plain, rng())
    paint(dark, dark_layers, 1, outline, shadowed, rng())
    np.testing.assert_array_equal(bare_layers, dark_layers)
    assert (dark <= bare).all()
    assert dark[28, 28, 0] < 60
    assert (dark[:5, :5] == 120).all()
    inside, alpha = cover(outline, 48, 48)
    np.testing.assert_array_equal(dark[inside][alpha == 1], bare[inside][alpha == 1])


def test_rim_shades_the_edge_and_not_the_middle() -> None:
    canvas, layers = blank(48)
    rimmed = replace(flat_appearance(200, 200, 200), rim=0.8, rim_width=1.5)
    paint(canvas, layers, 1, [15 * SQUARE + (24 + 24j)], rimmed, rng())
    assert canvas[24, 24, 0] == 200
    assert canvas[24, 9, 0] < 120


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(PATTERNS),
    st.lists(st.sampled_from([0.0, 20.0, 120.0, 135.0, 250.0, 255.0]), min_size=6, max_size=6),
    st.integers(0, 10**6),
)
def test_shape_never_blends_into_what_it_covers(
    pattern: Pattern, channels: list[float], seed: int
) -> None:
    appearance = Appearance(np.array(channels, np.float32).reshape(2, 3), pattern)
    canvas, layers = blank(32)
    # The same paint lies underneath: the worst case.
    for index in (1, 2):
        before = canvas.copy()
        paint(canvas, layers, index, [9 * SQUARE + (16 + 16j)], appearance, rng(seed))
    inside = layers == 2
    assert canvas.min() >= 0
    assert canvas.max() <= 255
    assert np.abs(canvas - before)[inside].mean() >= LEAST_CONTRAST * 0.999
