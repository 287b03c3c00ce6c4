"""The CPU: its ops take NumPy, packed weights and a number of threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from albert_fast import _core
from albert_fast.errors import InvalidInputError
from bench import machine, timing
from bench.device import Device
from bench.machine import Limits
from bench.timing import Call, Times

_BYTES_PER_WEIGHT = {"float32": 4.0, "bfloat16": 2.0, "int16": 2 + 4 / 128, "int8": 1 + 8 / 128}  # with scales


class CpuDevice(Device):
    """Our ops on NumPy views of torch's tensors, on the clock of the CPU."""

    place = "cpu"
    rate_unit = ("GFLOP/s", 1e9)

    def __init__(self, isa: str, dtype: str, threads: int | None) -> None:
        if dtype not in _BYTES_PER_WEIGHT:
            expected = ", ".join(map(repr, _BYTES_PER_WEIGHT))
            raise InvalidInputError(f"dtype: got {dtype!r} on the CPU, expected one of {expected}")
        super().__init__("float32")  # of all but weights
        self.dtype_name = dtype
        self.trains = dtype == "float32"  # of the narrower weights none is trained
        self.ops = _core.Ops(isa, dtype)
        self.threads = machine.set_threads(threads)
        self.title = f"{self.ops.name}, {dtype}, {self.threads} threads"
        self.arguments = {"num_threads": self.threads}
        self.cache_bytes = machine.cache_bytes()

    def array(self, tensor: torch.Tensor) -> Any:
        return tensor.numpy()

    def weight_bytes(self, n: int, k: int) -> float:
        return _BYTES_PER_WEIGHT[self.dtype_name] * n * k

    def weight(self, tensor: torch.Tensor) -> Any:
        return _core.PackedWeight(self.ops, tensor.numpy())

    def interleave(self, calls: Mapping[str, Call], rounds: int) -> Times:
        return timing.interleave(calls, rounds)

    def limits(self) -> Limits:
        return machine.measure_limits(self.ops, self.threads)
