"""A checksum as the last bytes of an exported file.

Runtimes parse their files in native code that a flipped bit can crash, or believe it and compute
something else. So the SHA-256 of all that stands before them, in hexadecimal, are the last 64
bytes of every exported file, each format's own way of tolerating them before; they are verified
before the runtime sees the file.
"""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path

from bottomup_fast.errors import InputError

DIGEST = 64
"""Bytes of the checksum."""


def seal(content: bytes) -> bytes:
    """`content` with its checksum behind it."""
    return content + sha256(content).hexdigest().encode()


def read_sealed(path: str | os.PathLike[str]) -> bytes:
    """The whole content of a sealed file, its checksum included.

    Raises:
        InputError: no such file, or it cannot be read; not sealed, or not the content that was.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    body, digest = memoryview(content)[:-DIGEST], content[-DIGEST:]
    if not re.fullmatch(rb"[0-9a-f]{64}", digest):
        raise InputError(
            f"{file}: truncated, or not written by `bottomup export` of this version; "
            "export the model again"
        )
    if sha256(body).hexdigest().encode() != digest:
        raise InputError(
            f"{file}: damaged, its checksum does not match; copy it or export the model again"
        )
    return content
