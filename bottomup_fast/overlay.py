"""Pictures of label maps: colours, overlays on the image, contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from scipy.ndimage import binary_dilation
from skimage.color import lab2rgb, rgb2lab
from skimage.segmentation import find_boundaries

from bottomup_fast.components import LabelMap, as_label_map, relabel_by_appearance, shared_borders
from bottomup_fast.errors import InputError
from bottomup_fast.images import ImageSource, percentile_normalise, read_image

Picture: TypeAlias = NDArray[np.uint8]

_PALETTE_SIZE = 24
_CLEAR_DIFFERENCE = 40.0  # of CIELAB colours; 2 is just noticeable
_PIXELS_PER_RIM = 600  # shorter side of the image for each pixel of a rim's width
_GAP = 6  # pixels between the pictures of a grid
_LONGEST_CELL_SIDE = 1024


def draw_overlay(
    image: ImageSource,
    labels: NDArray[Any],
    alpha: float = 0.45,
    boundary: bool = True,
    colours: Picture | None = None,
) -> Picture:
    """Tint every segment of `labels` (H, W) on its image; returns uint8 (H, W, 3).

    `alpha`, 0 to 1, is the share of the colour; labels 0 and -1 stay untinted. `boundary` draws
    the rim of every segment in its full colour, wider on larger images. `colours` (n, 3) are those
    of labels 1..n; by default touching segments get different ones. Images of 16 bits are stretched
    to be visible.

    Raises InputError if the sizes differ, `alpha` is out of range, or as `read_image` and
    `as_label_map` do.
    """
    pixels = read_image(image)
    labels = as_label_map(labels)
    if pixels.shape[:2] != labels.shape:
        raise InputError(f"image: size {pixels.shape[:2]} differs from labels {labels.shape}")
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha: expected 0 to 1, got {alpha}")
    if pixels.dtype != np.uint8:
        pixels = np.rint(percentile_normalise(pixels) * 255).astype(np.uint8)
    opacity = np.where(labels > 0, np.float32(alpha), np.float32(0))
    if boundary:
        opacity[_rims(labels)] = 1
    blend = pixels.astype(np.float32)
    if colours is None:
        tint = colour_labels(labels)
    else:
        tint = np.concatenate((np.zeros((1, 3), np.uint8), colours))[np.maximum(labels, 0)]
    blend += (tint - blend) * opacity[..., None]
    return np.rint(blend).astype(np.uint8)


def colour_labels(labels: NDArray[Any]) -> Picture:
    """Colour a label map (H, W) so that touching segments differ clearly; returns uint8 (H, W, 3).

    Labels 0 and -1 are black. Colours come from a fixed palette and depend on which segments
    touch, not on the numbers. Raises InputError as `as_label_map` does.
    """
    segments = relabel_by_appearance(labels)
    palette, difference = _palette()
    borders = shared_borders(segments)
    colours = np.zeros((int(segments.max()) + 1, 3), np.uint8)
    chosen: dict[int, int] = {}
    for segment in range(1, len(colours)):
        used = [chosen[other] for other in borders[segment] if other in chosen]
        distance = difference[used].min(axis=0, initial=_CLEAR_DIFFERENCE)
        # The first clear colour from a moving start, so that all of the palette comes to use.
        order = np.roll(distance, -segment)
        chosen[segment] = (int(order.argmax()) + segment) % _PALETTE_SIZE
        colours[segment] = palette[chosen[segment]]
    return colours[np.maximum(segments, 0)]


def picture_grid(rows: Sequence[Sequence[Picture]], titles: Sequence[str] | None = None) -> Picture:
    """Lay out pictures uint8 (H, W) or (H, W, 3) as a contact sheet, uint8 (H', W', 3).

    Every picture is fitted, its shape kept, into a cell of the largest height and width of all
    (at most 1024); short rows are filled with white. `titles` stand above the columns.

    Raises InputError if there is no picture, one is not a uint8 picture, or the titles are not
    one for each column.
    """
    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        raise InputError("rows: no picture")
    if titles is not None and len(titles) != columns:
        raise InputError(f"titles: {len(titles)} titles for {columns} columns")
    for picture in (picture for row in rows for picture in row):
        has_shape = picture.ndim == 2 or picture.shape[2:] == (3,)
        if picture.dtype != np.uint8 or picture.size == 0 or not has_shape:
            raise InputError(
                f"rows: expected uint8 pictures (H, W) or (H, W, 3), got {picture.dtype} "
                f"{picture.shape}"
            )
    height, width = (
        min(_LONGEST_CELL_SIDE, max(picture.shape[axis] for row in rows for picture in row))
        for axis in (0, 1)
    )
    header = max(16, width // 16) if titles else 0
    size = (columns * (width + _GAP) - _GAP, len(rows) * (height + _GAP) - _GAP + header)
    sheet = Image.new("RGB", size, "white")
    for row_index, row in enumerate(rows):
        for column, picture in enumerate(row):
            cell = ImageOps.pad(
                Image.fromarray(picture).convert("RGB"), (width, height), color="white"
            )
            sheet.paste(cell, (column * (width + _GAP), row_index * (height + _GAP) + header))
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles or ()):
        centre = column * (width + _GAP) + width // 2
        font = ImageFont.load_default(header * 0.7)
        draw.text((centre, header // 2), title, "black", font, anchor="mm")
    return np.array(sheet)


def number_colours(numbers: NDArray[Any]) -> NDArray[np.float64]:
    """Colours (n, 3) in [0, 1] of numbers (n,): always the same of one; successive ones differ.

    Hues are turned by the golden ratio, lightness cycles.
    """
    hue = 2 * np.pi * (numbers * 0.618034 % 1)
    lightness = np.array([60, 75, 50, 85, 67])[numbers % 5]
    return np.asarray(
        lab2rgb(np.stack([lightness, 70 * np.cos(hue), 70 * np.sin(hue)], axis=-1)), np.float64
    )


@cache
def _palette() -> tuple[Picture, NDArray[np.float64]]:
    """Return colours (n, 3) and the distances between them."""
    colours = number_colours(np.arange(_PALETTE_SIZE))
    lab = rgb2lab(colours)
    return np.rint(colours * 255).astype(np.uint8), np.linalg.norm(lab[:, None] - lab, axis=-1)


def _rims(labels: LabelMap) -> NDArray[np.bool_]:
    """Mark the pixels of segments along another label, in a wider band on larger maps."""
    rims = find_boundaries(labels, mode="inner")  # type: ignore[no-untyped-call]
    width = max(1, round(min(labels.shape) / _PIXELS_PER_RIM))
    if width > 1:
        rims = binary_dilation(rims, iterations=width - 1)
    return np.asarray(rims & (labels > 0), bool)
