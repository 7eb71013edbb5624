from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup_fast.reference.philox import philox, uniform

WORDS = st.integers(0, 2**32 - 1)
# Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", known-answer vectors of Random123.
KNOWN = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def draw(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    key0, key1 = (torch.tensor(word) for word in key)
    c0, c1, c2, c3 = (torch.tensor(word) for word in counter)
    words: list[int] = philox((key0, key1), (c0, c1, c2, c3)).tolist()
    return words


def philox_of_integers(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        low = 2**32 - 1
        c = [second >> 32 ^ c[1] ^ k[0], second & low, first >> 32 ^ c[3] ^ k[1], first & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    return c


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert draw(counter, key) == list(expected)


@settings(deadline=None)
@given(st.tuples(WORDS, WORDS, WORDS, WORDS), st.tuples(WORDS, WORDS))
def test_unbounded_integers_agree(counter: tuple[int, ...], key: tuple[int, ...]) -> None:
    assert draw(counter, key) == philox_of_integers(counter, key)


def test_broadcasts_keys_and_counters() -> None:
    zero = torch.tensor(0)
    rows, columns = torch.arange(3).view(3, 1), torch.arange(4)
    words = philox((zero, torch.tensor(7)), (rows, zero, columns, zero))
    assert words.shape == (3, 4, 4)
    assert words.dtype == torch.int64
    assert words[2, 3].tolist() == philox_of_integers((2, 0, 3, 0), (0, 7))


def test_uniform_is_in_the_half_open_unit_interval() -> None:
    numbers = uniform(torch.tensor([0, 2**31, 2**32 - 1]))
    assert numbers.dtype == torch.float64
    assert numbers.tolist() == [0.0, 0.5, 1 - 2**-32]


def test_uniform_fills_the_unit_interval_evenly() -> None:
    zero = torch.tensor(0)
    numbers = uniform(philox((zero, zero), (torch.arange(5000), zero, zero, zero)))
    for word in numbers.unbind(-1):
        counts = torch.histc(word, bins=10, min=0, max=1)
        # Chi-square with 9 degrees of freedom exceeds 33.7 once in 10,000.
        assert ((counts - 500).square() / 500).sum() < 33.7
