from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bottomup_fast.errors import InputError
from bottomup_fast.export.seal import DIGEST, read_sealed, seal


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seal") / "model.bin"


@given(st.binary(max_size=300))
def test_what_was_sealed_is_read(path: Path, content: bytes) -> None:
    path.write_bytes(seal(content))
    assert read_sealed(path)[:-DIGEST] == content


@given(st.binary(max_size=300), st.data())
def test_every_flipped_bit_is_seen(path: Path, content: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(content))
    place = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[place // 8] ^= 1 << place % 8
    path.write_bytes(sealed)
    with pytest.raises(InputError, match=r"model\.bin: (damaged|truncated)"):
        read_sealed(path)


@given(st.binary(max_size=300), st.data())
def test_every_truncation_is_seen(path: Path, content: bytes, data: st.DataObject) -> None:
    sealed = seal(content)
    path.write_bytes(sealed[: data.draw(st.integers(0, len(sealed) - 1))])
    with pytest.raises(
        InputError, match=r"model\.bin: (damaged|truncated).*export the model again"
    ):
        read_sealed(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.onnx: no such file"):
        read_sealed(tmp_path / "no.onnx")
    with pytest.raises(InputError, match="no such file"):
        read_sealed(tmp_path)
