from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

import bottomup_fast
from bottomup_fast.cli import segment as segment_command
from bottomup_fast.models import weights
from bottomup_fast.models.weights import load_model


def test_help_lists_the_commands(run):
    result = run("-h")
    assert result.exit_code == 0
    for command in ("segment", "train", "evaluate", "models", "info"):
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_neither_help_nor_version_imports_torch(option):
    code = (
        "import sys; sys.argv = ['bottomup', sys.argv[1]]\n"
        "from bottomup_fast.cli import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'numpy', 'rich'} & sys.modules.keys()"
    )
    result = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "bottomup" in result.stdout


def test_it_runs_as_a_module():
    command = [sys.executable, "-m", "bottomup_fast"]
    version = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert version.stdout == f"bottomup {bottomup_fast.__version__}\n"
    wrong = subprocess.run([*command, "segment", "gone.png"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr == "error: gone.png: no such file or folder\n"


def test_an_unknown_option_is_a_usage_error(run):
    result = run("segment", "x.png", "--modle", "cells")
    assert result.exit_code == 2
    assert "--modle" in result.stderr


def test_debug_shows_the_traceback(run):
    plain = run("segment", "gone.png")
    assert plain.stderr == "error: gone.png: no such file or folder\n"
    debug = run("--debug", "segment", "gone.png")
    assert debug.exit_code == plain.exit_code == 2
    assert debug.stderr.startswith("Traceback")
    assert "InputError: gone.png: no such file or folder" in debug.stderr


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (PermissionError(13, "Permission denied", "out/x.png"), 2, "out/x.png: Permission denied"),
        (OSError("no space\nleft"), 2, "no space left"),
        (ImportError("the compiled library is missing"), 2, "the compiled library is missing"),
        (FloatingPointError("step 3: not finite"), 2, "step 3: not finite"),
        (OSError(), 2, "OSError"),
    ],
)
def test_what_goes_wrong_is_one_line(run, tmp_path, monkeypatch, raised, code, line):
    def fail(*_):
        raise raised

    monkeypatch.setattr(segment_command, "_sides", fail)
    result = run("segment", tmp_path, "--resolutions", "256")
    assert result.exit_code == code
    assert result.stderr == (f"error: {line}\n" if code == 2 else f"{line}\n")


def test_info(run):
    facts = json.loads(run("info", "--json").stdout)
    assert facts["bottomup_fast"] == bottomup_fast.__version__
    assert facts["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert facts["build"]["cpu"] == bottomup_fast.build_info()["cpu"]
    assert facts["cpu_threads"] == torch.get_num_threads()
    text = run("info").stdout
    assert f"torch: {facts['torch']}\n" in text
    assert f"gpus: {', '.join(facts['gpus']) or 'none found'}\n" in text


def test_models(run, model_file, monkeypatch):
    monkeypatch.setattr(weights, "BUNDLED_MODELS", model_file.parent)
    listed = json.loads(run("models", "--json").stdout)
    assert [entry["name"] for entry in listed["architectures"]] == [
        "bottomup_convnext_base",
        "bottomup_convnext_tiny",
        "bottomup_efficientnet_lite0",
    ]
    assert listed["models"] == [
        {
            "name": "tiny",
            "architecture": "bottomup_efficientnet_lite0",
            "feature_dim": 8,
            "bytes": model_file.stat().st_size,
            "parameters": sum(p.numel() for p in load_model(model_file).parameters()),
            "licence": "Apache-2.0",
            "foreground": True,
            "description": "random weights",
        }
    ]
    row = next(line for line in run("models").stdout.splitlines() if "tiny" in line)
    for part in ("bottomup_efficientnet_lite0", "MB", " M ", "yes", "random weights"):
        assert part in row


def test_models_where_none_is_bundled(run, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "BUNDLED_MODELS", tmp_path)
    assert run("models").stdout.startswith("no bundled models\n")
