"""The ops of training, each beside what torch's autograd calls for it.

Dropout is asked for with a p that rounds to no number at all: both sides draw theirs, and both results are x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

import numpy as np
import torch
from torch.nn import functional as F

from albert_fast.config import AlbertConfig
from bench.cases import AttentionCase, LinearCase, RowsCase, attention_cases, products, rows_cases
from bench.contest import EPS, Contest, Pair
from bench.device import Device

Tensor = torch.Tensor
aten = torch.ops.aten

KEEPS_ALL = 1e-12  # floor(p 2^32) = 0
LABELLED = 0.15  # of the tokens have a masked word to guess, Devlin et al. 2019, section 3.1


def training_contests(device: Device, model: str, tokens: tuple[int, ...]) -> Iterator[Contest]:
    """Every op of training at the shapes of a model."""
    for make in (_linear_contests, _attention_contests, _rows_contests):
        yield from make(device, model, tokens)


def _linear_contests(device: Device, model: str, tokens: tuple[int, ...]) -> Iterator[Contest]:
    item, sum_item = device.dtype.itemsize, device.sum_dtype.itemsize
    for product, n, k in products(model):
        for t in tokens:
            case, shape = LinearCase(t, n, k), f"{t}x{n}x{k}"
            flops, read = 2.0 * t * n * k, item * t * (n + k)
            nbytes = read + item * n * k
            copies = device.rotation(item * n * k)
            make = partial(_linear_input_grad, device, case, copies)
            yield Contest(f"linear_input_grad {product}", shape, str(t), flops, nbytes, make)
            nbytes = read + sum_item * n * (k + 1)
            make = partial(_linear_weight_grad, device, case, copies)
            yield Contest(f"linear_weight_grad {product}", shape, str(t), flops, nbytes, make)


def _linear_input_grad(device: Device, case: LinearCase, copies: int) -> Pair:
    dy, weights = device.normal(case.t, case.n), [device.normal(case.n, case.k) for _ in range(copies)]
    dx, torch_dx = device.poisoned(case.t, case.k), device.poisoned(case.t, case.k)
    our_dy, our_dx = device.array(dy), device.array(dx)
    ours, theirs = cycle(list(map(device.array, weights))), cycle(weights)

    def call() -> Tensor:
        device.ops.linear_input_grad(our_dy, next(ours), dx=our_dx, **device.arguments)
        return dx

    return Pair(copies, call, lambda: torch.mm(dy, next(theirs), out=torch_dx))


def _linear_weight_grad(device: Device, case: LinearCase, copies: int) -> Pair:
    dy, x = device.normal(case.t, case.n), device.normal(case.t, case.k)
    results = [device.poisoned(case.n, case.k, dtype=device.sum_dtype) for _ in range(copies)]
    dbias = device.poisoned(case.n, dtype=device.sum_dtype)
    torch_results = cycle([device.poisoned(case.n, case.k) for _ in range(copies)])
    our_dy, our_x, our_dbias = map(device.array, (dy, x, dbias))
    ours = cycle([(device.array(result), result) for result in results])

    def call() -> Tensor:
        target, result = next(ours)
        device.ops.linear_weight_grad(our_dy, our_x, dweight=target, dbias=our_dbias, **device.arguments)
        return result

    def call_torch() -> Tensor:
        dy.sum(0)
        return torch.mm(dy.T, x, out=next(torch_results))

    return Pair(copies, call, call_torch)


def _attention_contests(device: Device, model: str, tokens: tuple[int, ...]) -> Iterator[Contest]:
    """Five products of a sequence's length squared, where the forward pass has two."""
    for case in attention_cases(model):
        batch, length, hidden = len(case.lengths), case.lengths[0], case.num_heads * case.head_dim
        yield Contest(
            "attention_grad",
            f"{batch}x{length}, {case.num_heads} heads of {case.head_dim}",
            f"{batch}x{length}",
            flops=10.0 * batch * length * length * hidden,
            nbytes=device.dtype.itemsize * batch * length * 8 * hidden,
            prepare=partial(_attention_grad, device, case),
        )


def _attention_grad(device: Device, case: AttentionCase) -> Pair:
    """The keys' gradients stand for all three: they need everything that the others do."""
    batch, length = len(case.lengths), case.lengths[0]
    rows, hidden, cu_seqlens = batch * length, case.num_heads * case.head_dim, case.cu_seqlens
    qkv, dout = device.normal(rows, 3 * hidden), device.normal(rows, hidden)
    out, dqkv = device.poisoned(rows, hidden), device.poisoned(rows, 3 * hidden)
    lse = device.poisoned(rows, case.num_heads, dtype=device.sum_dtype)
    arrays = [device.array(tensor) for tensor in (qkv, out, lse, dout, dqkv)]
    our_qkv, our_out, our_lse, our_dout, our_dqkv = arrays
    device.ops.attention(our_qkv, cu_seqlens, case.num_heads, out=our_out, lse=our_lse, **device.arguments)

    heads = (batch, length, 3, case.num_heads, case.head_dim)
    leaves = [part.detach().requires_grad_() for part in qkv.view(heads).permute(2, 0, 3, 1, 4)]
    torch_out = F.scaled_dot_product_attention(*leaves)
    torch_dout = dout.view(batch, length, case.num_heads, case.head_dim).transpose(1, 2)

    def call() -> Tensor:
        attention_grad = device.ops.attention_grad
        attention_grad(
            our_qkv, cu_seqlens, case.num_heads, our_out, our_lse, our_dout, dqkv=our_dqkv, **device.arguments
        )
        return dqkv[:, hidden : 2 * hidden]

    def call_torch() -> Tensor:
        _, dkeys, _ = torch.autograd.grad(torch_out, leaves, torch_dout, retain_graph=True)
        return dkeys.transpose(1, 2)

    return Pair(1, call, call_torch)


def _rows_contests(device: Device, model: str, tokens: tuple[int, ...]) -> Iterator[Contest]:
    config = AlbertConfig.preset(model)
    item, sum_item = device.dtype.itemsize, device.sum_dtype.itemsize

    def contests(op: str, width: int, flops: float, nbytes: float, prepare: Callable[..., Pair]) -> Iterator[Contest]:
        """`flops` and `nbytes` of one number."""
        for case in rows_cases(width, tokens):
            total = nbytes * case.t * case.h
            make = partial(prepare, device, case, device.rotation(total))
            yield Contest(op, f"{case.t}x{case.h}", str(case.t), flops * case.t * case.h, total, make)

    yield from contests("activate_grad", config.intermediate_size, 30.0, 4 * item, _activate_grad)
    yield from contests("layer_norm_grad", config.hidden_size, 20.0, 3 * item, _layer_norm_grad)
    yield from contests("embed_grad", config.embedding_size, 22.0, 5 * item, partial(_embed_grad, config))
    yield from contests("apply_dropout", config.hidden_size, 10.0, 2 * item, _apply_dropout)
    yield from contests("scatter_add", config.embedding_size, 1.0, 3 * sum_item, partial(_scatter_add, config))
    for case in rows_cases(config.vocab_size, tuple(max(1, int(LABELLED * t)) for t in tokens)):
        size = case.t * case.h
        nbytes = (item + sum_item) * size
        make = partial(_cross_entropy, device, case, device.rotation(nbytes))
        yield Contest("cross_entropy", f"{case.t}x{case.h}", str(case.t), 20.0 * size, nbytes, make)


def _activate_grad(device: Device, case: RowsCase, copies: int) -> Pair:
    """Ours gives y, too, which torch has kept."""
    x, dy, dx = device.normal(copies, case.t, case.h), device.normal(case.t, case.h), device.poisoned(case.t, case.h)
    y = device.poisoned(case.t, case.h)
    our_dy, our_dx, our_y = map(device.array, (dy, dx, y))
    ours, theirs = cycle(list(map(device.array, x))), cycle(x)

    def call() -> Tensor:
        device.ops.activate_grad(next(ours), our_dy, "gelu_new", dx=our_dx, y=our_y, **device.arguments)
        return dx

    return Pair(copies, call, lambda: aten.gelu_backward(dy, next(theirs), approximate="tanh"))


def _layer_norm_grad(device: Device, case: RowsCase, copies: int) -> Pair:
    """Torch has kept mean and deviation of each row."""
    x, dy, dx = device.normal(copies, case.t, case.h), device.normal(case.t, case.h), device.poisoned(case.t, case.h)
    gamma, beta = device.normal(case.h), device.normal(case.h)
    dgamma, dbeta = (device.poisoned(case.h, dtype=device.sum_dtype) for _ in range(2))
    our_dy, our_dx, our_gamma, our_dgamma, our_dbeta = map(device.array, (dy, dx, gamma, dgamma, dbeta))
    kept = [aten.native_layer_norm(rows, [case.h], gamma, beta, EPS)[1:] for rows in x]
    ours, theirs = cycle(list(map(device.array, x))), cycle(list(zip(x, kept, strict=True)))

    def call() -> Tensor:
        device.ops.layer_norm_grad(
            next(ours), our_gamma, EPS, our_dy, dx=our_dx, dgamma=our_dgamma, dbeta=our_dbeta, **device.arguments
        )
        return dx

    def call_torch() -> Tensor:
        rows, moments = next(theirs)
        backward = aten.native_layer_norm_backward
        result: Tensor = backward(dy, rows, [case.h], *moments, gamma, beta, [True, True, True])[0]
        return result

    return Pair(copies, call, call_torch)


def _embed_grad(config: AlbertConfig, device: Device, case: RowsCase, copies: int) -> Pair:
    """Torch has kept the sums of embeddings, and their moments; ours forms them again. Every copy is another text."""
    ids = np.random.default_rng(0).integers(config.vocab_size, size=(copies, case.t), dtype=np.int32)
    positions = np.arange(case.t, dtype=np.int32) % config.max_position_embeddings
    types = np.zeros(case.t, np.int32)
    sizes = (config.vocab_size, config.max_position_embeddings, config.type_vocab_size)
    word, position, kind = (device.normal(size, case.h) for size in sizes)
    gamma, beta, dy = device.normal(case.h), device.normal(case.h), device.normal(case.t, case.h)
    dsum = device.poisoned(case.t, case.h, dtype=device.sum_dtype)
    dgamma, dbeta = (device.poisoned(case.h, dtype=device.sum_dtype) for _ in range(2))
    weights = [device.array(tensor) for tensor in (word, position, kind, gamma)]
    our_dy, our_dsum, our_dgamma, our_dbeta = map(device.array, (dy, dsum, dgamma, dbeta))
    rest = F.embedding(device.indices(types), kind) + F.embedding(device.indices(positions), position)
    sums = [F.embedding(row, word) + rest for row in device.indices(ids)]
    kept = [(rows, *aten.native_layer_norm(rows, [case.h], gamma, beta, EPS)[1:]) for rows in sums]
    ours, theirs = cycle(ids), cycle(kept)

    def call() -> Tensor:
        device.ops.embed_grad(
            next(ours), positions, types, *weights, EPS, our_dy,
            dsum=our_dsum, dgamma=our_dgamma, dbeta=our_dbeta, **device.arguments,
        )  # fmt: skip
        return dsum

    def call_torch() -> Tensor:
        rows, *moments = next(theirs)
        backward = aten.native_layer_norm_backward
        result: Tensor = backward(dy, rows, [case.h], *moments, gamma, beta, [True, True, True])[0]
        return result

    return Pair(copies, call, call_torch)


def _apply_dropout(device: Device, case: RowsCase, copies: int) -> Pair:
    x, y = device.normal(copies, case.t, case.h), device.poisoned(case.t, case.h)
    our_y, ours, theirs = device.array(y), cycle(list(map(device.array, x))), cycle(x)

    def call() -> Tensor:
        device.ops.apply_dropout(next(ours), (KEEPS_ALL, 1, 2), out=our_y, **device.arguments)
        return y

    return Pair(copies, call, lambda: torch.native_dropout(next(theirs), KEEPS_ALL, train=True)[0])


def _scatter_add(config: AlbertConfig, device: Device, case: RowsCase, copies: int) -> Pair:
    """Both start from zeros in the whole table, which is most of the work where tokens are few."""
    x = device.normal(copies, case.t, case.h, dtype=device.sum_dtype)
    ids = np.random.default_rng(0).integers(config.vocab_size, size=case.t, dtype=np.int32)
    order = np.argsort(ids, kind="stable").astype(np.int32)
    targets, starts = np.unique(ids[order], return_index=True)
    targets, starts = targets.astype(np.int32), np.append(starts, case.t).astype(np.int32)
    out = device.poisoned(config.vocab_size, case.h, dtype=device.sum_dtype)
    our_out, ours, theirs = device.array(out), cycle(list(map(device.array, x))), cycle(x)
    torch_ids = device.indices(ids).long()

    def call() -> Tensor:
        out.zero_()
        device.ops.scatter_add(next(ours), order, starts, targets, out=our_out, **device.arguments)
        return out

    return Pair(
        copies, call, lambda: aten.embedding_dense_backward(next(theirs), torch_ids, config.vocab_size, -1, False)
    )


def _cross_entropy(device: Device, case: RowsCase, copies: int) -> Pair:
    logits = device.normal(copies, case.t, case.h, dtype=device.sum_dtype)
    labels = np.random.default_rng(0).integers(case.h, size=case.t, dtype=np.int32)
    losses, dlogits = device.poisoned(case.t, dtype=device.sum_dtype), device.poisoned(case.t, case.h)
    our_losses, our_dlogits = device.array(losses), device.array(dlogits)
    ours, theirs = cycle(list(map(device.array, logits))), cycle([rows.requires_grad_() for rows in logits.clone()])
    torch_labels = device.indices(labels).long()
    scale = 1 / case.t

    def call() -> Tensor:
        device.ops.cross_entropy(
            next(ours), labels, scale=scale, losses=our_losses, dlogits=our_dlogits, **device.arguments
        )
        return dlogits

    def call_torch() -> Tensor:
        rows = next(theirs)
        loss = F.cross_entropy(rows, torch_labels)
        return torch.autograd.grad(loss, rows)[0]

    return Pair(copies, call, call_torch)
