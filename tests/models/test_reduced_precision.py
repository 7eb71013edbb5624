"""Networks in bfloat16: the same objects, positions kept, the original untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from random_models import random_network, tiny_settings

import bottomup_fast as bf
from bottomup_fast import segmenter
from bottomup_fast.errors import InputError
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.reduced_precision import in_bfloat16


def dtypes(network: torch.nn.Module) -> set[torch.dtype]:
    return {parameter.dtype for parameter in network.parameters()}


@pytest.mark.parametrize("position_scale", [None, 9.0])
@pytest.mark.parametrize("foreground", [False, True])
def test_outputs_are_those_in_float32_up_to_rounding(
    foreground: bool, position_scale: float | None
) -> None:
    network = random_network(tiny_settings(foreground, position_scale)).eval()
    reduced = in_bfloat16(network)
    assert dtypes(reduced) == {torch.bfloat16}
    assert dtypes(network) == {torch.float32}
    images = torch.rand(2, 3, 70, 45)
    with torch.no_grad():
        features, logits = reduced.forward_with_foreground(images)
        expected, expected_logits = network.forward_with_foreground(images)
    cosine = torch.nn.functional.cosine_similarity(features.float(), expected, dim=1)
    assert cosine.mean() > 0.98
    if foreground:
        assert logits is not None
        assert expected_logits is not None
        spread = expected_logits.std()
        assert (logits.float() - expected_logits).abs().mean() < 0.05 * spread


def test_places_are_not_rounded() -> None:
    # At 1000 pixels from the corner bfloat16 knows multiples of 4.
    network = in_bfloat16(random_network(tiny_settings(False, 9.0)).eval())
    images = torch.rand(1, 3, 64, 64)
    origin = torch.tensor([[0.0, 1000.0]])
    with torch.no_grad():
        there, _ = network.forward_with_foreground(images, origin)
        beside, _ = network.forward_with_foreground(images, origin + 1)
    assert (there - beside).abs().mean() > 1e-3


def test_a_network_without_an_encoder_is_returned_as_it_is() -> None:
    class Constant(BottomUpNetwork):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

    network = Constant()
    assert in_bfloat16(network) is network


@pytest.mark.parametrize(
    ("able", "precision", "expected"),
    [
        (True, "fast", torch.bfloat16),
        (True, "highest", torch.float32),
        (False, "fast", torch.float32),
    ],
)
def test_segmenters_use_it_where_the_processor_has_units_for_it(
    monkeypatch: pytest.MonkeyPatch, able: bool, precision: Any, expected: torch.dtype
) -> None:
    monkeypatch.setattr(segmenter, "multiplies_bfloat16", lambda: able)
    made = bf.Segmenter(random_network(tiny_settings()), "cpu", precision=precision)
    assert dtypes(made.network) == {expected}
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    assert made.segment(image).labels.shape == (40, 50)


def test_precision_is_fast_or_highest() -> None:
    with pytest.raises(InputError, match=r'^precision must be "highest" or "fast", got .half.$'):
        bf.Segmenter(random_network(tiny_settings()), precision="half")  # type: ignore[arg-type]
