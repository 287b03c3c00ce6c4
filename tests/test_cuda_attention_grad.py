"""Attention in training on CUDA: log-sum-exp, dropout of softmax, and the gradients. On a GPU, or where there is none
on the PTX emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import philox
import pytest
import torch
from cases import AttentionCase
from conftest import CudaDevice
from test_cuda_ops import DTYPES, Arrays, our_attention, poisoned, put, rounded
from test_cuda_training_ops import Tensors, check_gradients, drawn

from albert_fast._core import Ops
from albert_fast.cuda import DeviceArray
from albert_fast.errors import InvalidInputError

Dropout = tuple[float, int, int]
DROPOUT = (0.2, 0x123456789ABCDEF, 3)

# Tiles have 32 or 64 rows, warps 8 or 16: lengths beside them; none, one; heads of each size.
CASES = (
    AttentionCase((7, 0, 65), 2, 32),
    AttentionCase((130,), 1, 32),
    AttentionCase((63, 17), 2, 64),
    AttentionCase((15, 129), 1, 64),
    AttentionCase((33, 1, 64), 1, 128),
    AttentionCase((95,), 1, 128),
)


@pytest.fixture(params=DTYPES)
def ops(request: pytest.FixtureRequest, cuda: CudaDevice) -> Ops:
    return Ops(device="cuda", dtype=request.param)


def hidden(case: AttentionCase) -> int:
    return case.num_heads * case.head_dim


def inputs(case: AttentionCase, seed: int, dtype: str) -> Arrays:
    """qkv and dout."""
    qkv = rounded(case.inputs(seed, "float32"), dtype)
    return {**qkv, **drawn(seed, dtype, dout=(sum(case.lengths), hidden(case)))}


def forward(ops: Ops, case: AttentionCase, qkv: DeviceArray, dropout: Dropout | None) -> dict[str, DeviceArray]:
    out = poisoned((sum(case.lengths), hidden(case)), ops.dtype)
    lse = poisoned((sum(case.lengths), case.num_heads), "float32")
    ops.attention(qkv, case.cu_seqlens, case.num_heads, out=out, lse=lse, dropout=dropout)
    return {"out": out, "lse": lse}


def ours(ops: Ops, case: AttentionCase, arrays: Arrays, dropout: Dropout | None) -> Arrays:
    """out and lse, and dq, dk and dv each for itself: the errors of one do not hide in another's norm."""
    qkv, dout = put(arrays["qkv"], ops.dtype), put(arrays["dout"], ops.dtype)
    results = forward(ops, case, qkv, dropout)
    dqkv = poisoned(arrays["qkv"].shape, ops.dtype)
    given = (qkv, case.cu_seqlens, case.num_heads, results["out"], results["lse"], dout)
    ops.attention_grad(*given, dqkv=dqkv, dropout=dropout)
    parts = dict(zip(("dq", "dk", "dv"), np.split(dqkv.numpy(), 3, axis=1), strict=True))
    return {name: result.numpy() for name, result in results.items()} | parts


def theirs(case: AttentionCase, t: Tensors, dropout: Dropout | None) -> Tensors:
    """By autograd, with the mask of the reference."""
    qkv = t["qkv"].clone().requires_grad_()
    outs, sums = [], []
    for begin, length in zip(case.cu_seqlens, case.lengths, strict=False):
        rows = qkv[begin : begin + length].reshape(length, 3, case.num_heads, case.head_dim)
        q, k, v = rows.permute(1, 2, 0, 3)
        scores = q @ k.transpose(1, 2) / case.head_dim**0.5
        p = torch.softmax(scores, dim=-1)
        if dropout is not None:
            numbers = philox.attention_numbers(np.arange(begin, begin + length), case.num_heads, length)
            p = p * torch.from_numpy(philox.mask(numbers, *dropout)).to(p.dtype)
        outs.append((p @ v).transpose(0, 1).reshape(length, hidden(case)))
        sums.append(torch.logsumexp(scores, dim=-1).T)
    out = torch.cat(outs)
    [gradient] = torch.autograd.grad(out, qkv, t["dout"])
    return {"out": out, "lse": torch.cat(sums)} | dict(zip(("dq", "dk", "dv"), gradient.chunk(3, dim=1), strict=True))


@pytest.mark.parametrize("dropout", [None, DROPOUT], ids=["whole", "dropout"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_attention_and_its_gradient(cuda: CudaDevice, ops: Ops, case: AttentionCase, dropout: Dropout | None) -> None:
    check_gradients(
        cuda,
        ops.dtype,
        lambda seed: inputs(case, seed, ops.dtype),
        lambda arrays: ours(ops, case, arrays, dropout),
        lambda tensors: theirs(case, tensors, dropout),
    )


def test_one_token(ops: Ops) -> None:
    """Whose softmax is 1 whatever its score: dq and dk are 0, by which errors cannot be measured."""
    case = AttentionCase((1,), 1, 32)
    arrays = inputs(case, 0, ops.dtype)
    results = ours(ops, case, arrays, None)
    np.testing.assert_array_equal(results["out"], arrays["qkv"][:, 64:])
    np.testing.assert_array_equal(results["dv"], arrays["dout"])
    for name in ("dq", "dk"):  # dout v^T and rowsum(dout out) are summed in different orders
        np.testing.assert_allclose(results[name], 0, atol=1e-5)


@pytest.mark.parametrize("head_dim", [32, 64, 128])
def test_what_training_asks_for_does_not_change_the_result(ops: Ops, head_dim: int) -> None:
    """out is the same, bit for bit, with lse or without, and with a dropout that leaves nothing out."""
    case = AttentionCase((70, 3), 2, head_dim)
    arrays = inputs(case, 0, ops.dtype)
    plain = our_attention(ops, case, arrays)
    for dropout in (None, (0.0, 1, 2)):
        np.testing.assert_array_equal(ours(ops, case, arrays, dropout)["out"], plain)
    nothing = ours(ops, case, arrays, (1e-12, 1, 2))  # the kernel with dropout, which draws and keeps everything
    np.testing.assert_array_equal(nothing["out"], plain)
    for name, expected in ours(ops, case, arrays, None).items():
        np.testing.assert_array_equal(nothing[name], expected, name)


@pytest.mark.parametrize("head_dim", [32, 128])
def test_gradients_of_a_sequence_are_independent(ops: Ops, head_dim: int) -> None:
    """The same bits alone as among others."""
    case = AttentionCase((5, 90, 0, 33), 2, head_dim)
    arrays = inputs(case, 0, ops.dtype)
    whole = ours(ops, case, arrays, None)
    for begin, length in zip(case.cu_seqlens, case.lengths, strict=False):
        rows = slice(begin, begin + length)
        own = {name: np.ascontiguousarray(array[rows]) for name, array in arrays.items()}
        alone = ours(ops, AttentionCase((length,), 2, head_dim), own, None) if length else {}
        for name, result in alone.items():
            np.testing.assert_array_equal(result, whole[name][rows], name)


def test_the_mask_of_attention(ops: Ops) -> None:
    """To the bit: with equal scores and one-hot values, out says which keys each query has kept."""
    case = AttentionCase((32, 20), 2, 32)
    tokens, dropout = sum(case.lengths), (0.4, 77, 1)
    qkv = np.zeros((tokens, 3, 2, 32), np.float32)
    for begin, length in zip(case.cu_seqlens, case.lengths, strict=False):
        qkv[begin : begin + length, 2] = np.eye(32)[:length, None]
    out = forward(ops, case, put(qkv.reshape(tokens, -1), ops.dtype), dropout)["out"].numpy().reshape(tokens, 2, 32)
    for begin, length in zip(case.cu_seqlens, case.lengths, strict=False):
        rows = np.arange(begin, begin + length)
        expected = philox.kept(philox.attention_numbers(rows, 2, length), *dropout)
        np.testing.assert_array_equal(out[rows, :, :length].transpose(1, 0, 2) != 0, expected)


def test_no_tokens_are_no_work(ops: Ops) -> None:
    nothing, lse = DeviceArray((0, 64), ops.dtype), DeviceArray((0, 1), "float32")
    qkv, offsets = DeviceArray((0, 192), ops.dtype), np.zeros(3, np.int32)
    ops.attention_grad(qkv, offsets, 1, nothing, lse, nothing, dqkv=qkv)


def test_bad_arguments(ops: Ops) -> None:
    def zeros(*shape: int, dtype: str = ops.dtype) -> DeviceArray:
        return put(np.zeros(shape), dtype)

    def grad(head_dim: int, tokens: int = 3, **kwargs: Any) -> None:
        rows, lse = zeros(tokens, head_dim), zeros(tokens, 1, dtype="float32")
        qkv, offsets = zeros(tokens, 3 * head_dim), np.array([0, tokens], np.int32)
        ops.attention_grad(qkv, offsets, 1, rows, lse, rows, dqkv=zeros(tokens, 3 * head_dim), **kwargs)

    with pytest.raises(InvalidInputError, match=r"attention_grad: head_dim: got 16, expected 32, 64 or 128"):
        grad(16)
    with pytest.raises(InvalidInputError, match=r"dropout: got p = 1\.0.*, expected at least 0 and below 1"):
        grad(32, dropout=(1.0, 0, 0))
    with pytest.raises(InvalidInputError, match=r"max_seqlen: got 65537 with dropout, expected at most 65536"):
        grad(32, 65537, dropout=(0.1, 0, 0))
