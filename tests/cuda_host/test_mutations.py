"""The seeded bugs: where they are put, and that a test finds them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from compilation import CompileError, Family
from devices import DeviceError, Schedule
from mutations import choose, find_mutants, find_tests
from process_device import ProcessDevice

PIPELINE = Path(__file__).parent / "kernels" / "pipeline.cu"


def test_where_bugs_are_put() -> None:
    text = (
        "#if __CUDA_ARCH__ < 800\n"
        "for (i = 0; i < n; ++i) { // while i < n\n"
        '  sum += f("a < b", x[0], y[1]);\n'
        "  __syncthreads();\n"
        "  wait_for_copies<1>();\n"
        "  blocks = (n + kTile - 1) / kTile;\n"
    )
    changed = {
        (mutant.kind, mutant.line): mutant.apply(text).splitlines()[mutant.line - 1]
        for mutant in find_mutants(Path("k.cu"), text)
    }
    assert changed == {
        ("bound widened", 2): "for (i = 0; i <= n; ++i) { // while i < n",
        ("sum overwritten", 3): '  sum = f("a < b", x[0], y[1]);',
        ("index 1 for 0", 3): '  sum += f("a < b", x[1], y[1]);',
        ("index 0 for 1", 3): '  sum += f("a < b", x[0], y[0]);',
        ("barrier removed", 4): "  ;",
        ("wait removed", 5): "  ;",
        ("wait shortened", 5): "  wait_for_copies<1 + 1>();",
        ("tail dropped", 6): "  blocks = (n) / kTile;",
        ("one less dropped", 6): "  blocks = (n + kTile) / kTile;",
    }


def test_a_seed_chooses_the_same_of_every_kind() -> None:
    mutants = find_mutants(PIPELINE, PIPELINE.read_text())
    kinds = len({mutant.kind for mutant in mutants})
    assert choose(mutants, 7, 3) == choose(mutants[::-1][::-1], 7, 3)
    assert set(Counter(mutant.kind for mutant in choose(mutants, kinds, 0)).values()) == {1}
    assert len({tuple(choose(mutants, kinds, seed)) for seed in range(5)}) > 1


def test_the_find_tests_a_family() -> None:
    assert [Path(test).name for test in find_tests("model")] == ["test_model.py"]


def sums_are_right(kernels: Family) -> bool:
    """A test of the pipeline as one of a real kernel would be: sizes around its tile."""
    devices = [
        ProcessDevice(kernels, "none", Schedule(order="forward", copies="lazy")),
        ProcessDevice(kernels, "none", Schedule(order="reverse", copies="eager")),
        *(ProcessDevice(kernels, "thread", Schedule(copies=each)) for each in ("lazy", "eager")),
        ProcessDevice(kernels, "address", Schedule(copies="eager")),
    ]
    try:
        for device in devices:
            for rows, columns in [(1, 4), (4, 124), (5, 128), (6, 260)]:
                values = np.random.default_rng(0).standard_normal((rows, columns))
                result = np.zeros(columns, np.float32)
                device.run("pipeline_sum", values.astype(np.float32), result, rows, columns)
                if not np.allclose(result, values.sum(0), atol=1e-5):
                    return False
    except DeviceError:
        return False
    finally:
        for device in devices:
            device.close()
    return True


@pytest.mark.slow
def test_bugs_in_a_pipeline_are_caught(tmp_path: Path) -> None:
    assert sums_are_right(Family("pipeline", (PIPELINE,)))
    text = PIPELINE.read_text()
    survived, judged = [], 0
    for number, mutant in enumerate(find_mutants(PIPELINE, text)):
        changed = tmp_path / f"pipeline{number}.cu"
        changed.write_text(mutant.apply(text))
        try:
            if sums_are_right(Family("pipeline", (changed,))):
                survived.append(mutant.describe(text))
            judged += 1
        except CompileError:
            continue
    # More blocks than are needed do no harm.
    assert [place.split(": ")[1] for place in survived] == ["one less dropped"], survived
    assert judged >= 12
