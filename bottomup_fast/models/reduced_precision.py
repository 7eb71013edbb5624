"""A network in bfloat16, for inference on processors that multiply it fast."""

from __future__ import annotations

import copy

from bottomup_fast.models.network import BottomUpNetwork


def in_bfloat16(network: BottomUpNetwork) -> BottomUpNetwork:
    """Return a copy whose encoder and decoder compute in bfloat16.

    Position codes stay float32, or places would be rounded by whole pixels. A network without an
    encoder and a decoder of its own, such as an exported one, is returned as it is.
    """
    if not hasattr(network, "encoder"):
        return network
    reduced = copy.deepcopy(network)
    reduced.encoder.bfloat16()
    reduced.decoder.bfloat16()
    return reduced
