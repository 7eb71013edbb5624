"""SAM's automatic masks, through `transformers`; they overlap, and are measured so."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.masks import Masks, encode
from bottomup_fast.evaluation.peers.method import Method, eight_bit, required
from bottomup_fast.segmenter import choose_device


class AutomaticMasks:
    """A mask generation pipeline of `transformers`.

    Args:
        pipeline: of the task "mask-generation".
        settings: of its call, such as `points_per_batch`; those left out are SAM's own.
    """

    timed = True

    def __init__(self, pipeline: Any, **settings: float) -> None:
        self.pipeline = pipeline
        self.settings = settings

    def __call__(self, sample: Sample) -> Masks:
        """Segments of the sample's image with the IoU that SAM predicts as scores."""
        found = self.pipeline(Image.fromarray(eight_bit(sample.image)), **self.settings)
        masks = [np.asarray(mask, np.bool_) for mask in found["masks"]]
        kept = [index for index, mask in enumerate(masks) if mask.any()]
        height, width = sample.image.shape[:2]
        scores = np.asarray(found["scores"], np.float64)[kept]
        return Masks((height, width), tuple(encode(masks[index]) for index in kept), scores)


def open_sam(name: str, device: str) -> Method:
    """A published SAM or a folder of one."""
    transformers = required("transformers", "sam", "'bottomup-fast[peers]'")
    chosen = choose_device(device)
    try:
        # Weights as safetensors only: nothing from outside is unpickled.
        weights = {"use_safetensors": True}
        generator = transformers.pipeline(
            "mask-generation", name, device=chosen, model_kwargs=weights
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name}: no model for mask generation ({reason})") from error
    return AutomaticMasks(generator)
