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


class CpuDevice(Device):
    """Our ops on NumPy views of torch's tensors, on the clock of the CPU."""

    place = "cpu"
    rate_unit = ("GFLOP/s", 1e9)

    def __init__(self, isa: str, dtype: str, threads: int | None) -> None:
        if dtype != "float32":
            raise InvalidInputError(f"dtype: got {dtype!r} on the CPU, expected 'float32'")
        super().__init__(dtype)
        self.ops = _core.Ops(isa)
        self.threads = machine.set_threads(threads)
        self.title = f"{self.ops.name}, {self.threads} threads"
        self.arguments = {"num_threads": self.threads}
        self.cache_bytes = machine.cache_bytes()

    def array(self, tensor: torch.Tensor) -> Any:
        return tensor.numpy()

    def weight(self, tensor: torch.Tensor) -> Any:
        return _core.PackedWeight(self.ops, tensor.numpy())

    def interleave(self, calls: Mapping[str, Call], rounds: int) -> Times:
        return timing.interleave(calls, rounds)

    def limits(self) -> Limits:
        return machine.measure_limits(self.ops, self.threads)
