from __future__ import annotations

import subprocess
import sys

import pytest

import bottomup_fast as bf

PROMISED = {
    "BottomUpLoss",
    "InputError",
    "LossTerms",
    "Segmentation",
    "Segmenter",
    "average_precision",
    "build_info",
    "cluster",
    "create_model",
    "evaluate_segments",
    "list_models",
    "load_model",
    "mean_shift",
    "refine",
    "segment",
    "target_lines",
}


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_importing_the_package_imports_no_torch() -> None:
    code = """
import sys
import bottomup_fast
dir(bottomup_fast), bottomup_fast.__version__, bottomup_fast.InputError
heavy = {"torch", "numpy", "timm", "PIL", "skimage", "scipy"} & set(sys.modules)
print(sorted(heavy))
"""
    assert python(code) == "[]"


def test_every_promised_name_resolves() -> None:
    assert set(bf.__all__) == PROMISED
    for name in PROMISED:
        value = getattr(bf, name)
        assert callable(value)
        assert value.__name__ == name
        assert value.__doc__


def test_names_are_listed_and_importable_by_star() -> None:
    assert set(dir(bf)) >= PROMISED
    names: dict[str, object] = {}
    exec("from bottomup_fast import *", names)
    assert names.keys() >= PROMISED


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match=r"^module 'bottomup_fast' has no attribute 'clustr'$"):
        _ = bf.clustr  # type: ignore[attr-defined]
    assert not hasattr(bf, "__wrapped__")
    with pytest.raises(ImportError):
        exec("from bottomup_fast import segmnt")


def test_input_errors_are_value_errors() -> None:
    assert issubclass(bf.InputError, ValueError)
