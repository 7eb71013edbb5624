"""Label maps on disk: integer images in which every segment has a number."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bottomup_fast.components import constant_runs
from bottomup_fast.data.dataset import Size
from bottomup_fast.errors import InputError
from bottomup_fast.images import MAX_PIXELS

IGNORE_ON_DISK = 65535
GREY = ("L", "I", "I;16", "I;16B")


def read_label_map(path: str | os.PathLike[str], size: Size | None = None) -> NDArray[np.int32]:
    """A grey 8- or 16-bit PNG as (H, W) int32, 65535 read as -1.

    Raises:
        InputError: missing, truncated, not a grey PNG, or not of the `size` of its image.
    """
    labels = read_png(path, size).astype(np.int32)
    labels[labels == IGNORE_ON_DISK] = -1
    return labels


def read_png(
    path: str | os.PathLike[str], size: Size | None = None, modes: tuple[str, ...] = GREY
) -> NDArray[Any]:
    """The values of a PNG as stored: (H, W), or (H, W, 3) for mode "RGB"; of a palette its indices.

    Raises:
        InputError: missing, truncated, of another Pillow mode, too large, or not of the `size` of
            its image; sizes are known before anything is decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            file = Image.open(path, formats=("PNG",))
        with file:
            _check_size(path, (file.height, file.width), size)
            if file.mode in modes:
                return np.asarray(file)
            mode = file.mode
    except InputError:
        raise
    except Exception as error:  # damaged files make a decoder raise nearly anything
        raise _unreadable(path, error) from error
    if modes == GREY:
        raise InputError(f"{path}: a label map must be a grey 8- or 16-bit PNG")
    raise InputError(f"{path}: expected a PNG of mode {' or '.join(modes)}, got {mode}")


def read_tiff(path: str | os.PathLike[str], size: Size | None = None) -> NDArray[Any]:
    """The integers (H, W) of a TIFF of one grey image.

    Raises:
        InputError: missing, truncated, of another shape or type, too large, or not of the `size` of
            its image; sizes are known before anything is decoded.
    """
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series
            if len(series) != 1 or len(series[0].shape) != 2 or series[0].dtype.kind not in "iu":
                found = ", ".join(f"{one.dtype} {one.shape}" for one in series[:4])
                raise InputError(f"{path}: a label map must be one grey integer image, got {found}")
            height, width = series[0].shape
            _check_size(path, (height, width), size)
            return np.asarray(series[0].asarray())
    except InputError:
        raise
    except Exception as error:  # damaged files make a decoder raise nearly anything
        raise _unreadable(path, error) from error


def read_label_file(path: Path, size: Size | None = None) -> NDArray[Any]:
    """The integers (H, W) of a grey PNG or TIFF, told by its suffix; raises InputError as those."""
    return (read_tiff if path.suffix.lower() in (".tif", ".tiff") else read_png)(path, size)


def number_segments(values: NDArray[Any], path: str | os.PathLike[str]) -> NDArray[np.int32]:
    """Renumber a map of integers, of which 0 is no segment, as 0 and 1..K in their order.

    Raises:
        InputError: a value is negative.
    """
    found, position = rank_values(values)
    if found[0] < 0:
        raise InputError(f"{path}: a label map must not hold negative numbers, got {found[0]}")
    return np.asarray(position + (found[0] > 0), np.int32)


def rank_values(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The different values of a map (H, W), ascending, and the position of each pixel's in them."""
    flat = values.ravel()
    # Neighbours mostly agree, so runs are far fewer than pixels.
    starts, lengths = constant_runs(flat)
    found, position = np.unique(flat[starts], return_inverse=True)
    return found, np.repeat(position, lengths).reshape(values.shape)


def _check_size(path: str | os.PathLike[str], found: Size, expected: Size | None) -> None:
    if expected is not None and found != tuple(expected):
        raise InputError(f"{path}: {found}, but its image is {tuple(expected)}")
    if found[0] * found[1] > MAX_PIXELS:
        raise InputError(f"{path}: more than {MAX_PIXELS} pixels")


def _unreadable(path: str | os.PathLike[str], error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{Path(path)}: not a readable label map ({reason})")
