"""The result of segmenting one image: every pixel has one label, every label one record."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pycocotools.mask
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.ndimage import distance_transform_edt, find_objects
from typing_extensions import TypedDict

from bottomup_fast.components import LabelMap, as_label_map, constant_runs
from bottomup_fast.errors import InputError
from bottomup_fast.files import atomic_write
from bottomup_fast.images import MAX_PIXELS, ImageSource, read_image, read_pixels
from bottomup_fast.overlay import colour_labels, draw_overlay

Scores: TypeAlias = Mapping[int, float] | ArrayLike

_LARGEST_SAVED_LABEL = 65534  # of 16 bits; 65535 means ignore in label files

_NOTEBOOK_SIDE = 1024  # pixels
_FAST_COMPRESSION = 1  # of 9; more would take most of the time of `save`


class RunLengths(TypedDict):
    """COCO's compressed run-length code of a mask: column by column, as pycocotools reads it."""

    size: list[int]
    counts: str


class Segment(TypedDict):
    """One segment, with the keys of SAM's mask generator, and `label` and `score`.

    `bbox` is [x, y, width, height] in pixels; `point_coords` [[x, y]] is the pixel deepest inside.
    """

    segmentation: RunLengths
    area: int
    bbox: list[int]
    predicted_iou: float
    stability_score: float
    point_coords: list[list[int]]
    label: int
    score: float


class _SavedFile(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal["bottomup_fast.segmentation"] = "bottomup_fast.segmentation"
    version: Literal[1] = 1
    height: int
    width: int
    metadata: dict[str, Any]
    segments: list[Segment]


class Segmentation:
    """A partition of an image into segments 1..n, with 0 for background, and a record of each.

    `labels` is a read-only int32 map (H, W); `scores` float64 (n,). The class only carries the
    numbers it is given for each segment: `scores`; `predicted_iou`, the mean |cos| between the
    features of the segment's pixels and its line; and `stability_score`, the IoU between the
    segment under a tighter and under a looser window. Each is an array (n,), a mapping from label
    to number, or one number for all; scores default to 1, the other two to the scores. `image` is
    kept for pictures, `metadata` (JSON values, such as the model's name and settings) for `save`.

    Raises InputError if the labels are not a non-empty integer map of 1..n, none left out, and
    perhaps 0; if there is not one finite number a segment; if the image differs in size; or if the
    metadata is not JSON.
    """

    def __init__(
        self,
        labels: NDArray[Any],
        *,
        scores: Scores | None = None,
        predicted_iou: Scores | None = None,
        stability_score: Scores | None = None,
        image: ImageSource | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.labels: LabelMap = as_label_map(labels, lowest=0).copy()
        self.labels.flags.writeable = False
        largest = int(self.labels.max())
        if largest > self.labels.size or not np.bincount(self.labels.ravel())[1:].all():
            raise InputError(f"labels: values up to {largest} leave numbers out, expected 1..n")
        self.num_segments = largest
        self.scores = _numbers("scores", 1.0 if scores is None else scores, largest)
        self.predicted_iou = _numbers(
            "predicted_iou", self.scores if predicted_iou is None else predicted_iou, largest
        )
        self.stability_score = _numbers(
            "stability_score", self.scores if stability_score is None else stability_score, largest
        )
        self.image = None if image is None else self._matching_image(image)
        try:
            self.metadata = json.loads(json.dumps(dict(metadata or {}), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(f"metadata: not JSON ({error})") from error

    def __len__(self) -> int:
        return self.num_segments

    def __repr__(self) -> str:
        height, width = self.labels.shape
        return f"Segmentation({height}x{width}, {self.num_segments} segments)"

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        labels = self.labels
        drawn = colour_labels(labels) if self.image is None else draw_overlay(self.image, labels)
        image = Image.fromarray(drawn)
        image.thumbnail((_NOTEBOOK_SIDE, _NOTEBOOK_SIDE))
        image.save(picture, format="PNG")
        return picture.getvalue()

    @cached_property
    def segments(self) -> list[Segment]:
        """Records of the segments, in the order of their labels; made once, at the first use."""
        outlines = _run_lengths(self.labels, self.num_segments)
        areas = np.bincount(self.labels.ravel()).tolist()
        records: list[Segment] = []
        for index, (rows, columns) in enumerate(find_objects(self.labels)):
            label = index + 1
            x, y = _deepest_point(self.labels[rows, columns] == label)
            width, height = columns.stop - columns.start, rows.stop - rows.start
            records.append(
                Segment(
                    segmentation=outlines[index],
                    area=areas[label],
                    bbox=[columns.start, rows.start, width, height],
                    predicted_iou=float(self.predicted_iou[index]),
                    stability_score=float(self.stability_score[index]),
                    point_coords=[[columns.start + x, rows.start + y]],
                    label=label,
                    score=float(self.scores[index]),
                )
            )
        return records

    def at(self, x: float, y: float) -> Segment | None:
        """Return the record of the segment under the point (x, y) in pixels, None on background.

        Pixel (column, row) covers column <= x < column + 1, row <= y < row + 1. Raises InputError
        outside the image.
        """
        height, width = self.labels.shape
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"x, y: point ({x}, {y}) is outside the image of {width}x{height}")
        label = int(self.labels[math.floor(y), math.floor(x)])
        return self.segments[label - 1] if label else None

    def save(self, folder: str | os.PathLike[str], image: ImageSource | None = None) -> Path:
        """Write labels.png (16 bit), segments.json and, with an image, overlay.png; returns folder.

        `image` is drawn under the overlay in place of the kept one. Without either, an overlay.png
        of an earlier save is removed, since it would show other segments.

        Raises InputError for more than 65534 segments or an image of another size, before anything
        is written, and if the folder cannot be written.
        """
        folder = Path(folder)
        if self.num_segments > _LARGEST_SAVED_LABEL:
            raise InputError(
                f"labels: {self.num_segments} segments, labels.png holds {_LARGEST_SAVED_LABEL}"
            )
        under = self.image if image is None else self._matching_image(image)
        height, width = self.labels.shape
        saved = _SavedFile(
            height=height, width=width, metadata=self.metadata, segments=self.segments
        )
        try:
            with atomic_write(folder / "labels.png") as path:
                picture = Image.fromarray(self.labels.astype(np.uint16))
                picture.save(path, compress_level=_FAST_COMPRESSION)
            with atomic_write(folder / "segments.json") as path:
                path.write_text(saved.model_dump_json(), encoding="utf-8")
            if under is None:
                (folder / "overlay.png").unlink(missing_ok=True)
            else:
                with atomic_write(folder / "overlay.png") as path:
                    picture = Image.fromarray(draw_overlay(under, self.labels))
                    picture.save(path, compress_level=_FAST_COMPRESSION)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from error
        return folder

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Segmentation:
        """Read what `save` wrote; the image is not kept.

        Raises InputError, naming the file, if one is missing, damaged, foreign or larger than
        `max_pixels`, or if segments.json and labels.png do not describe the same segments.
        """
        path = Path(folder) / "segments.json"
        try:
            saved = _SavedFile.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"
            raise InputError(f"{path}: {' '.join(reason.split())}") from error
        picture = path.with_name("labels.png")
        labels = read_pixels(picture, max_pixels=max_pixels)
        if labels.dtype != np.uint16 or labels.shape != (saved.height, saved.width):
            raise InputError(
                f"{picture}: expected 16-bit grey of shape {(saved.height, saved.width)}, got "
                f"{labels.dtype} {labels.shape}"
            )
        try:
            loaded = cls(
                labels,
                scores=[segment["score"] for segment in saved.segments],
                predicted_iou=[segment["predicted_iou"] for segment in saved.segments],
                stability_score=[segment["stability_score"] for segment in saved.segments],
                metadata=saved.metadata,
            )
        except InputError as error:
            raise InputError(f"{path}: does not agree with {picture.name} ({error})") from error
        for ours, theirs in zip(loaded.segments, saved.segments, strict=True):
            # Another version of the distance transform may prefer another point.
            if {**theirs, "point_coords": ours["point_coords"]} != ours:
                raise InputError(
                    f"{path}: segment {ours['label']} does not agree with {picture.name}"
                )
        return loaded

    def _matching_image(self, image: ImageSource) -> NDArray[Any]:
        pixels = read_image(image)
        if pixels.shape[:2] != self.labels.shape:
            raise InputError(
                f"image: size {pixels.shape[:2]} differs from labels {self.labels.shape}"
            )
        return pixels


def _numbers(name: str, values: Scores, count: int) -> NDArray[np.float64]:
    if isinstance(values, Mapping):
        if set(values) != set(range(1, count + 1)):
            raise InputError(f"{name}: the keys are not the labels 1..{count}")
        values = [values[label] for label in range(1, count + 1)]
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: not numbers ({error})") from error
    if numbers.ndim == 0:
        numbers = np.full(count, numbers)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise InputError(
            f"{name}: expected {count} finite numbers, one a segment, got shape {numbers.shape}"
        )
    numbers.flags.writeable = False
    return numbers


def _deepest_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return x and y of the pixel of a mask (H, W) farthest from all that is outside it."""
    # The frame of zeros makes the border of the image an edge like any other.
    framed = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), bool)
    framed[1:-1, 1:-1] = mask
    depth = distance_transform_edt(framed)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x), int(y)


def _run_lengths(labels: LabelMap, count: int) -> list[RunLengths]:
    """Return the run lengths of every label 1..count, in one pass over the map."""
    height, width = labels.shape
    columnwise = labels.T.ravel()
    starts, lengths = constant_runs(columnwise)
    values = columnwise[starts]
    order = np.argsort(values, kind="stable")
    bounds = np.searchsorted(values[order], np.arange(1, count + 2))
    outlines = []
    for first, last in pairwise(bounds):
        runs = order[first:last]
        ends = starts[runs] + lengths[runs]
        gaps = starts[runs] - np.concatenate(([0], ends[:-1]))
        counts = np.stack([gaps, lengths[runs]], axis=1).ravel().tolist()
        if ends[-1] < labels.size:
            counts.append(labels.size - int(ends[-1]))
        size = [height, width]
        code = pycocotools.mask.frPyObjects({"size": size, "counts": counts}, height, width)
        outlines.append(RunLengths(size=size, counts=code["counts"].decode("ascii")))
    return outlines
