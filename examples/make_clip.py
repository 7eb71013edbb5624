"""Makes `drift.webp` of `nuclei.png`: a stage that drifts, a slow zoom, flicker and noise.

python examples/make_clip.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates

FOLDER = Path(__file__).parent
FRAMES = 28
SIDE = 192  # pixels


def place(frame: int) -> NDArray[np.float64]:
    """Coordinates (2, SIDE, SIDE) in the micrograph, (y, x), of the pixels of a frame."""
    step = frame / (FRAMES - 1)
    zoom = 1 + 0.2 * step
    centre = np.array([100 + 50 * step, 100 + 110 * step])
    offset = (np.indices((SIDE, SIDE)) - (SIDE - 1) / 2) / zoom
    coordinates: NDArray[np.float64] = centre[:, None, None] + offset
    return coordinates


def frames(micrograph: NDArray[np.uint8], seed: int = 0) -> list[NDArray[np.uint8]]:
    """The clip's frames (SIDE, SIDE) of a micrograph (256, 320)."""
    rng = np.random.default_rng(seed)
    made = []
    for frame in range(FRAMES):
        seen = map_coordinates(micrograph.astype(np.float64), place(frame), order=1, mode="reflect")
        brightness = 1.5 + 0.12 * np.sin(frame / 3)
        noisy = seen * brightness + rng.normal(0, 2, seen.shape)
        made.append(np.rint(noisy).clip(0, 255).astype(np.uint8))
    return made


def main() -> None:
    """Write the clip beside the micrograph."""
    micrograph = np.asarray(Image.open(FOLDER / "nuclei.png").convert("L"))
    first, *others = (Image.fromarray(frame).convert("RGB") for frame in frames(micrograph))
    first.save(
        FOLDER / "drift.webp",
        save_all=True,
        append_images=others,
        duration=80,
        quality=90,
        method=6,
    )


if __name__ == "__main__":
    main()
