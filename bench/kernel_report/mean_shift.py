"""The mean-shift iteration: what 256 lines on all pixels move and need, and at best could."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel_report.machine_code import Kernel
from kernel_report.processors import Processor
from kernel_report.traffic import CountingDevice, Launch

LINES, DIMENSIONS, SIDE = 256, 128, 512
STEP = "window_float16_kernel<(bottomup::Pass)0, 128>"
MULTIPLICATION = 2 * 16 * 8 * 16  # operations of a tensor core instruction
TILE = 128  # pixels, of the kernel's table


@dataclass(frozen=True)
class Step:
    """One iteration of LINES lines on SIDE^2 pixels, on a number of multiprocessors."""

    pixels: int
    step: Launch
    reduction_bytes: float

    @property
    def feature_bytes(self) -> int:
        """Packed float16 features."""
        return self.pixels * DIMENSIONS * 2

    @property
    def moved_bytes(self) -> float:
        return self.step.moved_bytes + self.reduction_bytes


def count_step(pixels: int, processors: int, capability: int = 90) -> Step:
    """Run the first iteration of clustering LINES groups, all of which are found as seeds."""
    from meanshift_ops import cluster, in_memory

    rng = np.random.default_rng(0)
    lines = rng.normal(size=(LINES, DIMENSIONS))
    features = lines[np.arange(pixels) % LINES] + 0.1 * rng.normal(size=(pixels, DIMENSIONS))
    device = CountingDevice("meanshift", capability, processors)
    found = cluster(device, in_memory(features.T[None]), fast=True, rounds=1, min_support=4)
    assert found.num_modes[0] == LINES
    launches = device.launches()
    first = next(i for i, launch in enumerate(launches) if STEP in launch.kernel)
    reduction = launches[first + 1]
    assert "move_lines" in reduction.kernel
    return Step(pixels, launches[first], reduction.moved_bytes)


def roofline(processor: Processor, pixels: int = SIDE * SIDE) -> float:
    """Seconds at least: features read once, both products at the tensor cores' rate."""
    operations = 2 * 2 * LINES * pixels * DIMENSIONS
    return max(pixels * DIMENSIONS * 2 / processor.bandwidth, operations / processor.half_flops)


def computed(
    processor: Processor, kernel: Kernel, moved_bytes: float, multiplications: float
) -> dict[str, float]:
    """Seconds by each limit; the largest is the computed time. Not measured."""
    loop = max(kernel.loops, key=lambda loop: loop.kinds["tensor core"])
    issued = multiplications * sum(loop.kinds.values()) / loop.kinds["tensor core"]
    return {
        "issue slots": issued / processor.issue_slots,
        "tensor cores": multiplications * MULTIPLICATION / processor.half_flops,
        "memory": moved_bytes / processor.bandwidth,
    }
