"""The launches of linear's gradients that the PTX emulator counts, and the least that each can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from albert_fast._core import Ops
from albert_fast.cuda import DeviceArray
from bench import counted
from bench.cases import LinearGradCase
from bench.counted import Call
from bench.launches import ITEM, filled

# Shapes of whole tiles, by bytes of a number, each with its tile of [tokens, rows].
GradShapes = Sequence[tuple[tuple[int, int], LinearGradCase]]
LINEAR_GRAD_SHAPES: dict[int, GradShapes] = {
    2: (((128, 128), LinearGradCase(256, 256, 3584)), ((64, 64), LinearGradCase(512, 512, 768))),
    4: (((64, 64), LinearGradCase(128, 128, 192)),),
}


def linear_grad_calls(ops: Ops, shapes: GradShapes | None = None) -> Iterator[Call]:
    """Both gradients at the shapes given, or with every tile: alone; and with all that there can be beside them:
    residual; what dweight is added to, and dbias."""
    item = ITEM[ops.dtype]
    for tile, case in shapes or LINEAR_GRAD_SHAPES[item]:
        shape = f"{case.t} x {case.n} x {case.k}"
        for residual, dx_dtype in ((False, ops.dtype), (True, ops.sum_dtype)):
            of = replace(case, residual=residual)
            least = counted.least_linear_input_grad(of, tile, item, ITEM[dx_dtype])
            run = partial(_run_linear_input_grad, ops, of, dx_dtype)
            yield Call("linear_input_grad", f"{shape}, {'residual' if residual else 'plain'}", least, run)
        for add in (False, True):
            least = counted.least_linear_weight_grad(case, tile, item, add=add, dbias=add)
            run = partial(_run_linear_weight_grad, ops, case, add)
            yield Call("linear_weight_grad", f"{shape}, {'dbias, added' if add else 'plain'}", least, run)


def _run_linear_input_grad(ops: Ops, case: LinearGradCase, dx_dtype: str) -> None:
    dy, weight = filled((case.t, case.n), ops.dtype), filled((case.n, case.k), ops.dtype)
    residual = filled((case.t, case.k), ops.dtype) if case.residual else None
    ops.linear_input_grad(dy, weight, residual, dx=DeviceArray((case.t, case.k), dx_dtype))


def _run_linear_weight_grad(ops: Ops, case: LinearGradCase, add: bool) -> None:
    dy, x = filled((case.t, case.n), ops.dtype), filled((case.t, case.k), ops.dtype)
    dweight = filled((case.n, case.k), ops.sum_dtype)
    dbias = filled((case.n,), ops.sum_dtype) if add else None
    ops.linear_weight_grad(dy, x, dweight=dweight, dbias=dbias, accumulate=add)
