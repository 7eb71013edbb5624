"""Pictures in: anything a user calls an image becomes one (H, W, 3) array."""

from __future__ import annotations

import io
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from bottomup_fast.errors import InputError
from bottomup_fast.pixels import integer_pixels

Pixels: TypeAlias = NDArray[Any]
Encoded: TypeAlias = bytes | bytearray | memoryview
ImageSource: TypeAlias = str | os.PathLike[str] | Encoded | Image.Image | Pixels

MAX_PIXELS = 2**28
# Only formats that are plain pixels: some of Pillow's others start outside programs.
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
_COLOUR_PNG_16 = ((16, 2), (16, 4), (16, 6))  # (bit depth, colour type): RGB, LA, RGBA
_PERCENTILE_SAMPLES = 2**20
_limit_lock = threading.Lock()


def read_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read one image as (H, W, 3) uint8 or uint16, turned upright by its orientation tag.

    `source` is a path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3)
    or (H, W, 4) of uint8, uint16, bool, or float in [0, 1]. Grey is repeated over the three
    channels. Alpha is dropped, not blended: a transparent pixel shows the colour stored under it.
    bool becomes 0 and 255; floats become uint16, those of a file stretched from their own minimum
    and maximum. Colour of 16 bits is kept from TIFF, PNG and arrays. An animation gives its first
    frame. The result is always a new array.

    Raises InputError, naming the file or `source`, for anything else: not an image, truncated,
    empty, a TIFF of several images, non-finite values, or more than `max_pixels` pixels by its
    header (which is read before anything is decoded).
    """
    name = str(source) if isinstance(source, str | os.PathLike) else "source"
    return _to_rgb(read_pixels(source, max_pixels=max_pixels), name)


def read_pixels(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read the pixels of one image as stored, upright: (H, W) grey or (H, W, C) colour.

    Sources and errors are those of `read_image`; an array is returned as it is.
    """
    if isinstance(source, np.ndarray):
        return source
    if isinstance(source, Image.Image):
        with _decoding("source"):
            return _pillow_pixels(source, "source", max_pixels)
    if isinstance(source, Encoded):
        return _decode(io.BytesIO(source), "source", max_pixels)
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            f"source: expected a path, bytes, PIL image or array, got {type(source).__name__}"
        )
    path = Path(source)
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{path}: not a file")
        stream = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})") from error
    with stream:
        return _decode(stream, str(path), max_pixels)


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """List the image files directly in `folder` by suffix, in natural order: img2 before img10.

    Hidden files are left out. Raises InputError if `folder` is not a folder.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder")
    known = Image.registered_extensions()
    images = [
        file
        for file in path.iterdir()
        if known.get(file.suffix.lower()) in _FORMATS
        and not file.name.startswith(".")
        and file.is_file()
    ]
    return sorted(images, key=lambda file: (_natural_key(file.name), file.name))


def percentile_normalise(
    image: Pixels, low: float = 1.0, high: float = 99.7
) -> NDArray[np.float32]:
    """Map the percentiles `low` and `high` of an image (H, W, 3) to 0 and 1 and clip, as float32.

    The percentiles are taken over all channels jointly, which keeps the hue, and over a regular
    grid of about a million pixels if there are more. If both are equal, the extremes of the image
    take their place, so that a few bright spots on black survive; a constant image gives zeros.

    Raises InputError for another shape, non-finite values, or not 0 <= low < high <= 100.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"image: expected shape (H, W, 3), got {image.shape}")
    if not 0 <= low < high <= 100:
        raise InputError(f"low, high: expected 0 <= low < high <= 100, got {low} and {high}")
    if not np.isfinite(image).all():
        raise InputError("image: holds NaN or infinite values")
    stride = math.ceil(math.sqrt(image.shape[0] * image.shape[1] / _PERCENTILE_SAMPLES))
    dark, bright = np.percentile(image[::stride, ::stride], (low, high))
    if dark == bright:
        dark, bright = float(image.min()), float(image.max())
    normalised = image.astype(np.float32)
    normalised -= np.float32(dark)
    if dark < bright:
        normalised /= np.float32(bright - dark)
    return np.clip(normalised, 0, 1, out=normalised)


def _natural_key(name: str) -> list[int | str]:
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on damaged data (nearly anything) into one line."""
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image, or of an unknown format") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: cannot be decoded ({reason})") from error


def _decode(stream: BinaryIO, name: str, max_pixels: int) -> Pixels:
    with _decoding(name):
        is_tiff = stream.read(4) in _TIFF_MAGIC
        stream.seek(0)
        if is_tiff:
            return _tiff_pixels(stream, name, max_pixels)
        with _open(stream, name, max_pixels) as image:
            if image.format == "PNG":
                stream.seek(24)
                if tuple(stream.read(2)) in _COLOUR_PNG_16:  # Pillow would cut it to 8 bits
                    stream.seek(0)
                    pixels = np.asarray(imagecodecs.png_decode(stream.read()))
                    has_colour = pixels.shape[2] >= 3
                    return _upright(pixels if has_colour else pixels[..., 0], _orientation(image))
            return _pillow_pixels(image, name, max_pixels)


def _open(stream: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    # Pillow's own limit is one global; ours takes its place while the header is read.
    with _limit_lock, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            return Image.open(stream, formats=_FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_large(name, max_pixels) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _pillow_pixels(image: Image.Image, name: str, max_pixels: int) -> Pixels:
    if image.width * image.height > max_pixels:
        raise _too_large(name, max_pixels)
    image.load()
    orientation = _orientation(image)
    if image.mode == "F":
        pixels = _stretch(np.asarray(image), name)
    elif image.mode == "I":
        pixels = np.asarray(image)
        if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
            raise InputError(f"{name}: 32-bit values outside 0..65535")
        pixels = pixels.astype(np.uint16)
    elif image.mode.startswith("I;16"):
        pixels = np.asarray(image)
    else:
        pixels = np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    return _upright(pixels, orientation)


def _tiff_pixels(stream: BinaryIO, name: str, max_pixels: int) -> Pixels:
    with tifffile.TiffFile(stream) as tiff:
        series = [one for one in tiff.series if not one.keyframe.is_reduced]
        if len(series) != 1 or series[0].size != series[0].keyframe.size:
            shapes = ", ".join(f"{one.shape} (axes {one.axes})" for one in series[:4])
            raise InputError(
                f"{name}: holds {len(series)} arrays of shape {shapes}, not one 2-D or RGB image; "
                "pick one and pass it as an array, e.g. tifffile.imread(path, series=0)[0]"
            )
        page = series[0].keyframe
        if page.imagewidth * page.imagelength > max_pixels:
            raise _too_large(name, max_pixels)
        grey = page.photometric in _GREY
        if not grey and page.photometric != tifffile.PHOTOMETRIC.RGB:
            stream.seek(0)
            with _open(stream, name, max_pixels) as image:  # palettes, CMYK, YCbCr
                return _pillow_pixels(image, name, max_pixels)
        colours = 1 if grey else 3
        extra = page.samplesperpixel - colours
        if page.imagedepth != 1 or not (
            extra == 0 or (extra == 1 and (not grey or page.extrasamples[0] in _ALPHA))
        ):
            raise InputError(
                f"{name}: holds {page.samplesperpixel} channels, shape {page.shape}, not a 2-D or "
                "RGB image; pick the channels and pass them as an array, e.g. of tifffile.imread"
            )
        pixels = page.asarray().reshape(page.shaped)[:, 0]  # (planes, H, W, samples)
        pixels = np.concatenate(list(pixels), axis=-1)[..., :colours]
        if pixels.dtype.kind == "f":
            pixels = _stretch(pixels, name)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            pixels = ~pixels
        tag = page.tags.get("Orientation")
        return _upright(pixels[..., 0] if grey else pixels, tag.value if tag else None)


def _to_rgb(pixels: Pixels, name: str) -> Pixels:
    pixels = integer_pixels(pixels, name)
    rgb = np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3))
    return np.array(rgb, dtype=pixels.dtype.newbyteorder("="), order="C")


def _stretch(pixels: Pixels, name: str) -> NDArray[np.uint16]:
    pixels = pixels.astype(np.float64)
    low, high = pixels.min(), pixels.max()
    if not np.isfinite(high - low):
        raise InputError(f"{name}: holds NaN or infinite values")
    return np.asarray(np.rint((pixels - low) * (65535 / max(high - low, 1e-300))), np.uint16)


def _orientation(image: Image.Image) -> object:
    return image.getexif().get(ExifTags.Base.Orientation)


def _upright(pixels: Pixels, orientation: object) -> Pixels:
    """Undo an EXIF or TIFF orientation, 1..8; any other value changes nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _too_large(name: str, max_pixels: int) -> InputError:
    return InputError(f"{name}: more than max_pixels = {max_pixels} pixels")
