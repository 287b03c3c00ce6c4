"""How right is right: errors measured against float64, and the bound every kernel is held to.

A result is right when its error is at most ``factor`` times the error PyTorch itself makes at the same
storage type. The error is the relative L2 norm of the difference to a float64 reference, per tensor; of
several inputs (or seeds) the worst counts; PyTorch's own is taken to be no less than one roundoff of the
storage type, for where it is exact by luck, a bound of zero would ask for the impossible. Any NaN makes an
error NaN, and NaN is never within a bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SIGNIFICAND_BITS: Final = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8, "int8": 8}


def roundoff(dtype: str) -> float:
    """Unit roundoff 2^-p of a storage type with p significant bits: the worst relative rounding error.

    ``dtype`` is ``float64``, ``float32``, ``float16``, ``bfloat16`` or ``int8`` (of 8 bits, one is the sign, and the
    error is relative to the largest number that shares a scale); anything else raises ``KeyError``.
    """
    return 2.0 ** -_SIGNIFICAND_BITS[dtype]


def rel_l2(actual: ArrayLike, expected: ArrayLike) -> float:
    """||actual - expected||_2 / ||expected||_2 over all elements, in float64.

    0 for two empty or all-zero arrays, infinite where only ``expected`` is zero, NaN where anything is NaN.
    Raises ``ValueError`` when the shapes differ; nothing is broadcast.
    """
    got, want = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if got.shape != want.shape:
        raise ValueError(f"rel_l2: shapes {got.shape} and {want.shape} differ")
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, and is meant to be
        difference, norm = _norm(got - want), _norm(want)
    if norm == 0:
        return difference if difference == 0 or np.isnan(difference) else np.inf
    return difference / norm


@dataclass(frozen=True)
class ErrorBound:
    """Our worst error beside PyTorch's, and whether it is small enough."""

    ours: float
    pytorch: float
    floor: float
    factor: float

    @property
    def ratio(self) -> float:
        """Our error over PyTorch's, floored; NaN if either is NaN."""
        return float(self.ours / np.maximum(self.pytorch, self.floor))

    @property
    def ok(self) -> bool:
        """Whether the ratio is within the factor; never so for NaN."""
        return bool(self.ratio <= self.factor)


def worst(errors: Iterable[float]) -> float:
    """The largest error; NaN if any is NaN, and NaN for none at all, for nothing was shown then."""
    values = np.array(list(errors), np.float64)
    return float(values.max()) if values.size else float("nan")


def error_bound(ours: Iterable[float], pytorch: Iterable[float], dtype: str, factor: float = 2.0) -> ErrorBound:
    """Compare the worst of our errors with the worst of PyTorch's, floored at one roundoff of ``dtype``."""
    return ErrorBound(worst(ours), worst(pytorch), roundoff(dtype), factor)


def _norm(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.sum(np.square(values))))
