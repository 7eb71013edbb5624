"""What the formats with COCO's JSON share: images with annotations that may overlap."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import pydantic_core
from pydantic import Field, TypeAdapter

from bottomup_fast.data.dataset import AnnotatedFiles, Annotation, Entry, Size
from bottomup_fast.data.json_files import Record, check, read_json
from bottomup_fast.data.layout import FilesBelow
from bottomup_fast.data.run_lengths import area, as_run_lengths, paint
from bottomup_fast.errors import InputError

Side = Annotated[int, Field(ge=1)]


class CocoImage(Record):
    """An image of a JSON file."""

    id: int | str
    file_name: str
    height: Side
    width: Side

    @property
    def name(self) -> str:
        """File name without suffix."""
        return str(PurePosixPath(self.file_name).with_suffix(""))


class CocoSegment(Record):
    """An annotation of one object."""

    id: int | str | None = None
    category_id: int | str = ""
    iscrowd: Annotated[int, Field(ge=0, le=1)] = 0
    segmentation: Any


class CocoCategory(Record):
    """A class of objects."""

    id: int | str
    name: str


_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
_IMAGES = TypeAdapter(list[CocoImage])
_CATEGORIES = TypeAdapter(list[CocoCategory])
_LIST: TypeAdapter[list[Any]] = TypeAdapter(list[Any])
_SEGMENTS = TypeAdapter(list[CocoSegment])


@dataclass(frozen=True)
class CocoEntry:
    """What a JSON file says about one image.

    Attributes:
        file: the JSON file.
        image: its entry of the image.
        records: its annotations of the image, as JSON.
        categories: its names of classes by id.
    """

    file: Path
    image: CocoImage
    records: bytes
    categories: Mapping[int | str, str]

    def segments(self, size: Size) -> Annotation:
        """Labels and masks of an image of that size; crowds are ignored.

        Raises:
            InputError: the file says another size, or a segmentation is broken.
        """
        expected = self.image.height, self.image.width
        place = f"{self.file}: image {self.image.file_name!r}"
        if size != expected:
            raise InputError(f"{place} is {size}, not {expected} as it says")
        segments = check(_SEGMENTS, pydantic_core.from_json(self.records), self.file)
        return draw(segments, size, place, self.categories)


def coco_entries(path: Path, broken: Callable[[str], None]) -> Iterator[CocoEntry]:
    """Images of a JSON file with their annotations; `broken` is told of annotations of none.

    Raises:
        InputError: not such a file, or two images of one id.
    """
    content = check(_OBJECT, read_json(path), path)
    images = check(_IMAGES, content.get("images"), path)
    of_image: dict[int | str, list[dict[str, Any]]] = {image.id: [] for image in images}
    if len(of_image) < len(images):
        raise InputError(f"{path}: two images have the same id")
    records: list[Any] = check(_LIST, content.get("annotations"), path)
    strays = []
    for number, record in enumerate(records):
        image_id = record.get("image_id") if isinstance(record, dict) else None
        if isinstance(image_id, int | str) and image_id in of_image:
            of_image[image_id].append(record)
        else:
            strays.append(f"annotations.{number}")
    if strays:
        broken(f"{path}: {len(strays)} annotations are of no image in it, first {strays[0]}")
    categories = check(_CATEGORIES, content.get("categories", []), path)
    names = {category.id: category.name for category in categories}
    for image in images:
        # As bytes, since the workers of a data loader would copy every page of live objects.
        yield CocoEntry(path, image, pydantic_core.to_json(of_image[image.id]), names)


def draw(
    segments: Iterable[CocoSegment],
    size: Size,
    place: str,
    categories: Mapping[int | str, str] | None = None,
) -> Annotation:
    """Labels and masks of the objects of an image; crowds are ignored.

    Raises:
        InputError: a segmentation that is broken or of another size, with `place` before it.
    """
    masks, crowds, names = [], [], []
    for number, segment in enumerate(segments):
        try:
            mask = as_run_lengths(segment.segmentation, size)
        except InputError as error:
            name = number if segment.id is None else segment.id
            raise InputError(f"{place}, annotation {name}: {error}") from error
        if segment.iscrowd:
            crowds.append(mask)
        elif area(mask):
            masks.append(mask)
            category = segment.category_id
            names.append(categories.get(category, str(category)) if categories else "")
    labels = paint(masks, crowds, size)
    return Annotation(labels, tuple(masks), tuple(names) if categories else None)


class CocoDataset(AnnotatedFiles):
    """Base of the formats of one or more JSON files of images and annotations."""

    @abstractmethod
    def _files_of_split(self, split: str | None) -> Iterable[tuple[Path, Path]]:
        """JSON files of a split, each with the folder that holds its images."""

    def _entries(self, split: str | None) -> Iterable[Entry]:
        for path, folder in self._files_of_split(split):
            files = FilesBelow(folder)
            for entry in coco_entries(path, self._broken):
                image = files.find(entry.image.file_name)
                if image is None:
                    self._broken(f"{path}: no image {entry.image.file_name!r} in {folder}")
                else:
                    yield Entry(entry.image.name, image, entry)

    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        coco: CocoEntry = entry.annotation
        return coco.segments(size)
