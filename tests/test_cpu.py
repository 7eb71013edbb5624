"""What the processor can do is read from what the system says of it."""

from pathlib import Path

import pytest

from bottomup_fast.cpu import cpu_instructions, multiplies_bfloat16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "model\t: 17\nflags\t\t: fpu sse sse4_2 ht avx avx512_vnni amx_tile\n",
            "amx_tile avx avx512_vnni sse sse4_2",
        ),
        ("Features\t: fp asimd asimddp sve2 crc32\n", "asimd asimddp sve2"),
        ("nothing", ""),
    ],
)
def test_instructions_of_a_cpu(monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: text)
    assert cpu_instructions() == set(expected.split())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("amx_bf16 amx_tile", True), ("avx512_bf16 amx_tile amx_int8", False), ("avx2", False)],
)
def test_multiplies_bfloat16(monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: f"flags : fpu {flags}\n")
    assert multiplies_bfloat16() is expected
