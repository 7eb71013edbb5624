"""Counts what nvcc makes of every CUDA kernel, and what the kernels move. Nothing is timed.

    make kernel-report
    make kernel-report REPORT="--architectures 8.0 9.0 --json report.json"

Registers, stack and spills are ptxas's; instructions are those of the machine code. Traffic is
counted in sectors of 32 bytes while the host execution model runs the kernels, as if there were no
caches. Times are computed from data sheets, not measured: the largest of warps' instructions over
issue slots, operations over the tensor cores' rate, and bytes over bandwidth.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from kernel_report.losses import DIMENSIONS, SIDES, LossTraffic, count_losses
from kernel_report.machine_code import ROOT, Kernel, compile_source
from kernel_report.mean_shift import Step, count_step, is_step, steady_loop
from kernel_report.processors import LIMITS, PROCESSORS

KINDS_SHOWN = ("local memory", "tensor core", "arithmetic", "shared memory", "barrier")
Kernels = dict[str, list[Kernel]]
"""By compute capability."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--architectures", nargs="+", default=list(LIMITS), choices=list(LIMITS))
    parser.add_argument("--no-traffic", action="store_true", help="machine code only")
    parser.add_argument("--json", type=Path, help="write everything there, too")
    arguments = parser.parse_args()
    console = Console(width=150)
    kernels = compile_all(arguments.architectures)
    for architecture, found in kernels.items():
        console.print(machine_code_table(architecture, found))
    facts: dict[str, object] = {
        "kernels": {name: [each.summary() for each in found] for name, found in kernels.items()}
    }
    if not arguments.no_traffic:
        step = count_step()
        losses = [count_losses(count, device) for device in (80, 90) for count in SIDES]
        console.print(step_table(step, kernels), losses_table(losses))
        facts |= {"step": asdict(step), "losses": [each.summary() for each in losses]}
    if arguments.json:
        arguments.json.write_text(json.dumps(facts, indent=1))


def compile_all(architectures: list[str]) -> Kernels:
    """Compile every .cu file for every architecture."""
    sources = sorted((ROOT / "csrc").glob("*_cuda/*.cu"))
    jobs = [(source, name) for name in architectures for source in sources]
    kernels: Kernels = {name: [] for name in architectures}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        results = pool.map(lambda job: compile_source(*job, Path(folder)), jobs)
        done = track(results, "compiling", total=len(jobs))
        for (_, name), found in zip(jobs, done, strict=True):
            kernels[name] += found
    return kernels


def machine_code_table(architecture: str, kernels: list[Kernel]) -> Table:
    table = Table(title=f"compute capability {architecture}")
    table.add_column("kernel", overflow="fold")
    for column in ("registers", "spilled", "stack", *KINDS_SHOWN, "16-byte global", "other global"):
        table.add_column(column, justify="right")
    for kernel in kernels:
        widths = kernel.widths
        wide = sum(count for name, count in widths.items() if name.endswith(" 128"))
        table.add_row(
            *(kernel.name, str(kernel.registers), str(kernel.spill_bytes), str(kernel.stack_bytes)),
            *(str(kernel.kinds[kind]) for kind in KINDS_SHOWN),
            *(str(wide), str(sum(widths.values()) - wide)),
        )
    return table


def step_table(step: Step, kernels: Kernels) -> Table:
    ratio = step.moved_bytes / step.feature_bytes
    table = Table(
        title=f"mean-shift iteration, 256 lines on {step.pixels} pixels x 128: moves {ratio:.2f}x "
        "the packed features; times are computed, not measured"
    )
    for column in ("GPU", "arithmetic per HMMA", "occupancy", "issue slots", "tensor cores"):
        table.add_column(column)
    for column in ("memory", "largest", "roofline", "ratio"):
        table.add_column(column, justify="right")
    for processor in PROCESSORS:
        kernel = next(filter(is_step, kernels.get(processor.architecture, [])), None)
        if kernel is None:
            continue
        body, limits = steady_loop(kernel), step.limits(processor, kernel)
        launch, roofline = step.launch, step.roofline(processor)
        occupancy = LIMITS[processor.architecture].occupancy(
            launch.threads, kernel.registers, launch.shared_bytes
        )
        times = [*limits.values(), max(limits.values()), roofline]
        table.add_row(
            *(
                processor.name,
                f"{body['arithmetic'] / body['tensor core']:.2f}",
                f"{occupancy:.0%}",
            ),
            *(f"{time * 1e6:.1f} us" for time in times),
            f"{max(limits.values()) / roofline:.2f}",
        )
    return table


def losses_table(losses: list[LossTraffic]) -> Table:
    table = Table(
        title=f"losses and gradient without contrast, {DIMENSIONS} channels of float32: bytes "
        "moved, of features read once and gradient written once"
    )
    for column in ("entities", "pixels", "device", "losses", "target lines", "plain torch, both"):
        table.add_column(column, justify="right")
    for each in losses:
        parts = (each.losses_bytes, each.lines_bytes, each.plain_bytes)
        device = f"{each.capability / 10:.1f}"
        ratios = (f"{part / each.fewest_bytes:.2f}x" for part in parts)
        table.add_row(str(each.entities), f"{each.side}x{each.side}", device, *ratios)
    return table


if __name__ == "__main__":
    main()
