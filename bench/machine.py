"""The machine a measurement ran on, and its limits, measured in the same run."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from albert_fast import _core
from bench.timing import best_seconds

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("numpy", "torch", "transformers")
_DEFAULT_CACHE = 32 << 20

# As near to the limit of the multiply-add units as a product comes: operands stay in cache, or are used by many rows.
# Integers are fastest in the last, where quantising x and scaling sums are the smallest part.
_LARGE_PRODUCTS = ((768, 256, 256), (1536, 512, 512), (1920, 1024, 1024), (288, 4096, 4096))
_PEAK_SAMPLES = 8
_STREAM_CACHES = 8  # the sum over memory is as long as this many last level caches


@dataclass(frozen=True)
class Limits:
    """What a device can do, and how that was measured."""

    flops: float  # operations a second
    bandwidth: float  # bytes of memory a second
    flops_from: str
    bandwidth_from: str

    def seconds(self, flops: float, nbytes: float) -> float:
        """The shortest time in which an op could be done."""
        return max(flops / self.flops, nbytes / self.bandwidth)

    def note(self) -> str:
        """What was measured, and how."""
        return (
            f"Limits, the best of this run: {self.flops / 1e9:,.0f} GFLOP/s ({self.flops_from}),"
            f" {self.bandwidth / 1e9:,.1f} GB/s ({self.bandwidth_from})."
        )


def measure_limits(ops: _core.Ops, threads: int) -> Limits:
    """Run products, with weights of the ops' dtype, and long sums, ours and torch's; take the best of each."""
    return Limits(
        _peak_flops(ops, threads),
        _peak_bandwidth(threads),
        f"{ops.weight_dtype}: the fastest product, ours or torch's, {threads} threads",
        "the fastest sum or matrix-vector product over memory",
    )


def _peak_flops(ops: _core.Ops, threads: int) -> float:
    import torch

    rng = np.random.default_rng(0)
    best = 0.0
    for t, n, k in _LARGE_PRODUCTS:
        x, weight = (rng.standard_normal(shape, np.float32) for shape in ((t, k), (n, k)))
        out = np.empty((t, n), np.float32)
        packed = _core.PackedWeight(ops, weight)
        torch_x, torch_w, torch_out = (torch.from_numpy(array) for array in (x, weight, out))
        calls = (
            lambda x=x, w=packed, out=out: ops.linear(x, w, out=out, num_threads=threads),
            lambda x=torch_x, w=torch_w, out=torch_out: torch.mm(x, w.T, out=out),
        )
        best = max(best, *(2.0 * t * n * k / best_seconds(call, _PEAK_SAMPLES) for call in calls))
    return best


@cache
def _peak_bandwidth(threads: int) -> float:
    import torch

    size = _STREAM_CACHES * cache_bytes() // 4096 // 4
    matrix = np.random.default_rng(0).standard_normal((size, 4096), np.float32)
    stream, vector = torch.from_numpy(matrix), torch.ones(4096)
    ops = _core.Ops()
    packed = _core.PackedWeight(ops, matrix)
    row, out = np.ones((1, 4096), np.float32), np.empty((1, size), np.float32)
    calls = (
        stream.sum,
        lambda: stream @ vector,
        lambda: ops.linear(row, packed, out=out, num_threads=threads),
    )
    return max(matrix.nbytes / best_seconds(call, _PEAK_SAMPLES) for call in calls)


def cache_bytes() -> int:
    """Size of the last level cache; 32 MB where the system does not say."""
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    found = [re.fullmatch(r"(\d+)([KMG])", path.read_text().strip()) for path in sizes]
    return max((int(match[1]) * units[match[2]] for match in found if match), default=_DEFAULT_CACHE)


def set_threads(threads: int | None) -> int:
    """Let torch use as many threads as we do; returns how many."""
    import torch

    count = threads or _core.default_num_threads()
    torch.set_num_threads(count)
    return count


def describe() -> str:
    """One line: processor, instruction set, versions, commit, and how busy it was."""
    packages = " · ".join(f"{name} {find_version(name)}" for name in ("albert_fast", *_PACKAGES))
    return (
        f"{_processor()} · {_core.default_num_threads()} CPUs · {_core.default_isa()} ·"
        f" Python {platform.python_version()} · {packages} · commit {_commit()} ·"
        f" load before the run {os.getloadavg()[0]:.1f}"
    )


def find_version(package: str) -> str:
    """Of an installed package, or ``absent``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    try:
        fields = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        fields = None
    return fields[1] if fields else platform.machine()


def _commit() -> str:
    command = ("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
