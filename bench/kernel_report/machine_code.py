"""The machine code of every kernel for an architecture: what it needs and what it is made of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "csrc"))
from cuda_toolkit import FLAGS, candidate_folders, toolkit_version  # noqa: E402

KINDS = {
    "tensor core": r"[HI]MMA",
    "global load": r"LDG|LDGSTS",
    "global store": r"STG",
    "shared memory": r"LDS|STS|LDSM|ATOMS",
    "local memory": r"LDL|STL",
    "atomic": r"RED|ATOMG|ATOM",
    "warp": r"SHFL|VOTE|VOTEU|REDUX|MATCH",
    "barrier": r"BAR|WARPSYNC|DEPBAR|LDGDEPBAR|BSYNC|BSSY|MEMBAR|ERRBAR|CCTL|SYNCS|FENCE",
    "control": r"BRA|EXIT|RET|CALL|NOP|BREAK|BRX|JMP|YIELD|NANOSLEEP|BMOV|BPT|RPCMOV|WARPSYNC|KILL",
    "constant load": r"LDC|LDCU|ULDC|S2R|S2UR|CS2R|R2UR|LEPC|PLOP3|ELECT",
}
"""Opcodes of NVIDIA's machine code by what they do; all others are arithmetic."""

_ENTRY = re.compile(r"Compiling entry function '(\w+)' for 'sm_\w+'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)(.*)")
_LABEL = re.compile(r"^\s*(\.L_x_\d+):")
_SECTION = re.compile(r"^\s*\.section\s+\.text\.(\w+)")


@dataclass
class Kernel:
    """What a kernel needs and is made of, on one architecture."""

    symbol: str
    name: str
    registers: int = 0
    stack_bytes: int = 0
    spill_bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    widths: Counter[str] = field(default_factory=Counter)
    """Bits of global loads and stores, such as "load 128"."""
    loops: list[Counter[str]] = field(default_factory=list)
    """Instructions of the innermost loops, by kind."""

    def summary(self) -> dict[str, object]:
        return {
            **{name: getattr(self, name) for name in ("name", "registers", "stack_bytes")},
            "spill_bytes": self.spill_bytes,
            "kinds": dict(self.kinds),
            "widths": dict(self.widths),
            "loops": [dict(loop) for loop in self.loops],
        }


def kind_of(opcode: str) -> str:
    """Return what an opcode does, a key of KINDS or "arithmetic"."""
    base = opcode.split(".")[0]
    return next((kind for kind, names in KINDS.items() if re.fullmatch(names, base)), "arithmetic")


def compile_source(source: Path, architecture: str, folder: Path) -> list[Kernel]:
    """Compile one .cu file for a compute capability such as "8.0"; return its kernels."""
    toolkit = next(root for root in candidate_folders(os.environ) if toolkit_version(root))
    number = architecture.replace(".", "")
    cubin = folder / f"{source.stem}.{number}.cubin"
    flags = [flag for flag in FLAGS if flag != "-lineinfo"]
    compiled = subprocess.run(
        [
            toolkit / "bin" / "nvcc",
            *flags,
            f"-I{ROOT / 'csrc'}",
            f"-arch=sm_{number}",
            "-cubin",
            "-Xptxas=-v",
            source,
            "-o",
            cubin,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    kernels = _resources(compiled.stdout + compiled.stderr)
    if kernels:
        for symbol, lines in _sections(_run(_nvdisasm(), "-c", str(cubin))):
            if symbol in kernels:
                _read_code(kernels[symbol], lines)
    return list(kernels.values())


def _resources(log: str) -> dict[str, Kernel]:
    """What ptxas says, by symbol."""
    kernels: dict[str, Kernel] = {}
    symbol = ""
    for line in log.splitlines():
        if match := _ENTRY.search(line):
            symbol = match[1]
            kernels[symbol] = Kernel(symbol, _readable(symbol))
        elif symbol and (match := _FRAME.search(line)):
            kernels[symbol].stack_bytes = int(match[1])
            kernels[symbol].spill_bytes = int(match[2]) + int(match[3])
        elif symbol and (match := _REGISTERS.search(line)):
            kernels[symbol].registers = int(match[1])
    return kernels


def _sections(listing: str) -> Iterator[tuple[str, list[str]]]:
    symbol, lines = "", list[str]()
    for line in listing.splitlines():
        if match := _SECTION.match(line):
            if symbol:
                yield symbol, lines
            symbol, lines = match[1], []
        lines.append(line)
    if symbol:
        yield symbol, lines


def _read_code(kernel: Kernel, lines: list[str]) -> None:
    labels: dict[str, int] = {}
    code: list[tuple[str, str]] = []
    for line in lines:
        if match := _LABEL.match(line):
            labels[match[1]] = len(code)
        elif match := _INSTRUCTION.search(line):
            code.append((match[2], match[3]))
    for opcode, _ in code:
        kind = kind_of(opcode)
        kernel.kinds[kind] += 1
        if kind in ("global load", "global store"):
            kernel.widths[f"{kind.split()[1]} {_bits(opcode)}"] += 1
    bodies = []
    for position, (opcode, rest) in enumerate(code):
        target = re.search(r"\.L_x_\d+", rest)
        if opcode.startswith("BRA") and target and labels.get(target[0], position + 1) <= position:
            bodies.append((labels[target[0]], position))
    for begin, end in bodies:
        inner = any((begin, end) != (b, e) and begin <= b and e <= end for b, e in bodies)
        if not inner:
            kernel.loops.append(Counter(kind_of(opcode) for opcode, _ in code[begin : end + 1]))


def _bits(opcode: str) -> int:
    sizes = {"128": 128, "64": 64, "U8": 8, "S8": 8, "U16": 16, "S16": 16, "256": 256}
    return next((sizes[part] for part in opcode.split(".") if part in sizes), 32)


def _readable(symbol: str) -> str:
    full = _run("c++filt", symbol).strip()
    name = re.sub(r"\(anonymous namespace\)::|bottomup::|^void ", "", full)
    depth = 0
    for position, letter in enumerate(name):  # up to the parameters, behind template arguments
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            return re.sub(r"\((?:int|bool|long)\)", "", name[:position])
    return name


def _nvdisasm() -> str:
    import nvidia.cu13

    found = shutil.which("nvdisasm")
    return found or str(Path(next(iter(nvidia.cu13.__path__))) / "bin" / "nvdisasm")


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
