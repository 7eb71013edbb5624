"""From a prepared image to the mode, similarity and foreground of every pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bottomup_fast.clustering import assign_pixels
from bottomup_fast.models.network import MULTIPLE, BottomUpNetwork
from bottomup_fast.reference.clustering import evenly_spaced, seeded_modes
from bottomup_fast.reference.lines import normalise
from bottomup_fast.settings import ModelSettings
from bottomup_fast.tiling import Tile, tiles

HALO = 128
"""Pixels around a tile that the network sees beside it."""
KEPT_FEATURES = 1 << 28
"""Numbers (one gigabyte) up to which features of all tiles are kept, not computed twice."""
MODE_PIXELS = 1 << 20
"""Pixels of an image that take part in finding modes; beyond, evenly spaced ones do."""


@dataclass(frozen=True)
class PixelMaps:
    """What the features of one image say.

    Attributes:
        index: (H, W) int32 position of each pixel's mode; -1 for background.
        cosine: (H, W) float32 |cos| between the pixel's line and that mode's.
        foreground: (H, W) float32 probability of belonging to an object, or None.
        modes: (M, D) lines.
    """

    index: Tensor
    cosine: Tensor
    foreground: Tensor | None
    modes: Tensor


@torch.inference_mode()
def pixel_maps(
    network: BottomUpNetwork,
    image: Tensor,
    settings: ModelSettings,
    tile_size: int,
    keep_background: bool = False,
) -> PixelMaps:
    """Features, modes and assignment of one image.

    An image of more than `tile_size` in a side goes through the network tile by tile: first for a
    sample of pixels that the modes are found on, then to assign every pixel, so that all tiles
    share the same modes. Features that would take too much memory are not kept in between.

    Args:
        network: with settings `settings`, on the device to run on.
        image: (3, H, W) in [0, 1].
        settings: preprocessing and clustering.
        tile_size: largest side of a tile's core, pixels.
        keep_background: cluster background pixels too.
    """
    preprocessing, clustering = settings.preprocessing, settings.clustering
    mean, std = (image.new_tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    image = (image - mean) / std
    height, width = image.shape[1:]
    whole = max(height, width) <= tile_size
    grid = list(tiles(height, width, tile_size, 0 if whole else HALO, MULTIPLE))
    share = min(1.0, MODE_PIXELS / (height * width))

    def views() -> Iterator[tuple[Tile, Tensor, Tensor | None, Tensor]]:
        for tile in grid:
            features, probability = _tile_features(network, image, tile)
            if probability is None or keep_background:
                mask = torch.ones_like(features[0], dtype=torch.bool)
            else:
                mask = probability > clustering.foreground_threshold
            yield tile, features, probability, mask

    kept = whole or height * width * network.feature_dim <= KEPT_FEATURES
    seen = list(views()) if kept else None
    sample = []
    for _, features, _, mask in seen or views():
        chosen = mask.flatten().nonzero().squeeze(1)
        chosen = evenly_spaced(chosen, math.ceil(share * len(chosen)))
        sample.append(normalise(features.flatten(1)[:, chosen].mT, dim=-1))
    min_support = max(1, round(share * clustering.min_support))
    modes = seeded_modes(torch.cat(sample), clustering.bandwidth_deg, min_support).lines
    index = torch.empty(height, width, dtype=torch.int32, device=image.device)
    cosine = torch.empty(height, width, device=image.device)
    foreground = torch.empty_like(cosine) if network.foreground else None
    for tile, features, probability, mask in seen or views():
        y0, y1, x0, x1 = tile.core
        index[y0:y1, x0:x1], cosine[y0:y1, x0:x1] = assign_pixels(features, modes, mask)
        if foreground is not None and probability is not None:
            foreground[y0:y1, x0:x1] = probability
    return PixelMaps(index, cosine, foreground, modes)


def _tile_features(
    network: BottomUpNetwork, image: Tensor, tile: Tile
) -> tuple[Tensor, Tensor | None]:
    """Features (D, h, w) and foreground probability (h, w) of a tile's core."""
    y0, y1, x0, x1 = tile.window
    view = image[:, y0:y1, x0:x1].unsqueeze(0).contiguous(memory_format=torch.channels_last)
    features, logits = network.forward_with_foreground(view, image.new_tensor([[y0, x0]]))
    rows, columns = tile.core_in_window()
    probability = None if logits is None else torch.sigmoid(logits[0, rows, columns].float())
    return features[0, :, rows, columns].float(), probability


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """(3, H, W) to (3, height, width), bilinear, without aliasing."""
    if image.shape[1:] == (height, width):
        return image
    resized: Tensor = functional.interpolate(
        image.unsqueeze(0), (height, width), mode="bilinear", antialias=True
    )
    return resized[0]


def resize_nearest(values: Tensor, height: int, width: int) -> Tensor:
    """(H, W) of any dtype to (height, width), each pixel the value at its centre."""
    rows, columns = (
        ((torch.arange(size, device=values.device) + 0.5) * (old / size)).long().clamp_max(old - 1)
        for size, old in ((height, values.shape[0]), (width, values.shape[1]))
    )
    return values[rows[:, None], columns]
