"""What a multiprocessor of each target holds and does in a clock, and what follows for a kernel.

Sizes are from the CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". Tensor rates follow
from NVIDIA's architecture whitepapers: the peak for 16-bit operands, dense, summed in fp32, over clock and number of
multiprocessors, for the fastest product of the target; GeForce products of 86, 89 and 120 need twice the cycles. On 90
and 100 that peak is reached by `wgmma` and `tcgen05` alone, not by `mma.sync`. Every figure is thus the best case, and
what is computed from it is a bound on cycles from below, never a speed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from bench.sass import Mix

WARP = 32
PARTITIONS = 4  # of a multiprocessor; each issues one instruction a clock and has an own register file
REGISTERS = 1 << 16  # of a multiprocessor
WAVEFRONT_BYTES = 128  # what shared memory moves in a clock, for the whole multiprocessor
SHARED_RESERVED = 1 << 10  # bytes that the system keeps for itself in every block
MOST_SHARED = 99 << 10  # bytes a block may have on the smallest target, so that kernels need no variants

_REGISTER_UNIT = 256  # registers are given to a warp in this many
_SHARED_UNIT = 128


@dataclass(frozen=True)
class Target:
    """A compute capability. Cycles are of one partition, for one instruction of one warp."""

    threads: int  # resident on a multiprocessor
    blocks: int
    shared: int  # bytes
    tensor_cycles: int  # HMMA.16816, 4096 operations
    float_cycles: int  # FFMA, FADD, FMUL
    special_cycles: int = 8  # MUFU: exp2, reciprocal, tanh; 4 lanes on all targets

    def resident_blocks(self, threads: int, registers: int, shared: int) -> int:
        """How many blocks of a kernel a multiprocessor holds at once; 0 if not one."""
        warps = -(-threads // WARP)
        of_warp = _round_up(registers * WARP, _REGISTER_UNIT)
        by_registers = REGISTERS // PARTITIONS // of_warp * PARTITIONS // warps
        by_shared = self.shared // _round_up(shared + SHARED_RESERVED, _SHARED_UNIT)
        return min(self.blocks, self.threads // WARP // warps, by_registers, by_shared)


TARGETS = {
    80: Target(threads=2048, blocks=32, shared=164 << 10, tensor_cycles=8, float_cycles=2),
    86: Target(threads=1536, blocks=16, shared=100 << 10, tensor_cycles=16, float_cycles=1),
    89: Target(threads=1536, blocks=24, shared=100 << 10, tensor_cycles=16, float_cycles=1),
    90: Target(threads=2048, blocks=32, shared=228 << 10, tensor_cycles=4, float_cycles=1),
    100: Target(threads=2048, blocks=32, shared=228 << 10, tensor_cycles=2, float_cycles=1),
    120: Target(threads=1536, blocks=24, shared=100 << 10, tensor_cycles=16, float_cycles=1),
}


@dataclass(frozen=True)
class Bound:
    """The fewest cycles in which a multiprocessor can do one turn of a loop for all warps of one block."""

    cycles: dict[str, float]  # of each resource

    @cached_property
    def name(self) -> str:
        """The resource that takes longest."""
        return max(self.cycles, key=lambda resource: self.cycles[resource])


def bound(target: Target, code: Mix, warps: int) -> Bound:
    """Each resource by itself, as if nothing ever waited for another."""
    of_partition = warps / PARTITIONS
    return Bound(
        {
            "tensor": of_partition * target.tensor_cycles * _k16(code.opcodes),
            "issue": of_partition * code.total,
            "shared memory": float(warps * sum(_wavefronts(op) * n for op, n in code.opcodes.items())),
            "float": of_partition * target.float_cycles * code.float_math,
            "special": of_partition * target.special_cycles * code.count("MUFU"),
        }
    )


def _k16(opcodes: Counter[str]) -> float:
    """Tensor instructions in units of HMMA.16816; HMMA.1688 is half of one."""
    return sum(n * (0.5 if ".1688" in op else 1.0) for op, n in opcodes.items() if op.startswith("HMMA"))


def _wavefronts(opcode: str) -> int:
    """Passes through shared memory that one warp needs at least; bank conflicts come on top.

    LDSM.x4 reads four matrices of 128 bytes. Lanes that store, or copy with cp.async, have 4 to 16 bytes each, all
    different. Lanes that load may all want the same word, so a load counts as one.
    """
    name, *rest = opcode.split(".")
    if name == "LDSM":
        return int(rest[-1]) if rest[-1] in {"2", "4"} else 1
    if name in {"STS", "LDGSTS"}:
        bits = next((int(part) for part in rest if part in {"64", "128"}), 32)
        return bits // 8 * WARP // WAVEFRONT_BYTES
    return 1 if name in {"LDS", "ATOMS", "SHFL"} else 0


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
