"""From a prepared image to the mode, similarity and foreground of every pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import label
from torch import Tensor
from torch.nn import functional

from bottomup_fast.clustering import assign_pixels, find_modes
from bottomup_fast.components import split_components
from bottomup_fast.joining import join_windows
from bottomup_fast.models.network import MULTIPLE, BottomUpNetwork
from bottomup_fast.reference.clustering import evenly_spaced
from bottomup_fast.reference.lines import normalise
from bottomup_fast.region_clustering import cluster_regions
from bottomup_fast.settings import ClusteringSettings, ModelSettings
from bottomup_fast.tiling import Tile, tiles, windows

HALO = 128
"""Pixels around a tile that the network sees beside it."""
KEPT_FEATURES = 1 << 28
"""Numbers (one gigabyte) up to which features of all tiles are kept, not computed twice."""
WINDOW_BATCH = 16
"""Windows that go through the network together."""
MODE_PIXELS = 1 << 20
"""Pixels of an image that take part in finding modes; beyond, evenly spaced ones do."""


@dataclass(frozen=True)
class PixelMaps:
    """What the features of one image say.

    Attributes:
        index: (H, W) int32 position of each pixel's mode; -1 for background.
        cosine: (H, W) float32 |cos| between the pixel's line and that mode's.
        foreground: (H, W) float32 probability of belonging to an object, or None.
        modes: (M, D) lines; None if the image was seen through windows, whose lines cannot be
            compared: then `index` tells connected pieces.
    """

    index: Tensor
    cosine: Tensor
    foreground: Tensor | None
    modes: Tensor | None


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

    With windows in the preprocessing, each window is clustered alone and their segments are joined.
    Otherwise an image of more than `tile_size` in a side goes through the network tile by tile, and
    all tiles are clustered together, so that a tile's border is none of the segments'.

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
    if settings.preprocessing.window is not None:
        return _cluster_windows(network, image, settings, keep_background)
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


@torch.inference_mode()
def foreground_map(
    network: BottomUpNetwork, image: Tensor, settings: ModelSettings, tile_size: int
) -> Tensor:
    """(H, W) probability of belonging to an object, without any clustering; arguments as above."""
    image = _normalise(image, settings)
    result = image[0].clone()
    height, width = result.shape
    for tile in _tiles(height, width, tile_size):
        _, foreground = _tile_features(network, image, tile)
        assert foreground is not None
        result[tile.core_slices()] = foreground
    return result


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
    """One set of modes for the whole image: found on a sample of pixels, assigned to all."""
    share = min(1.0, MODE_PIXELS / (height * width))
    sample = []
    for view in first_pass:
        pixels = view.mask.flatten().nonzero().squeeze(1)
        pixels = evenly_spaced(pixels, math.ceil(share * len(pixels)))
        sample.append(normalise(view.features.flatten(1)[:, pixels].mT, dim=-1))
    min_support = max(1, round(share * clustering.min_support))
    lines = torch.cat(sample).mT.unsqueeze(1)
    every = torch.ones_like(lines[0], dtype=torch.bool)
    modes = find_modes(lines, every, clustering.bandwidth_deg, min_support).lines
    index = torch.empty(height, width, dtype=torch.int32, device=modes.device)
    cosine = torch.empty(height, width, device=modes.device)
    foreground = None
    for view in second_pass:
        core = view.tile.core_slices()
        index[core], cosine[core] = assign_pixels(view.features, modes, view.mask)
        if view.foreground is not None:
            foreground = torch.empty_like(cosine) if foreground is None else foreground
            foreground[core] = view.foreground
    return PixelMaps(index, cosine, foreground, modes)


def _cluster_by_region(
    views: Iterable[_View], height: int, width: int, clustering: ClusteringSettings
) -> PixelMaps:
    """Each connected piece of the foreground on its own; only foreground features are kept."""
    numbers = torch.arange(height * width).view(height, width)
    pixels, lines, foreground = [], [], torch.empty(height, width)
    for view in views:
        core = view.tile.core_slices()
        if view.foreground is not None:
            foreground[core] = view.foreground.cpu()
        mask = view.mask.cpu()
        pixels.append(numbers[core][mask])
        lines.append(normalise(view.features.flatten(1)[:, view.mask.flatten()].mT, dim=-1))
    pixel, points = torch.cat(pixels), torch.cat(lines)
    regions = np.asarray(
        label((foreground > clustering.foreground_threshold).numpy(), connectivity=1)  # type: ignore[no-untyped-call]
    )
    region = torch.from_numpy(regions.ravel())[pixel].long() - 1
    index = torch.full((height * width,), -1, dtype=torch.int32, device=points.device)
    cosine = torch.zeros(height * width, device=points.device)
    pixel, region = pixel.to(points.device), region.to(points.device)
    index[pixel], cosine[pixel], modes = cluster_regions(
        points, region, clustering.bandwidth_deg, clustering.min_support
    )
    return PixelMaps(
        index.view(height, width),
        cosine.view(height, width),
        foreground.to(points.device),
        modes,
    )


def _cluster_windows(
    network: BottomUpNetwork, image: Tensor, settings: ModelSettings, keep_background: bool
) -> PixelMaps:
    """Each window on its own, as the network was trained; segments joined where windows agree."""
    preprocessing, clustering = settings.preprocessing, settings.clustering
    height, width = image.shape[1:]
    assert preprocessing.window is not None
    grid = windows(height, width, preprocessing.window, preprocessing.window_overlap)
    cosine = torch.empty(height, width)
    foreground = torch.empty(height, width) if network.foreground else None
    pieces: list[NDArray[np.int32]] = []
    every = [tile for row in grid for tile in row]
    for start in range(0, len(every), WINDOW_BATCH):
        batch = every[start : start + WINDOW_BATCH]
        views = torch.stack(
            [image[:, t.window[0] : t.window[1], t.window[2] : t.window[3]] for t in batch]
        )
        origin = image.new_tensor([[t.window[0], t.window[2]] for t in batch])
        features, logits = network.forward_with_foreground(
            views.contiguous(memory_format=torch.channels_last), origin
        )
        probability = None if logits is None else torch.sigmoid(logits.float())
        index, similarity = _cluster_batch(
            features.float(), None if keep_background else probability, clustering
        )
        for number, tile in enumerate(batch):
            pieces.append(split_components(index[number].numpy() + 1))
            core, inside = tile.core_slices(), tile.core_in_window()
            cosine[core] = similarity[number][inside]
            if foreground is not None and probability is not None:
                foreground[core] = probability[number][inside].cpu()
    index = torch.from_numpy(join_windows(grid, pieces)) - 1
    return PixelMaps(index, cosine, foreground, None)


def _cluster_batch(
    features: Tensor, probability: Tensor | None, clustering: ClusteringSettings
) -> tuple[Tensor, Tensor]:
    """Modes of each (D, H, W) map of a batch, or of each piece of its foreground; on the CPU.

    Returns:
        (B, H, W) int32 positions, -1 outside the foreground, and |cos|, 0 there.
    """
    shape = (features.shape[0], *features.shape[2:])
    if probability is None:
        mask = torch.ones(shape, dtype=torch.bool)
    else:
        mask = probability.cpu() > clustering.foreground_threshold
    regions = np.zeros(shape, np.int64)
    count = 0
    for number, image_mask in enumerate(mask.numpy()):
        by_region = clustering.by_region and probability is not None
        local = label(image_mask, connectivity=1) if by_region else image_mask.astype(np.int64)  # type: ignore[no-untyped-call]
        regions[number] = local + count - 1
        count += int(local.max())
    index = torch.full(shape, -1, dtype=torch.int32)
    cosine = torch.zeros(shape)
    if count:
        lines = normalise(features.permute(0, 2, 3, 1)[mask.to(features.device)], dim=-1)
        region = torch.from_numpy(regions)[mask].to(lines.device)
        position, similarity, _ = cluster_regions(
            lines, region, clustering.bandwidth_deg, clustering.min_support
        )
        index[mask], cosine[mask] = position.cpu(), similarity.cpu()
    return index, cosine


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
