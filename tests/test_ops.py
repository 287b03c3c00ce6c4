"""Every op, every instruction set, against float64 and beside PyTorch's own error; and rows that do not know each
other."""

from __future__ import annotations

from typing import Any

import exact
import numpy as np
import pytest
import torch
from cases import ATTENTION, LINEAR, ROWS, AttentionCase, LinearCase, RowsCase
from op_checks import compare, our_linear, poisoned, torch_linear
from torch.nn import functional as F

from albert_fast._core import Ops, PackedWeight, available_isas

VARIANTS = [(isa, "float32") for isa in available_isas()] + [("", "float64")]
EPS = 1e-12


@pytest.fixture(params=VARIANTS, ids=lambda variant: f"{variant[0] or 'portable'}-{variant[1]}")
def variant(request: pytest.FixtureRequest) -> tuple[Ops, str]:
    isa, dtype = request.param
    return Ops(isa, dtype), dtype


@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_linear(variant: tuple[Ops, str], case: LinearCase) -> None:
    ops, dtype = variant

    def ours(arrays: dict[str, Any]) -> Any:
        packed = our_linear(ops, case, arrays, PackedWeight(ops, arrays["weight"]))
        np.testing.assert_array_equal(our_linear(ops, case, arrays, arrays["weight"]), packed, "plain != packed")
        return packed

    compare(
        dtype,
        case,
        ours,
        lambda tensors: torch_linear(case, tensors),
        lambda arrays: exact.linear(case, arrays),
    )


@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_linear_rows_are_independent(variant: tuple[Ops, str], case: LinearCase) -> None:
    ops, dtype = variant
    arrays = case.inputs(0, dtype)
    weight = PackedWeight(ops, arrays["weight"])
    whole = our_linear(ops, case, arrays, weight, threads=1)
    np.testing.assert_array_equal(our_linear(ops, case, arrays, weight, threads=3), whole)
    for row in sorted({0, case.t // 2, case.t - 1}):
        alone = {name: array[row : row + 1] if name in ("x", "residual") else array for name, array in arrays.items()}
        single = LinearCase(1, case.n, case.k, case.activation, case.bias, case.residual)
        np.testing.assert_array_equal(our_linear(ops, single, alone, weight), whole[row : row + 1])


def test_few_columns_are_summed_more_exactly(variant: tuple[Ops, str]) -> None:
    """A classifier's two logits: in chains of 32 they have less error than in a wide W (chains of 128): about half."""
    ops, dtype = variant
    wide, few = (LinearCase(64, n, 256, bias=False, residual=False) for n in (64, 2))
    arrays = wide.inputs(0, dtype)
    of_few = {**arrays, "weight": np.ascontiguousarray(arrays["weight"][:2])}
    expected = arrays["x"].astype(np.longdouble) @ of_few["weight"].T.astype(np.longdouble)
    errors = [
        np.linalg.norm((ours[:, :2] - expected).astype(np.float64))
        for ours in (our_linear(ops, few, of_few, of_few["weight"]), our_linear(ops, wide, arrays, arrays["weight"]))
    ]
    assert errors[0] < errors[1] / 2**0.5


def test_packed_weight_comes_back(variant: tuple[Ops, str]) -> None:
    ops, dtype = variant
    weight = np.random.default_rng(0).standard_normal((133, 515)).astype(dtype)
    np.testing.assert_array_equal(PackedWeight(ops, weight).unpack(ops), weight)


def torch_attention(case: AttentionCase, t: dict[str, torch.Tensor]) -> torch.Tensor:
    parts = []
    for sequence in t["qkv"].split(list(case.lengths)):
        q, k, v = (
            part.view(-1, case.num_heads, case.head_dim).transpose(0, 1)
            for part in sequence.split(case.num_heads * case.head_dim, dim=1)
        )
        mixed = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
        parts.append(mixed.transpose(0, 1).reshape(len(sequence), case.num_heads * case.head_dim))
    return torch.cat(parts)


def our_attention(ops: Ops, case: AttentionCase, arrays: dict[str, Any], threads: int = 2) -> Any:
    out = poisoned((len(arrays["qkv"]), case.num_heads * case.head_dim), arrays["qkv"].dtype.name)
    ops.attention(arrays["qkv"], case.cu_seqlens, case.num_heads, out=out, num_threads=threads)
    return out


@pytest.mark.parametrize("case", ATTENTION, ids=str)
def test_attention(variant: tuple[Ops, str], case: AttentionCase) -> None:
    ops, dtype = variant
    compare(
        dtype,
        case,
        lambda arrays: our_attention(ops, case, arrays),
        lambda tensors: torch_attention(case, tensors),
        lambda arrays: exact.attention(case, arrays),
    )


@pytest.mark.parametrize("case", ATTENTION, ids=str)
def test_attention_of_a_sequence_is_independent(variant: tuple[Ops, str], case: AttentionCase) -> None:
    ops, dtype = variant
    arrays = case.inputs(0, dtype)
    whole = our_attention(ops, case, arrays, threads=1)
    np.testing.assert_array_equal(our_attention(ops, case, arrays, threads=3), whole)
    for begin, length in zip(case.cu_seqlens, case.lengths, strict=False):
        rows = slice(begin, begin + length)
        alone = AttentionCase((length,), case.num_heads, case.head_dim)
        own = {"qkv": np.ascontiguousarray(arrays["qkv"][rows])}
        np.testing.assert_array_equal(our_attention(ops, alone, own), whole[rows])


def test_attention_of_extreme_scores(variant: tuple[Ops, str]) -> None:
    """Scores in the thousands of both signs: the running maximum must keep exp from overflowing."""
    ops, dtype = variant
    case = AttentionCase((150,), 1, 8)
    arrays = case.inputs(1, dtype)
    arrays["qkv"][:, :16] *= 40
    expected = exact.attention(case, arrays).astype(np.float64)
    # Scores near 4000 have an absolute error of 4000 roundoffs, which is the relative error of p.
    roundoffs = 4000 * 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(our_attention(ops, case, arrays), expected, atol=roundoffs * np.abs(expected).max())


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_layer_norm(variant: tuple[Ops, str], case: RowsCase) -> None:
    ops, dtype = variant

    def ours(arrays: dict[str, Any]) -> Any:
        out = poisoned((case.t, case.h), dtype)
        ops.layer_norm(arrays["x"], arrays["gamma"], arrays["beta"], EPS, out=out)
        in_place = arrays["x"].copy()
        ops.layer_norm(in_place, arrays["gamma"], arrays["beta"], EPS, out=in_place, num_threads=1)
        np.testing.assert_array_equal(in_place, out)
        return out

    compare(
        dtype,
        case,
        ours,
        lambda t: F.layer_norm(t["x"], (case.h,), t["gamma"], t["beta"], EPS),
        lambda arrays: exact.layer_norm(arrays, EPS),
    )


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_embed(variant: tuple[Ops, str], case: RowsCase) -> None:
    ops, dtype = variant
    rng = np.random.default_rng(2)
    tokens, positions, types = (rng.integers(0, n, case.t).astype(np.int32) for n in (50, 40, 2))
    tables = [rng.standard_normal((n, case.h)).astype(dtype) for n in (50, 40, 2)]

    def ours(arrays: dict[str, Any]) -> Any:
        out = poisoned((case.t, case.h), dtype)
        ops.embed(tokens, positions, types, *tables, arrays["gamma"], arrays["beta"], EPS, out=out)
        return out

    def theirs(t: dict[str, torch.Tensor]) -> torch.Tensor:
        word, position, token_type = (torch.from_numpy(table).to(t["gamma"].dtype) for table in tables)
        x = word[torch.from_numpy(tokens)] + token_type[torch.from_numpy(types)]
        x = x + position[torch.from_numpy(positions)]
        return F.layer_norm(x, (case.h,), t["gamma"], t["beta"], EPS)

    def expected(arrays: dict[str, Any]) -> exact.Wide:
        word, position, token_type = (exact.wide(table) for table in tables)
        x = word[tokens] + token_type[types] + position[positions]
        return exact.layer_norm({**arrays, "x": x}, EPS)

    compare(dtype, case, ours, theirs, expected)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("case", ROWS, ids=str)
def test_pool_and_normalize(variant: tuple[Ops, str], case: RowsCase, pooling: str) -> None:
    ops, dtype = variant
    cu_seqlens = np.array([0, 0, case.t // 3, case.t], np.int32)

    def ours(arrays: dict[str, Any]) -> Any:
        out = poisoned((3, case.h), dtype)
        ops.pool(arrays["x"], cu_seqlens, pooling, out=out)
        ops.l2_normalize(out)
        return out

    def theirs(t: dict[str, torch.Tensor]) -> torch.Tensor:
        rows = []
        for begin, end in zip(cu_seqlens[:-1], cu_seqlens[1:], strict=True):
            block = t["x"][begin:end] if pooling == "mean" else t["x"][begin : min(begin + 1, end)]
            rows.append(block.mean(0) if len(block) else torch.zeros(case.h, dtype=t["x"].dtype))
        return F.normalize(torch.stack(rows))

    compare(dtype, case, ours, theirs, lambda arrays: exact.pool(arrays, cu_seqlens, pooling))
