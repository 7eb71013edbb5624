"""COCO panoptic: a PNG of segment numbers for each image, and a JSON list of what they are.

Layout: `annotations/panoptic_train2017.json`, its PNGs in `annotations/panoptic_train2017/` (or
beside the images), images in `train2017/`. A pixel's number is R + 256 G + 65536 B. Unlabelled
pixels (number 0, "void") and crowds are ignored (-1), so there is no 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from bottomup_fast.data.coco import CocoImage
from bottomup_fast.data.coco_instances import coco_images
from bottomup_fast.data.dataset import AnnotatedFiles, Annotation, Entry, Size
from bottomup_fast.data.json_files import Record, check, read_json
from bottomup_fast.data.label_maps import rank_values, read_png
from bottomup_fast.data.layout import FilesBelow, annotation_files, file_of_split, first_folder
from bottomup_fast.errors import InputError

VOID = 0
_FILES = ["panoptic_*.json"]


class _Segment(Record):
    id: Annotated[int, Field(gt=VOID, lt=2**24)]
    iscrowd: Annotated[int, Field(ge=0, le=1)] = 0


class _PanopticMap(Record):
    image_id: int | str
    file_name: str
    segments_info: tuple[_Segment, ...]


class _PanopticFile(Record):
    images: tuple[CocoImage, ...]
    annotations: tuple[_PanopticMap, ...]


@dataclass(frozen=True)
class _Segments:
    """A PNG and what its numbers are: arrays, not objects, as workers would copy those."""

    png: Path
    numbers: NDArray[np.int32]
    crowds: NDArray[np.bool_]


_FILE = TypeAdapter(_PanopticFile)


class CocoPanoptic(AnnotatedFiles):
    """The images of one annotation file, by its split ("train", "val", "train2017", ...)."""

    def _entries(self, split: str | None) -> Iterable[Entry]:
        path = file_of_split(self.root, annotation_files(self.root, _FILES), split)
        content = check(_FILE, read_json(path), path)
        part = path.stem.removeprefix("panoptic_")
        images = FilesBelow(coco_images(self.root, part))
        beside = str(path.relative_to(self.root).with_suffix(""))
        maps = FilesBelow(first_folder(self.root, (beside, path.stem, "panoptic")))
        of_id = {image.id: image for image in content.images}
        if len(of_id) < len(content.images):
            raise InputError(f"{path}: two images have the same id")
        for annotation in content.annotations:
            image = of_id.pop(annotation.image_id, None)
            if image is None:
                self._broken(f"{path}: no single image {annotation.image_id!r} for an annotation")
                continue
            picture, png = images.find(image.file_name), maps.find(annotation.file_name)
            if picture is None:
                self._broken(f"{path}: no image {image.file_name!r} in {images.folder}")
            elif png is None:
                self._broken(f"{path}: no map {annotation.file_name!r} in {maps.folder}")
            else:
                yield Entry(image.name, picture, _segments(png, annotation.segments_info))
        for image in of_id.values():
            self._broken(f"{path}: no annotation of image {image.file_name!r}")

    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        segments: _Segments = entry.annotation
        red, green, blue = np.moveaxis(
            read_png(segments.png, size, modes=("RGB",)).astype(np.int32), -1, 0
        )
        found, position = rank_values(red + (green << 8) + (blue << 16))
        stated = np.union1d(segments.numbers, found[found == VOID])
        if not np.array_equal(found, stated):
            odd = int(np.setxor1d(found, stated)[0])
            where = "JSON" if odd in found else "PNG"
            raise InputError(f"{segments.png}: segment {odd} is missing in the {where}")
        table = np.full(len(found), -1, np.int32)
        order = np.searchsorted(found, segments.numbers)
        table[order] = np.where(segments.crowds, -1, np.cumsum(~segments.crowds))
        return Annotation(table[position])


def _segments(png: Path, segments: tuple[_Segment, ...]) -> Any:
    numbers = np.array([segment.id for segment in segments], np.int32)
    return _Segments(png, numbers, np.array([segment.iscrowd for segment in segments], bool))


def is_coco_panoptic(root: Path) -> bool:
    """Whether a folder looks like this format."""
    return bool(annotation_files(root, _FILES))
