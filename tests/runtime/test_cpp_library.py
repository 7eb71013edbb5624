"""The C++ library as a stranger builds, installs and uses it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs import run

import bottomup_fast as bf

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def torch_folder() -> Path:
    found = importlib.util.find_spec("torch")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0])


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    run(
        *("cmake", "-S", ROOT, "-B", folder / "build", "-G", "Ninja"),
        *(f"-DBOTTOMUP_TORCH_ROOT={torch_folder()}", "-DBOTTOMUP_CUDA=OFF"),
        f"-DCMAKE_INSTALL_PREFIX={folder / 'prefix'}",
    )
    run("cmake", "--build", folder / "build")
    run("cmake", "--install", folder / "build")
    return folder / "prefix"


@pytest.fixture(scope="module")
def example(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    run(
        *("cmake", "-S", ROOT / "examples/cpp", "-B", folder, "-G", "Ninja"),
        f"-DCMAKE_PREFIX_PATH={installed}",
    )
    run("cmake", "--build", folder)
    return folder / "segment"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bottomup_fast.export import export_aoti

    path = tmp_path_factory.mktemp("package") / "cells.pt2"
    export_aoti("cells", path)
    return path


def test_the_example_gives_the_labels_of_python(
    example: Path, package: Path, tmp_path: Path
) -> None:
    from bottomup_fast.export import load_aoti

    pixels = np.asarray(Image.open(ROOT / "examples/nuclei.png").convert("RGB"))
    Image.fromarray(pixels).save(tmp_path / "image.ppm")
    run(example, package, tmp_path / "image.ppm", tmp_path / "labels.pgm")
    content = (tmp_path / "labels.pgm").read_bytes().split(b"65535\n", 1)[1]
    labels = np.frombuffer(content, ">u2")
    expected = bf.Segmenter(load_aoti(package), "cpu").segment(pixels).labels
    assert expected.max() > 10
    assert np.array_equal(labels.reshape(expected.shape), expected)


def test_the_example_says_what_is_wrong(example: Path, package: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.ppm"
    image.write_bytes(b"P6\n2 2\n255\n" + bytes(12))
    damaged = bytearray(package.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.pt2").write_bytes(damaged)
    (tmp_path / "short.pt2").write_bytes(damaged[:100])
    (tmp_path / "cut.ppm").write_bytes(image.read_bytes()[:-1])
    for model, picture, reason in (
        ("damaged.pt2", "image.ppm", "checksum"),
        ("short.pt2", "image.ppm", "truncated"),
        ("missing.pt2", "image.ppm", "no such file"),
        ("model.txt", "image.ppm", "expected an AOTInductor package"),
        (package, "cut.ppm", "cut off"),
        (package, "missing.ppm", "expected a binary PPM"),
    ):
        labels = tmp_path / "labels.pgm"
        said = run(example, tmp_path / model, tmp_path / picture, labels, status=2)
        assert reason in said
        assert said.count("\n") == 1


def test_damaged_packages_are_refused(installed: Path, package: Path, tmp_path: Path) -> None:
    (library,) = installed.glob("lib*/libbottomup.so")
    program = tmp_path / "open_damaged"
    run(
        *("g++", "-std=c++20", "-O1", f"-I{installed / 'include'}"),
        *(ROOT / "tests/runtime/open_damaged.cpp", library, "-o", program),
        *(f"-Wl,-rpath,{library.parent}", f"-Wl,-rpath-link,{torch_folder() / 'lib'}"),
    )
    assert run(program, package, tmp_path / "copy.pt2") == "ok\n"
