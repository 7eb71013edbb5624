"""Builds `bottomup_fast.runtime` as a package of its own, which needs numpy and no torch.

Its files are the same as in the whole package: where one is installed, the other is not needed.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path("..")
if not (ROOT / "csrc").is_dir():
    raise SystemExit("error: the sources are outside this folder: build a wheel in the whole tree")
sys.path.insert(0, str(ROOT / "csrc"))
from runtime_build import runtime_extension  # noqa: E402

project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

setup(
    version=project["version"],
    package_dir={"bottomup_fast": str(ROOT / "bottomup_fast")},
    packages=["bottomup_fast.runtime"],
    # What it imports of the rest.
    py_modules=[
        "bottomup_fast.errors",
        "bottomup_fast.pixels",
        "bottomup_fast.export.onnx_format",
        "bottomup_fast.export.origin",
        "bottomup_fast.export.seal",
    ],
    ext_modules=[runtime_extension(ROOT / "csrc")],
)
