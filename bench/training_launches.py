"""The launches of the ops of training that the PTX emulator counts, and the least that each can do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from albert_fast._core import Ops
from albert_fast.cuda import DeviceArray
from bench.cases import AttentionCase, RowsCase
from bench.counted import INDEX_BYTES, SUM_BYTES, Call, Least
from bench.launches import EPS, HEAD_DIMS, ITEM, LENGTHS, QUERIES, ROW_WIDTHS, TOKEN_TYPES, filled

OWN = QUERIES  # rows of a block of `attention_grad`: as many


def least_elementwise(case: RowsCase, read: int, written: int) -> Least:
    """So many bytes of each number."""
    return Least(read * case.t * case.h, written * case.t * case.h)


def least_layer_norm_grad(case: RowsCase, item: int, x_item: int) -> Least:
    """x, dy and gamma; dx, dgamma and dbeta."""
    read = (x_item + item) * case.t * case.h + item * case.h
    return Least(read, item * case.t * case.h + 2 * SUM_BYTES * case.h)


def least_embed_grad(case: RowsCase, item: int) -> Least:
    """What `embed` reads but for beta, and dy; dsum, dgamma and dbeta."""
    read = item * (3 * case.t + TOKEN_TYPES + 1) * case.h + 3 * INDEX_BYTES * case.t
    return Least(read, SUM_BYTES * (case.t + 2) * case.h)


def least_scatter_add(case: RowsCase, targets: int) -> Least:
    """x, its order, and what is added to; sums."""
    read = SUM_BYTES * (case.t + targets) * case.h + INDEX_BYTES * (case.t + 2 * targets + 1)
    return Least(read, SUM_BYTES * targets * case.h)


def least_cross_entropy(case: RowsCase, item: int) -> Least:
    """Logits and labels; losses and gradients."""
    read = SUM_BYTES * case.t * case.h + INDEX_BYTES * case.t
    return Least(read, item * case.t * case.h + SUM_BYTES * case.t)


def least_attention_grad(case: AttentionCase, own: int, item: int) -> Least:
    """out and dout for delta, lse and delta as often as tiles read them, offsets; delta and dqkv. Tiles of keys read
    their own and all q and dout of the sequence, tiles of queries the other way round: 7 products."""
    rows, hidden = sum(case.lengths), case.num_heads * case.head_dim
    tiles = [-(-length // own) for length in case.lengths]
    pairs = list(zip(case.lengths, tiles, strict=True))
    statistics = 2 * SUM_BYTES * case.num_heads * sum(length * (n + 1) for length, n in pairs)
    return Least(
        read=2 * item * rows * hidden + statistics + INDEX_BYTES * (len(case.lengths) + 1),
        written=3 * item * rows * hidden + SUM_BYTES * rows * case.num_heads,
        operands=item * hidden * sum(4 * length * (n + 1) for length, n in pairs),
        operands_once=item * 4 * rows * hidden,
        flops=14 * hidden * sum(length * length for length in case.lengths),
    )


def attention_grad_calls(ops: Ops) -> Iterator[Call]:
    """Every head size. One head: lse of several lies that far apart, and is fetched in sectors used in part."""
    for head_dim in HEAD_DIMS:
        case = AttentionCase(LENGTHS, num_heads=1, head_dim=head_dim)
        shape = f"{' + '.join(map(str, case.lengths))}, {case.num_heads} x {case.head_dim}"
        least = least_attention_grad(case, OWN[ITEM[ops.dtype]], ITEM[ops.dtype])
        # Every warp reads two offsets in each of two kernels, a sector of 32 bytes for each.
        yield Call("attention_grad", shape, least, partial(_run_attention_grad, ops, case), most_bytes=1.2)


def training_row_calls(ops: Ops) -> Iterator[Call]:
    """At sizes of xxlarge."""
    item = ITEM[ops.dtype]
    case = RowsCase(256, 4096)
    shape = f"{case.t} x {case.h}"
    yield Call("activate", shape, least_elementwise(case, item, item), partial(_run_activate, ops, case))
    least = least_elementwise(case, 2 * item, 2 * item)
    yield Call("activate_grad", shape, least, partial(_run_activate_grad, ops, case))
    least = least_elementwise(case, 2 * item, ITEM[ops.sum_dtype])
    yield Call("apply_dropout", shape, least, partial(_run_apply_dropout, ops, case))
    # Partial sums of 32 rows are written and read again, and gamma is read for each.
    least = least_layer_norm_grad(case, item, ITEM[ops.sum_dtype])
    yield Call("layer_norm_grad", shape, least, partial(_run_layer_norm_grad, ops, case), most_bytes=1.1)
    case = RowsCase(4096, 128)
    # The same; and the rows of token types, which a cache would hold, are read for each token.
    least = least_embed_grad(case, item)
    yield Call("embed_grad", f"{case.t} x {case.h}", least, partial(_run_embed_grad, ops, case), most_bytes=1.2)
    # A sector of 32 bytes for each index.
    least = least_scatter_add(case, case.t // 64)
    yield Call("scatter_add", f"{case.t} x {case.h}", least, partial(_run_scatter_add, ops, case), most_bytes=1.1)
    case = RowsCase(8, 30000)
    # Logits are read twice: the first time for what they are divided by.
    least = least_cross_entropy(case, item)
    yield Call("cross_entropy", f"{case.t} x {case.h}", least, partial(_run_cross_entropy, ops, case), most_bytes=1.7)


def training_widest_calls(ops: Ops) -> Iterator[Call]:
    """Every kernel whose shared memory grows with a row, at the widest row that it takes."""
    item = ITEM[ops.dtype]
    kinds = {(x, dy) for x in (ops.dtype, ops.sum_dtype) for dy in (ops.dtype, ops.sum_dtype)}
    for width in ROW_WIDTHS:
        case = RowsCase(1, width)
        for x_dtype, dy_dtype in sorted(kinds):
            run = partial(_run_layer_norm_grad, ops, case, x_dtype, dy_dtype)
            yield Call("layer_norm_grad", f"1 x {width}", least_layer_norm_grad(case, item, ITEM[x_dtype]), run)
        least = least_embed_grad(case, item)
        yield Call("embed_grad", f"1 x {width}", least, partial(_run_embed_grad, ops, case))


def training_dropout_calls(ops: Ops) -> Iterator[Call]:
    """Attention with dropout, whose kernels are others, for their shared memory."""
    for head_dim in HEAD_DIMS:
        case = AttentionCase((64,), num_heads=1, head_dim=head_dim)
        run = partial(_run_attention_grad, ops, case, (0.1, 1, 2))
        yield Call("attention_grad, dropout", f"64, 1 x {head_dim}", Least(0, 0), run)
        run = partial(_run_attention_dropout, ops, case)
        yield Call("attention, dropout", f"64, 1 x {head_dim}", Least(0, 0), run)


def _run_activate(ops: Ops, case: RowsCase) -> None:
    ops.activate(filled((case.t, case.h), ops.dtype), "gelu_new", out=DeviceArray((case.t, case.h), ops.dtype))


def _run_activate_grad(ops: Ops, case: RowsCase) -> None:
    x, dy = (filled((case.t, case.h), ops.dtype) for _ in range(2))
    ops.activate_grad(x, dy, "gelu_new", dx=x, y=dy)


def _run_apply_dropout(ops: Ops, case: RowsCase) -> None:
    x, residual = (filled((case.t, case.h), ops.dtype) for _ in range(2))
    ops.apply_dropout(x, (0.1, 1, 2), residual, out=DeviceArray((case.t, case.h), ops.sum_dtype))


def _vectors(width: int) -> dict[str, DeviceArray]:
    return {name: DeviceArray((width,), "float32") for name in ("dgamma", "dbeta")}


def _run_layer_norm_grad(ops: Ops, case: RowsCase, x_dtype: str = "float32", dy_dtype: str | None = None) -> None:
    x, dy = filled((case.t, case.h), x_dtype), filled((case.t, case.h), dy_dtype or ops.dtype)
    dx, gamma = DeviceArray((case.t, case.h), ops.dtype), filled((case.h,), ops.dtype)
    ops.layer_norm_grad(x, gamma, EPS, dy, dx=dx, **_vectors(case.h))


def _run_embed_grad(ops: Ops, case: RowsCase) -> None:
    ids = np.arange(case.t, dtype=np.int32)
    shapes = ((100, case.h), (512, case.h), (TOKEN_TYPES, case.h), (case.h,))
    word, position, token_type, gamma = (filled(shape, ops.dtype) for shape in shapes)
    dy, dsum = filled((case.t, case.h), ops.dtype), DeviceArray((case.t, case.h), ops.sum_dtype)
    places = (ids % 100, ids % 512, ids % TOKEN_TYPES)
    ops.embed_grad(*places, word, position, token_type, gamma, EPS, dy, dsum=dsum, **_vectors(case.h))


def _run_scatter_add(ops: Ops, case: RowsCase) -> None:
    order, targets = np.arange(case.t, dtype=np.int32), np.arange(case.t // 64, dtype=np.int32)
    starts = 64 * np.arange(len(targets) + 1, dtype=np.int32)
    out = filled((len(targets), case.h), ops.sum_dtype)
    ops.scatter_add(filled((case.t, case.h), ops.sum_dtype), order, starts, targets, out=out)


def _run_cross_entropy(ops: Ops, case: RowsCase) -> None:
    losses, dlogits = DeviceArray((case.t,), ops.sum_dtype), DeviceArray((case.t, case.h), ops.dtype)
    logits, labels = filled((case.t, case.h), ops.sum_dtype), np.zeros(case.t, np.int32)
    ops.cross_entropy(logits, labels, scale=1, losses=losses, dlogits=dlogits)


def _run_attention_grad(ops: Ops, case: AttentionCase, dropout: tuple[float, int, int] | None = None) -> None:
    rows, hidden = sum(case.lengths), case.num_heads * case.head_dim
    qkv, out, dout = (filled((rows, n * hidden), ops.dtype) for n in (3, 1, 1))
    lse, dqkv = filled((rows, case.num_heads), ops.sum_dtype), DeviceArray((rows, 3 * hidden), ops.dtype)
    ops.attention_grad(qkv, case.cu_seqlens, case.num_heads, out, lse, dout, dqkv=dqkv, dropout=dropout)


def _run_attention_dropout(ops: Ops, case: AttentionCase) -> None:
    hidden = case.num_heads * case.head_dim
    qkv, out = filled((sum(case.lengths), 3 * hidden), ops.dtype), DeviceArray((sum(case.lengths), hidden), ops.dtype)
    ops.attention(qkv, case.cu_seqlens, case.num_heads, out=out, dropout=(0.1, 1, 2))
