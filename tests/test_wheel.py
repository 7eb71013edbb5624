"""The wheels of a release, installed where no sources are.

They are built for the test, without CUDA, or taken from the folder BOTTOMUP_WHEELS (`make wheel`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from packaging.requirements import Requirement
from random_models import random_network, tiny_settings
from wheel_build import ROOT, build_release, run

import bottomup_fast as bf
from bottomup_fast.export import export_onnx, load_onnx

pytestmark = pytest.mark.slow

IMAGE = ROOT / "examples" / "nuclei.png"
TESTS = ("test_package.py", "test_cluster.py", "test_segmenter_bundled.py")


@dataclass(frozen=True)
class Release:
    source: Path
    whole: Path
    runtime: Path


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = Path(os.environ.get("BOTTOMUP_WHEELS") or tmp_path_factory.mktemp("dist"))
    if not any(folder.iterdir()):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BOTTOMUP_CUDA", "0")
            build_release(folder)
    (source,), (whole,), (runtime,) = (
        folder.glob(name)
        for name in ("*.tar.gz", "bottomup_fast-*.whl", "bottomup_fast_runtime-*.whl")
    )
    return Release(source, whole, runtime)


class Environment:
    """A virtual environment that has no packages of its own yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run("-m", "venv", "--without-pip", folder)
        self.python = folder / "bin" / "python"
        (self.packages,) = folder.glob("lib/*/site-packages")

    def install(self, wheel: Path) -> None:
        options = ("--no-deps", "--no-index", "--disable-pip-version-check")
        run("-m", "pip", "--python", self.python, "install", *options, wheel)

    def __call__(self, *command: str | Path) -> str:
        """Run Python outside the tree."""
        unset = {"PYTHONPATH", "PYTHONHOME"}
        environment = {k: v for k, v in os.environ.items() if k not in unset}
        done = subprocess.run(
            [self.python, *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def whole(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The abi3 wheel, beside everything that is installed here."""
    environment = Environment(tmp_path_factory.mktemp("whole"))
    places = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (environment.packages / "outer.pth").write_text("\n".join(places))
    environment.install(release.whole)
    return environment


def with_requirements(names: list[str]) -> Iterator[str]:
    """The distributions of these names, and all that they need."""
    for name in names:
        yield name
        needed = map(Requirement, distribution(name).requires or ())
        yield from with_requirements(
            [each.name for each in needed if each.marker is None or each.marker.evaluate()]
        )


@pytest.fixture(scope="module")
def small(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The runtime's wheel, and numpy and onnxruntime alone."""
    environment = Environment(tmp_path_factory.mktemp("small"))
    for name in set(with_requirements(["numpy", "onnxruntime"])):
        files = distribution(name).files or ()
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            place = Path(str(distribution(name).locate_file(top)))
            (environment.packages / top).symlink_to(place)
    environment.install(release.runtime)
    return environment


def names_in(wheel: Path) -> set[str]:
    return set(ZipFile(wheel).namelist())


def test_one_wheel_serves_all_later_pythons(release: Release) -> None:
    assert "-cp311-abi3-manylinux_" in release.whole.name
    names = names_in(release.whole)
    libraries = {name for name in names if name.endswith(".so")}
    assert libraries == {"bottomup_fast/_C.abi3.so"}
    assert "1 extensions scanned; 0 ABI version mismatches and 0 ABI violations" in " ".join(
        run("-m", "abi3audit", "--strict", "--summary", release.whole).split()
    )
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"bottomup_fast"}
    assert "bottomup_fast/models/weights/cells.safetensors" in names
    assert "bottomup_fast/configs/paper.yaml" in names


def test_wheels_load_on_other_linuxes(release: Release) -> None:
    for wheel in (release.whole, release.runtime):
        assert 'constrains the platform tag to "manylinux_' in run(
            "-m", "auditwheel", "show", wheel
        )


def test_the_source_distribution_holds_all_that_is_compiled(release: Release) -> None:
    with tarfile.open(release.source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {
        str(file.relative_to(ROOT))
        for folder in ("csrc", "cmake", "examples/cpp")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert sources <= names


def test_build_info_tells_what_is_installed(whole: Environment, release: Release) -> None:
    info = json.loads(whole("-m", "bottomup_fast", "info", "--json"))["build"]
    assert Path(info["library"]) == whole.packages / "bottomup_fast" / "_C.abi3.so"
    assert info["stable_abi"] == "2.11"
    assert info["runtime"] is None
    if "BOTTOMUP_WHEELS" not in os.environ:
        assert info["cuda"]["reason"] == "built with BOTTOMUP_CUDA=0"


def test_the_installed_command_segments_as_the_tree_does(
    whole: Environment, tmp_path: Path
) -> None:
    command = whole.folder / "bin" / "bottomup"
    whole(command, "segment", IMAGE, "--model", "cells", "--output", tmp_path)
    labels = bf.Segmentation.load(tmp_path).labels
    np.testing.assert_array_equal(labels, bf.segment(IMAGE, model="cells").labels)


def test_tests_pass_on_what_is_installed(whole: Environment, tmp_path: Path) -> None:
    for name in TESTS:
        shutil.copy(ROOT / "tests" / name, tmp_path)
    said = whole("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path)
    assert " passed" in said


SEGMENT = """
import sys
from importlib.util import find_spec

import numpy as np
from bottomup_fast import runtime

model, pixels, labels = sys.argv[1:]
np.save(labels, runtime.Segmenter(model).segment(np.load(pixels)).labels)
assert all(find_spec(name) is None for name in ("torch", "timm", "PIL", "scipy"))
"""


def test_the_runtime_needs_numpy_and_onnxruntime_alone(small: Environment, tmp_path: Path) -> None:
    model, pixels, labels = (tmp_path / name for name in ("m.onnx", "pixels.npy", "labels.npy"))
    export_onnx(random_network(tiny_settings(foreground=True)), model)
    image = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
    np.save(pixels, image)
    small("-c", SEGMENT, model, pixels, labels)
    expected = bf.Segmenter(load_onnx(model), "cpu").segment(image).labels
    assert expected.max() > 1
    np.testing.assert_array_equal(np.load(labels), expected)


BOTH = """
import numpy as np
import torch
import bottomup_fast as bf
from bottomup_fast import runtime

features = np.random.default_rng(0).standard_normal((4, 20, 30)).astype(np.float32)
assert (runtime.cluster(features) == bf.cluster(torch.from_numpy(features)).numpy()).all()
"""


def test_the_runtime_can_be_added_to_the_abi3_package(whole: Environment, release: Release) -> None:
    asked = "try: from bottomup_fast import runtime\nexcept ImportError as error: print(error)"
    assert "the compiled module of bottomup_fast.runtime" in whole("-c", asked)
    whole.install(release.runtime)
    whole("-c", BOTH)


def test_the_runtime_says_what_it_needs(release: Release) -> None:
    with ZipFile(release.runtime) as wheel:
        (name,) = (each for each in wheel.namelist() if each.endswith("/METADATA"))
        lines = wheel.read(name).decode().splitlines()
    needed = [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist: ")]
    assert needed == ["numpy", 'onnxruntime; extra == "onnx"']
