"""What the machine code of the CUDA kernels says without running it, and whether it is as it should be.

The figures that are expected stand in ``tests/data/cuda_static.json``: what is measured, which ``--update`` rewrites,
and what is asked for, which people write.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.cubins import Kernel, build, read
from bench.launch_table import launch_table
from bench.machine import ROOT
from bench.report import Table, percent
from bench.sass import Mix, mix
from bench.targets import MOST_SHARED, TARGETS, WARP, Bound, bound

EXPECTED = ROOT / "tests" / "data" / "cuda_static.json"

COLUMNS = (
    *("kernel", "threads", "registers", "spills", "local", "static shared", "dynamic shared", "blocks"),
    *("loop", "tensor", "share", "tensor cycles", "issue cycles", "shared cycles", "bound"),
)
_REGISTERS_APART = 8  # by which compilers may differ, as they may in the number of instructions
_INSTRUCTIONS_APART = 0.1

_NOTE = (
    "Spills: accesses to local memory. Shared memory in bytes, dynamic as launched. Blocks: resident on one"
    " multiprocessor, from threads, registers and shared memory. Loop: instructions of one turn of the main loop, the"
    " innermost that has most of the tensor (else float) instructions, on its path with the next tile fetched and"
    " nothing masked. Cycles: the fewest in which a multiprocessor does that turn for all warps of a block, from the"
    " cycles of HMMA.16816 ({tensor} on this target) and 4 partitions, one instruction a clock and partition, one"
    " wavefront of 128 bytes a clock. The bound is the largest; it is a bound on cycles, from below, not a speed."
)


@dataclass(frozen=True)
class Figures:
    """Of one kernel on one target."""

    kernel: Kernel
    target: int
    dynamic_shared: int

    @cached_property
    def spills(self) -> int:
        """Accesses to local memory anywhere in the code."""
        return mix(self.kernel.code.instructions).spills

    @property
    def shared(self) -> int:
        """Bytes of shared memory of a block."""
        return self.kernel.static_shared + self.dynamic_shared

    @property
    def blocks(self) -> int:
        """Resident on a multiprocessor."""
        if self.kernel.threads is None:
            return 0
        return TARGETS[self.target].resident_blocks(self.kernel.threads, self.kernel.registers, self.shared)

    @cached_property
    def loop(self) -> Mix:
        """The main loop's turn; nothing if there is no loop."""
        return self.kernel.code.main_loop() or mix(())

    @property
    def tensor_share(self) -> float:
        """Of the instructions in the main loop."""
        return self.loop.tensor / max(self.loop.total, 1)

    @cached_property
    def bound(self) -> Bound:
        """Of the main loop."""
        return bound(TARGETS[self.target], self.loop, (self.kernel.threads or 0) // WARP)

    def record(self) -> dict[str, int]:
        """What is compared with what was expected."""
        return {
            "registers": self.kernel.registers,
            "spills": self.spills,
            "local": self.kernel.local_bytes,
            "static_shared": self.kernel.static_shared,
            "blocks": self.blocks,
            "loop": self.loop.total,
            "tensor": self.loop.tensor,
        }


@dataclass(frozen=True)
class Expected:
    """The file's contents."""

    dynamic_shared: dict[str, int]  # bytes with which a kernel is launched, at most
    least_tensor_share: dict[str, float]  # of a kernel, or of a template where its 16-bit kernels have no own figure
    targets: dict[str, dict[str, dict[str, int]]]  # target -> kernel -> Figures.record()


def load(path: Path = EXPECTED) -> Expected:
    """What is expected; nothing if there is no file yet."""
    if not path.is_file():
        return Expected({}, {}, {})
    return Expected(**json.loads(path.read_text()))


def save(expected: Expected, path: Path = EXPECTED) -> None:
    """One line for each kernel, so that a change of the file shows what changed."""

    def lines(values: dict[str, Any], indent: str) -> str:
        inside = (f"{indent} {json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(values.items()))
        return "{\n" + ",\n".join(inside) + f"\n{indent}}}" if values else "{}"

    numbers = sorted(expected.targets, key=int)
    targets = (f'  "{number}": {lines(expected.targets[number], "  ")}' for number in numbers)
    path.write_text(
        f'{{\n "dynamic_shared": {lines(expected.dynamic_shared, " ")},\n'
        f' "least_tensor_share": {lines(expected.least_tensor_share, " ")},\n'
        ' "targets": {\n' + ",\n".join(targets) + "\n }\n}\n"
    )


def measure(target: int, expected: Expected, library: Path | None = None) -> list[Figures]:
    """Every kernel of the backend, built for this target, or of a library that has it."""
    kernels = read(library or build(target), target)
    return [Figures(kernel, target, expected.dynamic_shared.get(kernel.name, 0)) for kernel in kernels]


def faults(figures: Figures, expected: Expected) -> list[str]:
    """What must not be, whatever was measured before."""
    kernel, found = figures.kernel, []
    if kernel.threads is None:
        found.append("has no __launch_bounds__")
    if figures.spills or kernel.local_bytes:
        found.append(f"spills: {figures.spills} accesses to {kernel.local_bytes} bytes of local memory")
    if kernel.takes_dynamic_shared and kernel.name not in expected.dynamic_shared:
        found.append(f"takes dynamic shared memory, of a size that {EXPECTED.name} does not give")
    if figures.shared > MOST_SHARED:
        found.append(f"{figures.shared} bytes of shared memory, more than {MOST_SHARED}")
    if figures.blocks < kernel.least_blocks:
        found.append(f"{figures.blocks} resident blocks, its launch bounds ask for {kernel.least_blocks}")
    least = least_tensor_share(kernel.name, expected)
    if least is None and figures.loop.tensor:
        found.append(f"has tensor instructions, but {EXPECTED.name} gives no least share of them")
    elif least is not None and figures.tensor_share < least:
        found.append(f"{percent(figures.tensor_share)} tensor instructions in the main loop, not {percent(least)}")
    return [f"sm_{figures.target}: {kernel.name}: {fault}" for fault in found]


def least_tensor_share(kernel: str, expected: Expected) -> float | None:
    """What the file asks of this kernel, or of all of its template; fp32 kernels have no tensor instructions."""
    template, _, arguments = kernel.partition("<")
    if arguments.startswith("fp32"):
        return None
    return expected.least_tensor_share.get(kernel, expected.least_tensor_share.get(template))


def differences(target: int, measured: list[Figures], expected: Expected) -> list[str]:
    """Where measured and expected are further apart than two compilers may be."""
    before = expected.targets.get(str(target), {})
    now = {figures.kernel.name: figures.record() for figures in measured}
    if not before:
        return [f"sm_{target}: nothing is expected yet: --static --update"]
    found = [f"{name}: expected, but not in the backend" for name in before.keys() - now.keys()]
    found += [f"{name}: in the backend, but not expected" for name in now.keys() - before.keys()]
    for name in now.keys() & before.keys():
        for key, value in now[name].items():
            if abs(value - before[name][key]) > _apart(key, before[name][key]):
                found.append(f"{name}: {key} is {value}, expected {before[name][key]}")
    return [f"sm_{target}: {line}; --static --update if that is right" for line in sorted(found)]


def _apart(key: str, value: int) -> float:
    """How far a figure may be from what is expected; the blocks are held to the launch bounds instead."""
    allowed = {"registers": _REGISTERS_APART, "loop": _INSTRUCTIONS_APART * value, "blocks": float("inf")}
    return allowed.get(key, 0)


def tables(targets: list[int], library: Path | None, update: bool) -> list[Table]:
    """One for each target, and one of launches; with ``update``, what is measured becomes what is expected."""
    launched, shared = launch_table()
    expected = replace(load(), dynamic_shared=shared)
    found = {target: measure(target, expected, library) for target in targets}
    if update:
        for target, measured in found.items():
            expected.targets[str(target)] = {figures.kernel.name: figures.record() for figures in measured}
        save(expected)
    return [*(_table(target, measured, expected) for target, measured in found.items()), launched]


def _table(target: int, measured: list[Figures], expected: Expected) -> Table:
    table = Table(f"Kernels on sm_{target}", COLUMNS)
    for figures in measured:
        kernel, cycles = figures.kernel, figures.bound.cycles
        table.add(
            *(kernel.name, kernel.threads or 0, kernel.registers, figures.spills, kernel.local_bytes),
            *(kernel.static_shared, figures.dynamic_shared, figures.blocks),
            *(figures.loop.total, figures.loop.tensor, percent(figures.tensor_share)),
            *(cycles["tensor"], cycles["issue"], cycles["shared memory"]),
            figures.bound.name if figures.loop.total else "no loop",
        )
        table.failures += faults(figures, expected)
    table.failures += differences(target, measured, expected)
    table.notes.append(_NOTE.format(tensor=TARGETS[target].tensor_cycles))
    return table
