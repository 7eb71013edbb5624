"""The tutorial's commands, as they stand in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_from_a_folder_to_segments(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (configuration,) = blocks("yaml")
    config = tmp_path / configuration.splitlines()[0].removeprefix("# ")
    config.parent.mkdir(parents=True)
    config.write_text(configuration)
    for command in blocks("bash"):
        subprocess.run(
            [
                "bash",
                "-e",
                "-c",
                f'bottomup() {{ {sys.executable} -m bottomup_fast "$@"; }}\n{command}',
            ],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            timeout=600,
        )
    made = tmp_path / "runs" / "tutorial"
    report = json.loads((made / "report" / "report.json").read_text())
    # It starts from `cells`, which twenty updates must not spoil.
    assert report["overall"]["f1"] > 0.5
    assert len(list((made / "segments").glob("*/labels.png"))) == 8
    assert list((made / "comparison").glob("*.png"))
    assert (made / "sheet.png").is_file()
    assert list((made / "run" / "pictures").glob("*.png"))
