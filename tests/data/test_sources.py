from __future__ import annotations

from pathlib import Path

import pytest
from data.format_miniatures import SPLITS, WRITERS
from pydantic import TypeAdapter, ValidationError

from bottomup_fast.data.sources import DatasetSource, ShapesSource, Source
from bottomup_fast.errors import InputError

SOURCES: TypeAdapter[DatasetSource | ShapesSource] = TypeAdapter(Source)


@pytest.mark.parametrize("name", WRITERS)
def test_a_source_opens_its_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("BOTTOMUP_DATA", str(tmp_path))
    WRITERS[name](tmp_path / "images")
    settings = {"kind": name, "path": "images", "split": SPLITS[name], "background": "complete"}
    source = SOURCES.validate_python(settings)
    assert isinstance(source, DatasetSource)
    dataset = source.open()
    assert dataset.root == tmp_path / "images"
    assert dataset.background == "complete"
    assert dataset[0].labels.any()


def test_broken_files_are_skipped_if_the_source_says_so(tmp_path: Path) -> None:
    WRITERS["folder"](tmp_path)
    (tmp_path / "masks" / "a.png").unlink()
    source = DatasetSource(kind="folder", path=tmp_path)
    with pytest.raises(InputError, match=r"a\.png"):
        source.open()[0]
    assert source.model_copy(update={"on_error": "skip"}).open()[0].name == "b"


def test_shapes_and_unknown_kinds() -> None:
    assert isinstance(SOURCES.validate_python({"kind": "shapes"}), ShapesSource)
    with pytest.raises(ValidationError, match=r"coco-panoptic.*shapes"):
        SOURCES.validate_python({"kind": "coco", "path": "x"})
