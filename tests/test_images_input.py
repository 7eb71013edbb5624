from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from bottomup_fast.errors import InputError
from bottomup_fast.images import percentile_normalise, read_image

RNG = np.random.default_rng(0)
RGB8 = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
GREY8, GREY16 = RGB8[..., 0].copy(), RGB16[..., 0].copy()
ALPHA8 = np.arange(54, dtype=np.uint8).reshape(6, 9, 1)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def encode_tiff(pixels: np.ndarray[Any, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def test_a_tiff_of_several_images_is_an_error_that_says_how_to_pick(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((5, 6, 9), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match=r"stack\.tif: holds .*\(5, 6, 9\).*pick one"):
        read_image(path)
    with tifffile.TiffWriter(path) as writer:
        writer.write(GREY8, metadata=None)
        writer.write(GREY8[:3], metadata=None)
    with pytest.raises(InputError, match=r"stack\.tif: holds 2 arrays .*\(6, 9\).*\(3, 9\)"):
        read_image(path)


def test_tiff_channels_that_are_not_colour_are_an_error() -> None:
    for channels in (2, 3, 5):
        pixels = np.zeros((6, 9, channels), np.uint8)
        stored = encode_tiff(pixels, photometric="minisblack", planarconfig="contig")
        with pytest.raises(InputError, match=rf"^source: holds {channels} channels"):
            read_image(stored)
    with pytest.raises(InputError, match=r"got int16"):
        read_image(encode_tiff(np.zeros((6, 9), np.int16)))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((0, 5), np.uint8), "zero-size"),
        (np.zeros((5, 0, 3), np.uint8), "zero-size"),
        (np.zeros(5, np.uint8), "expected shape"),
        (np.zeros((2, 5, 5, 3), np.uint8), "expected shape"),
        (np.zeros((5, 5, 2), np.uint8), "expected shape"),
        (np.zeros((3, 5, 5), np.uint8), "expected shape"),
        (np.zeros((5, 5), np.int64), "got int64"),
        (np.zeros((5, 5), np.complex64), "got complex64"),
        (np.array([[0.0, np.nan]]), "finite and in"),
        (np.array([[0.0, np.inf]]), "finite and in"),
        (np.array([[0.0, 1.01]]), "finite and in"),
        (np.array([[0.0, -0.01]]), "finite and in"),
    ],
)
def test_bad_arrays(array: np.ndarray[Any, Any], reason: str) -> None:
    with pytest.raises(InputError, match=rf"^source: .*{reason}"):
        read_image(array)


def test_bad_paths_and_sources(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.png: no such file$"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(InputError, match=r": not a file$"):
        read_image(tmp_path)
    with pytest.raises(InputError, match=r": cannot be opened \(File name too long\)$"):
        read_image("x" * 5000)
    with pytest.raises(InputError, match=r"^source: expected a path.*got list$"):
        read_image([1, 2])  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"hello, world", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"II*\0"])
def test_files_that_are_no_images(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"picture\.png: (not an image|cannot be decoded)") as info:
        read_image(path)
    assert "\n" not in str(info.value)


ENCODED = {
    "png": encode(Image.fromarray(RGB8)),
    "png16": imagecodecs.png_encode(RGB16),
    "jpeg": encode(Image.fromarray(RGB8), "JPEG"),
    "bmp": encode(Image.fromarray(RGB8), "BMP"),
    "webp": encode(Image.fromarray(RGB8), "WEBP"),
    "tiff": encode_tiff(RGB8, photometric="rgb"),
    "tiff-zlib": encode_tiff(RGB8, photometric="rgb", compression="zlib"),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_truncated_files(kind: str) -> None:
    stored = ENCODED[kind]
    for share in (0.1, 0.5, 0.8):
        with pytest.raises(InputError, match=r"^source: ") as info:
            read_image(stored[: int(len(stored) * share)])
        assert "\n" not in str(info.value)


@pytest.mark.parametrize("kind", ENCODED)
def test_damaged_files_read_or_raise_input_errors(kind: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(ENCODED[kind])
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(InputError):
            assert read_image(bytes(damaged), max_pixels=10_000).shape[2] == 3


def test_the_pixel_limit_is_checked_on_the_header(recwarn: pytest.WarningsRecorder) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    header = struct.pack(">4sIIBBBBB", b"IHDR", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(b""), b"IEND")
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )
    with pytest.raises(InputError, match=r"^source: more than max_pixels = 268435456 pixels$"):
        read_image(bomb)
    for stored in (*ENCODED.values(), encode(Image.fromarray(RGB8).quantize(4), "TIFF")):
        assert read_image(stored, max_pixels=54).shape == (6, 9, 3)
        for smaller in (53, 20):
            with pytest.raises(InputError, match=rf"^source: more than max_pixels = {smaller} "):
                read_image(stored, max_pixels=smaller)
    with pytest.raises(InputError, match=r"max_pixels = 53"):
        read_image(Image.fromarray(RGB8), max_pixels=53)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert not recwarn.list


def test_our_limit_may_be_larger_than_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(read_image(ENCODED["png"]), RGB8)


def test_thirty_two_bit_values_must_fit_sixteen() -> None:
    with pytest.raises(InputError, match=r"^source: 32-bit values outside 0\.\.65535$"):
        read_image(Image.fromarray(np.array([[0, 70_000]], np.int32)))


def test_percentile_errors() -> None:
    with pytest.raises(InputError, match=r"^image: expected shape"):
        percentile_normalise(GREY8)
    with pytest.raises(InputError, match=r"^image: expected shape"):
        percentile_normalise(RGB8[:0])
    with pytest.raises(InputError, match=r"^image: holds NaN"):
        percentile_normalise(np.full((2, 2, 3), np.nan))
    for low, high in ((50, 50), (-1, 50), (3, 101), (np.nan, 4)):
        with pytest.raises(InputError, match=r"^low, high: "):
            percentile_normalise(RGB8, low, high)
