"""What a method is, and all of them by name; their packages are imported when one is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.masks import Segments
from bottomup_fast.images import percentile_normalise


class Method(Protocol):
    """Finds segments in an image; it must not look at the annotation of its sample.

    Attributes:
        timed: whether the time of a call means anything; not for reading what is on disk.
    """

    timed: bool

    def __call__(self, sample: Sample) -> Segments:
        """Segments of the sample's image.

        Raises:
            InputError: the image cannot be segmented, or has no prediction.
        """


@dataclass(frozen=True)
class MethodKind:
    """A kind of method.

    Attributes:
        module: of this package that holds it.
        function: of that module, taking the argument and the device.
        argument: what stands behind the colon, for the help; in brackets if it may be left out.
    """

    module: str
    function: str
    argument: str | None = None


METHODS: Mapping[str, MethodKind] = {
    "bottomup": MethodKind("bottomup", "open_bottomup", "[NAME|FILE]"),
    "predictions": MethodKind("predictions", "open_predictions", "DIR|FILE.json"),
    "felzenszwalb": MethodKind("classical", "open_felzenszwalb", "[SCALE]"),
    "otsu-watershed": MethodKind("classical", "open_otsu_watershed"),
    "mask2former": MethodKind("universal", "open_mask2former", "NAME|DIR"),
    "maskformer": MethodKind("universal", "open_maskformer", "NAME|DIR"),
    "oneformer": MethodKind("universal", "open_oneformer", "NAME|DIR"),
    "sam": MethodKind("sam", "open_sam", "NAME|DIR"),
    "cellpose": MethodKind("cells", "open_cellpose", "[MODEL]"),
    "stardist": MethodKind("cells", "open_stardist", "[MODEL]"),
}


def open_method(text: str, device: str = "auto") -> Method:
    """Open the method of a text KIND or KIND:ARGUMENT.

    Args:
        text: such as "felzenszwalb" or "predictions:folder".
        device: as of a `Segmenter`.

    Raises:
        InputError: unknown kind, an argument missing or too many, a package that is not installed,
            or as the method does about its argument.
    """
    name, colon, argument = text.partition(":")
    if name not in METHODS:
        raise InputError(f"--method: unknown {name!r}; expected {', '.join(METHODS)}")
    kind = METHODS[name]
    if colon and kind.argument is None:
        raise InputError(f"--method: {name} takes no argument, got {argument!r}")
    if not argument and kind.argument is not None and not kind.argument.startswith("["):
        raise InputError(f"--method: {name} needs an argument, {name}:{kind.argument}")
    module = import_module(f"{__package__}.{kind.module}")
    opening: Callable[[str, str], Method] = getattr(module, kind.function)
    return opening(argument, device)


def required(module: str, method: str, install: str) -> Any:
    """A module that a method needs; raises InputError, saying what to install, if it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"--method: {method} needs a package; pip install {install} ({error})"
        ) from error


def eight_bit(image: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """An image (H, W, 3) as uint8; one of 16 bits is stretched to be visible."""
    if image.dtype == np.uint8:
        return image.astype(np.uint8, copy=False)
    return np.rint(percentile_normalise(image) * 255).astype(np.uint8)
