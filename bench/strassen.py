"""One level of Strassen-Winograd around our product: 7 products of half the size for 8, sums of W made beforehand.

Winograd's form (as in Boyer, Dumas, Pernet & Zhou 2009, "Memory efficient scheduling of Strassen-Winograd's matrix
multiplication algorithm", section 2.1). It mixes rows of x, so a row's bits would depend on the rows beside it, and it
takes 7/4 of the memory for W: it is measured here and used nowhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch

from albert_fast import _core
from albert_fast.errors import InvalidInputError
from albert_fast.numbers import rel_l2
from bench.machine import set_threads
from bench.report import Table
from bench.timing import interleave, ratio

SHAPES = "256x4096x4096,1024x4096x4096,1024x16384x4096,1024x4096x16384"
COLUMNS = ("shape", "plain ms", "Strassen ms", "plain / Strassen", "error, plain", "error, Strassen")

Tensor = torch.Tensor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--shapes", default=SHAPES, help="TxNxK of even numbers, comma separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="all processors by default")


def run(options: argparse.Namespace) -> list[Table]:
    """One row for each shape."""
    threads = set_threads(options.threads)
    table = Table(f"One level of Strassen-Winograd in float32, {threads} threads", COLUMNS)
    for shape in options.shapes.split(","):
        print(f"bench: {shape}", file=sys.stderr)
        t, n, k = map(int, shape.split("x"))
        if t % 2 or n % 2 or k % 2:
            raise InvalidInputError(f"shapes: got {shape!r}, expected even numbers")
        rng = np.random.default_rng(0)
        x, weight = rng.standard_normal((t, k), np.float32), rng.standard_normal((n, k), np.float32)
        exact = x[:16].astype(np.float64) @ weight.astype(np.float64).T
        calls: dict[str, Callable[[], Any]] = {"plain": plain(x, weight, threads), "fast": winograd(x, weight, threads)}
        errors = [rel_l2(np.asarray(call())[:16], exact) for call in calls.values()]
        times = interleave(calls, options.rounds)
        milliseconds = (1e3 * median(times[name]) for name in calls)
        table.add(shape, *milliseconds, ratio(times, "plain", "fast"), *errors)
    table.notes.append("Errors are relative L2 to float64, of the first 16 rows. W is packed and summed beforehand.")
    return [table]


def plain(x: Any, weight: Any, threads: int) -> Callable[[], Tensor]:
    """X W^T [T, N] by one product."""
    ops, out = _core.Ops(), np.empty((len(x), len(weight)), np.float32)
    packed = _core.PackedWeight(ops, weight)

    def call() -> Tensor:
        ops.linear(x, packed, out=out, num_threads=threads)
        return torch.from_numpy(out)

    return call


def winograd(x: Any, weight: Any, threads: int) -> Callable[[], Tensor]:
    """The same by 7 products of halves, in Winograd's names: A = x, B = W^T, C = x W^T."""
    ops, (t, n, k) = _core.Ops(), (len(x) // 2, len(weight) // 2, x.shape[1] // 2)
    b11, b21, b12, b22 = (w[:, half] for w in (weight[:n], weight[n:]) for half in (slice(k), slice(k, None)))
    t1 = b12 - b11
    t2 = b22 - t1
    factors = (b11, b21, b22, t2 - b21, t1, t2, b22 - b12)
    packed = [_core.PackedWeight(ops, np.ascontiguousarray(factor)) for factor in factors]
    left = torch.empty(7, t, k)
    products = torch.empty(7, t, n)
    out = torch.empty(2 * t, 2 * n)
    a = torch.from_numpy(x)
    a11, a12, a21, a22 = a[:t, :k], a[:t, k:], a[t:, :k], a[t:, k:]

    def call() -> Tensor:
        left[0], left[1], left[3] = a11, a12, a22
        s1 = torch.add(a21, a22, out=left[4])
        s2 = torch.sub(s1, a11, out=left[5])
        torch.sub(a12, s2, out=left[2])
        torch.sub(a11, a21, out=left[6])
        for rows, factor, product in zip(left, packed, products, strict=True):
            ops.linear(rows.numpy(), factor, out=product.numpy(), num_threads=threads)
        p1, p2, p3, p4, p5, p6, p7 = products
        torch.add(p1, p2, out=out[:t, :n])
        u2 = p6.add_(p1)
        u3 = p7.add_(u2)
        torch.add(u2.add_(p5), p3, out=out[:t, n:])
        torch.sub(u3, p4, out=out[t:, :n])
        torch.add(u3, p5, out=out[t:, n:])
        return out

    return call
