from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from bottomup_fast.errors import InputError
from bottomup_fast.images import list_images, percentile_normalise, read_image, read_pixels

RNG = np.random.default_rng(0)
RGB8 = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
GREY8, GREY16 = RGB8[..., 0].copy(), RGB16[..., 0].copy()
ALPHA8 = np.arange(54, dtype=np.uint8).reshape(6, 9, 1)


def grey_to_rgb(grey: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.repeat(grey[..., None], 3, axis=-1)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def encode_tiff(pixels: np.ndarray[Any, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def assert_same(actual: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
    assert actual.flags.c_contiguous
    assert actual.flags.writeable


def test_a_path_a_string_bytes_and_a_pil_image_read_the_same(tmp_path: Path) -> None:
    image = Image.fromarray(RGB8)
    path = tmp_path / "a.png"
    image.save(path)
    for source in (path, str(path), path.read_bytes(), image, Image.open(path), RGB8):
        assert_same(read_image(source), RGB8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_colour_formats(kind: str) -> None:
    assert_same(read_image(encode(Image.fromarray(RGB8), kind)), RGB8)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "JPEG2000", "AVIF", "GIF"])
def test_other_formats_have_the_right_shape_and_about_the_right_colour(kind: str) -> None:
    flat = np.full((16, 24, 3), (200, 40, 90), np.uint8)
    pixels = read_image(encode(Image.fromarray(flat), kind))
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - flat).max() <= 6


def test_grey_alpha_palette_and_bit_images() -> None:
    la = Image.fromarray(np.concatenate([GREY8[..., None], ALPHA8], axis=-1))
    rgba = Image.fromarray(np.concatenate([RGB8, ALPHA8], axis=-1))
    palette = Image.fromarray(RGB8).quantize(16)
    bits = Image.fromarray(GREY8 > 100)
    assert_same(read_image(encode(Image.fromarray(GREY8))), grey_to_rgb(GREY8))
    assert_same(read_image(encode(la)), grey_to_rgb(GREY8))
    assert_same(read_image(encode(rgba)), RGB8)
    assert_same(read_image(encode(palette)), np.asarray(palette.convert("RGB")))
    assert_same(read_image(encode(palette, transparency=3)), np.asarray(palette.convert("RGB")))
    assert_same(read_image(encode(bits)), grey_to_rgb(np.where(GREY8 > 100, 255, 0).astype("u1")))


def test_cmyk_becomes_rgb() -> None:
    cmyk = Image.fromarray(RGB8).convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        stored = encode(cmyk, kind)
        with Image.open(io.BytesIO(stored)) as image:
            assert_same(read_image(stored), np.asarray(image.convert("RGB")))


def test_sixteen_bits_are_kept() -> None:
    alpha = RGB16[..., :1]
    assert_same(read_image(encode(Image.fromarray(GREY16))), grey_to_rgb(GREY16))
    assert_same(read_image(encode(Image.fromarray(GREY16), "PPM")), grey_to_rgb(GREY16))
    assert_same(read_image(imagecodecs.png_encode(RGB16)), RGB16)
    assert_same(read_image(imagecodecs.png_encode(np.dstack([RGB16, alpha]))), RGB16)
    assert_same(read_image(imagecodecs.png_encode(np.dstack([GREY16, alpha]))), grey_to_rgb(GREY16))
    assert_same(read_image(Image.fromarray(GREY16.astype(np.int32))), grey_to_rgb(GREY16))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "JPEG"):
        stored = encode(Image.fromarray(RGB8), kind, exif=exif)
        with Image.open(io.BytesIO(stored)) as image:
            upright = np.asarray(ImageOps.exif_transpose(image))
        assert_same(read_image(stored), upright)
        assert_same(read_image(Image.open(io.BytesIO(stored))), upright)
    plain = Image.fromarray(RGB8)
    plain.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(plain))
    tag = (274, "H", 1, orientation, True)
    assert_same(read_image(encode_tiff(RGB8, photometric="rgb", extratags=[tag])), upright)


def test_an_orientation_of_no_meaning_changes_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    assert_same(read_image(encode(Image.fromarray(RGB8), exif=exif)), RGB8)


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib"}, {"compression": "lzw", "tile": (16, 16)}, {"bigtiff": True}],
)
def test_tiff_grey_colour_and_planar(options: dict[str, Any]) -> None:
    for grey, rgb in ((GREY8, RGB8), (GREY16, RGB16)):
        planes = np.moveaxis(rgb, -1, 0)
        planar = {"photometric": "rgb", "planarconfig": "separate", **options}
        assert_same(read_image(encode_tiff(grey, **options)), grey_to_rgb(grey))
        assert_same(read_image(encode_tiff(rgb, photometric="rgb", **options)), rgb)
        assert_same(read_image(encode_tiff(planes, **planar)), rgb)
    assert_same(read_image(encode_tiff(GREY16, byteorder=">", **options)), grey_to_rgb(GREY16))


def test_tiff_alpha_is_dropped_white_is_zero_and_bits_are_full_range() -> None:
    rgba, la = np.dstack([RGB8, ALPHA8]), np.dstack([GREY8, ALPHA8])
    alpha = {"extrasamples": ["unassalpha"]}
    assert_same(read_image(encode_tiff(rgba, photometric="rgb", **alpha)), RGB8)
    assert_same(read_image(encode_tiff(la, photometric="minisblack", **alpha)), grey_to_rgb(GREY8))
    assert_same(read_image(encode_tiff(GREY8, photometric="miniswhite")), grey_to_rgb(255 - GREY8))
    bits = GREY8 > 99
    black = encode_tiff(bits, photometric="minisblack")
    white = encode_tiff(~bits, photometric="miniswhite")
    for stored in (black, white):
        assert_same(read_image(stored), grey_to_rgb(bits.astype("u1") * np.uint8(255)))


def test_tiff_palette_goes_through_pillow() -> None:
    palette = Image.fromarray(RGB8).quantize(16)
    assert_same(read_image(encode(palette, "TIFF")), np.asarray(palette.convert("RGB")))


def test_float_tiff_is_stretched_from_its_extremes() -> None:
    values = np.array([[-2.0, 0.0], [1.0, 2.0]], np.float32)
    expected = np.array([[0, 32768], [49151, 65535]], np.uint16)
    assert_same(read_image(encode_tiff(values)), grey_to_rgb(expected))
    assert_same(read_image(Image.fromarray(values)), grey_to_rgb(expected))
    assert not read_image(encode_tiff(np.full((4, 4), 3.5))).any()
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match=r"^source: holds NaN or infinite values$"):
            read_image(encode_tiff(np.array([[0, bad]])))


def test_a_reduced_copy_beside_the_image_is_passed_over() -> None:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(GREY8, metadata=None)
        writer.write(GREY8[::2, ::2], subfiletype=1, metadata=None)
    assert_same(read_image(stream.getvalue()), grey_to_rgb(GREY8))


def test_arrays() -> None:
    assert_same(read_image(RGB8), RGB8)
    assert not np.shares_memory(read_image(RGB8), RGB8)
    assert_same(read_image(GREY8), grey_to_rgb(GREY8))
    assert_same(read_image(GREY16[..., None]), grey_to_rgb(GREY16))
    assert_same(read_image(np.dstack([RGB8, ALPHA8])), RGB8)
    assert_same(read_image(RGB8[::-1, ::2]), RGB8[::-1, ::2].copy())
    assert_same(read_image(RGB16.astype(">u2")), RGB16)
    assert_same(read_image(GREY8 > 9), grey_to_rgb((GREY8 > 9).astype("u1") * np.uint8(255)))
    for kind in (np.float16, np.float32, np.float64):
        grey = np.array([[0, 32768, 65535]], np.uint16)
        assert_same(read_image(np.array([[0, 0.5, 1]], kind)), grey_to_rgb(grey))


def test_read_pixels_keeps_grey_as_it_is() -> None:
    np.testing.assert_array_equal(read_pixels(encode(Image.fromarray(GREY16))), GREY16)
    np.testing.assert_array_equal(read_pixels(encode_tiff(GREY8)), GREY8)


def test_list_images_is_natural_and_leaves_out_the_rest(tmp_path: Path) -> None:
    for name in ("b10.png", "b2.PNG", "a.jpg", "notes.txt", ".hidden.png", "c.tif", "noise"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    names = [path.name for path in list_images(tmp_path)]
    assert names == ["a.jpg", "b2.PNG", "b10.png", "c.tif"]
    assert list_images(tmp_path / "folder.png") == []
    for bad in (tmp_path / "absent", tmp_path / "a.jpg"):
        with pytest.raises(InputError, match=r"no such folder"):
            list_images(bad)


def test_percentiles_are_joint_over_the_channels() -> None:
    image = np.zeros((10, 10, 3), np.uint16)
    image[..., 0] = np.arange(100).reshape(10, 10) * 100
    image[..., 1] = image[..., 0] // 2
    low, high = np.percentile(image, (1.0, 99.7))
    normalised = percentile_normalise(image)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, np.clip((image - low) / (high - low), 0, 1), atol=1e-6)


def test_normalising_ignores_scale_and_offset() -> None:
    image = RNG.integers(0, 100, (40, 40, 3), dtype=np.uint8)
    moved = image.astype(np.uint16) * 300 + 7
    np.testing.assert_allclose(percentile_normalise(image), percentile_normalise(moved), atol=1e-5)


def test_constant_images_give_zeros_and_few_bright_spots_survive() -> None:
    image = np.full((50, 50, 3), 9, np.uint8)
    assert not percentile_normalise(image).any()
    image[3, 4] = 200
    assert percentile_normalise(image)[3, 4].tolist() == [1, 1, 1]


def test_large_images_use_a_grid_of_their_pixels() -> None:
    image = np.zeros((1100, 1100, 3), np.uint8)
    image[::2, ::2] = 100  # the grid of every second pixel sees nothing else
    image[0, 0] = 50
    normalised = percentile_normalise(image, 0, 100)
    assert normalised[0, 0, 0] == 0
    assert normalised[2, 2, 0] == 1
    assert normalised[1, 1, 0] == 0
