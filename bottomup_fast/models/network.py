"""The network: image in, one line per pixel out."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn
from torch.nn import functional

from bottomup_fast.errors import InputError
from bottomup_fast.models.decoder import Decoder
from bottomup_fast.models.encoder import STRIDES, Encoder
from bottomup_fast.models.position import position_code
from bottomup_fast.settings import ModelSettings

MULTIPLE = STRIDES[-1]
STRIP_PIXELS = 1 << 13
"""That position codes are computed for at once on CPUs."""
CODED_WIDTH = 32
"""Channels of the decoder's last convolutions in front of a position code: few numbers follow."""


class BottomUpNetwork(nn.Module):
    """Encoder and decoder of equations.md's section 12.

    Args:
        backbone: timm name of the encoder.
        width: channels of the decoder's fusion path.
        feature_dim: D, dimensions of the pixel features.
        foreground: add one output channel that tells annotated objects from background; only for
            domains whose background is completely annotated.
        position_scale: make the features a `PositionCode` of this scale; none by default.
        largest_scale: make them a `ScaledPositionCode` of scales from that to this one.
        pretrained_backbone: True, or a local safetensors file.

    Raises:
        InputError: on a setting outside its range.
    """

    def __init__(
        self,
        backbone: str,
        width: int,
        feature_dim: int = 128,
        foreground: bool = False,
        position_scale: float | None = None,
        largest_scale: float | None = None,
        pretrained_backbone: bool | str | os.PathLike[str] = False,
    ) -> None:
        super().__init__()
        if feature_dim < 1:
            raise InputError(f"feature_dim must be at least 1, got {feature_dim}")
        if position_scale is None and width < feature_dim:
            raise InputError(
                f"width ({width}) must be at least feature_dim ({feature_dim}), or features cannot "
                "span as many orthogonal lines"
            )
        self.settings: ModelSettings | None = None
        self.feature_dim = feature_dim
        self.foreground = foreground
        self.encoder = Encoder(backbone, pretrained_backbone)
        self.position = position_code(feature_dim, position_scale, largest_scale)
        self.described = feature_dim if self.position is None else self.position.inputs
        last_width = feature_dim if self.position is None else min(feature_dim, CODED_WIDTH)
        outputs = self.described + foreground
        self.decoder = Decoder(self.encoder.channels, width, last_width, outputs)

    def forward(self, images: Tensor, origin: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) normalised images to (B, feature_dim, H, W) features in (-1, 1).

        Any H, W >= 1: the image is padded inside and the result cropped. `origin`: see
        `PositionCode`.
        """
        return self.forward_with_foreground(images, origin)[0]

    def forward_with_foreground(
        self, images: Tensor, origin: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Features, and (B, H, W) foreground logits if the network has them."""
        height, width = images.shape[-2:]
        padding = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
        padded = functional.pad(images, padding, mode="replicate") if any(padding) else images
        # On CPUs the backward of depthwise convolutions takes ten times as long in bfloat16 as in
        # float32; the decoder has none and gains from it.
        with torch.autocast("cpu", enabled=False):
            maps = self.encoder(padded.to(self.decoder.output.weight.dtype))
        output = self.decoder(maps)[..., :height, :width]
        features = self._features(output[:, : self.described], origin)
        return features, output[:, self.described] if self.foreground else None

    def _features(self, described: Tensor, origin: Tensor | None) -> Tensor:
        if self.position is None:
            return torch.tanh(described)
        if described.is_cuda or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return torch.tanh(self.position(described, origin))
        # Strip by strip, what the code is computed from stays in the cache: half the time.
        batch, _, height, width = described.shape
        features = described.new_empty(
            (batch, self.feature_dim, height, width), dtype=torch.float32
        )
        if origin is None:
            origin = described.new_zeros((batch, 2), dtype=torch.float32)
        rows = max(1, STRIP_PIXELS // width)
        for y in range(0, height, rows):
            strip = slice(y, y + rows)
            corner = origin + origin.new_tensor([y, 0])
            code = self.position(described[:, :, strip], corner)
            torch.tanh(code, out=features[:, :, strip])
        return features
