"""Decoder: chained RefineNet fusion as in MiDaS v2, then three convolutions to the input size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bottomup_fast.models.encoder import STRIDES


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3x3, without normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same shape."""
        result: Tensor = x + self.conv2(functional.relu(self.conv1(functional.relu(x))))
        return result


class FusionBlock(nn.Module):
    """One RefineNet step: add the refined skip, refine, upsample by two."""

    def __init__(self, width: int, has_skip: bool) -> None:
        super().__init__()
        self.skip_unit = ResidualConvUnit(width) if has_skip else None
        self.unit = ResidualConvUnit(width)

    def forward(self, path: Tensor, skip: Tensor | None = None) -> Tensor:
        """(B, width, H, W), and a skip of that shape, to (B, width, 2H, 2W)."""
        if self.skip_unit is not None:
            path = path + self.skip_unit(skip)
        return _double(self.unit(path))


class Decoder(nn.Module):
    """Encoder maps at strides 4..32 to `outputs` channels at the input size.

    Args:
        channels: of the encoder maps, finest first.
        width: channels of the fusion path.
        feature_dim: D; no layer after the fusion is narrower.
        outputs: channels of the result, before any activation.
        position_periods: see `position_maps`; none by default.
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        feature_dim: int,
        outputs: int,
        position_periods: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.position_periods = tuple(position_periods)
        extra = 4 * len(self.position_periods)
        self.project = nn.ModuleList(
            nn.Conv2d(count + extra, width, 3, padding=1) for count in channels
        )
        last = len(channels) - 1
        self.fuse = nn.ModuleList(FusionBlock(width, has_skip=i < last) for i in range(last + 1))
        self.reduce = nn.Conv2d(width, feature_dim, 3, padding=1)
        self.refine = nn.Conv2d(feature_dim, feature_dim, 3, padding=1)
        self.output = nn.Conv2d(feature_dim, outputs, 1)

    def forward(self, maps: Sequence[Tensor], origin: Tensor | None = None) -> Tensor:
        """Encoder maps, finest first, to (B, outputs, H, W).

        `origin` (B, 2) is the (y, x) position of each image's corner in pixels, so that a tile of a
        larger image sees the positions it has there; the default is (0, 0).
        """
        path: Tensor | None = None
        for project, fuse, level, stride in reversed(
            list(zip(self.project, self.fuse, maps, STRIDES, strict=True))
        ):
            if self.position_periods:
                positions = position_maps(level, stride, self.position_periods, origin)
                level = torch.cat([level, positions], dim=1)
            projected = project(level)
            path = fuse(projected) if path is None else fuse(path, projected)
        assert path is not None
        hidden = functional.relu(self.refine(_double(self.reduce(path))))
        result: Tensor = self.output(hidden)
        return result


def position_maps(
    level: Tensor, stride: int, periods: Sequence[float], origin: Tensor | None
) -> Tensor:
    """Sines and cosines of the pixel position, (B, 4 * periods, h, w).

    A convolutional network alone gives equal objects equal features wherever they are; these guide
    functions let it give look-alike neighbours different lines (harmonic embeddings, Kulikov and
    Lempitsky, CVPR 2020). Being periodic, they fit images of any size.
    """
    batch, _, height, width = level.shape
    # Half precision would round the positions by whole pixels.
    if origin is None:
        origin = level.new_zeros(batch, 2)
    origin = origin.to(level.device, torch.float32)
    y = (torch.arange(height, device=level.device) + 0.5) * stride
    x = (torch.arange(width, device=level.device) + 0.5) * stride
    rows = (origin[:, :1] + y).view(batch, 1, height, 1).expand(-1, -1, -1, width)
    columns = (origin[:, 1:] + x).view(batch, 1, 1, width).expand(-1, -1, height, -1)
    frequencies = origin.new_tensor([2 * torch.pi / period for period in periods])
    frequencies = frequencies.view(1, -1, 1, 1)
    angles = torch.cat([rows * frequencies, columns * frequencies], dim=1)
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(level.dtype)


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
