"""Decoder: chained RefineNet fusion as in MiDaS v2, then three convolutions to the input size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


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
        last_width: channels of the two convolutions after it; for plain features at least D, so
            that they can span as many orthogonal lines.
        outputs: channels of the result, before any activation.
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        last_width: int,
        outputs: int,
    ) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(count, width, 3, padding=1) for count in channels)
        last = len(channels) - 1
        self.fuse = nn.ModuleList(FusionBlock(width, has_skip=i < last) for i in range(last + 1))
        self.reduce = nn.Conv2d(width, last_width, 3, padding=1)
        self.refine = nn.Conv2d(last_width, last_width, 3, padding=1)
        self.output = nn.Conv2d(last_width, outputs, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Encoder maps, finest first, to (B, outputs, H, W)."""
        path: Tensor | None = None
        for project, fuse, level in reversed(list(zip(self.project, self.fuse, maps, strict=True))):
            projected = project(level)
            path = fuse(projected) if path is None else fuse(path, projected)
        assert path is not None
        hidden = functional.relu(self.refine(_double(self.reduce(path))))
        result: Tensor = self.output(hidden)
        return result


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
