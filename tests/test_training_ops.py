"""The row-wise ops of training on every instruction set: against the widest type and beside PyTorch's own error; the
same bits on any number of threads, in place, and for a row alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import exact
import numpy as np
import philox
import pytest
import torch
from cases import GRADIENT_ROWS, ROWS, RowsCase
from op_checks import ACTIVATIONS, compare_gradients, poisoned
from torch.nn import functional as F

from albert_fast._core import Ops, available_isas
from albert_fast.errors import InvalidInputError

VARIANTS = [(isa, "float32") for isa in available_isas()] + [("", "float64")]
EPS = 1e-12
THREADS = (1, 3)

Arrays = dict[str, Any]
Tensors = dict[str, torch.Tensor]


@pytest.fixture(params=VARIANTS, ids=lambda variant: f"{variant[0] or 'portable'}-{variant[1]}")
def variant(request: pytest.FixtureRequest) -> tuple[Ops, str]:
    isa, dtype = request.param
    return Ops(isa, dtype), dtype


def with_dy(case: RowsCase, dtype: str) -> Callable[[int], Arrays]:
    def inputs(seed: int) -> Arrays:
        dy = np.random.default_rng([7, seed]).standard_normal((case.t, case.h)).astype(dtype)
        return {**case.inputs(seed, dtype), "dy": dy}

    return inputs


def same_bits(results: list[Arrays]) -> Arrays:
    """The first of them, which all are."""
    for result in results[1:]:
        for name, array in result.items():
            np.testing.assert_array_equal(array, results[0][name], name)
    return results[0]


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("case", [*ROWS[:2], RowsCase(5, 300)], ids=str)
def test_activate_grad(variant: tuple[Ops, str], case: RowsCase, activation: str) -> None:
    ops, dtype = variant

    def ours(arrays: Arrays) -> Arrays:
        x, dy = arrays["x"], arrays["dy"]

        def run(threads: int) -> Arrays:
            dx, y = poisoned(x.shape, dtype), poisoned(x.shape, dtype)
            ops.activate_grad(x, dy, activation, dx=dx, y=y, num_threads=threads)
            return {"dx": dx, "y": y}

        alone, x_then_dx, dy_then_y = poisoned(x.shape, dtype), x.copy(), dy.copy()
        ops.activate_grad(x, dy, activation, dx=alone)
        ops.activate_grad(x_then_dx, dy_then_y, activation, dx=x_then_dx, y=dy_then_y)
        forward, in_place = poisoned(x.shape, dtype), x.copy()
        ops.activate(x, activation, out=forward)
        ops.activate(in_place, activation, out=in_place, num_threads=3)
        others = [{"dx": x_then_dx, "y": dy_then_y}, {"dx": alone}, {"y": forward}, {"y": in_place}]
        return same_bits([*map(run, THREADS), *others])

    def theirs(t: Tensors) -> Tensors:
        x = t["x"].requires_grad_()
        y = ACTIVATIONS[activation](x)
        y.backward(t["dy"])
        return {"dx": x.grad, "y": y.detach()}

    def expected(arrays: Arrays) -> dict[str, exact.Wide]:
        x, dy = exact.wide(arrays["x"]), exact.wide(arrays["dy"])
        return {"dx": dy * exact.SLOPES[activation](x), "y": exact.ACTIVATIONS[activation](x)}

    compare_gradients(dtype, (case, activation), with_dy(case, dtype), ours, theirs, expected)


def run_layer_norm_grad(ops: Ops, arrays: Arrays, threads: int = 2, **into: Any) -> Arrays:
    """``into``: arrays for results, poisoned unless given."""
    dtype, (_, cols) = arrays["x"].dtype.name, arrays["x"].shape
    shapes = {"dx": arrays["x"].shape, "dgamma": (cols,), "dbeta": (cols,)}
    out = {name: into.get(name, poisoned(shape, dtype)) for name, shape in shapes.items()}
    accumulate = "dgamma" in into
    ops.layer_norm_grad(
        arrays["x"], arrays["gamma"], EPS, arrays["dy"], **out, accumulate=accumulate, num_threads=threads
    )
    return out


@pytest.mark.parametrize("case", GRADIENT_ROWS, ids=str)
def test_layer_norm_grad(variant: tuple[Ops, str], case: RowsCase) -> None:
    ops, dtype = variant

    def ours(arrays: Arrays) -> Arrays:
        results = [run_layer_norm_grad(ops, arrays, threads) for threads in THREADS]
        for name in ("x", "dy"):  # dx in place of either
            copy = {**arrays, name: arrays[name].copy()}
            results.append(run_layer_norm_grad(ops, copy, dx=copy[name]))
        return same_bits(results)

    def theirs(t: Tensors) -> Tensors:
        leaves = {name: t[name].requires_grad_() for name in ("x", "gamma", "beta")}
        F.layer_norm(leaves["x"], (case.h,), leaves["gamma"], leaves["beta"], EPS).backward(t["dy"])
        return {f"d{name}": leaf.grad for name, leaf in leaves.items()}

    compare_gradients(
        dtype, case, with_dy(case, dtype), ours, theirs, lambda arrays: exact.layer_norm_grad(arrays, EPS)
    )


@pytest.mark.parametrize("case", GRADIENT_ROWS, ids=str)
def test_layer_norm_grad_adds_and_rows_are_independent(variant: tuple[Ops, str], case: RowsCase) -> None:
    ops, dtype = variant
    arrays = with_dy(case, dtype)(0)
    fresh = run_layer_norm_grad(ops, arrays)
    start = {"dgamma": arrays["gamma"].copy(), "dbeta": arrays["beta"].copy()}
    added = run_layer_norm_grad(ops, arrays, **{name: array.copy() for name, array in start.items()})
    for name, array in start.items():
        np.testing.assert_array_equal(added[name], array + fresh[name])
    for row in {0, case.t // 2, case.t - 1}:
        alone = {name: array if name in ("gamma", "beta") else array[row : row + 1] for name, array in arrays.items()}
        np.testing.assert_array_equal(run_layer_norm_grad(ops, alone)["dx"], fresh["dx"][row : row + 1])


def test_layer_norm_grad_of_one_number_and_of_no_row(variant: tuple[Ops, str]) -> None:
    """A row of one number is its own mean: no dx but what rounding leaves, over sqrt(eps); its dgamma is 0."""
    ops, dtype = variant
    arrays = with_dy(RowsCase(5, 1), dtype)(0)
    result = run_layer_norm_grad(ops, arrays)
    rounding = np.finfo(dtype).eps * np.abs(arrays["dy"] * arrays["gamma"]) / np.sqrt(EPS)
    assert (np.abs(result["dx"]) <= rounding).all()
    np.testing.assert_array_equal(result["dgamma"], np.zeros(1))
    empty = {name: array[:0] if name in ("x", "dy") else array for name, array in arrays.items()}
    np.testing.assert_array_equal(run_layer_norm_grad(ops, empty)["dbeta"], np.zeros(1))
    kept = run_layer_norm_grad(ops, empty, dgamma=np.ones(1, dtype), dbeta=np.full(1, 3, dtype))
    assert (kept["dgamma"], kept["dbeta"]) == (1, 3)


@pytest.mark.parametrize("case", GRADIENT_ROWS, ids=str)
def test_embed_grad(variant: tuple[Ops, str], case: RowsCase) -> None:
    ops, dtype = variant
    rng = np.random.default_rng(2)
    sizes = (50, 40, 2)
    ids = [rng.integers(0, n, case.t).astype(np.int32) for n in sizes]
    tables = [rng.standard_normal((n, case.h)).astype(dtype) for n in sizes]

    def ours(arrays: Arrays) -> Arrays:
        def run(threads: int, accumulate: bool) -> Arrays:
            start = np.zeros if accumulate else poisoned
            dgamma, dbeta = (start((case.h,), dtype) for _ in range(2))
            dsum = poisoned((case.t, case.h), dtype)
            ops.embed_grad(
                *ids, *tables, arrays["gamma"], EPS, arrays["dy"], dsum=dsum, dgamma=dgamma, dbeta=dbeta,
                accumulate=accumulate, num_threads=threads,
            )  # fmt: skip
            return {"dx": dsum, "dgamma": dgamma, "dbeta": dbeta}

        return same_bits([run(1, False), run(3, False), run(2, True)])

    def theirs(t: Tensors) -> Tensors:
        word, position, kind = (
            torch.from_numpy(table)[torch.from_numpy(i)] for table, i in zip(tables, ids, strict=True)
        )
        x = (word + kind + position).requires_grad_()
        gamma, beta = t["gamma"].requires_grad_(), t["beta"].requires_grad_()
        F.layer_norm(x, (case.h,), gamma, beta, EPS).backward(t["dy"])
        return {"dx": x.grad, "dgamma": gamma.grad, "dbeta": beta.grad}

    def expected(arrays: Arrays) -> dict[str, exact.Wide]:
        x = sum(exact.wide(table)[i] for table, i in zip(tables, ids, strict=True))
        return exact.layer_norm_grad({**arrays, "x": x}, EPS)

    compare_gradients(dtype, case, with_dy(case, dtype), ours, theirs, expected)


def grouped(rows: np.ndarray[Any, Any]) -> tuple[Any, Any, Any]:
    """order, starts, targets for x[t] to go to rows[t]."""
    order = np.argsort(rows, kind="stable").astype(np.int32)
    targets, starts = np.unique(rows[order], return_index=True)
    return order, np.append(starts, len(rows)).astype(np.int32), targets.astype(np.int32)


@pytest.mark.parametrize("num_rows", [1, 2, 17, 300])
@pytest.mark.parametrize("case", [*GRADIENT_ROWS, RowsCase(1000, 40)], ids=str)
def test_scatter_add(variant: tuple[Ops, str], case: RowsCase, num_rows: int) -> None:
    """Few targets with many rows each, and many with few."""
    ops, dtype = variant
    rows = np.random.default_rng(num_rows).integers(0, num_rows, case.t)
    start = np.random.default_rng(1).standard_normal((num_rows, case.h)).astype(dtype)

    def ours(arrays: Arrays) -> Arrays:
        def run(threads: int) -> Arrays:
            out = start.copy()
            ops.scatter_add(arrays["dy"], *grouped(rows), out=out, num_threads=threads)
            untouched = np.setdiff1d(np.arange(num_rows), rows)
            np.testing.assert_array_equal(out[untouched], start[untouched])
            return {"out": out}

        return same_bits(list(map(run, THREADS)))

    def theirs(t: Tensors) -> Tensors:
        return {"out": torch.from_numpy(start).index_add(0, torch.from_numpy(rows), t["dy"])}

    def expected(arrays: Arrays) -> dict[str, exact.Wide]:
        out = exact.wide(start)
        np.add.at(out, rows, exact.wide(arrays["dy"]))
        return {"out": out}

    compare_gradients(dtype, (case, num_rows), with_dy(case, dtype), ours, theirs, expected)


@pytest.mark.parametrize("p", [0.0, 1e-12, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("case", [*ROWS, RowsCase(9, 6), RowsCase(40, 68)], ids=str)
def test_apply_dropout(variant: tuple[Ops, str], case: RowsCase, p: float) -> None:
    ops, dtype = variant
    arrays = with_dy(case, dtype)(3)
    x, residual = arrays["x"], arrays["dy"]
    dropout = (p, 0xFEDCBA9876543210, 0x89ABCDEF)
    mask = philox.kept(np.arange(x.size).reshape(x.shape), *dropout)
    dropped = np.where(mask, x * np.dtype(dtype).type(1 / (1 - p)), 0)

    y, in_place = poisoned(x.shape, dtype), x.copy()
    ops.apply_dropout(x, dropout, out=y, num_threads=1)
    np.testing.assert_array_equal(y, dropped)
    ops.apply_dropout(in_place, dropout, out=in_place, num_threads=3)
    np.testing.assert_array_equal(in_place, y)
    ops.apply_dropout(x, dropout, residual, out=y)
    rounding = np.finfo(dtype).eps / 2 * (np.abs(dropped) + np.abs(dropped + residual))  # multiply-add rounds once
    assert (np.abs(y - (dropped + residual)) <= rounding).all()


def test_dropout_streams_differ_and_none_is_the_identity() -> None:
    ops, x = Ops("", "float32"), np.ones((8, 16), np.float32)
    outs = [poisoned(x.shape, "float32") for _ in range(4)]
    for out, dropout in zip(outs, [(0.5, 1, 0), (0.5, 1, 1), (0.5, 1 + 2**32, 0), None], strict=True):
        ops.apply_dropout(x, dropout, out=out)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (outs[i] != outs[j]).any()
    np.testing.assert_array_equal(outs[3], x)


CROSS_ENTROPY = [RowsCase(1, 1), RowsCase(3, 7), RowsCase(5, 33), RowsCase(40, 64), RowsCase(7, 30001)]


@pytest.mark.parametrize("case", CROSS_ENTROPY, ids=str)
def test_cross_entropy(variant: tuple[Ops, str], case: RowsCase) -> None:
    ops, dtype = variant
    labels = np.random.default_rng(4).integers(0, case.h, case.t).astype(np.int32)
    labels[1::3] = -1
    scale = 1 / 3

    def inputs(seed: int) -> Arrays:
        return {"x": 4 * case.inputs(seed, dtype)["x"]}

    def ours(arrays: Arrays) -> Arrays:
        def run(threads: int, in_place: bool) -> Arrays:
            logits, losses = arrays["x"].copy(), poisoned((case.t,), dtype)
            dlogits = logits if in_place else poisoned(logits.shape, dtype)
            ops.cross_entropy(logits, labels, scale=scale, losses=losses, dlogits=dlogits, num_threads=threads)
            assert not dlogits[labels < 0].any()
            assert not losses[labels < 0].any()
            return {"losses": losses, "dlogits": dlogits}

        return same_bits([run(1, False), run(3, False), run(2, True)])

    def theirs(t: Tensors) -> Tensors:
        logits = t["x"].requires_grad_()
        losses = F.cross_entropy(logits, torch.from_numpy(labels).long(), ignore_index=-1, reduction="none")
        (losses.sum() * scale).backward()
        return {"losses": losses.detach(), "dlogits": logits.grad}

    if case.h == 1:  # both are 0
        result = ours(inputs(0))
        assert not result["losses"].any()
        assert not result["dlogits"].any()
        return
    compare_gradients(
        dtype, case, inputs, ours, theirs, lambda arrays: exact.cross_entropy(exact.wide(arrays["x"]), labels, scale)
    )


def test_cross_entropy_of_extreme_logits(variant: tuple[Ops, str]) -> None:
    """Far below and above what exp can take; a logit of -inf is a class that cannot be."""
    ops, dtype = variant
    logits = np.array([[5000, -5000, 0], [-5000, -5000, -5001], [-np.inf, 0, 0]], dtype)
    losses, dlogits = poisoned((3,), dtype), poisoned((3, 3), dtype)
    ops.cross_entropy(logits, np.array([1, 0, 2], np.int32), scale=1.0, losses=losses, dlogits=dlogits)
    total = 2 + np.exp(-1)
    np.testing.assert_allclose(losses, [10000, np.log(total), np.log(2)], rtol=1e-6)
    expected = [[1, -1, 0], [1 / total - 1, 1 / total, np.exp(-1) / total], [0, 0.5, -0.5]]
    np.testing.assert_allclose(dlogits, expected, rtol=1e-6, atol=1e-37)


def f32(*shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, np.float32)


def i32(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int32)


LAYER_NORM = {"dx": f32(2, 3), "dgamma": f32(3), "dbeta": f32(3)}
EMBED = {"dsum": f32(2, 3), "dgamma": f32(3), "dbeta": f32(3)}
TABLES = (f32(5, 3), f32(4, 3), f32(2, 3), f32(3), EPS, f32(2, 3))
BAD_CALLS: dict[str, tuple[str, Callable[[Ops], None]]] = {
    "activate: shape": ("out: ", lambda o: o.activate(f32(2, 3), "gelu", out=f32(3, 2))),
    "activate: name": ("activation: got 'relu'", lambda o: o.activate(f32(2, 3), "relu", out=f32(2, 3))),
    "activate_grad: dy": ("dy: ", lambda o: o.activate_grad(f32(2, 3), f32(2, 4), "gelu", dx=f32(2, 3))),
    "activate_grad: dtype": ("dx: ", lambda o: o.activate_grad(f32(2, 3), f32(2, 3), "gelu", dx=np.zeros((2, 3)))),
    "layer_norm_grad: gamma": (
        "gamma: ",
        lambda o: o.layer_norm_grad(f32(2, 3), f32(2), EPS, f32(2, 3), **LAYER_NORM),
    ),
    "layer_norm_grad: dbeta": (
        "dbeta: ",
        lambda o: o.layer_norm_grad(f32(2, 3), f32(3), EPS, f32(2, 3), **{**LAYER_NORM, "dbeta": f32(4)}),
    ),
    "embed_grad: tokens": ("tokens: ", lambda o: o.embed_grad(i32(0, 5), i32(0, 0), i32(0, 0), *TABLES, **EMBED)),
    "embed_grad: types": ("token_types: ", lambda o: o.embed_grad(i32(0, 4), i32(0, 0), i32(0, -1), *TABLES, **EMBED)),
    "scatter_add: order": (
        "order: ",
        lambda o: o.scatter_add(f32(2, 3), i32(0, 2), i32(0, 2), i32(1), out=f32(4, 3)),
    ),
    "scatter_add: starts": (
        "starts: ",
        lambda o: o.scatter_add(f32(2, 3), i32(0, 1), i32(0, 3), i32(1), out=f32(4, 3)),
    ),
    "scatter_add: targets": (
        "targets: ",
        lambda o: o.scatter_add(f32(2, 3), i32(0, 1), i32(0, 2), i32(4), out=f32(4, 3)),
    ),
    "apply_dropout: p": ("dropout: ", lambda o: o.apply_dropout(f32(2, 3), (1.0, 0, 0), out=f32(2, 3))),
    "apply_dropout: residual": (
        "residual: ",
        lambda o: o.apply_dropout(f32(2, 3), (0.1, 0, 0), f32(1, 3), out=f32(2, 3)),
    ),
    "cross_entropy: labels": (
        "labels: ",
        lambda o: o.cross_entropy(f32(2, 3), i32(0, 3), scale=1.0, losses=f32(2), dlogits=f32(2, 3)),
    ),
    "cross_entropy: losses": (
        "losses: ",
        lambda o: o.cross_entropy(f32(2, 3), i32(0, 2), scale=1.0, losses=f32(3), dlogits=f32(2, 3)),
    ),
}


@pytest.mark.parametrize("name", sorted(BAD_CALLS))
def test_bad_arguments(name: str) -> None:
    message, call = BAD_CALLS[name]
    with pytest.raises(InvalidInputError, match=message):
        call(Ops("", "float32"))
