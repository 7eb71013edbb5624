"""Predictions on disk, whatever made them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import FiniteFloat, TypeAdapter

from bottomup_fast.components import relabel_by_appearance
from bottomup_fast.data.dataset import Sample, Size
from bottomup_fast.data.json_files import Record, check, read_json
from bottomup_fast.data.label_maps import read_label_map
from bottomup_fast.data.run_lengths import area, as_run_lengths
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.masks import Masks, Segments, encode
from bottomup_fast.evaluation.peers.method import Method
from bottomup_fast.segmentation import Segmentation


class PredictedMask(Record):
    """A record of COCO's results, or of SAM's masks, which call their score `predicted_iou`."""

    segmentation: Any
    score: FiniteFloat | None = None
    predicted_iou: FiniteFloat | None = None
    image_id: int | str | None = None


class PredictedImage(Record):
    """An image of a file for a whole data set."""

    id: int | str
    file_name: str


class _PredictedFile(Record):
    annotations: list[PredictedMask]
    images: tuple[PredictedImage, ...] = ()


_FILE = TypeAdapter(_PredictedFile)


class Predictions:
    """Predictions of a data set, found by the names of its images.

    Of image NAME, the first of these that is there counts:
        DIR/NAME.png: a label map of 8 or 16 bits, 0 and 65535 for no segment.
        DIR/NAME/segments.json: what `Segmentation.save` wrote.
        DIR/NAME/metadata.csv: what SAM's script wrote, beside one picture a mask.
        DIR/NAME.json: the image's masks as a list of records, or "annotations" with one: COCO's
            results or SAM's masks, with "segmentation" and "score" or "predicted_iou".
        FILE.json, or the only JSON file of DIR: those of the whole data set with "image_id", which
            is a name or the number in one, or belongs to a "file_name" of "images".
    Records may overlap and are kept so.
    """

    timed = False

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder of predictions")
        self.path = path

    def __call__(self, sample: Sample) -> Segments:
        """Predicted segments of the sample's image; raises InputError, naming the file."""
        size: Size = sample.image.shape[:2]
        base = self.path / sample.name
        label_map, records = (base.with_name(f"{base.name}.{end}") for end in ("png", "json"))
        if label_map.is_file():
            labels = np.maximum(read_label_map(label_map, size), 0)
            return Segmentation(relabel_by_appearance(labels))
        if (base / "segments.json").is_file():
            return Segmentation.load(base)
        if (base / "metadata.csv").is_file():
            return _read_sam_folder(base, size)
        if records.is_file():
            return _as_masks(_read(records).annotations, size, records)
        number = re.findall(r"\d+", sample.name)[-1:]
        keys: list[int | str] = [sample.name, *map(int, number)]
        for key in keys:
            if key in self._of_data_set:
                return _as_masks(self._of_data_set[key], size, self._data_set_file)
        raise InputError(f"{self.path}: no prediction for image {sample.name!r}")

    @cached_property
    def _data_set_file(self) -> Path:
        if self.path.is_file():
            return self.path
        files = sorted(self.path.glob("*.json"))
        return files[0] if len(files) == 1 else self.path

    @cached_property
    def _of_data_set(self) -> Mapping[int | str, Sequence[PredictedMask]]:
        """Records by image id, and by name where the file tells it."""
        if not self._data_set_file.is_file():
            return {}
        content = _read(self._data_set_file)
        by_id: dict[int | str, list[PredictedMask]] = {image.id: [] for image in content.images}
        for record in content.annotations:
            if record.image_id is not None:
                by_id.setdefault(record.image_id, []).append(record)
        if not content.images:
            return by_id
        return {
            str(PurePosixPath(image.file_name).with_suffix("")): by_id[image.id]
            for image in content.images
        }


def open_predictions(path: str, device: str) -> Method:
    """A folder of predictions, or one file of them."""
    return Predictions(Path(path))


def _read(path: Path) -> _PredictedFile:
    content = read_json(path)
    return check(_FILE, {"annotations": content} if isinstance(content, list) else content, path)


def _as_masks(records: Sequence[PredictedMask], size: Size, path: Path) -> Masks:
    masks, scores = [], []
    for index, record in enumerate(records):
        try:
            mask = as_run_lengths(record.segmentation, size)
        except InputError as error:
            raise InputError(f"{path}: record {index}: {error}") from error
        if area(mask):
            masks.append(mask)
            known = (record.score, record.predicted_iou, 1.0)
            scores.append(next(score for score in known if score is not None))
    return Masks((size[0], size[1]), tuple(masks), np.array(scores, np.float64))


def _read_sam_folder(folder: Path, size: Size) -> Masks:
    table = folder / "metadata.csv"
    try:
        with table.open(newline="") as file:
            rows = [(row["id"], float(row["predicted_iou"])) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{table}: no table with id and predicted_iou ({error})") from error
    pictures = [folder / f"{PurePosixPath(number).name}.png" for number, _ in rows]
    masks = tuple(encode(read_label_map(picture, size) > 0) for picture in pictures)
    return Masks((size[0], size[1]), masks, np.array([score for _, score in rows], np.float64))
