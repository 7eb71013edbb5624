"""Endless procedurally generated images of simple geometric shapes, with exact label maps.

The paper trains on such images beside its real data sets but does not describe them; the mixture of
shapes, layouts and appearances here is this package's own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bottomup_fast.data.shape_drawing import log_uniform
from bottomup_fast.data.shape_layout import random_layout, random_style
from bottomup_fast.data.shape_textures import paint, texture
from bottomup_fast.errors import InputError

BACKDROPS = ("entity", "background")


class ShapesDataset:
    """A map-style data set of geometric scenes; item `index` depends on (seed, index) alone.

    Args:
        height: rows of every image, in pixels.
        width: columns of every image, in pixels.
        seed: a non-negative integer; another seed gives other scenes.
        max_shapes: the most shapes in one scene.
        length: number of scenes.
        backdrop: "entity" labels the backdrop like any shape; "background" labels it 0.

    Raises:
        InputError: a size, count or seed out of range, or an unknown `backdrop`.
    """

    def __init__(
        self,
        height: int,
        width: int,
        seed: int = 0,
        max_shapes: int = 40,
        length: int = 2**31 - 1,
        backdrop: str = "entity",
    ) -> None:
        _check_integers(1, height=height, width=width, max_shapes=max_shapes, length=length)
        _check_integers(0, seed=seed)
        if backdrop not in BACKDROPS:
            raise InputError(f"backdrop must be one of {', '.join(BACKDROPS)}, got {backdrop!r}")
        self.height = height
        self.width = width
        self.seed = seed
        self.max_shapes = max_shapes
        self.length = length
        self.backdrop = backdrop

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self.length

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Return scene `index`: image (H, W, 3) uint8 and labels (H, W) int32.

        Raises:
            IndexError: `index` is not in 0 .. length - 1.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"index must be in 0..{self.length - 1}, got {index}")
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, index])))
        image, layers = _draw_scene(generator, self.height, self.width, self.max_shapes)
        return image, _consecutive(layers, first_label=int(self.backdrop == "entity"))


def render_scene(
    generator: np.random.Generator, height: int, width: int, *, max_shapes: int = 40
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Render a random scene of overlapping shapes on a backdrop.

    Returns:
        image (H, W, 3) uint8 and labels (H, W) int32 in 1..K without gaps. The backdrop, if any of
        it is visible, is 1; every further label is one visible shape, later ones on top. A pixel
        belongs to the topmost shape that covers at least half of it.

    Raises:
        InputError: a size or count is not a positive integer.
    """
    _check_integers(1, height=height, width=width, max_shapes=max_shapes)
    image, layers = _draw_scene(generator, height, width, max_shapes)
    return image, _consecutive(layers, first_label=1)


def _check_integers(least: int, **arguments: int) -> None:
    for name, value in arguments.items():
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be an integer of at least {least}, got {value!r}")


def _consecutive(layers: NDArray[np.int32], first_label: int) -> NDArray[np.int32]:
    """Renumber layers in order; layer 0, the backdrop, gets `first_label` (0, or 1 if visible)."""
    visible = np.bincount(layers.ravel()) > 0
    visible[0] &= first_label == 1
    return np.cumsum(visible).astype(np.int32)[layers] * (visible[layers])


def _draw_scene(
    generator: np.random.Generator, height: int, width: int, max_shapes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    style = random_style(generator)
    extent = max(height, width)
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = texture(
        generator,
        style.appearance(generator, extent / 2),
        slice(0, height),
        slice(0, width),
        complex(width, height) / 2,
        extent / 2,
    )
    layers = np.zeros((height, width), np.int32)
    shapes = random_layout(generator, style, height, width, max_shapes)
    for index, (outline, appearance) in enumerate(shapes, start=1):
        paint(canvas, layers, index, outline, appearance, generator)
    return _photograph(generator, canvas), layers


def _photograph(generator: np.random.Generator, canvas: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn a canvas (H, W, 3) in 0..255 into an image: exposure, blur, sensor noise."""
    # Contrast is only ever lowered and brightness kept within what it frees: no two colours clip
    # to the same one.
    contrast = generator.uniform(0.6, 1) if generator.random() < 0.4 else 1.0
    brightness = generator.uniform(0, 255 * (1 - contrast))
    canvas = canvas * np.float32(contrast) + np.float32(brightness)
    if generator.random() < 0.3:
        rounded = Image.fromarray(np.rint(canvas).astype(np.uint8))
        blur = ImageFilter.GaussianBlur(generator.uniform(0.4, 1.2))
        canvas = np.asarray(rounded.filter(blur), np.float32)
    if generator.random() < 0.6:
        noise = generator.standard_normal(canvas.shape, np.float32)
        # Gaussian noise is the same everywhere, shot noise grows with the square root of light.
        shot = generator.random() < 0.5
        noise *= np.sqrt(canvas) / 10 if shot else 1
        canvas = canvas + noise * np.float32(log_uniform(generator, 1, 12))
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
