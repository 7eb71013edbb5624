"""Position codes: a line for every place of the plane, so that look-alike objects get their own.

A convolutional network gives equal objects equal features wherever they stand. Here the network
says of every pixel where its object's anchor is, and the pixel's feature is a code of that place:
semi-convolutional features (Novotny et al., ECCV 2018), with Fourier features (Rahimi and Recht,
NeurIPS 2007) in place of bare coordinates, so that near places have parallel lines and far ones
nearly orthogonal lines in images of any size. What is near is a matter of scale: one for all
objects (`PositionCode`), or the network's choice for every pixel (`ScaledPositionCode`), as in the
spatial embeddings of Neven et al. (CVPR 2019).

Features that the network could add to the code would carry all by themselves while training crops
are small: by the crop's border, which tells where things are in the crop, but in no larger image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bottomup_fast.errors import InputError

GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2
"""Turns by it spread directions evenly, whatever their number."""
REACH = 3.0
"""Farthest place a pixel can point to, in units of the code's (largest) scale. Without a bound the
places of a training crop drift together to a far corner, by the crop's border again."""
DIRECTIONS = 4
"""Of the waves of one length in a `ScaledPositionCode`."""


class PositionCode(nn.Module):
    """The code of the place that each pixel points to.

    The cosine between the codes of two places at distance r is close to exp(-r^2 / (2 scale^2)).

    Args:
        feature_dim: D; an odd last dimension stays zero.
        scale: distance in pixels at which two codes are no longer parallel.
    """

    inputs = 2
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

    def forward(self, anchor: Tensor, origin: Tensor | None) -> Tensor:
        """(B, D, H, W) features of unit length, float32.

        Args:
            anchor: (B, 2, H, W), from each pixel to its object's anchor in (y, x): in units of
                `scale` where small, and `REACH` of them at most.
            origin: (B, 2), the (y, x) position of each image's corner in pixels, so that a tile of
                a larger image has the codes it has there; None for (0, 0).
        """
        # Half precision would round positions by whole pixels.
        y, x = _places(anchor.float(), self.scale, REACH * self.scale, origin)
        frequency_y, frequency_x = self.frequencies.view(2, 1, -1, 1, 1)
        angles = frequency_y * y + frequency_x * x
        code = [angles.cos(), angles.sin()]
        if self.unpaired:
            code.append(torch.zeros_like(y))
        return self.gain * torch.cat(code, dim=1)


class ScaledPositionCode(nn.Module):
    """The code of the place that each pixel points to, at a scale that it chooses.

    Waves run in `DIRECTIONS` and have lengths at equal ratios. A scale is a choice among them: the
    squared amplitude of a wave of frequency f is f^2 exp(-(scale f)^2 / 2), normalised, which is a
    Gaussian spectrum sampled that way. So codes of one place at scales within a factor of 2.4, and
    of one scale at distances within about 0.8 of it, fall into a window of 45 degrees. That is
    narrower by a third at the largest scale, whose longest waves are left out.

    Args:
        feature_dim: D; what exceeds a multiple of 2 `DIRECTIONS` stays zero.
        smallest: scale in pixels.
        largest: scale in pixels.
    """

    inputs = 3
    frequencies: Tensor

    def __init__(self, feature_dim: int, smallest: float, largest: float) -> None:
        super().__init__()
        self.smallest, self.largest = smallest, largest
        lengths = feature_dim // (2 * DIRECTIONS)
        self.unused = feature_dim - 2 * DIRECTIONS * lengths
        rank = torch.arange(lengths, dtype=torch.float64).repeat_interleave(DIRECTIONS)
        turn = torch.arange(DIRECTIONS, dtype=torch.float64).repeat(lengths)
        # From the peak of the largest scale's spectrum to that of the smallest.
        frequency = math.sqrt(2) / largest * (largest / smallest) ** (rank / max(1, lengths - 1))
        # Every other length runs between the directions of the one before.
        angle = math.pi / DIRECTIONS * (turn + rank % 2 / 2)
        frequencies = torch.stack([frequency * angle.sin(), frequency * angle.cos(), frequency])
        self.register_buffer("frequencies", frequencies.float(), persistent=False)

    def forward(self, anchor: Tensor, origin: Tensor | None) -> Tensor:
        """(B, D, H, W) features of unit length, float32.

        Args:
            anchor: (B, 3, H, W), from each pixel to its object's anchor in (y, x), in units of the
                geometric mean of the scales where small and `REACH` of the largest at most; and
                the scale: the smallest at minus infinity, the mean at 0, the largest at infinity.
            origin: as for `PositionCode`.
        """
        anchor = anchor.float()
        mean = math.sqrt(self.smallest * self.largest)
        y, x = _places(anchor[:, :2], mean, REACH * self.largest, origin)
        spread = 0.5 * math.log(self.largest / self.smallest)
        scale = mean * torch.exp(spread * torch.tanh(anchor[:, 2:]))
        frequency_y, frequency_x, frequency = self.frequencies.view(3, 1, -1, 1, 1)
        # The directions of a length share its power, so that one of them stands for all.
        length = frequency[:, ::DIRECTIONS]
        power = torch.log_softmax(2 * length.log() - (scale * length).square() / 2, dim=1)
        # Where the power vanishes, the derivative of its root would be infinite.
        amplitude = ((power - math.log(DIRECTIONS)) / 2).exp().repeat_interleave(DIRECTIONS, 1)
        angles = frequency_y * y + frequency_x * x
        code = [amplitude * angles.cos(), amplitude * angles.sin()]
        if self.unused:
            code.append(torch.zeros_like(y).expand(-1, self.unused, -1, -1))
        return torch.cat(code, dim=1)


def position_code(
    feature_dim: int, scale: float | None, largest: float | None
) -> PositionCode | ScaledPositionCode | None:
    """The code of one scale, of scales up to the largest, or none.

    Raises:
        InputError: scales that are not positive and ascending.
    """
    if scale is None:
        if largest is not None:
            raise InputError("largest_scale: needs a position_scale, the smallest")
        return None
    if not 0 < scale < math.inf:
        raise InputError(f"position_scale must be positive, got {scale}")
    if largest is None:
        return PositionCode(feature_dim, scale)
    if not scale < largest < math.inf:
        raise InputError(f"largest_scale must be above position_scale ({scale}), got {largest}")
    if feature_dim < 2 * DIRECTIONS:
        raise InputError(
            f"feature_dim must be at least {2 * DIRECTIONS} with a largest_scale, got {feature_dim}"
        )
    return ScaledPositionCode(feature_dim, scale, largest)


def _places(
    displacement: Tensor, unit: float, reach: float, origin: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Rows and columns (B, 1, H, W) that pixels point to, by (B, 2, H, W) in units of `unit`."""
    batch, _, height, width = displacement.shape
    place = torch.tanh(displacement * (unit / reach)) * reach
    if origin is not None:
        place = place + origin.to(place).view(batch, 2, 1, 1)
    y = place[:, :1] + torch.arange(height, device=place.device).view(-1, 1)
    x = place[:, 1:] + torch.arange(width, device=place.device)
    return y, x
