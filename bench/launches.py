"""The launches that the PTX emulator counts: ops at shapes that fill their tiles, and every kernel at its widest."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from albert_fast._core import Ops
from albert_fast.cuda import DeviceArray
from bench import counted
from bench.cases import AttentionCase, LinearCase, RowsCase
from bench.counted import Call

DTYPES = ("bfloat16", "float16", "float32")
ITEM = {"bfloat16": 2, "float16": 2, "float32": 4}
EPS = 1e-12
TOKEN_TYPES = 2

# (T, N, K): for each tile of `linear`, whole tiles and 8 stages, for which a device of 108 multiprocessors chooses it.
LINEAR_SHAPES = {
    2: (
        *((256, 7168, 256), (256, 3584, 256), (64, 3520, 512)),
        *((64, 1760, 512), (32, 1760, 1024), (16, 1056, 1024)),
    ),
    4: ((128, 192, 256),),
}
QUERIES = {2: 64, 4: 32}  # of a tile of `attention`, by bytes of a number
HEAD_DIMS = (32, 64, 128)
LENGTHS = (192, 64)  # whole tiles of queries and keys

# The largest width of each shape in which rows are spread over threads (cuda/row_shapes.h).
ROW_WIDTHS = (128, 512, 1024, 2048, 4096, 8192)


def linear_calls(ops: Ops) -> Iterator[Call]:
    """Every tile with every epilogue of the layer: none, as qkv; GELU, as ffn; residual, as dense and ffn_output."""
    for t, n, k in LINEAR_SHAPES[ITEM[ops.dtype]]:
        yield linear_call(ops, LinearCase(t, n, k, bias=False, residual=False))
        yield linear_call(ops, LinearCase(t, n, k, "gelu_new", residual=False))
        yield linear_call(ops, LinearCase(t, n, k))


def linear_call(ops: Ops, case: LinearCase) -> Call:
    """With y in fp32 if there is a residual, as in the layer."""
    y_dtype = ops.sum_dtype if case.residual else ops.dtype
    tile = linear_tile(ops, case)
    # Every warp reads the bias of its columns, of which tiles of few tokens make little else. The weight's thousands of
    # bytes per column are what counts there.
    limit = {} if tile[0] * tile[1] > 64 * 64 else {"most_bytes": 1.07 if case.residual else 1.2}
    epilogue = "bias, residual" if case.residual else f"bias, {case.activation}" if case.bias else "plain"
    return Call(
        "linear",
        f"{case.t} x {case.n} x {case.k}, {epilogue}",
        counted.least_linear(case, tile, ITEM[ops.dtype], ITEM[y_dtype]),
        partial(_run_linear, ops, case, y_dtype),
        **limit,
    )


def linear_tile(ops: Ops, case: LinearCase) -> tuple[int, int]:
    """Tokens and rows of the tile that is chosen."""
    tokens, rows, _ = ops.describe_linear(case.t, case.n, case.k).partition(",")[0].split(" x ")
    return int(tokens), int(rows)


def attention_calls(ops: Ops) -> Iterator[Call]:
    """Every head size."""
    for head_dim in HEAD_DIMS:
        yield attention_call(ops, AttentionCase(LENGTHS, num_heads=2, head_dim=head_dim))


def attention_call(ops: Ops, case: AttentionCase) -> Call:
    """Every warp reads two offsets, also where the longest sequence has tiles that its own has not."""
    item = ITEM[ops.dtype]
    return Call(
        "attention",
        f"{' + '.join(map(str, case.lengths))}, {case.num_heads} x {case.head_dim}",
        counted.least_attention(case, QUERIES[item], item),
        partial(_run_attention, ops, case),
        most_bytes=1.1,
    )


def row_calls(ops: Ops) -> Iterator[Call]:
    """LayerNorm, embeddings, gathering and pooling at sizes of xxlarge."""
    item, sum_item = ITEM[ops.dtype], ITEM[ops.sum_dtype]
    hidden = 4096
    for case in (RowsCase(4096, hidden), RowsCase(64, hidden)):
        # With a row to a block, so that 64 rows keep 64 multiprocessors busy, each reads gamma and beta for itself.
        limit = {} if case.t > hidden // 2 else {"most_bytes": 2.0}
        least = counted.least_layer_norm(case, item, sum_item)
        yield Call(
            "layer_norm", f"{case.t} x {case.h}, sums", least, partial(_run_layer_norm, ops, case, True), **limit
        )
    case = RowsCase(4096, 768)
    least = counted.least_layer_norm(case, item, item)
    yield Call("layer_norm", f"{case.t} x {case.h}", least, partial(_run_layer_norm, ops, case, False))
    case = RowsCase(4096, 128)
    least = counted.least_embed(case, item, TOKEN_TYPES)
    yield Call("embed", f"{case.t} x {case.h}", least, partial(_run_embed, ops, case))
    case = RowsCase(64, hidden)
    least = counted.least_gather(case, item)
    yield Call("gather", f"{case.t} x {case.h}", least, partial(_run_gather, ops, case))
    yield from pool_calls(ops, hidden)
    least = counted.least_l2_normalize(case)
    yield Call("l2_normalize", f"{case.t} x {case.h}", least, partial(_run_l2_normalize, ops, case))


def pool_calls(ops: Ops, hidden: int) -> Iterator[Call]:
    """512 tokens in 4 sequences; for `cls`, in 64."""
    item = ITEM[ops.dtype]
    for pooling, sequences in (("mean", 4), ("cls", 64), ("each", 1)):
        case = RowsCase(512, hidden)
        pooled = RowsCase(sequences, hidden) if pooling == "cls" else case
        rows_out = case.t if pooling == "each" else sequences
        least = counted.least_pool(pooled, item, rows_out, 0 if pooling == "each" else sequences + 1)
        yield Call(
            f"pool, {pooling}",
            f"{case.t} x {case.h}, {sequences} sequences",
            least,
            partial(_run_pool, ops, case, pooling, sequences),
        )


def widest_calls(ops: Ops) -> Iterator[Call]:
    """Every kernel whose shared memory grows with a row, at the widest row that it takes."""
    item = ITEM[ops.dtype]
    for width in ROW_WIDTHS:
        case = RowsCase(1, width)
        for of_sums in {False, ops.sum_dtype != ops.dtype}:
            least = counted.least_layer_norm(case, item, ITEM[ops.sum_dtype if of_sums else ops.dtype])
            yield Call("layer_norm", f"1 x {width}", least, partial(_run_layer_norm, ops, case, of_sums))
        least = counted.least_embed(case, item, TOKEN_TYPES)
        yield Call("embed", f"1 x {width}", least, partial(_run_embed, ops, case))


def filled(shape: tuple[int, ...], dtype: str) -> DeviceArray:
    """Any numbers do: what is counted does not depend on them."""
    return DeviceArray.from_numpy(np.full(shape, 0.5, np.float32), dtype)


def _run_linear(ops: Ops, case: LinearCase, y_dtype: str) -> None:
    x, weight = filled((case.t, case.k), ops.dtype), filled((case.n, case.k), ops.dtype)
    bias = filled((case.n,), ops.dtype) if case.bias else None
    residual = filled((case.t, case.n), ops.dtype) if case.residual else None
    ops.linear(x, weight, bias, case.activation, residual, out=DeviceArray((case.t, case.n), y_dtype))


def _run_attention(ops: Ops, case: AttentionCase) -> None:
    hidden = case.num_heads * case.head_dim
    qkv = filled((sum(case.lengths), 3 * hidden), ops.dtype)
    ops.attention(qkv, case.cu_seqlens, case.num_heads, out=DeviceArray((sum(case.lengths), hidden), ops.dtype))


def _run_layer_norm(ops: Ops, case: RowsCase, of_sums: bool) -> None:
    x, vector = filled((case.t, case.h), ops.sum_dtype if of_sums else ops.dtype), filled((case.h,), ops.dtype)
    ops.layer_norm(x, vector, vector, EPS, out=DeviceArray((case.t, case.h), ops.dtype))


def _run_embed(ops: Ops, case: RowsCase) -> None:
    ids = np.arange(case.t, dtype=np.int32)
    word, position, token_type, vector = (
        filled(shape, ops.dtype) for shape in ((100, case.h), (512, case.h), (TOKEN_TYPES, case.h), (case.h,))
    )
    out = DeviceArray((case.t, case.h), ops.dtype)
    ops.embed(ids % 100, ids % 512, ids % TOKEN_TYPES, word, position, token_type, vector, vector, EPS, out=out)


def _run_gather(ops: Ops, case: RowsCase) -> None:
    rows = np.arange(case.t, dtype=np.int32)[::-1].copy()
    ops.gather(filled((case.t, case.h), ops.dtype), rows, out=DeviceArray((case.t, case.h), ops.dtype))


def _run_pool(ops: Ops, case: RowsCase, pooling: str, sequences: int) -> None:
    cu_seqlens = np.linspace(0, case.t, sequences + 1).astype(np.int32)
    out = DeviceArray((case.t if pooling == "each" else sequences, case.h), ops.sum_dtype)
    ops.pool(filled((case.t, case.h), ops.dtype), cu_seqlens, pooling, out=out)


def _run_l2_normalize(ops: Ops, case: RowsCase) -> None:
    ops.l2_normalize(filled((case.t, case.h), ops.sum_dtype))
