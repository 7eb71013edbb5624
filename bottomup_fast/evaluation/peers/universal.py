"""Mask2Former, MaskFormer and OneFormer of `transformers`: panoptic segments without classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.peers.method import Method, eight_bit, required
from bottomup_fast.segmentation import Segmentation
from bottomup_fast.segmenter import choose_device


class Panoptic:
    """A model that gives panoptic segments, with its processor's own thresholds.

    Args:
        model: of `transformers`.
        processor: its image processor, or OneFormer's processor.
        device: of torch.
    """

    timed = True

    def __init__(self, model: Any, processor: Any, device: torch.device) -> None:
        self.model = model.to(device).eval()
        self.processor = processor
        self.device = device
        images = getattr(processor, "image_processor", processor)
        # Only OneFormer's processor knows which classes are stuff, to be one segment each.
        metadata = getattr(images, "metadata", None)
        things = set(metadata["thing_ids"]) if metadata else set(model.config.id2label)
        self.fused = set(model.config.id2label) - things
        self.task = {"task_inputs": ["panoptic"]} if images is not processor else {}

    @torch.inference_mode()
    def __call__(self, sample: Sample) -> Segmentation:
        """Segments of the sample's image."""
        inputs = self.processor(images=eight_bit(sample.image), return_tensors="pt", **self.task)
        outputs = self.model(**inputs.to(self.device))
        (found,) = self.processor.post_process_panoptic_segmentation(
            outputs, label_ids_to_fuse=self.fused, target_sizes=[sample.image.shape[:2]]
        )
        score_of = {info["id"]: float(info["score"]) for info in found["segments_info"]}
        numbers, labels = np.unique(found["segmentation"].int().cpu().numpy(), return_inverse=True)
        kept = np.isin(numbers, list(score_of))
        renumbered = np.where(kept, kept.cumsum(), 0).astype(np.int32)
        scores = [score_of[int(number)] for number in numbers[kept]]
        return Segmentation(renumbered[labels.reshape(sample.image.shape[:2])], scores=scores)


def open_mask2former(name: str, device: str) -> Method:
    """A published Mask2Former or a folder of one."""
    return _open(name, device, "Mask2FormerForUniversalSegmentation", "AutoImageProcessor")


def open_maskformer(name: str, device: str) -> Method:
    """A published MaskFormer or a folder of one."""
    return _open(name, device, "MaskFormerForInstanceSegmentation", "AutoImageProcessor")


def open_oneformer(name: str, device: str) -> Method:
    """A published OneFormer or a folder of one."""
    return _open(name, device, "OneFormerForUniversalSegmentation", "OneFormerProcessor")


def _open(name: str, device: str, model_class: str, processor_class: str) -> Method:
    transformers = required("transformers", model_class, "'bottomup-fast[peers]'")
    chosen = choose_device(device)
    try:
        processor = getattr(transformers, processor_class).from_pretrained(name)
        # Weights as safetensors only: nothing from outside is unpickled.
        model = getattr(transformers, model_class).from_pretrained(name, use_safetensors=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name}: no {model_class} with its processor ({reason})") from error
    return Panoptic(model, processor, chosen)
