"""The CUDA side of the C++ library, built by nvcc, as a stranger finds it where no GPU is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from programs import run
from random_models import tiny_settings

from bottomup_fast.export.description import Description
from bottomup_fast.export.seal import seal

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nvcc") is None, reason="no CUDA toolkit"),
]

CONSUMER = """
cmake_minimum_required(VERSION 3.22)
project(consumer LANGUAGES CXX)
find_package(bottomup REQUIRED COMPONENTS cuda OPTIONAL_COMPONENTS tensorrt)
if(NOT bottomup_HAS_CUDA OR bottomup_HAS_TENSORRT OR bottomup_tensorrt_FOUND)
  message(FATAL_ERROR "the package says something else than was built")
endif()
add_executable(consumer ${SOURCE})
target_link_libraries(consumer PRIVATE bottomup::bottomup)
"""


@pytest.fixture(scope="module")
def consumer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda")
    run(
        *("cmake", "-S", ROOT, "-B", folder / "build", "-G", "Ninja", "-DBOTTOMUP_CUDA=ON"),
        *("-DBOTTOMUP_TORCH=OFF", "-DBOTTOMUP_TENSORRT=OFF"),
        f"-DCMAKE_INSTALL_PREFIX={folder / 'prefix'}",
    )
    run("cmake", "--build", folder / "build")
    run("cmake", "--install", folder / "build")
    (folder / "CMakeLists.txt").write_text(CONSUMER)
    run(
        *("cmake", "-S", folder, "-B", folder / "consumer", "-G", "Ninja"),
        f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}",
        f"-DSOURCE={ROOT / 'tests/runtime/cuda_consumer.cpp'}",
    )
    run("cmake", "--build", folder / "consumer")
    (folder / "CMakeLists.txt").write_text(CONSUMER.replace("OPTIONAL_COMPONENTS ", ""))
    said = run("cmake", folder / "consumer", status=1)
    assert "TensorRT: OFF" in said
    return folder / "consumer/consumer"


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error(consumer: Path) -> None:
    clustering, network = run(consumer).splitlines()
    assert clustering.startswith("clustering: no usable NVIDIA GPU: ")
    assert network.startswith("network: no usable NVIDIA GPU: ")


def test_a_build_without_tensorrt_says_so(consumer: Path, tmp_path: Path) -> None:
    engine = tmp_path / "model.engine"
    metadata = Description(tiny_settings(False, None), "tensorrt").to_metadata()
    text = json.dumps(metadata).encode()
    engine.write_bytes(seal(b"engine" + text + len(text).to_bytes(8, "little")))
    assert run(consumer, engine).splitlines()[2] == (
        f"model: {engine}: this build of bottomup has no TensorRT; "
        "build it with BOTTOMUP_TENSORRT=ON"
    )


@pytest.mark.gpu
def test_the_gpu_finds_the_segments_of_the_cpu(tmp_path: Path) -> None:
    """What the execution model runs elsewhere."""
    run(
        *("cmake", "-S", ROOT, "-B", tmp_path, "-G", "Ninja", "-DBUILD_SHARED_LIBS=OFF"),
        *("-DBOTTOMUP_CUDA=ON", "-DBOTTOMUP_TORCH=OFF", "-DBOTTOMUP_TENSORRT=OFF"),
    )
    run("cmake", "--build", tmp_path)
    run(
        *("nvcc", "-std=c++20", "--expt-relaxed-constexpr", "-arch=native", f"-I{ROOT / 'csrc'}"),
        *(f"-I{ROOT / 'csrc/runtime/include'}", ROOT / "tests/cuda_host/programs/runtime.cu"),
        *(tmp_path / "libbottomup.a", "-o", tmp_path / "program"),
    )
    assert run(tmp_path / "program") == "ok\n"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("BOTTOMUP_CUDA=YES",), "BOTTOMUP_CUDA=YES: must be AUTO, ON or OFF"),
        (("BOTTOMUP_CUDA=OFF", "BOTTOMUP_TENSORRT=ON"), "BOTTOMUP_TENSORRT=ON needs CUDA"),
        (
            ("BOTTOMUP_CUDA=ON", "BOTTOMUP_TENSORRT=ON", "BOTTOMUP_TENSORRT_ROOT=/nowhere"),
            "set BOTTOMUP_TENSORRT_ROOT",
        ),
    ],
)
def test_impossible_builds(settings: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    options = [f"-D{setting}" for setting in (*settings, "BOTTOMUP_TORCH=OFF")]
    said = run("cmake", "-S", ROOT, "-B", tmp_path, "-G", "Ninja", *options, status=1)
    assert reason in " ".join(said.split())


def test_without_a_compiler_there_is_no_cuda(tmp_path: Path) -> None:
    command = ["cmake", "-S", str(ROOT), "-G", "Ninja", "-DBOTTOMUP_TORCH=OFF"]
    said = run(*command, "-B", tmp_path / "auto", CUDACXX="/bin/false")
    assert "CUDA: OFF, TensorRT: OFF" in said
    command.append("-DBOTTOMUP_CUDA=ON")
    said = run(*command, "-B", tmp_path / "on", status=1, CUDACXX="/bin/false")
    assert "BOTTOMUP_CUDA=ON, but no CUDA compiler works" in said
