"""Position code: a line for every place of the plane, so that look-alike objects get their own.

A convolutional network gives equal objects equal features wherever they stand. Here the network
says of every pixel where its object's anchor is, and the pixel's feature is a code of that place:
semi-convolutional features (Novotny et al., ECCV 2018), with random Fourier features (Rahimi and
Recht, NeurIPS 2007) in place of bare coordinates, so that near places have parallel lines and far
ones nearly orthogonal lines in images of any size. Features that the network could add to the code
would carry all by themselves while training crops are small: by the crop's border, which tells
where things are in the crop, but in no larger image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2
"""Turns by it spread directions evenly, whatever their number."""
REACH = 3.0
"""Farthest place a pixel can point to, in units of the code's scale. Without a bound the places of
a training crop drift together to a far corner, by the crop's border again."""


class PositionCode(nn.Module):
    """The code of the place that each pixel points to.

    The cosine between the codes of two places at distance r is close to exp(-r^2 / (2 scale^2)).

    Args:
        feature_dim: D; an odd last dimension stays zero.
        scale: distance in pixels at which two codes are no longer parallel.
    """

    frequencies: Tensor

    def __init__(self, feature_dim: int, scale: float) -> None:
        super().__init__()
        count = feature_dim // 2
        self.scale = scale
        self.unpaired = feature_dim % 2
        # The quantiles of the lengths of Gaussian vectors: the kernel's tail stays flatter than
        # with lengths drawn at random.
        rank = (torch.arange(count, dtype=torch.float64) + 0.5) / max(count, 1)
        length = (-2 * torch.log1p(-rank)).sqrt() / scale
        angle = GOLDEN_ANGLE * torch.arange(count, dtype=torch.float64)
        frequencies = torch.stack([length * angle.sin(), length * angle.cos()]).float()
        self.register_buffer("frequencies", frequencies, persistent=False)
        # Unit length, as eq. 3 wants it.
        self.gain = 1 / math.sqrt(max(count, 1))

    def forward(self, displacement: Tensor, origin: Tensor | None) -> Tensor:
        """(B, D, H, W) features of unit length, float32.

        Args:
            displacement: (B, 2, H, W), from each pixel to its object's anchor in (y, x): in units
                of `scale` where small, and `REACH` of them at most.
            origin: (B, 2), the (y, x) position of each image's corner in pixels, so that a tile of
                a larger image has the codes it has there; None for (0, 0).
        """
        batch, _, height, width = displacement.shape
        # Half precision would round positions by whole pixels.
        place = torch.tanh(displacement.float() / REACH) * (REACH * self.scale)
        if origin is not None:
            place = place + origin.to(place).view(batch, 2, 1, 1)
        y = place[:, :1] + torch.arange(height, device=place.device).view(-1, 1)
        x = place[:, 1:] + torch.arange(width, device=place.device)
        frequency_y, frequency_x = self.frequencies.view(2, 1, -1, 1, 1)
        angles = frequency_y * y + frequency_x * x
        code = [angles.cos(), angles.sin()]
        if self.unpaired:
            code.append(torch.zeros_like(y))
        return self.gain * torch.cat(code, dim=1)
