"""Outlines of simple geometric shapes and the exact area they cover in every pixel.

An outline is a list of closed polygons whose points are complex numbers x + iy (in pixels, y down),
so that scaling and rotation are one product and moving is one sum. Holes run the other way round.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import approximate_polygon, find_contours

Points: TypeAlias = NDArray[np.complex128]
Outline: TypeAlias = list[Points]
Box: TypeAlias = tuple[slice, slice]

LETTERS = string.ascii_uppercase + string.digits
SMALLEST_DETAILED = 8.0  # pixels of radius; below, letters and lines are unrecognisable debris


def log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    """Draw from [low, high] (both positive) with uniform logarithm."""
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


def cover(
    outline: Outline, height: int, width: int, margin: int = 0
) -> tuple[Box, NDArray[np.float32]]:
    """Return the area of every pixel that lies inside the outline.

    The signed area to the right of each boundary piece is summed along the rows: exact for any
    polygon without self-intersection; where an outline overlaps itself the area counts once.

    Returns:
        The box of the frame (rows, columns) that holds the outline and `margin` pixels around it,
        and the covered fraction of its pixels, in [0, 1]. The box is empty for an outline outside.
    """
    starts = np.concatenate(outline)
    ends = np.concatenate([np.roll(points, -1) for points in outline])
    left, right = _clipped_range(starts.real, width, margin)
    top, bottom = _clipped_range(starts.imag, height, margin)
    box = slice(top, bottom), slice(left, right)
    rows, columns = bottom - top, right - left
    if rows == 0 or columns == 0:
        return box, np.zeros((rows, columns), np.float32)

    first, last = _split_at_pixel_borders(starts - complex(left, top), ends - complex(left, top))
    middle = (first + last) / 2
    row = np.floor(middle.imag).astype(np.intp)
    inside = (row >= 0) & (row < rows)
    # A piece left of the box still covers all of its row; one to the right falls into the two
    # spare columns, as does what a piece in the last column passes on to the right.
    x = np.clip(middle.real[inside], 0, columns)
    column = x.astype(np.intp)
    drop = (last - first).imag[inside]
    cell = row[inside] * (columns + 2) + column
    size = rows * (columns + 2)
    area = np.bincount(cell, drop * (1 - x + column), size)
    area += np.bincount(cell + 1, drop * (x - column), size)
    fraction = np.abs(area.reshape(rows, -1).cumsum(1)[:, :columns])
    return box, np.minimum(fraction, 1).astype(np.float32)


def _clipped_range(values: NDArray[np.float64], size: int, margin: int) -> tuple[int, int]:
    low = int(np.clip(np.floor(values.min()) - margin, 0, size))
    high = int(np.clip(np.ceil(values.max()) + margin, 0, size))
    return low, high


def _split_at_pixel_borders(starts: Points, ends: Points) -> tuple[Points, Points]:
    edges, fractions = [np.arange(len(starts))] * 2, [np.zeros(len(starts)), np.ones(len(starts))]
    for begin, end in ((starts.real, ends.real), (starts.imag, ends.imag)):
        lowest = np.floor(np.minimum(begin, end)) + 1
        count = np.maximum(np.ceil(np.maximum(begin, end)) - lowest, 0).astype(np.intp)
        edge = np.repeat(np.arange(len(starts)), count)
        position = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        edges.append(edge)
        fractions.append((lowest[edge] + position - begin[edge]) / (end - begin)[edge])
    all_edges, all_fractions = np.concatenate(edges), np.concatenate(fractions)
    order = np.lexsort((all_fractions, all_edges))
    edge = all_edges[order]
    points = starts[edge] + all_fractions[order] * (ends - starts)[edge]
    same_edge = edge[1:] == edge[:-1]
    return points[:-1][same_edge], points[1:][same_edge]


def directions(turns: NDArray[np.float64] | float) -> Points:
    """Return the points on the unit circle that many full turns from the x axis."""
    points: Points = np.exp(2j * np.pi * np.asarray(turns))
    return points


def circle(radius: float) -> Points:
    """Return a circle around 0 whose chords stay within a twentieth of a pixel of the arc."""
    count = int(np.clip(10 * np.sqrt(radius), 12, 200))
    return radius * directions(np.arange(count) / count)


def disc(generator: np.random.Generator, radius: float) -> Outline:
    """Return a filled circle (an ellipse once squeezed)."""
    return [circle(radius)]


def ring(generator: np.random.Generator, radius: float) -> Outline:
    """Return a circle with a round hole."""
    return [circle(radius), circle(radius)[::-1] * generator.uniform(0.35, 0.8)]


def convex_polygon(generator: np.random.Generator, radius: float) -> Outline:
    """Return a polygon of 3 to 8 corners on a circle."""
    return [radius * _spread_corners(generator, int(generator.integers(3, 9)))]


def concave_polygon(generator: np.random.Generator, radius: float) -> Outline:
    """Return a jagged polygon of 5 to 10 corners that sees its centre from everywhere."""
    corners = _spread_corners(generator, int(generator.integers(5, 11)))
    return [radius * corners * generator.uniform(0.3, 1, len(corners))]


def _spread_corners(generator: np.random.Generator, count: int) -> Points:
    return directions((np.arange(count) + generator.uniform(-0.35, 0.35, count)) / count)


def star(generator: np.random.Generator, radius: float) -> Outline:
    """Return a regular star of 4 to 8 tips."""
    tips = int(generator.integers(4, 9))
    points = radius * directions(np.arange(2 * tips) / (2 * tips))
    points[1::2] *= generator.uniform(0.35, 0.65)
    return [points]


def blob(generator: np.random.Generator, radius: float) -> Outline:
    """Return a smooth closed curve with a few bulges."""
    points = circle(radius)
    waves = np.arange(2, 6)
    turns = np.angle(points)[:, None] + generator.uniform(0, 2 * np.pi, waves.size)
    bulge = (np.sin(turns * waves) * generator.uniform(0, 0.5, waves.size) / waves).sum(1)
    return [points * (1 + bulge) / (1 + bulge).max()]


def rounded_rectangle(generator: np.random.Generator, radius: float) -> Outline:
    """Return a rectangle, from a square to a rod, with sharp to fully round corners."""
    long, short = np.array([1, log_uniform(generator, 0.2, 1)])
    scale = radius / np.hypot(long, short)
    bend = short * generator.choice([0.0, 1.0, generator.uniform()])
    quarter = bend * directions(np.linspace(0, 0.25, 3 + int(np.sqrt(radius))))
    corner = complex(long - bend, short - bend)
    side = np.concatenate([corner + quarter, -corner.conjugate() + 1j * quarter])
    return [scale * np.concatenate([side, -side])]


def line(generator: np.random.Generator, radius: float) -> Outline:
    """Return a thin straight or curved line, at least 1.5 pixels wide."""
    control = generator.uniform(-1, 1, 4) + 1j * generator.uniform(-1, 1, 4)
    if generator.random() < 0.4:
        control = np.linspace(-1, 1, 4).astype(complex)
    t = np.linspace(0, 1, 12 + 2 * int(np.sqrt(radius)))[:, None]
    bernstein = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    path = (bernstein * control).sum(1)
    path -= (path[0] + path[-1]) / 2
    path *= radius / np.abs(path).max()
    along = np.gradient(path)
    half_width = max(0.75, radius * log_uniform(generator, 0.015, 0.08))
    across = 1j * half_width * along / np.maximum(np.abs(along), 1e-9)
    return [np.concatenate([path + across, (path - across)[::-1]])]


def letter(generator: np.random.Generator, radius: float) -> Outline:
    """Return a capital letter or a digit, upright."""
    return [radius * points for points in _letter_outline(str(generator.choice(list(LETTERS))))]


@lru_cache(maxsize=len(LETTERS))
def _letter_outline(character: str) -> Outline:
    image = Image.new("L", (128, 128))
    font = ImageFont.load_default(size=80)
    ImageDraw.Draw(image).text((64, 64), character, fill=255, font=font, anchor="mm")
    contours = find_contours(np.asarray(image), 127.5)  # type: ignore[no-untyped-call]
    # Rows come first and the first point is repeated at the end.
    simple = (approximate_polygon(c, tolerance=0.3)[:-1] for c in contours)  # type: ignore[no-untyped-call]
    points = [contour[:, 1] + 1j * contour[:, 0] for contour in simple]
    every = np.concatenate(points)
    centre = complex(every.real.min() + every.real.max(), every.imag.min() + every.imag.max()) / 2
    return [(contour - centre) / np.abs(every - centre).max() for contour in points]


COMPACT: tuple[Callable[[np.random.Generator, float], Outline], ...] = (
    disc,
    convex_polygon,
    rounded_rectangle,
    blob,
    star,
    ring,
)
DETAILED = (concave_polygon, letter, line)


def random_outline(generator: np.random.Generator, radius: float) -> Outline:
    """Return a random shape around 0, upright, within `radius` pixels of its centre."""
    kinds = COMPACT if radius < SMALLEST_DETAILED else COMPACT + DETAILED
    kind = kinds[generator.integers(len(kinds))]
    outline = kind(generator, radius)
    # A squeezed line would become thinner than a pixel.
    if kind is line or generator.random() < 0.4:
        return outline
    squeeze = log_uniform(generator, 0.4, 1)
    return [points.real + 1j * squeeze * points.imag for points in outline]
