"""The C++ library's CUDA side against its CPU side, and the model's streams that it runs on."""

from __future__ import annotations

import os
import subprocess

import pytest
from compilation import program
from process_device import SANITIZER_OPTIONS


def run(name: str, sanitizer: str) -> None:
    done = subprocess.run(
        [program(name, sanitizer)],
        env=os.environ | SANITIZER_OPTIONS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_streams_and_graphs() -> None:
    run("streams", "none")


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["none", pytest.param("address", marks=pytest.mark.address)])
def test_the_gpu_finds_the_segments_of_the_cpu(sanitizer: str) -> None:
    run("runtime", sanitizer)
