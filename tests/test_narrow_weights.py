"""`linear` with weights of bfloat16, int16 and int8, in every instruction set."""

from __future__ import annotations

from typing import Any

import exact
import numpy as np
import pytest
import torch
from cases import LINEAR, LinearCase
from op_checks import compare, our_linear, poisoned, torch_linear

from albert_fast._core import Ops, PackedWeight, available_isas
from albert_fast.errors import InvalidInputError

Array = np.ndarray[Any, Any]

GROUP = 128  # kQuantGroup of csrc/kernels/ops.h
# The constants of csrc/cpu/primitives/quantize.h.
LEVELS = {"int16": 4095, "int8": 127}
PAIR_LEVELS, X_LEVELS = 149, 217


@pytest.fixture(params=[(isa, dtype) for isa in available_isas() for dtype in LEVELS], ids="-".join)
def ops(request: pytest.FixtureRequest) -> Ops:
    return Ops(*request.param)


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_linear_of_bfloat16_weights(isa: str, case: LinearCase) -> None:
    """Rounding the weights, as PyTorch does, is all that tells the product from float32's."""
    ops, float32 = Ops(isa, "bfloat16"), Ops(isa)
    assert (ops.dtype, ops.weight_dtype, ops.sum_dtype) == ("float32", "bfloat16", "float32")
    arrays = case.inputs(0, "float32")
    packed = PackedWeight(ops, arrays["weight"])
    rounded = torch.from_numpy(arrays["weight"]).bfloat16().float().numpy()
    assert not np.array_equal(rounded, arrays["weight"])
    np.testing.assert_array_equal(packed.unpack(ops), rounded)
    expected = our_linear(float32, case, arrays, PackedWeight(float32, rounded))
    np.testing.assert_array_equal(our_linear(ops, case, arrays, packed), expected)
    plain = our_linear(float32, case, arrays, arrays["weight"])
    np.testing.assert_array_equal(our_linear(ops, case, arrays, arrays["weight"]), plain, "plain weights stay float32")


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.4e38])
def test_weights_that_bfloat16_cannot_hold(value: float) -> None:
    weight = np.ones((3, 5), np.float32)
    weight[2, 4] = value
    with pytest.raises(InvalidInputError, match="weight: got NaN, infinity or a number beyond bfloat16"):
        PackedWeight(Ops("", "bfloat16"), weight)


def groups(rows: Array) -> list[Array]:
    """Rows [n, K] in pieces of at most GROUP columns: what shares a scale."""
    return [rows[:, k : k + GROUP].astype(np.float64) for k in range(0, rows.shape[1], GROUP)]


def on_grid(x: Array, dtype: str) -> Array:
    """Rows near x that quantising leaves as they are: integers times a power of two, which use all levels there are."""
    return np.concatenate([steps_of(group, dtype) for group in groups(x)], axis=1).astype(np.float32) / 1024


def steps_of(group: Array, dtype: str) -> Array:
    """Of int16, the largest of the integers is the number of levels; of int8, they and 0 span it."""
    if dtype == "int16":
        return np.rint(group / np.abs(group).max(1, keepdims=True) * LEVELS[dtype])
    low, high = np.minimum(group.min(1, keepdims=True), 0), np.maximum(group.max(1, keepdims=True), 0)
    steps = np.rint(group / (high - low) * X_LEVELS)
    return np.where(group == high, np.rint(low / (high - low) * X_LEVELS) + X_LEVELS, steps)


def step_of(weight: Array, dtype: str) -> Array:
    """The scale of each row [n, 1] of one group. Of int8, two neighbours of one sign share levels."""
    singles = np.abs(weight).max(1, keepdims=True) / LEVELS[dtype]
    if dtype == "int16":
        return singles
    padded = np.pad(weight, ((0, 0), (0, weight.shape[1] % 2)))
    return np.maximum(singles, np.abs(padded[:, ::2] + padded[:, 1::2]).max(1, keepdims=True) / PAIR_LEVELS)


def unpacked(ops: Ops, weight: Array) -> Array:
    """What is kept of a weight: the nearest multiples of its groups' steps."""
    result = PackedWeight(ops, weight).unpack(ops)
    for kept, given in zip(groups(result), groups(weight), strict=True):
        step = step_of(given, ops.weight_dtype)
        assert (np.abs(kept - given) <= 0.501 * step).all()  # 0.001: the scale is a float32
        np.testing.assert_allclose(kept / step, np.rint(kept / step), atol=1e-3)
    return result


@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_linear_of_quantized_weights(ops: Ops, case: LinearCase) -> None:
    """Of operands that are quantised already, the product is as exact as float32's: integers are summed exactly."""
    assert (ops.dtype, ops.sum_dtype) == ("float32", "float32")
    dtype = ops.weight_dtype

    def quantized(arrays: dict[str, Any]) -> dict[str, Any]:
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        return {**arrays, "x": on_grid(arrays["x"], dtype), "weight": unpacked(ops, arrays["weight"])}

    def ours(arrays: dict[str, Any]) -> Any:
        x = on_grid(arrays["x"], dtype)
        return our_linear(ops, case, {**arrays, "x": x}, PackedWeight(ops, arrays["weight"]))

    def theirs(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch_linear(case, {name: torch.from_numpy(array) for name, array in quantized(tensors).items()})

    compare("float32", case, ours, theirs, lambda arrays: exact.linear(case, quantized(arrays)))


@pytest.mark.skipif(
    not {"avx512_vnni", "avx512"} <= set(available_isas()),
    reason="this processor has no AVX-512 VNNI, or one of the two was not built",
)
@pytest.mark.parametrize("dtype", LEVELS)
@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_vnni_changes_no_result(case: LinearCase, dtype: str) -> None:
    """It sums the same integers without the 16-bit step between."""
    with_vnni, without = (Ops(isa, dtype) for isa in ("avx512_vnni", "avx512"))
    arrays = case.inputs(0, "float32")
    packed = PackedWeight(without, arrays["weight"])
    expected = our_linear(without, case, arrays, packed)
    np.testing.assert_array_equal(our_linear(with_vnni, case, arrays, packed), expected)


@pytest.mark.parametrize(("dtype", "bound"), [("int16", 4e-4), ("int8", 0.0108)])
def test_error_of_a_quantized_product(dtype: str, bound: float) -> None:
    """Random normal operands. 8 bits a token and a row of W, as others quantise, make an error of 0.0118."""
    case = LinearCase(64, 96, 1024, bias=False, residual=False)
    arrays, ops = case.inputs(0, "float32"), Ops("", dtype)
    expected = exact.linear(case, arrays)
    difference = our_linear(ops, case, arrays, PackedWeight(ops, arrays["weight"])) - expected
    error = float(np.sqrt((difference**2).sum() / (expected**2).sum()))
    assert bound / 2 < error < bound


@pytest.mark.parametrize("sign_x", [1, -1])
@pytest.mark.parametrize("sign_w", [1, -1])
def test_sums_cannot_overflow(ops: Ops, sign_x: int, sign_w: int) -> None:
    """The largest operands there are, all of one sign: no sum of a group, and of int8 no pair, may saturate."""
    t, n, k = 9, 40, 1000
    x, weight = np.full((t, k), sign_x * 3, np.float32), np.full((n, k), sign_w * 0.5, np.float32)
    out = poisoned((t, n), "float32")
    ops.linear(x, PackedWeight(ops, weight), out=out)
    np.testing.assert_allclose(out, x.astype(np.float64) @ unpacked(ops, weight).T, rtol=1e-6)


@pytest.mark.parametrize("share", [0, 1, 10, 74, 75, 126, 127])
@pytest.mark.parametrize("sign_w", [1, -1])
def test_no_pair_saturates_whatever_its_shares(ops: Ops, share: int, sign_w: int) -> None:
    """Neighbours in W that have `share` of the levels and the rest, of like or unlike sign, where x is at its top."""
    rest = min(PAIR_LEVELS - share, LEVELS["int8"])
    x, weight = np.full((3, 128), X_LEVELS, np.float32), np.zeros((16, 128), np.float32)
    x[:, ::7] = 0  # so that zero is a level that x has, and not all products are alike
    weight[:, ::2], weight[:8, 1::2], weight[8:, 1::2] = sign_w * share, sign_w * rest, -sign_w * rest
    out = poisoned((3, 16), "float32")
    ops.linear(x, PackedWeight(ops, weight), out=out)
    kept = unpacked(ops, weight).astype(np.float64)
    assert (np.abs(out - x @ kept.T) <= 1e-6 * (x @ np.abs(kept).T)).all()


def test_groups_of_zeros_and_of_tiny_numbers(ops: Ops) -> None:
    """1e-38 is as good as zero, and a group of large numbers does not touch the resolution of the next."""
    x = np.zeros((3, 384), np.float32)
    x[0, :128], x[0, 128:256], x[1, :128], x[2, 256:] = 1e6, 1, 1e-38, -2
    weight, out = np.zeros((16, 384), np.float32), poisoned((3, 16), "float32")
    weight[:, 128::2] = 1
    ops.linear(x, PackedWeight(ops, weight), out=out)
    np.testing.assert_allclose(out, np.repeat([[64], [0], [-128]], 16, axis=1), rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(ops: Ops, value: float) -> None:
    """In the row it stands in: an integer has no NaN, the scale has."""
    x, out = np.ones((5, 300), np.float32), poisoned((5, 16), "float32")
    x[3, 290] = value
    ops.linear(x, PackedWeight(ops, np.ones((16, 300), np.float32)), out=out)
    assert not np.isfinite(out[3]).any()
    assert np.isfinite(np.delete(out, 3, axis=0)).all()
