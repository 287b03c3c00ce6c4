"""Each op with its cost, its buffers, and torch's op on the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from albert_fast.config import AlbertConfig
from bench.cases import AttentionCase, LinearCase, RowsCase, attention_cases, linear_case, products, rows_cases
from bench.contest import EPS, Contest, Pair
from bench.device import Device

Tensor = torch.Tensor


def contests(device: Device, model: str, tokens: tuple[int, ...]) -> Iterator[Contest]:
    """Every op at the shapes of a model."""
    for make in (_linear_contests, _attention_contests, _rows_contests):
        yield from make(device, model, tokens)


class _Weights:
    """Of one product: the largest thing here, so made when first used and kept for every T."""

    def __init__(self, device: Device, n: int, k: int) -> None:
        self._device, self._shape = device, (n, k)
        self.copies = device.rotation(device.weight_bytes(n, k))
        self.plain: list[Tensor] = []
        self.ours: list[Any] = []

    def prepare(self) -> None:
        if not self.plain:
            scale = self._shape[1] ** -0.5
            self.plain = [self._device.normal(*self._shape).mul_(scale) for _ in range(self.copies)]
            self.ours = [self._device.weight(weight) for weight in self.plain]


def _linear_contests(device: Device, model: str, tokens: tuple[int, ...]) -> Iterator[Contest]:
    """The four products of a layer, with the epilogues they have there."""
    item, sum_item = device.dtype.itemsize, device.sum_dtype.itemsize
    for product, n, k in products(model):
        weights = _Weights(device, n, k)
        for t in tokens:
            case = linear_case(product, t, n, k)
            written = (item + sum_item) * t * n if case.residual else item * t * n
            yield Contest(
                f"linear {product}",
                f"{t}x{n}x{k}",
                str(t),
                flops=2.0 * t * n * k,
                nbytes=item * (t * k + n) + device.weight_bytes(n, k) + written,
                prepare=partial(_linear, device, case, weights),
            )


def _linear(device: Device, case: LinearCase, weights: _Weights) -> Pair:
    weights.prepare()
    x, bias = device.normal(case.t, case.k), device.normal(case.n)
    residual = device.normal(case.t, case.n) if case.residual else None
    out = device.poisoned(case.t, case.n, dtype=device.sum_dtype if case.residual else device.dtype)
    torch_out = device.poisoned(case.t, case.n)
    packed, plain = cycle(weights.ours), cycle(weights.plain)
    our_x, our_bias, our_out = map(device.array, (x, bias, out))
    our_residual = None if residual is None else device.array(residual)

    def ours() -> Tensor:
        linear = device.ops.linear
        linear(our_x, next(packed), our_bias, case.activation, our_residual, out=our_out, **device.arguments)
        return out

    def theirs() -> Tensor:
        y = torch.addmm(bias, x, next(plain).T, out=torch_out)
        if case.activation == "gelu_new":
            y = F.gelu(y, approximate="tanh")
        return y if residual is None else y.add_(residual)

    return Pair(weights.copies, ours, theirs)


def _attention_contests(device: Device, model: str, tokens: tuple[int, ...]) -> Iterator[Contest]:
    """Sequences of one length; torch reads the same strided queries, keys and values as in transformers."""
    for case in attention_cases(model):
        batch, length, hidden = len(case.lengths), case.lengths[0], case.num_heads * case.head_dim
        yield Contest(
            "attention",
            f"{batch}x{length}, {case.num_heads} heads of {case.head_dim}",
            f"{batch}x{length}",
            flops=4.0 * batch * length * length * hidden,
            nbytes=device.dtype.itemsize * batch * length * 4 * hidden,
            prepare=partial(_attention, device, case),
        )


def _attention(device: Device, case: AttentionCase) -> Pair:
    batch, length = len(case.lengths), case.lengths[0]
    rows, hidden, cu_seqlens = batch * length, case.num_heads * case.head_dim, case.cu_seqlens
    copies = device.rotation(device.dtype.itemsize * rows * 4 * hidden)
    inputs, out = [device.normal(rows, 3 * hidden) for _ in range(copies)], device.poisoned(rows, hidden)
    heads = (batch, length, 3, case.num_heads, case.head_dim)
    our_inputs, our_out = cycle(list(map(device.array, inputs))), device.array(out)
    torch_inputs = cycle([qkv.view(heads).permute(2, 0, 3, 1, 4) for qkv in inputs])

    def ours() -> Tensor:
        device.ops.attention(next(our_inputs), cu_seqlens, case.num_heads, out=our_out, **device.arguments)
        return out

    def theirs() -> Tensor:
        return F.scaled_dot_product_attention(*next(torch_inputs)).transpose(1, 2)

    return Pair(copies, ours, theirs)


def _rows_contests(device: Device, model: str, tokens: tuple[int, ...]) -> Iterator[Contest]:
    """The ops that go over rows: layer_norm, embed, pool, l2_normalize."""
    config = AlbertConfig.preset(model)
    item, sum_item = device.dtype.itemsize, device.sum_dtype.itemsize
    wide, narrow = rows_cases(config.hidden_size, tokens), rows_cases(config.embedding_size, tokens)

    def contest(op: str, case: RowsCase, flops: float, nbytes: float, prepare: Callable[..., Pair]) -> Contest:
        make = partial(prepare, device, case, device.rotation(nbytes))
        return Contest(op, f"{case.t}x{case.h}", str(case.t), flops * case.t * case.h, nbytes, make)

    for case in wide:
        yield contest("layer_norm", case, 8.0, 2 * item * (case.t + 1) * case.h, _layer_norm)
    for case in narrow:
        # Rows of word and of position, outputs; one row of token_type, gamma, beta; three ids for each token.
        rows = 2 * case.t + min(case.t, config.max_position_embeddings) + 3
        yield contest("embed", case, 10.0, item * rows * case.h + 12 * case.t, partial(_embed, config))
    for case in wide:
        yield contest("pool", case, 1.0, (item * case.t + sum_item) * case.h, _pool)
    for case in wide:
        yield contest("l2_normalize", case, 3.0, 2 * sum_item * case.t * case.h, _l2_normalize)


def _layer_norm(device: Device, case: RowsCase, copies: int) -> Pair:
    x, out = device.normal(copies, case.t, case.h), device.poisoned(copies, case.t, case.h)
    gamma, beta = device.normal(case.h), device.normal(case.h)
    our_gamma, our_beta = device.array(gamma), device.array(beta)
    ours, theirs = cycle([(device.array(a), device.array(b), b) for a, b in zip(x, out, strict=True)]), cycle(x)

    def call() -> Tensor:
        source, target, result = next(ours)
        device.ops.layer_norm(source, our_gamma, our_beta, EPS, out=target, **device.arguments)
        return result

    return Pair(copies, call, lambda: F.layer_norm(next(theirs), (case.h,), gamma, beta, EPS))


def _embed(config: AlbertConfig, device: Device, case: RowsCase, copies: int) -> Pair:
    width = case.h
    ids = np.random.default_rng(0).integers(config.vocab_size, size=(copies, case.t), dtype=np.int32)
    positions = np.arange(case.t, dtype=np.int32) % config.max_position_embeddings
    types = np.zeros(case.t, np.int32)
    sizes = (config.vocab_size, config.max_position_embeddings, config.type_vocab_size)
    word, position, kind = (device.normal(size, width) for size in sizes)
    gamma, beta, out = device.normal(width), device.normal(width), device.poisoned(case.t, width)
    our_weights = [device.array(tensor) for tensor in (word, position, kind, gamma, beta)]
    our_out = device.array(out)
    torch_positions, torch_types = device.indices(positions), device.indices(types)
    ours, theirs = cycle(ids), cycle(device.indices(ids))

    def call() -> Tensor:
        device.ops.embed(next(ours), positions, types, *our_weights, EPS, out=our_out, **device.arguments)
        return out

    def call_torch() -> Tensor:
        total = F.embedding(next(theirs), word) + F.embedding(torch_types, kind)
        total += F.embedding(torch_positions, position)
        return F.layer_norm(total, (width,), gamma, beta, EPS)

    return Pair(copies, call, call_torch)


def _pool(device: Device, case: RowsCase, copies: int) -> Pair:
    x, out = device.normal(copies, case.t, case.h), device.poisoned(1, case.h, dtype=device.sum_dtype)
    cu_seqlens = np.array([0, case.t], np.int32)
    ours, theirs, our_out = cycle(list(map(device.array, x))), cycle(x), device.array(out)

    def call() -> Tensor:
        device.ops.pool(next(ours), cu_seqlens, "mean", out=our_out, **device.arguments)
        return out

    return Pair(copies, call, lambda: next(theirs).mean(0, keepdim=True, dtype=device.sum_dtype))


def _l2_normalize(device: Device, case: RowsCase, copies: int) -> Pair:
    """In place on both sides, so from the second round on the rows have length 1 already."""
    x = device.normal(copies, case.t, case.h, dtype=device.sum_dtype)
    ours, theirs = cycle([(device.array(rows), rows) for rows in x]), cycle(x.clone())

    def call() -> Tensor:
        rows, result = next(ours)
        device.ops.l2_normalize(rows, **device.arguments)
        return result

    def call_torch() -> Tensor:
        rows = next(theirs)
        return F.normalize(rows, out=rows)

    return Pair(copies, call, call_torch)
