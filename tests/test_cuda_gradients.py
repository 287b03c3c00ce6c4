"""The CUDA kernels of training: against float64 and beside PyTorch's own error, and what their results must not depend
on. On a GPU, or where there is none on the PTX emulator, which must find nothing to complain about."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import CUDA_LINEAR_GRADIENTS, LinearGradCase
from conftest import CudaDevice
from foreign import Foreign
from test_cuda_ops import DTYPES, Arrays, compare, poisoned, put, rounded
from tolerance import GRADIENT

from albert_fast._core import Ops
from albert_fast.cuda import DeviceArray
from albert_fast.errors import InvalidInputError

sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench.cubins import linear_tiles, short_names


@pytest.fixture(params=DTYPES)
def ops(request: pytest.FixtureRequest, cuda: CudaDevice) -> Ops:
    return Ops(device="cuda", dtype=request.param)


def our_input_grad(ops: Ops, arrays: Arrays, dx_dtype: str) -> Any:
    dy, weight = put(arrays["dy"], ops.dtype), put(arrays["weight"], ops.dtype)
    residual = put(arrays["residual"], ops.dtype) if "residual" in arrays else None
    dx = poisoned((len(arrays["dy"]), arrays["weight"].shape[1]), dx_dtype)
    ops.linear_input_grad(dy, weight, residual, dx=dx)
    return dx.numpy()


def our_weight_grad(ops: Ops, arrays: Arrays, before: Arrays | None = None) -> tuple[Any, Any]:
    """dweight and dbias; added to ``before`` if there is one."""
    dy, x = put(arrays["dy"], ops.dtype), put(arrays["x"], ops.dtype)
    n, k = arrays["dy"].shape[1], arrays["x"].shape[1]
    if before is None:
        dweight, dbias = poisoned((n, k), "float32"), poisoned((n,), "float32")
    else:
        dweight, dbias = put(before["dweight"], "float32"), put(before["dbias"], "float32")
    ops.linear_weight_grad(dy, x, dweight=dweight, dbias=dbias, accumulate=before is not None)
    return dweight.numpy(), dbias.numpy()


def wide(arrays: Arrays) -> Arrays:
    """float64 is enough here: inputs have at most 24 bits, sums at most 2^14 terms."""
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def exact_input_grad(arrays: Arrays) -> Any:
    a = wide(arrays)
    return a["dy"] @ a["weight"] + a.get("residual", 0.0)


@pytest.mark.parametrize("case", CUDA_LINEAR_GRADIENTS, ids=str)
def test_linear_input_grad(cuda: CudaDevice, ops: Ops, case: LinearGradCase) -> None:
    """In the dtype, or in fp32 where there is a residual."""
    dx_dtype = ops.sum_dtype if case.residual else ops.dtype
    compare(
        cuda,
        ops.dtype,
        case,
        lambda arrays: our_input_grad(ops, arrays, dx_dtype),
        lambda t: t["dy"] @ t["weight"] + t.get("residual", 0.0),
        exact_input_grad,
        GRADIENT,
    )


@pytest.mark.parametrize("case", CUDA_LINEAR_GRADIENTS, ids=str)
def test_linear_weight_grad(cuda: CudaDevice, ops: Ops, case: LinearGradCase) -> None:
    compare(
        cuda,
        ops.dtype,
        case,
        lambda arrays: our_weight_grad(ops, arrays)[0],
        lambda t: t["dy"].T @ t["x"],
        lambda arrays: wide(arrays)["dy"].T @ wide(arrays)["x"],
        GRADIENT,
    )
    compare(
        cuda,
        ops.dtype,
        case,
        lambda arrays: our_weight_grad(ops, arrays)[1],
        lambda t: t["dy"].sum(0),
        lambda arrays: wide(arrays)["dy"].sum(0),
        GRADIENT,
    )


def test_dx_has_a_residual_and_two_dtypes(ops: Ops) -> None:
    """Rounded once, at the end: with fp32 rounded by NumPy it is the other."""
    arrays = rounded(LinearGradCase(70, 72, 40).inputs(0, "float32"), ops.dtype)
    in_fp32 = our_input_grad(ops, arrays, "float32")
    np.testing.assert_array_equal(rounded({"dx": in_fp32}, ops.dtype)["dx"], our_input_grad(ops, arrays, ops.dtype))
    without = our_input_grad(ops, {name: arrays[name] for name in ("dy", "weight")}, "float32")
    np.testing.assert_array_equal(in_fp32, without + arrays["residual"])


@pytest.mark.parametrize("case", [LinearGradCase(70, 72, 40), LinearGradCase(33, 10, 8)], ids=str)
def test_gradients_are_added(ops: Ops, case: LinearGradCase) -> None:
    """To the bit: what is there is the last to be added."""
    arrays = rounded(case.inputs(0, "float32"), ops.dtype)
    rng = np.random.default_rng(1)
    before = {"dweight": rng.standard_normal((case.n, case.k)), "dbias": rng.standard_normal(case.n)}
    before = {name: array.astype(np.float32) for name, array in before.items()}
    dweight, dbias = our_weight_grad(ops, arrays)
    added, added_bias = our_weight_grad(ops, arrays, before)
    np.testing.assert_array_equal(added, before["dweight"] + dweight)
    np.testing.assert_array_equal(added_bias, before["dbias"] + dbias)


def test_dweight_without_dbias(ops: Ops) -> None:
    arrays = rounded(LinearGradCase(70, 72, 40).inputs(0, "float32"), ops.dtype)
    dweight = poisoned((72, 40), "float32")
    ops.linear_weight_grad(put(arrays["dy"], ops.dtype), put(arrays["x"], ops.dtype), dweight=dweight)
    np.testing.assert_array_equal(dweight.numpy(), our_weight_grad(ops, arrays)[0])


def test_rows_of_dx_are_independent(ops: Ops) -> None:
    """A row is the same, bit for bit, alone or among others, whatever the tile: 3600 columns choose both."""
    arrays = rounded(LinearGradCase(600, 264, 3600).inputs(0, "float32"), ops.dtype)
    expected = our_input_grad(ops, arrays, ops.dtype)
    for first, count in ((0, 1), (599, 1), (100, 16), (300, 63), (301, 65), (400, 129)):
        rows = slice(first, first + count)
        part = {name: np.ascontiguousarray(arrays[name][rows]) for name in ("dy", "residual")}
        ours = our_input_grad(ops, {**arrays, **part}, ops.dtype)
        np.testing.assert_array_equal(ours, expected[rows])


@pytest.mark.parametrize("case", [LinearGradCase(200, 136, 264), LinearGradCase(70, 33, 40)], ids=str)
def test_gradients_are_the_same_again(cuda: CudaDevice, ops: Ops, case: LinearGradCase) -> None:
    """To the bit, in any order of warps and blocks."""
    arrays = rounded(case.inputs(0, "float32"), ops.dtype)
    results = []
    for seed in range(3):
        cuda.seed(seed)
        results.append((our_input_grad(ops, arrays, ops.dtype), *our_weight_grad(ops, arrays)))
    for again in results[1:]:
        for ours, first in zip(again, results[0], strict=True):
            np.testing.assert_array_equal(ours, first)


@pytest.mark.parametrize("op", ["linear_input_grad", "linear_weight_grad"])
def test_the_cases_choose_every_tile(cuda: CudaDevice, ops: Ops, op: str) -> None:
    """A tile no case runs is a tile nobody has run."""
    if cuda.emulator is None:
        pytest.skip("a GPU does not say what was launched")
    for case in CUDA_LINEAR_GRADIENTS:
        arrays = rounded(case.inputs(0, "float32"), ops.dtype)
        _ = our_input_grad(ops, arrays, ops.dtype) if op == "linear_input_grad" else our_weight_grad(ops, arrays)
    launched = short_names(sorted({record["kernel"] for record in cuda.emulator.take_counters()}))
    short = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[ops.dtype]
    tiles = linear_tiles()["fp32" if short == "fp32" else "gradients"]
    expected = {f"{op}_kernel<{short}, {'x'.join(map(str, tile))}>" for tile in tiles}
    assert {name for name in launched if name.startswith(op)} == expected


def test_no_tokens_are_no_work(ops: Ops) -> None:
    """But what is overwritten becomes zeros."""
    weight = put(np.ones((8, 64)), ops.dtype)
    dy, x = DeviceArray((0, 8), ops.dtype), DeviceArray((0, 64), ops.dtype)
    ops.linear_input_grad(dy, weight, dx=x)
    nothing = {"dy": np.zeros((0, 8), np.float32), "x": np.zeros((0, 64), np.float32)}
    dweight, dbias = our_weight_grad(ops, nothing)
    np.testing.assert_array_equal(dweight, np.zeros((8, 64)))
    np.testing.assert_array_equal(dbias, np.zeros(8))
    before = {"dweight": np.full((8, 64), -0.0, np.float32), "dbias": np.full(8, 7, np.float32)}
    dweight, dbias = our_weight_grad(ops, nothing, before)
    assert np.signbit(dweight).all()
    np.testing.assert_array_equal(dbias, before["dbias"])


def test_results_may_begin_anywhere(ops: Ops) -> None:
    """At any element, not only where vectors of four do."""
    arrays = rounded(LinearGradCase(20, 16, 24, residual=False).inputs(0, "float32"), ops.dtype)
    dweight, dbias, dx = (poisoned((count + 1,), "float32") for count in (16 * 24, 16, 20 * 24))
    dy, x, weight = (put(arrays[name], ops.dtype) for name in ("dy", "x", "weight"))
    ops.linear_weight_grad(dy, x, dweight=behind_one(dweight, (16, 24)), dbias=behind_one(dbias, (16,)))
    ops.linear_input_grad(dy, weight, dx=behind_one(dx, (20, 24)))
    expected = (*our_weight_grad(ops, arrays), our_input_grad(ops, arrays, "float32"))
    for ours, result in zip((dweight, dbias, dx), expected, strict=True):
        np.testing.assert_array_equal(ours.numpy()[1:], result.ravel())
        assert np.isnan(ours.numpy()[0])


def behind_one(array: DeviceArray, shape: tuple[int, ...]) -> Foreign:
    return Foreign(array.data_ptr, shape, "float", 32, byte_offset=4)


BAD: dict[str, tuple[Callable[[Ops, dict[str, Any]], None], str]] = {
    "weight of 12 columns": (
        lambda ops, a: ops.linear_input_grad(a["dy"], zeros(ops, 16, 12), dx=zeros(ops, 4, 12)),
        r"linear_input_grad: weight: got shape \[16, 12\], expected columns that are a multiple of 8",
    ),
    "x of 12 columns": (
        lambda ops, a: ops.linear_weight_grad(a["dy"], zeros(ops, 4, 12), dweight=DeviceArray((16, 12))),
        r"linear_weight_grad: x: got shape \[4, 12\], expected columns that are a multiple of 8",
    ),
    "dy misaligned": (
        lambda ops, a: ops.linear_input_grad(misaligned(a["dy"], (4, 16)), a["weight"], dx=a["x"]),
        r"dy: got an address 2 bytes beyond a multiple of 16, expected a multiple of 16",
    ),
    "dy of dweight misaligned": (
        lambda ops, a: ops.linear_weight_grad(misaligned(a["dy"], (4, 16)), a["x"], dweight=a["dweight"]),
        r"dy: got an address 2 bytes beyond a multiple of 16, expected a multiple of 16",
    ),
    "weight misaligned": (
        lambda ops, a: ops.linear_input_grad(a["dy"], misaligned(a["weight"], (16, 24)), dx=a["x"]),
        r"weight: got an address 2 bytes beyond a multiple of 16, expected a multiple of 16",
    ),
    "x misaligned": (
        lambda ops, a: ops.linear_weight_grad(a["dy"], misaligned(a["x"], (4, 24)), dweight=a["dweight"]),
        r"x: got an address 2 bytes beyond a multiple of 16, expected a multiple of 16",
    ),
    "dy of another width": (
        lambda ops, a: ops.linear_input_grad(a["x"], a["weight"], dx=a["x"]),
        r"dy: got bfloat16 \[4, 24\], expected shape \[any, 16\]",
    ),
    "x of other tokens": (
        lambda ops, a: ops.linear_weight_grad(a["dy"], a["weight"], dweight=a["dweight"]),
        r"x: got bfloat16 \[16, 24\], expected shape \[4, any\]",
    ),
    "dweight not of sums": (
        lambda ops, a: ops.linear_weight_grad(a["dy"], a["x"], dweight=a["weight"]),
        r"dweight: got bfloat16 \[16, 24\], expected a C-contiguous float32 array of 2 dimensions",
    ),
}


def zeros(ops: Ops, *shape: int) -> DeviceArray:
    return put(np.zeros(shape), ops.dtype)


def misaligned(array: DeviceArray, shape: tuple[int, ...]) -> Foreign:
    return Foreign(array.data_ptr, shape, byte_offset=2)


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments(cuda: CudaDevice, what: str) -> None:
    """Said as such, and the device goes on working."""
    call, message = BAD[what]
    ops = Ops(device="cuda", dtype="bfloat16")
    arrays: dict[str, Any] = {"dy": zeros(ops, 4, 16), "x": zeros(ops, 4, 24), "weight": zeros(ops, 16, 24)}
    arrays["dweight"] = DeviceArray((16, 24))
    with pytest.raises(InvalidInputError, match=message):
        call(ops, arrays)
    case = LinearGradCase(4, 16, 24)
    our_weight_grad(ops, rounded(case.inputs(0, "float32"), ops.dtype))
