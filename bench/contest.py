"""What a contest between one of our ops and torch's is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

Tensor = torch.Tensor

EPS = 1e-12
ALLOWED_DIFFERENCE = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2, "int16": 2e-3, "int8": 0.05}
"""Relative L2 between two results: far above a rounding of all operands to the dtype, far below a wrong kernel."""


@dataclass(frozen=True)
class Pair:
    """Two calls whose results hold the same numbers. Each call takes the next of ``copies`` sets of buffers."""

    copies: int
    ours: Callable[[], Tensor]
    torch: Callable[[], Tensor]


@dataclass(frozen=True)
class Contest:
    """One op on one shape; its buffers are there once ``prepare`` is called."""

    op: str
    shape: str
    size: str  # what tells it from the op's other shapes
    flops: float
    nbytes: float  # every operand once
    prepare: Callable[[], Pair]
