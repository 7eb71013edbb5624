from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bottomup_fast.collection.items import find_items, folder_names
from bottomup_fast.errors import InputError


def folders(items):
    return [item.folder for item in items]


def test_a_folder_gives_its_images_in_natural_order(tmp_path):
    for name in ("b10.png", "b9.png", "notes.md", ".hidden.png"):
        (tmp_path / name).touch()
    items = find_items(tmp_path)
    assert [item.path for item in items] == [tmp_path / "b9.png", tmp_path / "b10.png"]
    assert [item.name for item in items] == ["b9.png", "b10.png"]
    assert folders(items) == ["b9", "b10"]


def test_a_list_gives_its_lines_relative_to_itself(tmp_path):
    (tmp_path / "list.txt").write_text("z/a.png\r\n\n  b.tif  \nz/a.png\n/data/c d.jpg\n")
    items = find_items(tmp_path / "list.txt")
    assert [str(item.path) for item in items] == [
        str(tmp_path / "z/a.png"),
        str(tmp_path / "b.tif"),
        "/data/c d.jpg",
    ]
    assert [item.name for item in items] == ["z/a.png", "b.tif", "/data/c d.jpg"]
    assert folders(items) == ["a", "b", "c d"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "b.png"], ["a", "b"]),
        (["a.png", "a.bmp", "b.png"], ["a.png", "a.bmp", "b"]),
        (["x/a.png", "y/a.png", "z/a.tif"], ["x_a.png", "y_a.png", "a.tif"]),
        (["/x/a.png", "../a.png"], ["x_a.png", "a.png"]),
        (["run.json.png"], ["run.json.png"]),
    ],
)
def test_names_of_folders(names, expected):
    assert folder_names(names, ["run.json"]) == expected


@given(
    st.lists(
        st.from_regex(r"([ab_.]/)?[ab_.]{0,2}[ab](\.(png|tif))?", fullmatch=True),
        min_size=1,
        unique=True,
    )
)
def test_no_two_images_share_a_folder(tmp_path_factory, names):
    path = tmp_path_factory.getbasetemp() / "names.txt"
    path.write_text("\n".join(names))
    try:
        found = folders(find_items(path, ["a"]))
    except InputError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017
        return
    assert len(set(found)) == len(names)
    assert "a" not in found
    assert all(os.sep not in name and name not in ("", ".", "..") for name in found)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no images in it"),
        (b"\n \n", "no images in it"),
        (b"\xff\xd8\xff", "not a list of paths in UTF-8"),
        (b"a\0b", "not a list of paths"),
        (b"x/y_a.png\nx_y/a.png\nz/a.png\nz/y_a.png", "x/y_a.png and x_y/a.png would both be"),
    ],
)
def test_a_wrong_list_is_named(tmp_path, content, reason):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: .*{reason}"):
        find_items(path)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(InputError, match=f"^{tmp_path}: no images in it$"):
        find_items(tmp_path)
