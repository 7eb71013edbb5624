"""The zoom at which an image shows objects in the size that a model was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from bottomup_fast.components import LabelMap
from bottomup_fast.data.transforms import zoom_to_diameter

LARGEST_STEP = 2.0
"""Factor between two looks at an image."""
LARGEST_ZOOM = 8.0
"""Times the zoom of the first look, to which small objects are enlarged at most, and"""
LARGEST_LOOK = 1 << 20
"""pixels that a look beyond `SEARCHED_ZOOM` may have: what it costs grows with them."""
SEARCHED_ZOOM = 4.0
"""Times the first zoom, up to which objects are looked for while there are none."""
GROWING_ZOOM = 2.0
"""beyond which objects must grow with the image: texture looks alike at every zoom, or nearly."""
GROWTH = 0.4
"""Power of the factor by which an image is enlarged, by which its objects must grow at least."""
CLOSE = 1.2
"""Factor within which objects have the size that is wanted, and"""
NEARLY_CLOSE = 1.35
"""within which they do at `SEARCHED_ZOOM` and beyond, where one more look costs most."""

Maps = TypeVar("Maps")


def search_zoom(
    look: Callable[[float], tuple[LabelMap, Maps]], first: float, diameter: float, area: int
) -> tuple[float | None, tuple[LabelMap, Maps] | None]:
    """Enlarge an image from a first look, which shows large objects whole, until objects fit.

    Not from above: enlarged too far, objects fall into parts, and parts of the right size look like
    objects of that size. Where there are no objects but texture, the search ends early.

    Args:
        look: segments of the image at a zoom, and the maps they come from.
        first: zoom of the first look.
        diameter: wanted of the median segment, pixels, of the disc of equal area.
        area: of the image, pixels.

    Returns:
        The zoom, None where no object is found; and the look at that zoom if there was one.
    """
    affordable = max(SEARCHED_ZOOM * first, math.sqrt(LARGEST_LOOK / area))
    largest = min(LARGEST_ZOOM * first, affordable)
    zoom, grown, before = first, 1.0, math.inf
    while True:
        seen = objects, _ = look(zoom)
        if objects.any():
            factor = zoom_to_diameter(objects, diameter)
            if factor < 1 / CLOSE:
                return zoom * factor, None
            texture = zoom > GROWING_ZOOM * first and factor >= before / grown**GROWTH
            close = CLOSE if zoom < SEARCHED_ZOOM * first else NEARLY_CLOSE
            if factor < close or texture or zoom == largest:
                return zoom, seen
            enlarged = min(zoom * min(factor, LARGEST_STEP), largest)
            zoom, grown, before = enlarged, enlarged / zoom, factor
        elif zoom < SEARCHED_ZOOM * first:
            zoom *= LARGEST_STEP
        else:
            return None, None
