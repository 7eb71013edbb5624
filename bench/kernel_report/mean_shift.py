"""The mean-shift iteration: what 256 lines on 512 x 512 pixels move and need, and at best could."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel_report.machine_code import Kernel
from kernel_report.processors import Processor
from kernel_report.traffic import CountingDevice, Launch

LINES, DIMENSIONS, SIDE, PROCESSORS = 256, 128, 512, 132
KERNEL = "window_float16_kernel"
OPERATIONS = 2 * 16 * 8 * 16  # of a tensor core instruction
TILE = 128  # pixels, of the kernel's table


@dataclass(frozen=True)
class Step:
    """One iteration: the window pass and the reduction of its blocks' sums."""

    launch: Launch
    pixels: int
    moved_bytes: float
    multiplications: float

    @property
    def feature_bytes(self) -> int:
        """Of the packed float16 features."""
        return self.pixels * DIMENSIONS * 2

    def roofline(self, processor: Processor) -> float:
        """Seconds at least: features read once, both products at the tensor cores' rate."""
        operations = 2 * 2 * LINES * self.pixels * DIMENSIONS
        return max(self.feature_bytes / processor.bandwidth, operations / processor.half_flops)

    def limits(self, processor: Processor, kernel: Kernel) -> dict[str, float]:
        """Seconds by each limit; the largest is the computed time."""
        body = steady_loop(kernel)
        issued = self.multiplications * sum(body.values()) / body["tensor core"]
        return {
            "issue slots": issued / processor.issue_slots,
            "tensor cores": self.multiplications * OPERATIONS / processor.half_flops,
            "memory": self.moved_bytes / processor.bandwidth,
        }


def steady_loop(kernel: Kernel) -> dict[str, int]:
    """Instructions of the loop with the most tensor core instructions, by kind."""
    return max(kernel.loops, key=lambda loop: loop["tensor core"])


def is_step(kernel: Kernel) -> bool:
    """Whether this is the float16 window pass that sums, for as many channels."""
    return KERNEL in kernel.name and f"0, {DIMENSIONS}>" in kernel.name


def count_step() -> Step:
    """Count two small iterations on as many blocks, and go on in a straight line."""
    small, large = (_count(tiles * TILE * PROCESSORS) for tiles in (1, 2))
    ratio = SIDE * SIDE / small.pixels - 1
    return Step(
        large.launch,
        SIDE * SIDE,
        small.moved_bytes + ratio * (large.moved_bytes - small.moved_bytes),
        small.multiplications + ratio * (large.multiplications - small.multiplications),
    )


def _count(pixels: int) -> Step:
    """Run one iteration on float16 features (1, D, pixels), all of them in every line's window."""
    rng = np.random.default_rng(0)
    features = 1 + 0.1 * rng.normal(size=(DIMENSIONS, pixels))
    features = (features / np.linalg.norm(features, axis=0)).astype(np.float16)
    sizes = np.array([1, *features.shape, 2, features.size, pixels, 1], np.int64)
    lines = features[:, :LINES].T.astype(np.float32, order="C")
    device = CountingDevice("meanshift", 90, PROCESSORS)
    workspace = device.size("meanshift_step_workspace", sizes, 1, LINES, 0)
    support, resting, rests = np.zeros((3, LINES), np.int32)
    device.run(
        "meanshift_step",
        *(features, sizes, 1, lines, support, LINES, 0, LINES, resting, 0.7071, 0.0, 0, rests),
        *(np.zeros(workspace, np.uint8), np.zeros(1, np.int32)),
    )
    launches = device.launches()
    step = next(each for each in launches if f"{KERNEL}<(bottomup::Pass)0" in each.kernel)
    reduction = next(each for each in launches if "move_lines" in each.kernel)
    moved = step.moved_bytes + reduction.moved_bytes
    return Step(step, pixels, moved, step.multiplications)
