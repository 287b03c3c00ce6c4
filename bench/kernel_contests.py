"""Each op with its buffers, its cost, and torch's op on the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import torch
from cases import AttentionCase, LinearCase, RowsCase
from torch.nn import functional as F

from albert_fast import _core
from albert_fast.config import AlbertConfig
from bench.cases import attention_cases, linear_case, products, rows_cases
from bench.machine import rotation

Array = np.ndarray[Any, Any]
Named = tuple[str, Callable[[], "Contest"]]

EPS = 1e-12
ALLOWED_DIFFERENCE = 1e-4
"""Relative L2 between two float32 results: far above rounding, far below a wrong kernel."""


@dataclass(frozen=True)
class Contest:
    """One op on one shape. Each call takes the next of ``copies`` sets of buffers."""

    op: str
    shape: str
    flops: float
    nbytes: float  # every operand once
    copies: int
    ours: Callable[[], object]
    our_result: Callable[[], Array]
    torch: Callable[[], object]
    torch_result: Callable[[], Array]


def _normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


def _poisoned(*shape: int) -> Array:
    return np.full(shape, np.nan, np.float32)


class _Weights:
    """Of one product: the largest thing here, so made once and used for every T."""

    def __init__(self, ops: _core.Ops, n: int, k: int) -> None:
        self.copies = rotation(4 * n * k)
        scale = np.float32(k**-0.5)
        self.plain = [torch.from_numpy(_normal(n, k) * scale) for _ in range(self.copies)]
        self.packed = [_core.PackedWeight(ops, weight.numpy()) for weight in self.plain]
        self.bias = _normal(n)


def linear_contests(ops: _core.Ops, threads: int, model: str, tokens: tuple[int, ...]) -> Iterator[Named]:
    """The four products of a layer, with the epilogues they have there."""
    for product, n, k in products(model):
        weights: list[_Weights] = []

        def make(case: LinearCase, op: str, weights: list[_Weights] = weights) -> Contest:
            if not weights:
                weights.append(_Weights(ops, case.n, case.k))
            return _linear(ops, threads, case, op, weights[0])

        for t in tokens:
            case, op = linear_case(product, t, n, k), f"linear {product}"
            yield f"{op} {t}x{n}x{k}", partial(make, case, op)


def _linear(ops: _core.Ops, threads: int, case: LinearCase, op: str, weights: _Weights) -> Contest:
    x, residual = _normal(case.t, case.k), _normal(case.t, case.n) if case.residual else None
    out, torch_out = _poisoned(case.t, case.n), torch.from_numpy(_poisoned(case.t, case.n))
    packed, plain = cycle(weights.packed), cycle(weights.plain)
    torch_x, torch_bias = torch.from_numpy(x), torch.from_numpy(weights.bias)
    torch_residual = None if residual is None else torch.from_numpy(residual)
    results = [torch_out]

    def ours() -> None:
        ops.linear(x, next(packed), weights.bias, case.activation, residual, out=out, num_threads=threads)

    def theirs() -> None:
        y = torch.addmm(torch_bias, torch_x, next(plain).T, out=torch_out)
        if case.activation == "gelu_new":
            y = F.gelu(y, approximate="tanh")
        results[0] = y if torch_residual is None else y.add_(torch_residual)

    nbytes = sum(array.nbytes for array in (x, out, weights.bias)) + 4 * case.n * case.k
    return Contest(
        op,
        f"{case.t}x{case.n}x{case.k}",
        flops=2.0 * case.t * case.n * case.k,
        nbytes=nbytes + (0 if residual is None else residual.nbytes),
        copies=weights.copies,
        ours=ours,
        our_result=lambda: out,
        torch=theirs,
        torch_result=lambda: results[0].numpy(),
    )


def attention_contests(ops: _core.Ops, threads: int, model: str, tokens: tuple[int, ...]) -> Iterator[Named]:
    """Sequences of one length; torch reads the same strided queries, keys and values as in transformers."""
    for case in attention_cases(model):
        yield f"attention {_attention_shape(case)}", partial(_attention, ops, threads, case)


def _attention_shape(case: AttentionCase) -> str:
    return f"{len(case.lengths)}x{case.lengths[0]}, {case.num_heads} heads of {case.head_dim}"


def _attention(ops: _core.Ops, threads: int, case: AttentionCase) -> Contest:
    batch, length = len(case.lengths), case.lengths[0]
    rows, hidden = batch * length, case.num_heads * case.head_dim
    copies = rotation(4 * rows * 4 * hidden)
    inputs = [_normal(rows, 3 * hidden) for _ in range(copies)]
    out, cu_seqlens = _poisoned(rows, hidden), case.cu_seqlens
    split = [
        torch.from_numpy(qkv).view(batch, length, 3, case.num_heads, case.head_dim).permute(2, 0, 3, 1, 4)
        for qkv in inputs
    ]
    our_inputs, torch_inputs = cycle(inputs), cycle(split)
    results: list[torch.Tensor] = []

    def theirs() -> None:
        q, k, v = next(torch_inputs)
        results[:] = [F.scaled_dot_product_attention(q, k, v)]

    return Contest(
        "attention",
        _attention_shape(case),
        flops=4.0 * batch * length * length * hidden,
        nbytes=4.0 * rows * 4 * hidden,
        copies=copies,
        ours=lambda: ops.attention(next(our_inputs), cu_seqlens, case.num_heads, out=out, num_threads=threads),
        our_result=lambda: out,
        torch=theirs,
        torch_result=lambda: results[0].transpose(1, 2).reshape(rows, hidden).numpy(),
    )


def rows_contests(ops: _core.Ops, threads: int, model: str, tokens: tuple[int, ...]) -> Iterator[Named]:
    """The ops that go over rows: layer_norm, embed, pool, l2_normalize."""
    config = AlbertConfig.preset(model)
    wide, narrow = rows_cases(config.hidden_size, tokens), rows_cases(config.embedding_size, tokens)
    for op, cases in ((_layer_norm, wide), (_embed, narrow), (_pool, wide), (_l2_normalize, wide)):
        for case in cases:
            extra = (config,) if op is _embed else ()
            yield f"{op.__name__[1:]} {case.t}x{case.h}", partial(op, ops, threads, case, *extra)


def _layer_norm(ops: _core.Ops, threads: int, case: RowsCase) -> Contest:
    copies = rotation(8 * case.t * case.h)
    x, out, torch_out = _normal(copies, case.t, case.h), _poisoned(copies, case.t, case.h), torch.empty(0)
    gamma, beta = _normal(case.h), _normal(case.h)
    ours, theirs = cycle(zip(x, out, strict=True)), cycle(torch.from_numpy(x))
    torch_gamma, torch_beta = torch.from_numpy(gamma), torch.from_numpy(beta)
    results = [torch_out]

    def call() -> None:
        source, target = next(ours)
        ops.layer_norm(source, gamma, beta, EPS, out=target, num_threads=threads)

    def call_torch() -> None:
        results[0] = F.layer_norm(next(theirs), (case.h,), torch_gamma, torch_beta, EPS)

    return Contest(
        "layer_norm",
        f"{case.t}x{case.h}",
        flops=8.0 * case.t * case.h,
        nbytes=8.0 * case.t * case.h,
        copies=copies,
        ours=call,
        our_result=lambda: out[-1],
        torch=call_torch,
        torch_result=lambda: results[0].numpy(),
    )


def _embed(ops: _core.Ops, threads: int, case: RowsCase, config: AlbertConfig) -> Contest:
    copies, width = rotation(8 * case.t * case.h), case.h
    ids = np.random.default_rng(0).integers(config.vocab_size, size=(copies, case.t), dtype=np.int32)
    positions = np.arange(case.t, dtype=np.int32) % config.max_position_embeddings
    types = np.zeros(case.t, np.int32)
    word, position = _normal(config.vocab_size, width), _normal(config.max_position_embeddings, width)
    kind = _normal(config.type_vocab_size, width)
    gamma, beta, out = _normal(width), _normal(width), _poisoned(case.t, width)
    ours, theirs = cycle(ids), cycle(torch.from_numpy(ids))
    torch_word, torch_position, torch_kind = map(torch.from_numpy, (word, position, kind))
    torch_gamma, torch_beta = map(torch.from_numpy, (gamma, beta))
    torch_positions, torch_types = torch.from_numpy(positions), torch.from_numpy(types)
    results = [torch.empty(0)]

    def call_torch() -> None:
        total = F.embedding(next(theirs), torch_word) + F.embedding(torch_types, torch_kind)
        total += F.embedding(torch_positions, torch_position)
        results[0] = F.layer_norm(total, (width,), torch_gamma, torch_beta, EPS)

    return Contest(
        "embed",
        f"{case.t}x{width}",
        flops=10.0 * case.t * width,
        nbytes=4.0 * case.t * (3 * width + 3),  # word and position rows, output; both token types stay in cache
        copies=copies,
        ours=lambda: ops.embed(
            next(ours), positions, types, word, position, kind, gamma, beta, EPS, out=out, num_threads=threads
        ),
        our_result=lambda: out,
        torch=call_torch,
        torch_result=lambda: results[0].numpy(),
    )


def _pool(ops: _core.Ops, threads: int, case: RowsCase) -> Contest:
    copies = rotation(4 * case.t * case.h)
    x, out = _normal(copies, case.t, case.h), _poisoned(1, case.h)
    cu_seqlens = np.array([0, case.t], np.int32)
    ours, theirs = cycle(x), cycle(torch.from_numpy(x))
    results = [torch.empty(0)]

    def call_torch() -> None:
        results[0] = next(theirs).mean(0, keepdim=True)

    return Contest(
        "pool",
        f"{case.t}x{case.h}",
        flops=1.0 * case.t * case.h,
        nbytes=4.0 * (case.t + 1) * case.h,
        copies=copies,
        ours=lambda: ops.pool(next(ours), cu_seqlens, "mean", out=out, num_threads=threads),
        our_result=lambda: out,
        torch=call_torch,
        torch_result=lambda: results[0].numpy(),
    )


def _l2_normalize(ops: _core.Ops, threads: int, case: RowsCase) -> Contest:
    """In place on both sides, so from the second round on the rows have length 1 already."""
    copies = rotation(4 * case.t * case.h)
    x = _normal(copies, case.t, case.h)
    torch_x = torch.from_numpy(x.copy())
    ours, theirs = cycle(x), cycle(torch_x)

    def call_torch() -> None:
        rows = next(theirs)
        F.normalize(rows, out=rows)

    return Contest(
        "l2_normalize",
        f"{case.t}x{case.h}",
        flops=3.0 * case.t * case.h,
        nbytes=8.0 * case.t * case.h,
        copies=copies,
        ours=lambda: ops.l2_normalize(next(ours), num_threads=threads),
        our_result=lambda: x[-1],
        torch=call_torch,
        torch_result=lambda: torch_x[-1].numpy(),
    )


CONTESTS = (linear_contests, attention_contests, rows_contests)
