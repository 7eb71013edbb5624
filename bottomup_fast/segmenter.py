"""Image in, Segmentation out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottomup_fast.components import LabelMap, relabel_by_appearance
from bottomup_fast.cpu import multiplies_bfloat16
from bottomup_fast.errors import InputError
from bottomup_fast.images import ImageSource, read_image
from bottomup_fast.inference import PixelMaps, pixel_maps, resize, resize_maps, resize_nearest
from bottomup_fast.models.folding import fold_normalisation
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.reduced_precision import in_bfloat16
from bottomup_fast.models.weights import DEFAULT_MODEL, load_model
from bottomup_fast.object_search import search_zoom
from bottomup_fast.ops import join_fragments, pieces, segment_scores
from bottomup_fast.preprocessing import to_unit_range
from bottomup_fast.refinement import Patch, refine
from bottomup_fast.segmentation import Segmentation
from bottomup_fast.settings import ModelSettings, Precision
from bottomup_fast.tiling import windows

if TYPE_CHECKING:
    from bottomup_fast.stream import TrackedFrame

Look = tuple[LabelMap, PixelMaps]
"""Objects in an image at some zoom, and the maps they come from."""


class Segmenter:
    """A model ready to segment images; load once, run many.

    Everything between file and segments (size, intensity, resolutions, clustering) comes with the
    model; the arguments below override it.

    Args:
        model: name of a bundled model, a model file, or a network with settings.
        device: "auto" (a GPU if there is one), or a torch device.
        resolutions: longer sides (pixels, ascending) for multi-resolution inference.
        scale: zoom of the image before the network instead.
        keep_background: label background too, for models that tell it apart.
        leave_outliers: label 0 for pixels whose line lies outside the window of every mode.
        tile_size: images larger than this (pixels, after scaling) go through in tiles.
        precision: of the network: "fast", on CPUs with units for it (AMX), computes in bfloat16,
            about twice as fast; "highest" in float32 everywhere.

    Raises:
        InputError: unknown model, device or impossible settings.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | BottomUpNetwork = DEFAULT_MODEL,
        device: str = "auto",
        resolutions: Iterable[int] | None = None,
        *,
        scale: float | None = None,
        keep_background: bool = False,
        leave_outliers: bool = False,
        tile_size: int = 1024,
        precision: Precision = "fast",
    ) -> None:
        network = model if isinstance(model, BottomUpNetwork) else load_model(model)
        settings = network.settings
        if settings is None:
            raise InputError("model: the network has no settings; load it with load_model")
        if tile_size < 32:
            raise InputError(f"tile_size must be at least 32, got {tile_size}")
        if precision not in ("highest", "fast"):
            raise InputError(f'precision must be "highest" or "fast", got {precision!r}')
        self.device = choose_device(device)
        network = fold_normalisation(network).to(self.device).eval()
        if precision == "fast" and self.device.type == "cpu" and multiplies_bfloat16():
            network = in_bfloat16(network)
        self.network = network.to(memory_format=torch.channels_last)
        self.settings = _override(settings, resolutions, scale)
        self.keep_background = keep_background
        self.leave_outliers = leave_outliers
        self.tile_size = tile_size
        self.precision = precision

    def segment(self, image: ImageSource) -> Segmentation:
        """Segment one image: a path, the bytes of a file, a PIL image or an array (H, W[, 3]).

        Raises:
            InputError: what is wrong with the image.
        """
        pixels = read_image(image)
        return self.segment_prepared(pixels, self.prepare(pixels))[0]

    def segment_batch(self, images: Iterable[ImageSource]) -> list[Segmentation]:
        """Segment several images, each as `segment` does."""
        return [self.segment(image) for image in images]

    def stream(
        self,
        frames: Iterable[ImageSource],
        *,
        workers: int = 2,
        memory: int = 8,
        fixed_zoom: bool = True,
    ) -> Iterator[TrackedFrame]:
        """Segment the frames of a video in order, several at once, with ids that last.

        Frames are taken from `frames` in the caller's thread, one by one as results are asked for
        and at most `workers` beyond the result handed out; they are decoded and segmented in
        threads of the stream's own. These are gone once the stream ends, fails or is closed.

        Args:
            frames: images of one size, each as `segment` takes it; a buffer may be used again for
                the next frame.
            workers: frames segmented at the same time.
            memory: frames for which an object that is not seen keeps its id; see `Tracker`.
            fixed_zoom: models that first search for the size of objects do so only until a frame
                has some, and keep the zoom. Otherwise, and for all other models, each frame's
                segmentation is that of `segment`.

        Raises:
            InputError: an argument that is none, at once; and, after the results of all frames
                before, what is wrong with a frame, its number first. Other errors, of the source
                say, come through as they are, with the frame's number in a note.
        """
        from bottomup_fast.stream import stream

        return stream(self, frames, workers=workers, memory=memory, fixed_zoom=fixed_zoom)

    def prepare(self, pixels: NDArray[Any]) -> Tensor:
        """(3, H, W) in [0, 1] on the segmenter's device, of the pixels that `read_image` gives."""
        unit = to_unit_range(pixels, self.settings.preprocessing)
        return torch.from_numpy(unit).permute(2, 0, 1).to(self.device)

    def segment_prepared(
        self, pixels: NDArray[Any], image: Tensor, zoom: float | None = None
    ) -> tuple[Segmentation, PixelMaps]:
        """Segments of an image, and the maps, of one resolution, that their scores come from.

        Args:
            pixels: of `read_image`.
            image: the same, prepared.
            zoom: in a model that works at a scale; its own by default.
        """
        scale = self.settings.preprocessing.scale
        if scale is None:
            labels, maps = self._at_resolutions(image)
        else:
            seen = None
            if zoom is None:
                zoom, seen = self._search(image)
            if seen is None or self.keep_background:
                zoomed = resize(image, *_zoomed(image, scale if zoom is None else zoom))
                maps = self._maps(zoomed)
                seen = self._pieces(maps), maps
            labels, maps = _resized(*seen, *image.shape[1:])
        return self._finish(labels, maps, pixels), maps

    def zoom(self, image: Tensor) -> float | None:
        """Zoom for a (3, H, W) image in [0, 1] in a model that works at a scale.

        With an `object_diameter`, the image is searched for it: see `search_zoom`.

        Returns:
            The zoom, or None if no object is found.
        """
        return self._search(image)[0]

    def _search(self, image: Tensor) -> tuple[float | None, Look | None]:
        """The zoom, and the last look at the image if it was at that zoom."""
        preprocessing = self.settings.preprocessing
        assert preprocessing.scale is not None
        if preprocessing.object_diameter is None:
            return preprocessing.scale, None

        def look(zoom: float) -> Look:
            seen = resize(image, *_zoomed(image, zoom))
            maps = pixel_maps(self.network, seen, self.settings, self.tile_size)
            return self._pieces(maps), maps

        area = image[0].numel()
        return search_zoom(look, preprocessing.scale, preprocessing.object_diameter, area)

    def _maps(self, image: Tensor) -> PixelMaps:
        return pixel_maps(self.network, image, self.settings, self.tile_size, self.keep_background)

    def _at_resolutions(self, image: Tensor) -> tuple[LabelMap, PixelMaps]:
        diameter = self.settings.preprocessing.joining_diameter
        return self._refined(image) if diameter is None else self._joined(image, diameter)

    def _joined(self, image: Tensor, diameter: float) -> tuple[LabelMap, PixelMaps]:
        """The largest resolution's map, its parts of large objects joined as the others say."""
        height, width = image.shape[1:]
        *coarser, finest = (
            side / max(height, width) for side in self.settings.preprocessing.resolutions
        )
        labels, maps = _resized(*self._seen_at(image, finest), height, width)
        joined = torch.from_numpy(labels)
        for zoom in reversed(coarser):
            coarse, _ = self._seen_at(image, zoom)
            wholes = resize_nearest(torch.from_numpy(coarse), height, width)
            joined = join_fragments(joined, wholes, min_area=np.pi / 4 * (diameter / zoom) ** 2)
        return joined.numpy(), maps

    def _seen_at(self, image: Tensor, zoom: float) -> Look:
        """Segments at the size that the network sees, or the image's own if that is smaller."""
        maps = self._maps(resize(image, *_zoomed(image, zoom)))
        if zoom >= 1:
            maps = resize_maps(maps, *image.shape[1:])
        return self._pieces(maps, self.settings.clustering.min_area * min(1, zoom * zoom)), maps

    def _refined(self, image: Tensor) -> tuple[LabelMap, PixelMaps]:
        """Section 4.1: the smallest resolution's map, refined by patches of the larger ones."""
        height, width = image.shape[1:]
        longest = max(height, width)
        base, *finer = self.settings.preprocessing.resolutions
        maps = self._patch_maps(image, base)
        labels = self._pieces(maps)
        for resolution in finer:
            size = max(1, round(longest * base / resolution))
            rows = windows(height, width, size, self.settings.preprocessing.patch_overlap)
            patches = []
            for y0, y1, x0, x1 in (tile.window for row in rows for tile in row):
                view = image[:, y0:y1, x0:x1]
                side = max(1, round(max(view.shape[1:]) * resolution / longest))
                patches.append(Patch(self._pieces(self._patch_maps(view, side)), (x0, y0, x1, y1)))
            labels = refine(labels, patches).astype(np.int32, copy=False)
        return labels, maps

    def _patch_maps(self, image: Tensor, longest: int) -> PixelMaps:
        """Maps at the image's own size, seen with a longer side of `longest`."""
        height, width = image.shape[1:]
        seen = resize(image, *_zoomed(image, longest / max(height, width)))
        return resize_maps(self._maps(seen), height, width)

    def _pieces(self, maps: PixelMaps, min_area: float | None = None) -> LabelMap:
        clustering = self.settings.clustering
        labels = pieces(
            maps.index.cpu(),
            maps.modes.cpu().float(),
            split=clustering.split_components,
            min_area=clustering.min_area if min_area is None else max(1, round(min_area)),
        )
        return labels.numpy()

    def _finish(self, labels: LabelMap, maps: PixelMaps, pixels: NDArray[Any]) -> Segmentation:
        """Scores; segments that score as background are dropped where the model can tell."""
        clustering = self.settings.clustering
        cosine = maps.cosine.cpu()
        if self.leave_outliers:
            edge = np.cos(np.radians(clustering.bandwidth_deg))
            labels = relabel_by_appearance(np.where(cosine.numpy() < edge, 0, labels))
        likeness = cosine if maps.foreground is None else maps.foreground.cpu()
        scores, quality, stability = (
            values.numpy()
            for values in segment_scores(
                torch.from_numpy(labels), likeness, cosine, clustering.bandwidth_deg
            )
        )
        if maps.foreground is not None and not self.keep_background:
            kept = scores >= clustering.min_score
            number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
            labels = np.concatenate(([np.int32(0)], number))[labels]
            scores, quality, stability = scores[kept], quality[kept], stability[kept]
        return Segmentation(
            labels,
            scores=scores,
            predicted_iou=quality,
            stability_score=stability,
            image=pixels,
            metadata={"model": self.settings.model_dump(mode="json")},
        )


def segment(image: ImageSource, model: str | os.PathLike[str] = DEFAULT_MODEL) -> Segmentation:
    """Segment one image with a bundled model or a model file, loaded at the first call.

    Raises:
        InputError: what is wrong with the image or the model.
    """
    return _cached(os.fspath(model)).segment(image)


@lru_cache(maxsize=2)
def _cached(model: str) -> Segmenter:
    return Segmenter(model)


def choose_device(device: str) -> torch.device:
    """The torch device of a name; "auto" is a GPU if there is one.

    Raises:
        InputError: an unknown device, or a GPU where there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device: {device} was asked for, but torch finds no GPU")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # the latter where torch lacks a backend
        raise InputError(f"device: {str(error).splitlines()[0]}") from error
    return chosen


def _override(
    settings: ModelSettings, resolutions: Iterable[int] | None, scale: float | None
) -> ModelSettings:
    if resolutions is None and scale is None:
        return settings
    if resolutions is not None and scale is not None:
        raise InputError("resolutions and scale: give one of them")
    sides = () if resolutions is None else tuple(resolutions)
    change = {"resolutions": sides, "scale": scale}
    content = settings.model_dump()
    # A size asked for is final: it is not for a first look only.
    content["preprocessing"] |= change | {"object_diameter": None}
    if resolutions is None:
        content["preprocessing"]["joining_diameter"] = None
    try:
        return ModelSettings.model_validate(content)
    except ValueError as error:
        raise InputError(f"resolutions or scale: {change} is not possible") from error


def _resized(labels: LabelMap, maps: PixelMaps, height: int, width: int) -> Look:
    if labels.shape == (height, width):
        return labels, maps
    resized = resize_nearest(torch.from_numpy(labels), height, width).numpy()
    return relabel_by_appearance(resized), resize_maps(maps, height, width)


def _zoomed(image: Tensor, zoom: float) -> tuple[int, int]:
    height, width = image.shape[1:]
    return max(1, round(height * zoom)), max(1, round(width * zoom))
