"""Tolerances as the design derives them; the arithmetic is the package's own, so that ``verify`` and the
tests agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from numpy.typing import ArrayLike

from albert_fast.numbers import ErrorBound, error_bound, rel_l2, roundoff

__all__ = ["FORWARD", "GRADIENT", "ErrorBound", "assert_within_pytorch", "rel_l2", "roundoff"]

FORWARD: Final = 2.0
GRADIENT: Final = 3.0
"""How many times PyTorch's own error ours may be."""


def assert_within_pytorch(
    ours: Sequence[ArrayLike],
    pytorch: Sequence[ArrayLike],
    exact: Sequence[ArrayLike],
    dtype: str,
    factor: float = FORWARD,
    what: str = "result",
) -> ErrorBound:
    """Fail unless our worst error over the seeds is within ``factor`` times PyTorch's worst.

    The three sequences hold one array per seed, of one shape: ours, PyTorch's at storage type ``dtype``
    (``float32``, ``bfloat16``, ..), and the float64 reference, which bfloat16 results must be widened to
    compare with.
    """
    assert len(ours) == len(pytorch) == len(exact) > 0, "one array per seed, from each of the three"
    bound = error_bound(
        [rel_l2(a, e) for a, e in zip(ours, exact, strict=True)],
        [rel_l2(a, e) for a, e in zip(pytorch, exact, strict=True)],
        dtype,
        factor,
    )
    assert bound.ok, (
        f"{what}: relative L2 error {bound.ours:.3e} is {bound.ratio:.2f} x PyTorch's {bound.pytorch:.3e} "
        f"(floored at {bound.floor:.1e}), expected at most {factor} x"
    )
    return bound
