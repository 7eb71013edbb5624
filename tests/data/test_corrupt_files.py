"""Files spoiled in every way, through every loader: one line of error, or a valid sample."""

from __future__ import annotations

import io
import json
import resource
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
import tifffile
from data.format_miniatures import SPLITS, WRITERS

from bottomup_fast.data.formats import open_dataset
from bottomup_fast.errors import InputError

MEGABYTES = 1024  # of `ru_maxrss`, which counts kilobytes
LONGEST = 60  # seconds; only a hang takes so long

Spoiler = Callable[[np.random.Generator, bytes, list[bytes]], bytes]


def truncated(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    return content[: rng.integers(len(content))]


def flipped(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    damaged = np.frombuffer(content, np.uint8).copy()
    places = rng.integers(len(damaged), size=rng.integers(1, 9))
    damaged[places] ^= 1 << rng.integers(8, size=len(places), dtype=np.uint8)
    return damaged.tobytes()


def swapped(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    return others[rng.integers(len(others))]


def with_zeros(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    start = int(rng.integers(len(content)))
    return content[:start] + bytes(len(content) - start)


def png_bomb(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    side = int(rng.choice([20_000, 2**31 - 1]))
    depth, colour = ((8, 2), (16, 0), (8, 0))[rng.integers(3)]
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def tiff_bomb(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    tags = [(256, 4, 60_000), (257, 4, 60_000), (258, 3, 16), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, 60_000), (279, 4, 100)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def tiff_of(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values)
    return stream.getvalue()


def nan_tiff(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    return tiff_of(np.full((24, 32), rng.choice([np.nan, np.inf]), np.float32))


def odd_tiff(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    values: list[np.ndarray] = [
        np.full((24, 32), -3, np.int32),
        np.full((24, 32), 2**32 - 1, np.uint32),
        np.zeros((2, 24, 32), np.uint16),
        np.zeros((24, 32), np.complex64),
    ]
    return tiff_of(values[rng.integers(4)])


VALUES: list[Any] = [None, -1, 0, 2**40, -(2**70), 1e308, float("nan"), "", "\0" * 9, [], {}, [[]]]
VALUES += [[1, 2], [[1e9, 0, 0, 1e9, 5, 5]], [[0, 0, float("nan"), 1, 2, 3]], True, "../../x", "€"]
VALUES += [{"size": [24, 32], "counts": "P"}, {"size": [24, 32], "counts": [767]}]
VALUES += [{"size": [24, 32], "counts": "oooooooo"}, {"size": [2**20, 2**20], "counts": "0"}]
VALUES += [{"size": [24, 32], "counts": [-5, 773]}, {"size": [24, 32], "counts": [0.5]}]
VALUES += [{"size": [24, 32], "counts": [2**63, 2**63]}, [[0, 0] * 10**5 + [32, 24] * 10**5]]
VALUES += [[[0, 0, 32, 24] * 10**5]]


def json_changed(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    """Another value, or none, somewhere in the tree; other files are truncated."""
    try:
        tree = json.loads(content)
    except ValueError:
        return truncated(rng, content, others)
    node = tree
    while True:
        keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return b"[" * 10**5
        key = keys[rng.integers(len(keys))]
        child = node[key]
        if not isinstance(child, dict | list) or rng.random() < 0.2:
            break
        node = child
    if rng.random() < 0.2:
        del node[key]
    elif isinstance(child, str) and child.isascii() and rng.random() < 0.5:
        place = int(rng.integers(len(child) + 1))
        node[key] = child[:place] + chr(int(rng.integers(32, 127))) + child[place + 1 :]
    else:
        node[key] = VALUES[rng.integers(len(VALUES))]
    return json.dumps(tree).encode()


SPOILERS: list[Spoiler] = [
    *(truncated, flipped, swapped, with_zeros, png_bomb, tiff_bomb, nan_tiff, odd_tiff),
    *[json_changed] * 4,
]


class Hang(BaseException):
    """Not an Exception, which loaders take for a damaged file."""


@contextmanager
def no_hang() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read_all(root: Path, name: str) -> str:
    """Read a data set; what became of it."""
    try:
        dataset = open_dataset(root, name, split=SPLITS[name])
        for index in range(len(dataset)):
            sample = dataset.read(index)
            size = sample.image.shape[:2]
            assert sample.image.dtype in (np.uint8, np.uint16)
            assert sample.labels.dtype == np.int32
            assert sample.labels.shape == size
            assert sample.labels.min() >= -1
            for mask in sample.masks or ():
                assert pycocotools.mask.decode([mask]).shape == (*size, 1)
    except InputError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) < 1000
        assert str(root) in message
        return "refused"
    return "read"


def spoil_and_read(folder: Path, count: int, seed: int) -> dict[str, int]:
    outcomes = {"refused": 0, "read": 0}
    files: dict[str, list[Path]] = {}
    contents: dict[Path, bytes] = {}
    for name, write in WRITERS.items():
        write(folder / name)
        paths = [path for path in sorted((folder / name).rglob("*")) if path.is_file()]
        places = {path: str(path.relative_to(folder)) for path in paths}
        read = [
            path for path in paths if not any(x in places[path] for x in ("val", "test", "Val"))
        ]
        files[name] = read
        contents |= {path: path.read_bytes() for path in paths}
        assert read_all(folder / name, name) == "read"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    names = list(WRITERS)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name = names[number % len(names)]
        # Small annotation files would be drowned by the many pictures.
        kinds = sorted({path.suffix for path in files[name]})
        kind = kinds[rng.integers(len(kinds))]
        choice = [path for path in files[name] if path.suffix == kind]
        path = choice[rng.integers(len(choice))]
        others = [contents[other] for other in files[name]]
        spoiler = SPOILERS[rng.integers(len(SPOILERS))]
        path.write_bytes(spoiler(rng, contents[path], others))
        with no_hang():
            outcomes[read_all(folder / name, name)] += 1
        path.write_bytes(contents[path])
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert used < 500 * MEGABYTES
    return outcomes


def test_a_hundred_spoiled_files(tmp_path: Path) -> None:
    outcomes = spoil_and_read(tmp_path, 100, seed=0)
    assert outcomes["refused"] > 40


@pytest.mark.slow
def test_a_thousand_spoiled_files(tmp_path: Path) -> None:
    outcomes = spoil_and_read(tmp_path, 1000, seed=1)
    assert outcomes["refused"] > 400
