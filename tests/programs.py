"""Other programs, run to their end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def run(*command: str | Path, status: int = 0, **environment: str) -> str:
    """All that a program says; it must end with the status."""
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr
