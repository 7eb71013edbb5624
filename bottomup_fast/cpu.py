"""What this machine's processor can do."""

from __future__ import annotations

import re
from pathlib import Path

_INSTRUCTIONS = re.compile(
    r"\b(?:avx|amx|s?sse|fma|bmi|f16c|vaes|vpclmul|gfni|abm|movbe|popcnt|asimd|sve|bf16|i8mm)\w*"
)


def cpu_instructions() -> set[str]:
    """Of this machine those that compilers use; none where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    found = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    return set(_INSTRUCTIONS.findall(found[1])) if found else set()


def multiplies_bfloat16() -> bool:
    """Whether it has units for products of bfloat16 matrices (Intel's AMX)."""
    return {"amx_tile", "amx_bf16"} <= cpu_instructions()
