"""Which shapes a scene holds and where: scattered ones, crowds of look-alikes, a few huge ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.data.shape_drawing import Outline, directions, log_uniform, random_outline
from bottomup_fast.data.shape_textures import PATTERNS, Appearance, flat

Shapes: TypeAlias = list[tuple[Outline, Appearance]]

SPECK = 1.5  # pixels: the radius of the smallest shapes


@dataclass(frozen=True)
class Style:
    """What all shapes of a scene have in common."""

    centre: NDArray[np.float64]  # the RGB colour around which the scene's colours lie
    spread: float  # how far from it, 1 for anywhere
    saturation: float  # 0 for a grey scene
    light: complex  # direction in which shadows fall
    shadow: float  # how likely a shape casts one

    def colour(self, generator: np.random.Generator) -> NDArray[np.float32]:
        """Draw an RGB colour, (3,) in 0..255."""
        free = generator.uniform(0, 255, 3)
        vivid = self.centre + self.spread * (free - self.centre)
        muted = vivid.mean() + self.saturation * (vivid - vivid.mean())
        return np.asarray(muted, np.float32)

    def appearance(self, generator: np.random.Generator, radius: float) -> Appearance:
        """Draw the looks of a shape of `radius` pixels."""
        first, other = self.colour(generator), self.colour(generator)
        second = first + np.float32(generator.uniform(0.2, 1)) * (other - first)
        plain = generator.random() < 0.3
        return Appearance(
            colours=np.stack([first, second]),
            pattern=flat if plain else PATTERNS[generator.integers(len(PATTERNS))],
            rim=generator.uniform(0.2, 0.9) if generator.random() < 0.35 else 0.0,
            rim_width=log_uniform(generator, 0.7, max(1.0, radius / 3)),
            shadow=generator.uniform(0.2, 0.7) if generator.random() < self.shadow else 0.0,
            shadow_offset=self.light * log_uniform(generator, 1, max(2.0, radius / 4)),
            shadow_blur=log_uniform(generator, 0.7, max(1.0, radius / 6)),
        )


def random_style(generator: np.random.Generator) -> Style:
    """Draw the colours and the light of a scene."""
    return Style(
        centre=generator.uniform(0, 255, 3),
        spread=generator.choice([1.0, 0.6, 0.25], p=[0.6, 0.25, 0.15]),
        saturation=generator.choice([1.0, 0.5, 0.0], p=[0.55, 0.3, 0.15]),
        light=complex(directions(generator.uniform())),
        shadow=generator.choice([0.0, 0.3, 0.9], p=[0.4, 0.3, 0.3]),
    )


def random_layout(
    generator: np.random.Generator, style: Style, height: int, width: int, max_shapes: int
) -> Shapes:
    """Return the shapes of a scene, lowest first."""
    frame = complex(width, height)
    count = min(int(log_uniform(generator, min(4, max_shapes), max_shapes + 1)), max_shapes)
    huge: Shapes = []
    if generator.random() < 0.25:
        radii = generator.uniform(0.25, 0.6, min(count, int(generator.integers(1, 5))))
        huge = _scatter(generator, style, frame, max(height, width) * radii)
    crowd: Shapes = []
    if generator.random() < 0.4:
        most = max_shapes - len(huge)
        crowd = _crowd(generator, style, frame, int(generator.integers(most + 1)))
    rest = max(0, count - len(huge) - len(crowd))
    largest = max(height, width) / 2
    radii = np.array([log_uniform(generator, min(SPECK, largest), largest) for _ in range(rest)])
    # Mostly the large ones first, or a late one would hide many.
    order = np.argsort(-radii * np.exp(generator.normal(0, 0.7, rest)))
    scattered = _scatter(generator, style, frame, radii[order])
    return huge + (crowd + scattered if generator.random() < 0.5 else scattered + crowd)


def _scatter(
    generator: np.random.Generator, style: Style, frame: complex, radii: NDArray[np.float64]
) -> Shapes:
    return [
        (
            _placed(
                random_outline(generator, radius),
                _random_point(generator, frame),
                turn=generator.uniform(),
            ),
            style.appearance(generator, radius),
        )
        for radius in radii.tolist()
    ]


def _crowd(generator: np.random.Generator, style: Style, frame: complex, count: int) -> Shapes:
    """Repeat one shape side by side on a more or less disordered hexagonal lattice."""
    reach = max(frame.real, frame.imag) / 2 * log_uniform(generator, 0.3, 2)
    radius = max(SPECK, reach / np.sqrt(count + 1))
    outline = random_outline(generator, radius)
    # Without an edge of its own a shape would merge with its neighbour of the same colour.
    appearance = replace(
        style.appearance(generator, radius), rim=generator.uniform(0.5, 0.9), rim_width=1.0
    )
    side = np.arange(-int(np.sqrt(count)) - 1, int(np.sqrt(count)) + 2)
    lattice = (side[:, None] + side * directions(1 / 6)).ravel()
    nearest = lattice[np.argsort(np.abs(lattice), kind="stable")[:count]]
    disorder = generator.normal(0, generator.uniform(0, 0.25), (2, count))
    spacing = max(radius, 1.1 * np.sqrt(_area(outline))) * generator.uniform(0.85, 1.15)
    turn, turn_spread = generator.uniform(), generator.choice([0.0, 0.05, 0.5])
    centre = _random_point(generator, frame)
    places = centre + spacing * directions(turn) * (nearest + disorder[0] + 1j * disorder[1])
    return [
        (
            _placed(
                outline,
                place,
                turn=turn + turn_spread * generator.uniform(-1, 1),
                scale=generator.uniform(0.85, 1.15),
            ),
            replace(
                appearance,
                colours=np.clip(appearance.colours + np.float32(generator.normal(0, 12)), 0, 255),
            ),
        )
        for place in places
    ]


def _random_point(generator: np.random.Generator, frame: complex) -> complex:
    return complex(generator.uniform(0, frame.real), generator.uniform(0, frame.imag))


def _placed(outline: Outline, centre: complex, turn: float, scale: float = 1.0) -> Outline:
    return [centre + scale * directions(turn) * points for points in outline]


def _area(outline: Outline) -> float:
    return abs(sum(float(np.vdot(p, np.roll(p, -1)).imag) for p in outline)) / 2
