"""What shapes look like: patterns, rims and shadows, and how they are painted over each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bottomup_fast.data.shape_drawing import Outline, cover, log_uniform

Plane: TypeAlias = NDArray[np.float32]
Pattern: TypeAlias = Callable[[np.random.Generator, Plane, Plane, float], Plane]

# Grey levels by which a shape differs, on average, from what it covers.
LEAST_CONTRAST = 16.0


def flat(generator: np.random.Generator, x: Plane, y: Plane, radius: float) -> Plane:
    """Return the first colour everywhere."""
    return np.zeros((1, 1), np.float32)


def linear_gradient(generator: np.random.Generator, x: Plane, y: Plane, radius: float) -> Plane:
    """Return a ramp across the shape in a random direction."""
    along, _ = _rotated(generator, x, y)
    return _unit(0.5 + along / np.float32(2 * radius))


def radial_gradient(generator: np.random.Generator, x: Plane, y: Plane, radius: float) -> Plane:
    """Return a ramp outwards from a random point near the centre."""
    centre_x, centre_y = generator.uniform(-0.5, 0.5, 2).astype(np.float32) * np.float32(radius)
    return _unit(np.hypot(x - centre_x, y - centre_y) / np.float32(1.5 * radius))


def stripes(generator: np.random.Generator, x: Plane, y: Plane, radius: float) -> Plane:
    """Return parallel stripes with antialiased edges."""
    along, _ = _rotated(generator, x, y)
    period = log_uniform(generator, 4, max(5.0, radius / 2))
    return _sharpened(np.sin(along * np.float32(2 * np.pi / period)), period)


def checkers(generator: np.random.Generator, x: Plane, y: Plane, radius: float) -> Plane:
    """Return a rotated checkerboard with antialiased edges."""
    along, across = _rotated(generator, x, y)
    period = log_uniform(generator, 5, max(6.0, radius / 2))
    scale = np.float32(2 * np.pi / period)
    return _sharpened(np.sin(along * scale) * np.sin(across * scale), period)


def smooth_noise(generator: np.random.Generator, x: Plane, y: Plane, radius: float) -> Plane:
    """Return clouds of a random size with finer ones inside."""
    period = log_uniform(generator, 4, max(5.0, radius))
    shape = np.broadcast_shapes(x.shape, y.shape)
    coarse = _random_field(generator, shape, period)
    return 0.7 * coarse + 0.3 * _random_field(generator, shape, max(2.0, period / 4))


def speckles(generator: np.random.Generator, x: Plane, y: Plane, radius: float) -> Plane:
    """Return sparse grains, one to a few pixels wide."""
    field = _random_field(generator, np.broadcast_shapes(x.shape, y.shape), generator.uniform(1, 4))
    return _unit(8 * (field - np.float32(generator.uniform(0.6, 0.8))))


def _rotated(generator: np.random.Generator, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    angle = generator.uniform(0, 2 * np.pi)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cosine + y * sine, y * cosine - x * sine


def _sharpened(wave: Plane, period: float) -> Plane:
    # At a zero crossing the wave changes by about 2 pi / period per pixel: one pixel of transition.
    return _unit(0.5 + wave * np.float32(period / (2 * np.pi)))


def _unit(values: Plane) -> Plane:
    return np.minimum(np.maximum(values, np.float32(0)), np.float32(1))


def _random_field(generator: np.random.Generator, shape: tuple[int, ...], period: float) -> Plane:
    height, width = shape
    cells = (int(np.ceil(height / period)) + 1, int(np.ceil(width / period)) + 1)
    coarse = Image.fromarray(generator.random(cells, np.float32))
    window = (0.5, 0.5, 0.5 + width / period, 0.5 + height / period)
    return np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR, window))


PATTERNS: tuple[Pattern, ...] = (
    flat,
    linear_gradient,
    radial_gradient,
    stripes,
    checkers,
    smooth_noise,
    speckles,
)


@dataclass(frozen=True)
class Appearance:
    """How one shape is painted; lengths in pixels, colours in grey levels (0 to 255)."""

    colours: NDArray[np.float32]  # (2, 3): the two RGB colours between which the pattern runs
    pattern: Pattern = flat
    rim: float = 0.0  # how far colours go to black or white at the edge, in [0, 1]
    rim_width: float = 1.0
    shadow: float = 0.0  # share of light that the shadow takes away, in [0, 1]
    shadow_offset: complex = 0j
    shadow_blur: float = 1.0


def texture(
    generator: np.random.Generator,
    appearance: Appearance,
    rows: slice,
    columns: slice,
    centre: complex,
    radius: float,
) -> NDArray[np.float32]:
    """Return the appearance's pattern, (height, width, 3) or broadcastable, in a box of pixels."""
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - np.float32(centre.real)
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(centre.imag)
    blend = appearance.pattern(generator, x, y, radius)[..., None]
    first, second = appearance.colours
    colour: NDArray[np.float32] = first + blend * (second - first)
    return colour


def paint(
    canvas: NDArray[np.float32],
    layers: NDArray[np.int32],
    index: int,
    outline: Outline,
    appearance: Appearance,
    generator: np.random.Generator,
) -> None:
    """Paint one shape, antialiased, over `canvas` (H, W, 3) and write `index` into `layers` (H, W).

    The shape owns the pixels of which it covers at least half. One that owns none leaves no trace,
    and a shadow never changes `layers`.
    """
    height, width = layers.shape
    margin = int(np.ceil(2 * appearance.rim_width)) if appearance.rim else 0
    box, alpha = cover(outline, height, width, margin)
    owned = alpha >= 0.5
    if not owned.any():
        return
    points = outline[0]
    centre = complex(points.mean())
    colour = texture(generator, appearance, *box, centre, float(np.abs(points - centre).max()))
    if appearance.rim:
        edge = appearance.rim * np.clip(2 - 2 * _blurred(alpha, appearance.rim_width), 0, 1)
        colour = colour + edge[..., None] * (_far_end(colour) - colour)
    colour = _made_visible(colour, canvas[box], alpha)
    if appearance.shadow:
        _cast_shadow(canvas, outline, appearance)
    canvas[box] += alpha[..., None] * (colour - canvas[box])
    layers[box][owned] = index


def _cast_shadow(canvas: NDArray[np.float32], outline: Outline, appearance: Appearance) -> None:
    moved = [points + appearance.shadow_offset for points in outline]
    margin = int(np.ceil(2 * appearance.shadow_blur))
    box, alpha = cover(moved, canvas.shape[0], canvas.shape[1], margin)
    canvas[box] *= 1 - appearance.shadow * _blurred(alpha, appearance.shadow_blur)[..., None]


def _blurred(alpha: Plane, sigma: float) -> Plane:
    if alpha.size == 0:
        return alpha
    image = Image.fromarray(np.rint(alpha * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(sigma)), np.float32) / np.float32(255)


def _far_end(colour: NDArray[np.float32]) -> float:
    return 255.0 if colour.mean() < 128 else 0.0


def _made_visible(
    colour: NDArray[np.float32], covered: NDArray[np.float32], alpha: Plane
) -> NDArray[np.float32]:
    def contrast(candidate: NDArray[np.float32]) -> float:
        return float(np.vdot(np.abs(candidate - covered).mean(2), alpha) / alpha.sum())

    if contrast(colour) >= LEAST_CONTRAST:
        return colour
    # The lighter and the darker one lie at least a step apart everywhere, clipped or not, so one
    # of them differs from what is covered by half a step on average.
    step = np.float32(2 * LEAST_CONTRAST)
    lighter = np.minimum(colour + step, np.float32(255))
    darker = np.maximum(colour - step, np.float32(0))
    return max(lighter, darker, key=contrast)
