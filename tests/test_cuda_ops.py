"""Every CUDA kernel, every dtype, awkward shapes: against float64 and beside PyTorch's own error; and rows that do not
know each other. On a GPU, or where there is none on the PTX emulator, which must find nothing to complain about."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import exact
import numpy as np
import pytest
import torch
from cases import CUDA_ATTENTION, CUDA_LINEAR, CUDA_ROWS, AttentionCase, LinearCase, RowsCase
from conftest import CudaDevice
from op_checks import ACTIVATIONS, distance, torch_linear
from test_ops import EPS, torch_attention
from tolerance import FORWARD
from torch.nn import functional as F

from albert_fast._core import Ops
from albert_fast.cuda import DeviceArray
from albert_fast.errors import InvalidInputError
from albert_fast.numbers import error_bound

DTYPES = ("bfloat16", "float16", "float32")
SEEDS = range(5)

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(params=DTYPES)
def ops(request: pytest.FixtureRequest, cuda: CudaDevice) -> Ops:
    return Ops(device="cuda", dtype=request.param)


def rounded(arrays: Arrays, dtype: str) -> Arrays:
    """The same as numbers of ``dtype``, in float32, which holds them exactly."""
    return {name: torch.from_numpy(a).to(getattr(torch, dtype)).float().numpy() for name, a in arrays.items()}


def put(array: Any, dtype: str) -> DeviceArray:
    return DeviceArray.from_numpy(array, dtype)


def poisoned(shape: tuple[int, ...], dtype: str) -> DeviceArray:
    return put(np.full(shape, np.nan, np.float32), dtype)


def compare(
    cuda: CudaDevice,
    dtype: str,
    case: Any,
    ours: Callable[[Arrays], Any],
    theirs: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    expected: Callable[[Arrays], exact.Wide],
    factor: float = FORWARD,
) -> None:
    """The worst of five seeds: at most ``factor`` times the error PyTorch makes on the same numbers in the same dtype.

    Each seed is one of the emulator's, too: another order of warps and blocks.
    """
    mine, pytorch, truth = [], [], []
    for seed in SEEDS:
        cuda.seed(seed)
        arrays = rounded(case.inputs(seed, "float32"), dtype)
        mine.append(ours(arrays))
        tensors = {name: torch.from_numpy(a).to(getattr(torch, dtype)) for name, a in arrays.items()}
        pytorch.append(theirs(tensors).double().numpy())
        truth.append(expected(arrays))
    bound = error_bound(map(distance, mine, truth), map(distance, pytorch, truth), dtype, factor)
    assert bound.ok, f"{case} in {dtype}: {bound}"


def our_linear(ops: Ops, case: LinearCase, arrays: Arrays, y_dtype: str) -> Any:
    on_device = {name: put(array, ops.dtype) for name, array in arrays.items()}
    out = poisoned((case.t, case.n), y_dtype)
    ops.linear(
        on_device["x"],
        on_device["weight"],
        on_device.get("bias"),
        case.activation,
        on_device.get("residual"),
        out=out,
    )
    return out.numpy()


def exact_linear(case: LinearCase, arrays: Arrays) -> Any:
    """float64 is enough here: inputs have at most 24 bits, sums at most 2^14 terms."""
    y = arrays["x"].astype(np.float64) @ arrays["weight"].astype(np.float64).T
    if case.bias:
        y += arrays["bias"]
    y = ACTIVATIONS[case.activation](torch.from_numpy(y)).numpy()
    return y + arrays["residual"] if case.residual else y


@pytest.mark.parametrize("case", CUDA_LINEAR, ids=str)
def test_linear(cuda: CudaDevice, ops: Ops, case: LinearCase) -> None:
    y_dtype = ops.sum_dtype if case.residual else ops.dtype
    compare(
        cuda,
        ops.dtype,
        case,
        lambda arrays: our_linear(ops, case, arrays, y_dtype),
        lambda tensors: torch_linear(case, tensors),
        lambda arrays: exact_linear(case, arrays),
    )


def test_the_cases_choose_every_tile(cuda: CudaDevice) -> None:
    """A tile no case runs is a tile nobody has run."""
    ops = Ops(device="cuda", dtype="bfloat16")
    chosen = {ops.describe_linear(case.t, case.n, case.k).split(",")[0] for case in CUDA_LINEAR}
    weights = ((12288, 4096), (4096, 4096), (16384, 4096), (4096, 16384), (768, 768), (3072, 768), (2, 4096))
    for tokens, (rows, cols) in product((1, 16, 17, 33, 64, 65, 128, 200, 512, 1100, 4096, 20000), weights):
        described = ops.describe_linear(tokens, rows, cols)
        assert described.split(",")[0] in chosen, f"{tokens} tokens, [{rows}, {cols}]: {described}"


def test_linear_rows_are_independent(cuda: CudaDevice, ops: Ops) -> None:
    """A row is the same, bit for bit, alone, among 16, 63 or 200, whatever the tile; and again with its neighbours."""
    n, k = 264, 1032
    whole = LinearCase(600, n, k, "gelu_new", residual=False)
    arrays = rounded(whole.inputs(0, "float32"), ops.dtype)
    expected = our_linear(ops, whole, arrays, ops.dtype)
    for first, count in ((0, 1), (599, 1), (100, 16), (17, 17), (300, 63), (301, 64), (100, 130), (400, 200)):
        rows = slice(first, first + count)
        part = LinearCase(count, n, k, "gelu_new", residual=False)
        ours = our_linear(ops, part, {**arrays, "x": np.ascontiguousarray(arrays["x"][rows])}, ops.dtype)
        np.testing.assert_array_equal(ours, expected[rows])


def our_attention(ops: Ops, case: AttentionCase, arrays: Arrays) -> Any:
    out = poisoned((len(arrays["qkv"]), case.num_heads * case.head_dim), ops.dtype)
    ops.attention(put(arrays["qkv"], ops.dtype), case.cu_seqlens, case.num_heads, out=out)
    return out.numpy()


@pytest.mark.parametrize("case", CUDA_ATTENTION, ids=str)
def test_attention(cuda: CudaDevice, ops: Ops, case: AttentionCase) -> None:
    compare(
        cuda,
        ops.dtype,
        case,
        lambda arrays: our_attention(ops, case, arrays),
        lambda tensors: torch_attention(case, tensors),
        lambda arrays: exact.attention(case, arrays),
    )


@pytest.mark.parametrize("case", CUDA_ATTENTION, ids=str)
def test_attention_of_a_sequence_is_independent(ops: Ops, case: AttentionCase) -> None:
    arrays = rounded(case.inputs(0, "float32"), ops.dtype)
    whole = our_attention(ops, case, arrays)
    for begin, length in zip(case.cu_seqlens, case.lengths, strict=False):
        rows = slice(begin, begin + length)
        alone = AttentionCase((length,), case.num_heads, case.head_dim)
        own = {"qkv": np.ascontiguousarray(arrays["qkv"][rows])}
        np.testing.assert_array_equal(our_attention(ops, alone, own), whole[rows])


def test_attention_of_extreme_scores(ops: Ops) -> None:
    """Scores in the thousands of both signs: the running maximum must keep exp from overflowing."""
    case = AttentionCase((150,), 1, 32)
    arrays = case.inputs(1, "float32")
    arrays["qkv"][:, :32] *= 40
    arrays = rounded(arrays, ops.dtype)
    expected = exact.attention(case, arrays).astype(np.float64)
    # Scores near 8000 have an absolute error of 8000 roundoffs of fp32, the relative error of p; p and out are rounded.
    roundoffs = 8000 * 8 * 2.0**-24 + 4 * {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[ops.dtype]
    np.testing.assert_allclose(our_attention(ops, case, arrays), expected, atol=roundoffs * np.abs(expected).max())


@pytest.mark.parametrize("of_sums", [False, True], ids=["stored", "sums"])
@pytest.mark.parametrize("case", CUDA_ROWS, ids=str)
def test_layer_norm(cuda: CudaDevice, ops: Ops, case: RowsCase, of_sums: bool) -> None:
    x_dtype = ops.sum_dtype if of_sums else ops.dtype

    def ours(arrays: Arrays) -> Any:
        x, gamma, beta = put(arrays["x"], x_dtype), put(arrays["gamma"], ops.dtype), put(arrays["beta"], ops.dtype)
        out = poisoned((case.t, case.h), ops.dtype)
        ops.layer_norm(x, gamma, beta, EPS, out=out)
        if x_dtype == ops.dtype:
            ops.layer_norm(x, gamma, beta, EPS, out=x)
            np.testing.assert_array_equal(x.numpy(), out.numpy(), "in place != out of place")
        return out.numpy()

    compare(
        cuda,
        ops.dtype,
        case,
        ours,
        lambda t: F.layer_norm(t["x"], (case.h,), t["gamma"], t["beta"], EPS),
        lambda arrays: exact.layer_norm(arrays, EPS),
    )


@pytest.mark.parametrize("case", CUDA_ROWS, ids=str)
def test_embed(cuda: CudaDevice, ops: Ops, case: RowsCase) -> None:
    rng = np.random.default_rng(2)
    tokens, positions, types = (rng.integers(0, n, case.t).astype(np.int32) for n in (50, 40, 2))
    drawn = {str(n): rng.standard_normal((n, case.h)) for n in (50, 40, 2)}
    tables = list(rounded(drawn, ops.dtype).values())

    def ours(arrays: Arrays) -> Any:
        out = poisoned((case.t, case.h), ops.dtype)
        parameters = (put(array, ops.dtype) for array in (*tables, arrays["gamma"], arrays["beta"]))
        ops.embed(tokens, positions, types, *parameters, EPS, out=out)
        return out.numpy()

    def theirs(t: dict[str, torch.Tensor]) -> torch.Tensor:
        word, position, token_type = (torch.from_numpy(table).to(t["gamma"].dtype) for table in tables)
        x = word[torch.from_numpy(tokens)] + token_type[torch.from_numpy(types)]
        x = x + position[torch.from_numpy(positions)]
        return F.layer_norm(x, (case.h,), t["gamma"], t["beta"], EPS)

    def expected(arrays: Arrays) -> exact.Wide:
        word, position, token_type = (exact.wide(table) for table in tables)
        x = word[tokens] + token_type[types] + position[positions]
        return exact.layer_norm({**arrays, "x": x}, EPS)

    compare(cuda, ops.dtype, case, ours, theirs, expected)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("case", CUDA_ROWS, ids=str)
def test_pool_and_normalize(cuda: CudaDevice, ops: Ops, case: RowsCase, pooling: str) -> None:
    cu_seqlens = np.array([0, 0, case.t // 3, case.t], np.int32)

    def ours(arrays: Arrays) -> Any:
        out = poisoned((3, case.h), "float32")
        ops.pool(put(arrays["x"], ops.dtype), cu_seqlens, pooling, out=out)
        ops.l2_normalize(out)
        return out.numpy()

    def theirs(t: dict[str, torch.Tensor]) -> torch.Tensor:
        rows = []
        for begin, end in zip(cu_seqlens[:-1], cu_seqlens[1:], strict=True):
            block = t["x"][begin:end] if pooling == "mean" else t["x"][begin : min(begin + 1, end)]
            rows.append(block.mean(0) if len(block) else torch.zeros(case.h, dtype=t["x"].dtype))
        return F.normalize(torch.stack(rows).float())  # float16 cannot hold the 1e-12 that keeps 0 / 0 away

    compare(cuda, ops.dtype, case, ours, theirs, lambda arrays: exact.pool(arrays, cu_seqlens, pooling))


@pytest.mark.parametrize("case", CUDA_ROWS, ids=str)
def test_gather_and_copies_are_exact(ops: Ops, case: RowsCase) -> None:
    x = rounded(case.inputs(0, "float32"), ops.dtype)["x"]
    rows = np.random.default_rng(3).integers(-1, case.t, 2 * case.t + 1).astype(np.int32)
    out = poisoned((len(rows), case.h), ops.dtype)
    ops.gather(put(x, ops.dtype), rows, out=out)
    np.testing.assert_array_equal(out.numpy(), np.where(rows[:, None] < 0, 0, x[rows]))
    each = poisoned((case.t, case.h), "float32")
    ops.pool(put(x, ops.dtype), np.array([0, case.t], np.int32), "each", out=each)
    np.testing.assert_array_equal(each.numpy(), x)


def test_no_rows_are_no_work(ops: Ops) -> None:
    nothing, weight = DeviceArray((0, 64), ops.dtype), put(np.ones((8, 64)), ops.dtype)
    ops.linear(nothing, weight, out=DeviceArray((0, 8), ops.dtype))
    ops.attention(DeviceArray((0, 192), ops.dtype), np.zeros(3, np.int32), 1, out=nothing)
    ops.gather(nothing, np.zeros(0, np.int32), out=DeviceArray((0, 64), ops.dtype))
    out = poisoned((2, 64), "float32")
    ops.pool(nothing, np.zeros(3, np.int32), "mean", out=out)
    assert not out.numpy().any()


def test_rows_wider_than_a_block_holds_are_refused(ops: Ops) -> None:
    wide, vector = DeviceArray((1, 8200), "float32"), DeviceArray((8200,), ops.dtype)
    with pytest.raises(InvalidInputError, match="x: got rows of 8200, expected at most 8192"):
        ops.l2_normalize(wide)
    with pytest.raises(InvalidInputError, match="x: got rows of 8200, expected at most 8192"):
        ops.layer_norm(wide, vector, vector, EPS, out=DeviceArray((1, 8200), ops.dtype))
