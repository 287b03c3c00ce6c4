"""How a single op is held to PyTorch and to float64, and `linear` both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import exact
import numpy as np
import torch
from cases import LinearCase
from tolerance import FORWARD, GRADIENT
from torch.nn import functional as F

from albert_fast._core import Ops
from albert_fast.numbers import error_bound

SEEDS = range(5)


def poisoned(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    return np.full(shape, np.nan, dtype)


def compare(
    dtype: str,
    case: Any,
    ours: Callable[[dict[str, Any]], Any],
    theirs: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    expected: Callable[[dict[str, Any]], exact.Wide],
) -> None:
    """The worst of five seeds: at most twice the error PyTorch makes on the same numbers in the same dtype."""
    mine, pytorch, truth = [], [], []
    for seed in SEEDS:
        arrays = case.inputs(seed, dtype)
        mine.append(ours(arrays))
        pytorch.append(theirs({name: torch.from_numpy(array) for name, array in arrays.items()}).numpy())
        truth.append(expected(arrays))
    bound = error_bound(map(distance, mine, truth), map(distance, pytorch, truth), dtype, FORWARD)
    assert bound.ok, f"{case} in {dtype}: {bound}"


def compare_gradients(
    dtype: str,
    what: Any,
    inputs: Callable[[int], dict[str, Any]],
    ours: Callable[[dict[str, Any]], dict[str, Any]],
    theirs: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    expected: Callable[[dict[str, Any]], dict[str, exact.Wide]],
) -> None:
    """Each of the named results as in ``compare``, but at most three times PyTorch's error."""
    mine, pytorch, truth = [], [], []
    for seed in SEEDS:
        arrays = inputs(seed)
        mine.append(ours(arrays))
        pytorch.append(theirs({name: torch.from_numpy(array) for name, array in arrays.items()}))
        truth.append(expected(arrays))
    for name in truth[0]:
        errors = [distance(a[name], e[name]) for a, e in zip(mine, truth, strict=True)]
        their_errors = [distance(a[name].numpy(), e[name]) for a, e in zip(pytorch, truth, strict=True)]
        bound = error_bound(errors, their_errors, dtype, GRADIENT)
        assert bound.ok, f"{name} of {what} in {dtype}: {bound}"


def distance(actual: Any, expected: exact.Wide) -> float:
    """Relative L2 in the widest type; NaN if anything is."""
    norm = np.sqrt((expected**2).sum())
    return float(np.sqrt(((exact.wide(actual) - expected) ** 2).sum()) / norm)


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda x: x,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu": F.gelu,
    "tanh": torch.tanh,
}


def torch_linear(case: LinearCase, t: dict[str, torch.Tensor]) -> torch.Tensor:
    y = ACTIVATIONS[case.activation](F.linear(t["x"], t["weight"], t.get("bias")))
    return y + t["residual"] if case.residual else y


def our_linear(ops: Ops, case: LinearCase, arrays: dict[str, Any], weight: Any, threads: int = 2) -> Any:
    out = poisoned((case.t, case.n), arrays["x"].dtype.name)
    ops.linear(
        arrays["x"],
        weight,
        arrays.get("bias"),
        case.activation,
        arrays.get("residual"),
        out=out,
        num_threads=threads,
    )
    return out
