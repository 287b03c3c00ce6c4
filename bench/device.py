"""Where ops are timed: memory for their operands, our ops there, a clock and limits.

All that differs between a CPU and a GPU is in ``cpu_device`` and ``cuda_device``; the contests know neither.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bench.machine import Limits
from bench.timing import Call, Times

_FLUSHING_CACHES = 2  # an op's buffers are rotated through as much memory as this many last level caches


class Device(ABC):
    """One device with one dtype; ``place`` is torch's name for its memory."""

    place: str
    ops: Any
    title: str
    rate_unit: tuple[str, float]
    arguments: Mapping[str, int]  # that every call of one of our ops gets
    cache_bytes: int  # of the last level
    trains = False  # whether the ops of training are measured, too

    def __init__(self, dtype: str) -> None:
        self.dtype_name = dtype
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.sum_dtype = torch.float32  # of residual sums and pooled rows

    def normal(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Random numbers, the same ones for a shape on every device."""
        values = np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)
        return torch.from_numpy(values).to(self.place, dtype or self.dtype)

    def poisoned(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """An output that shows what an op leaves out."""
        return torch.full(shape, torch.nan, dtype=dtype or self.dtype, device=self.place)

    def indices(self, values: np.ndarray[Any, np.dtype[np.int32]]) -> torch.Tensor:
        """Ids and offsets as torch's ops take them; ours take them in NumPy."""
        return torch.from_numpy(values).to(self.place)

    def rotation(self, nbytes: float) -> int:
        """How many copies of an op's data make a round trip through them miss every cache."""
        return max(1, -(-_FLUSHING_CACHES * self.cache_bytes // max(int(nbytes), 1)))

    def weight_bytes(self, n: int, k: int) -> float:
        """Of a weight [N, K] as our ``linear`` takes it, without padding."""
        return self.dtype.itemsize * n * k

    @abstractmethod
    def array(self, tensor: torch.Tensor) -> Any:
        """The same memory as our ops take it."""

    @abstractmethod
    def weight(self, tensor: torch.Tensor) -> Any:
        """A weight [N, K] as our ``linear`` takes it."""

    @abstractmethod
    def interleave(self, calls: Mapping[str, Call], rounds: int) -> Times:
        """Seconds per call, one sample for each round and name."""

    @abstractmethod
    def limits(self) -> Limits:
        """What the device can do, measured."""

    def notes(self) -> list[str]:
        """What to know about the times taken so far."""
        return []
