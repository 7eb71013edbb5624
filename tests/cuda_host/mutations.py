"""Seed bugs in the CUDA kernels, one at a time, and see whether the tests find each.

    python tests/cuda_host/mutations.py losses --count 40 --seed 0

takes csrc/losses_cuda/, changes one place of a copy at a time (a barrier removed, a wait for copies
shortened, a bound off by one, a fragment index swapped, ...), and runs the test files here whose
FAMILY is "losses" on it: first without sanitizers, then, where that finds nothing, under them. It
prints what became of every mutant, and ends with 1 if any survived. The same seed chooses the same
mutants, kinds in turn.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MUTANTS = ROOT / "build" / "cuda_host" / "mutants"

# What is done, where, and what stands there afterwards (as in re.sub).
KINDS = {
    "barrier removed": (r"__syncthreads\(\);", ";"),
    "warp barrier removed": (r"__syncwarp\([^;]*\);", ";"),
    "named barrier removed": (r"\bnamed_barrier\([^;]*\);", ";"),
    "wait removed": (r"\bwait_for_copies<\w+>\(\);", ";"),
    "wait shortened": (r"\bwait_for_copies<(\w+)>", r"wait_for_copies<\1 + 1>"),
    "copy bytes": (r"(\bcopy_async\([^;]*), (?:[^;(),]+)\);", r"\1);"),
    "bound widened": (r"(?<=[\w)\]]) < (?=[\w(])", " <= "),
    "bound narrowed": (r"(?<=[\w)\]]) <= (?=[\w(])", " < "),
    "condition dropped": (r"\bif \(([^(){};]+)\) \{", r"if (true || (\1)) {"),
    "index 0 for 1": (r"\[1\]", "[0]"),
    "index 1 for 0": (r"\[0\]", "[1]"),
    "tail dropped": (r" \+ [\w:]+ - 1\) / ", ") / "),
    "one more dropped": (r"(?<=[\w)\]]) \+ 1\b(?!\.)", ""),
    "one less dropped": (r"(?<=[\w)\]]) - 1\b(?!\.)", ""),
    "sum overwritten": (r"(?<=[\w)\]]) \+= ", " = "),
    "sign flipped": (r"(?<=[\w)\]]) -= ", " += "),
    "extremes swapped": (r"\bfmaxf\(", "fminf("),
    "shuffle distance": (r"(__shfl_(?:xor|down|up)_sync\([^;]*), (\w+)\)", r"\1, \2 / 2)"),
    "stage swapped": (r" % 2\b", " % 1"),
}
COMMENT_OR_STRING = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"|^\s*#[^\n]*", re.S | re.M
)


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: Path
    kind: str
    start: int
    end: int
    replacement: str
    line: int

    def apply(self, text: str) -> str:
        return text[: self.start] + self.replacement + text[self.end :]

    def describe(self, text: str) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {text.splitlines()[self.line - 1].strip()}"


def find_mutants(file: Path, text: str) -> list[Mutant]:
    """Return all that can be changed in a file, comments, strings and directives left alone."""
    code = COMMENT_OR_STRING.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    mutants = []
    for kind, (pattern, replacement) in KINDS.items():
        for match in re.finditer(pattern, code):
            line = text.count("\n", 0, match.start()) + 1
            changed = match.expand(replacement)
            mutants.append(Mutant(file, kind, match.start(), match.end(), changed, line))
    return mutants


def choose(mutants: Iterable[Mutant], count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants, one of each kind in turn, each kind in an order of the seed."""
    by_kind: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        by_kind[mutant.kind].append(mutant)
    generator = random.Random(seed)
    for of_kind in by_kind.values():
        generator.shuffle(of_kind)
    turns = itertools.zip_longest(*by_kind.values())
    return [mutant for turn in turns for mutant in turn if mutant is not None][:count]


def run_tests(
    csrc: Path, tests: Sequence[str], select: str, seconds: float
) -> tuple[int | None, str]:
    """Return pytest's exit code on the changed copy, None if it took too long, and its output."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=line"]
    environment = os.environ | {"CUDA_HOST_CSRC": str(csrc)}
    environment.pop("PTXRUN", None)
    process = subprocess.Popen(
        [*command, "-m", select, *tests],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, ""
    return process.returncode, output


def find_tests(family: str) -> list[str]:
    named = re.compile(rf'^FAMILY = "{family}"$', re.M)
    return [str(test) for test in sorted(HERE.glob("test_*.py")) if named.search(test.read_text())]


def judge(csrc: Path, tests: Sequence[str], seconds: float) -> tuple[str, str]:
    """Return what became of the bug, "survived" or how it was caught, and what pytest said last."""
    for select in ("not (thread or address)", "thread or address"):
        code, output = run_tests(csrc, tests, select, seconds)
        if code is None:
            return "caught: no end", output
        if code < 0:
            return f"caught: signal {-code}", output
        if "CompileError" in output:
            return "does not compile", output
        if failed := re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.M):
            return f"caught: {failed[1].rsplit('::')[-1]}", output
        if code not in (0, 5):  # 5: no such test
            raise RuntimeError(f"pytest did not run:\n{output}")
    return "survived", output


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", help="of csrc/<family>_cuda/")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=sorted(KINDS), help="only this kind")
    parser.add_argument("--file", help="only files whose name contains this")
    parser.add_argument("--tests", nargs="*", help="instead of all of the family")
    parser.add_argument("--seconds", type=float, help="for one run; default: by the unchanged code")
    options = parser.parse_args()

    csrc = MUTANTS / options.family / "csrc"
    shutil.rmtree(csrc, ignore_errors=True)
    shutil.copytree(ROOT / "csrc", csrc)
    tests = options.tests or find_tests(options.family)
    texts = {
        file: file.read_text()
        for file in sorted((csrc / f"{options.family}_cuda").iterdir())
        if file.suffix in (".cu", ".cuh", ".h") and (options.file or "") in file.name
    }
    mutants = [mutant for file, text in texts.items() for mutant in find_mutants(file, text)]
    if options.kind:
        mutants = [mutant for mutant in mutants if mutant.kind == options.kind]

    started = time.monotonic()
    outcome, output = judge(csrc, tests, 3600)
    if outcome != "survived":
        print(f"{output}\nthe tests fail without a change: {outcome}")
        return 2
    seconds = options.seconds or max(60.0, 3 * (time.monotonic() - started))

    outcomes: dict[str, int] = defaultdict(int)
    for mutant in choose(mutants, len(mutants), options.seed):
        if outcomes["caught"] + outcomes["survived"] == options.count:
            break
        mutant.file.write_text(mutant.apply(texts[mutant.file]))
        outcome, _ = judge(csrc, tests, seconds)
        mutant.file.write_text(texts[mutant.file])
        outcomes[outcome.split(":")[0]] += 1
        place = mutant.describe(texts[mutant.file]).removeprefix(f"{csrc.parent}/")
        print(f"{outcome:60} {place}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
    return 1 if outcomes["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
