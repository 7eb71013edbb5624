"""From a prepared image to the mode, similarity and foreground of every pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from skimage.measure import label
from torch import Tensor
from torch.nn import functional

from bottomup_fast.clustering import assign_pixels, find_modes
from bottomup_fast.models.network import MULTIPLE, BottomUpNetwork
from bottomup_fast.region_clustering import cluster_regions
from bottomup_fast.settings import ClusteringSettings, ModelSettings
from bottomup_fast.tiling import Tile, tiles

HALO = 128
"""Pixels around a tile that the network sees beside it."""
KEPT_FEATURES = 1 << 28
"""Numbers (one gigabyte) up to which features of all tiles are kept, not computed twice."""
MODE_PIXELS = {"highest": 1 << 20, "fast": 1 << 12}
"""Pixels on which modes are found; of larger images those on a grid."""


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


@dataclass(frozen=True)
class _View:
    """The network's output for the core of a tile: features (D, h, w), the others (h, w)."""

    tile: Tile
    features: Tensor
    foreground: Tensor | None
    mask: Tensor


@torch.inference_mode()
def pixel_maps(
    network: BottomUpNetwork,
    image: Tensor,
    settings: ModelSettings,
    tile_size: int,
    keep_background: bool = False,
) -> PixelMaps:
    """Features, modes and assignment of one image.

    An image of more than `tile_size` in a side goes through the network tile by tile, and all tiles
    are clustered together, so that a tile's border is none of the segments'.

    Args:
        network: with settings `settings`, on the device to run on.
        image: (3, H, W) in [0, 1].
        settings: preprocessing and clustering.
        tile_size: largest side of a tile's core, pixels.
        keep_background: cluster background pixels too.
    """
    clustering = settings.clustering
    image = _normalise(image, settings)
    height, width = image.shape[1:]
    grid = _tiles(height, width, tile_size)

    def views() -> Iterator[_View]:
        for tile in grid:
            features, foreground = _tile_features(network, image, tile)
            if foreground is None or keep_background:
                mask = torch.ones_like(features[0], dtype=torch.bool)
            else:
                mask = foreground > clustering.foreground_threshold
            yield _View(tile, features, foreground, mask)

    if clustering.by_region and network.foreground and not keep_background:
        return _cluster_by_region(views(), height, width, clustering)
    if len(grid) == 1 or height * width * network.feature_dim <= KEPT_FEATURES:
        kept = list(views())
        return _cluster_together(kept, kept, height, width, clustering)
    return _cluster_together(views(), views(), height, width, clustering)


def _normalise(image: Tensor, settings: ModelSettings) -> Tensor:
    preprocessing = settings.preprocessing
    mean, std = (image.new_tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    return (image - mean) / std


def _tiles(height: int, width: int, tile_size: int) -> list[Tile]:
    halo = 0 if max(height, width) <= tile_size else HALO
    return list(tiles(height, width, tile_size, halo, MULTIPLE))


def _cluster_together(
    first_pass: Iterable[_View],
    second_pass: Iterable[_View],
    height: int,
    width: int,
    clustering: ClusteringSettings,
) -> PixelMaps:
    """One set of modes for the whole image: found on a grid of pixels, assigned to all."""
    share = min(1.0, MODE_PIXELS[clustering.precision] / (height * width))
    rows, columns = (
        _nearest_positions(max(1, int(side * math.sqrt(share))), side) for side in (height, width)
    )
    sample = []
    for view in first_pass:
        y, x = (
            places[(places >= core.start) & (places < core.stop)] - core.start
            for places, core in zip((rows, columns), view.tile.core_slices(), strict=True)
        )
        pixels = (y[:, None] * view.mask.shape[1] + x).flatten().to(view.mask.device)
        pixels = pixels[view.mask.flatten()[pixels]]
        sample.append(view.features.flatten(1)[:, pixels])
    share = len(rows) * len(columns) / (height * width)
    min_support = max(1, round(share * clustering.min_support))
    lines = torch.cat(sample, 1).unsqueeze(1)
    every = torch.ones_like(lines[0], dtype=torch.bool)
    modes = find_modes(
        lines, every, clustering.bandwidth_deg, min_support, clustering.precision
    ).lines
    index = torch.empty(height, width, dtype=torch.int32, device=modes.device)
    cosine = torch.empty(height, width, device=modes.device)
    foreground = None
    for view in second_pass:
        core = view.tile.core_slices()
        index[core], cosine[core] = assign_pixels(
            view.features, modes, view.mask, clustering.precision
        )
        if view.foreground is not None:
            foreground = torch.empty_like(cosine) if foreground is None else foreground
            foreground[core] = view.foreground
    return PixelMaps(index, cosine, foreground, modes)


def _cluster_by_region(
    views: Iterable[_View], height: int, width: int, clustering: ClusteringSettings
) -> PixelMaps:
    """Each connected piece of the foreground on its own; of several tiles, only its features are
    kept."""
    numbers = torch.arange(height * width).view(height, width)
    foreground = torch.empty(height, width)
    pixels, features = [], []
    for view in views:
        core = view.tile.core_slices()
        if view.foreground is not None:
            foreground[core] = view.foreground.cpu()
        lines = view.features.flatten(1)
        if lines.shape[1] < height * width:
            lines = lines[:, view.mask.flatten()]
            pixels.append(numbers[core][view.mask.cpu()])
        features.append(lines)
    device = features[0].device
    pieces = label((foreground > clustering.foreground_threshold).numpy(), connectivity=1)  # type: ignore[no-untyped-call]
    region = (torch.from_numpy(np.asarray(pieces, np.int32).ravel()) - 1).to(device)
    settings = clustering.bandwidth_deg, clustering.min_support
    if pixels:
        pixel = torch.cat(pixels).to(device)
        index, cosine = torch.full_like(region, -1), torch.zeros(len(region), device=device)
        index[pixel], cosine[pixel], modes = cluster_regions(
            torch.cat(features, 1).mT, region[pixel], *settings
        )
    else:
        index, cosine, modes = cluster_regions(features[0].mT, region, *settings)
    shape = height, width
    return PixelMaps(index.view(shape), cosine.view(shape), foreground.to(device), modes)


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
    # torch repeats the first row of contiguous images that it resizes to a width of 1.
    batch = image.unsqueeze(0).contiguous(memory_format=torch.channels_last)
    resized: Tensor = functional.interpolate(
        batch, (height, width), mode="bilinear", antialias=True
    )
    return resized[0]


def resize_nearest(values: Tensor, height: int, width: int) -> Tensor:
    """(H, W) of any dtype to (height, width), each pixel the value at its centre."""
    if values.shape == (height, width):
        return values
    rows, columns = (
        _nearest_positions(size, old).to(values.device)
        for size, old in zip((height, width), values.shape, strict=True)
    )
    # Bytes are moved, whatever they mean, and torch is four times as fast at that for float32.
    moved = values.view(torch.float32) if values.dtype == torch.int32 else values
    return moved.index_select(1, columns).index_select(0, rows).view(values.dtype)


def _nearest_positions(size: int, old: int) -> Tensor:
    """Where the pixels of a side of `size` lie in one of `old`, at their centres."""
    return ((torch.arange(size) + 0.5) * (old / size)).long().clamp_max(old - 1)


def resize_maps(maps: PixelMaps, height: int, width: int) -> PixelMaps:
    """The maps at (height, width), each pixel that at its centre."""
    foreground = maps.foreground
    return PixelMaps(
        resize_nearest(maps.index, height, width),
        resize_nearest(maps.cosine, height, width),
        None if foreground is None else resize_nearest(foreground, height, width),
        maps.modes,
    )
