"""What GPUs can do, from NVIDIA's data sheets and the CUDA programming guide; not measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one multiprocessor (programming guide, technical specifications)."""

    warps: int
    blocks: int
    shared_bytes: int
    registers: int = 65536

    def occupancy(self, threads: int, registers: int, shared_bytes: int) -> float:
        """Share of the warps that can be resident, for blocks of `threads`."""
        warps = -(-threads // 32)
        by_registers = self.registers // (-(-registers * 32 // 256) * 256 * warps)
        by_shared = self.shared_bytes // (shared_bytes + 1024)  # 1 KiB of a block is the system's
        blocks = min(self.blocks, self.warps // warps, by_registers, by_shared)
        return blocks * warps / self.warps


LIMITS = {
    "7.5": Limits(32, 16, 64 << 10),
    "8.0": Limits(64, 32, 164 << 10),
    "8.6": Limits(48, 16, 100 << 10),
    "8.7": Limits(48, 16, 164 << 10),
    "8.9": Limits(48, 24, 100 << 10),
    "9.0": Limits(64, 32, 228 << 10),
    "10.0": Limits(64, 32, 228 << 10),
    "11.0": Limits(48, 24, 228 << 10),
    "12.0": Limits(48, 24, 100 << 10),
}


@dataclass(frozen=True)
class Processor:
    """A GPU by its data sheet: dense rates, boost clock."""

    name: str
    architecture: str
    multiprocessors: int
    clock: float  # Hz
    bandwidth: float  # bytes / s
    half_flops: float  # float16 products, float32 sums, on tensor cores
    single_flops: float

    @property
    def issue_slots(self) -> float:
        """Instructions of warps a second: four schedulers in each multiprocessor."""
        return 4 * self.multiprocessors * self.clock


PROCESSORS = (
    Processor("A100 SXM", "8.0", 108, 1.410e9, 2.039e12, 312e12, 19.5e12),
    Processor("H100 SXM", "9.0", 132, 1.830e9, 3.350e12, 989e12, 66.9e12),
    Processor("RTX 4090", "8.9", 128, 2.520e9, 1.008e12, 165e12, 82.6e12),
    Processor("AGX Orin", "8.7", 16, 1.300e9, 0.2048e12, 42.5e12, 5.3e12),
)
