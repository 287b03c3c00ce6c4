"""The embeddings: the sum of three rows, normalised, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from albert_fast.errors import InvalidInputError
from albert_fast.training.engine import INTEGERS, array, compute_dtype, how, parameter_array
from albert_fast.training.once import Once, differentiable, graph_wanted
from albert_fast.training.op_tables import ops_for


def _scatter_plan(ids: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
    """Rows in the order of their ids, where each id's rows start, and the ids that occur; all int32."""
    order = np.argsort(ids, kind="stable").astype(np.int32)
    targets, counts = np.unique(ids, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return order, starts, targets.astype(np.int32)


class EmbedFunction(torch.autograd.Function):
    """``apply(ids, word, position, token_type, gamma, beta, eps)``: ids [3, T] int32 on the CPU: tokens, positions,
    token types; the tables [n, E]; gives [T, E]."""

    @staticmethod
    def forward(
        ids: Tensor, word: Tensor, position: Tensor, token_type: Tensor, gamma: Tensor, beta: Tensor, eps: float
    ) -> Tensor:
        """See the class."""
        out = word.new_empty(ids.shape[1], word.shape[1])
        tokens, positions, token_types = ids.numpy()
        w, p, t, g, b = (parameter_array(tensor) for tensor in (word, position, token_type, gamma, beta))
        ops_for(word).embed(tokens, positions, token_types, w, p, t, g, b, eps, out=array(out), **how(word))
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keeps ids and tables: rows are added up again."""
        *tensors, ctx.eps = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the three tables, gamma and beta; rows that do not occur get zeros."""
        ids, *tensors = ctx.saved_tensors
        if graph_wanted():
            plain = partial(_plain, [row.to(grad.device, torch.int64) for row in ids], ctx.eps)
            return None, *differentiable(plain, grad, tensors), None
        gradients = Once.apply(partial(_gradients, ctx.eps), grad, ids, *tensors)  # type: ignore[no-untyped-call]
        return None, *gradients, None


def _gradients(eps: float, grad: Tensor, ids: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Of the three tables, gamma and beta."""
    tables, gamma, grad = tensors[:3], tensors[3], grad.contiguous()
    ops = ops_for(gamma)
    sums = getattr(torch, ops.sum_dtype)
    dsum = grad.new_empty(grad.shape, dtype=sums)
    dnorm = [gamma.new_empty(gamma.shape, dtype=sums) for _ in range(2)]
    tokens, positions, token_types = ids.numpy()
    w, p, t, g = (parameter_array(tensor) for tensor in (*tables, gamma))
    dgamma, dbeta = map(array, dnorm)
    outputs = {"dsum": array(dsum), "dgamma": dgamma, "dbeta": dbeta}
    ops.embed_grad(tokens, positions, token_types, w, p, t, g, eps, array(grad), **outputs, **how(grad))
    gradients = []
    for row, table in zip(ids.numpy(), tables, strict=True):
        gradient = table.new_zeros(table.shape, dtype=sums)
        ops.scatter_add(array(dsum), *_scatter_plan(row), out=array(gradient), **how(grad))
        gradients.append(gradient.to(table.dtype))
    return (*gradients, *(part.to(gamma.dtype) for part in dnorm))


def _plain(ids: Sequence[Tensor], eps: float, *tensors: Tensor) -> Tensor:
    """LayerNorm of the sum of rows of three tables, in torch's own operators."""
    tables, gamma, beta = tensors[:3], tensors[3], tensors[4]
    rows = [F.embedding(row, table) for row, table in zip(ids, tables, strict=True)]
    return F.layer_norm(rows[0] + rows[2] + rows[1], gamma.shape, gamma, beta, eps)


def embed(
    input_ids: Tensor,
    position_ids: Tensor,
    token_type_ids: Tensor,
    word: Tensor,
    position: Tensor,
    token_type: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
) -> Tensor:
    """LayerNorm(word[input_ids] + position[position_ids] + token_type[token_type_ids]), differentiable in the tables.

    Ids are integers of one shape [B, S]; tables [n, E], gamma and beta [E], of one dtype. Gives [B, S, E] of that
    dtype. The sums over tokens in the gradients are in a fixed order, whatever the number of threads. Raises
    ``InvalidInputError`` for ids outside their table.
    """
    if not input_ids.shape == position_ids.shape == token_type_ids.shape:
        shapes = [list(ids.shape) for ids in (input_ids, position_ids, token_type_ids)]
        raise InvalidInputError(f"input_ids, position_ids, token_type_ids: got shapes {shapes}, expected one")
    for name, ids in (("input_ids", input_ids), ("position_ids", position_ids), ("token_type_ids", token_type_ids)):
        if ids.dtype not in INTEGERS:
            raise InvalidInputError(f"{name}: got {ids.dtype}, expected integers")
    if torch.compiler.is_compiling():  # torch's own are good enough beside a compiled graph
        return _plain((input_ids, position_ids, token_type_ids), eps, word, position, token_type, gamma, beta)
    ids = torch.stack([part.reshape(-1) for part in (input_ids, position_ids, token_type_ids)])
    dtype = compute_dtype(word)
    tables = [table.to(dtype) for table in (word, position, token_type, gamma, beta)]
    out: Tensor = EmbedFunction.apply(ids.to("cpu", torch.int32), *tables, eps)  # type: ignore[no-untyped-call]
    return out.view(*input_ids.shape, -1).to(word.dtype)
