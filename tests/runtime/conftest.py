from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from random_models import random_network, tiny_settings

import bottomup_fast as bf
from bottomup_fast import runtime
from bottomup_fast.models.network import BottomUpNetwork

Pair = tuple[bf.Segmenter, runtime.Segmenter]
MakePair = Callable[..., Pair]


def in_numpy(network: BottomUpNetwork) -> Callable[..., Any]:
    """The network as `runtime.Segmenter` calls one."""

    @torch.inference_mode()
    def run(image: NDArray[np.float32], y: int, x: int) -> tuple[Any, Any]:
        view = torch.from_numpy(image)[None].contiguous(memory_format=torch.channels_last)
        features, logits = network.forward_with_foreground(view, view.new_tensor([[y, x]]))
        return features[0].numpy(), None if logits is None else logits[0].numpy()

    return run


@pytest.fixture(scope="module")
def make_pair() -> MakePair:
    """Both segmenters on one network with random weights; keyword arguments are as in tests/."""
    known: dict[str, BottomUpNetwork] = {}

    def make(
        foreground: bool = False,
        position_scale: float | None = None,
        preprocessing: dict[str, Any] | None = None,
        clustering: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> Pair:
        settings = tiny_settings(
            foreground,
            position_scale,
            preprocessing=preprocessing or {},
            clustering=clustering or {},
        )
        key = settings.architecture.model_dump_json()
        if key not in known:
            known[key] = random_network(settings)
        network = known[key]
        network.settings = settings
        segmenter = bf.Segmenter(network, "cpu", precision="highest", **arguments)
        json = settings.model_dump_json()
        return segmenter, runtime.Segmenter(in_numpy(segmenter.network), json, **arguments)

    return make
