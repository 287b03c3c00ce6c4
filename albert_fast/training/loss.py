"""The masked-LM loss, fused with its decoder: logits over the vocabulary never exist for all tokens."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from albert_fast.errors import InvalidInputError
from albert_fast.training.engine import INTEGERS, array, compute_dtype, how, parameter_array
from albert_fast.training.once import Once, differentiable, graph_wanted
from albert_fast.training.op_tables import ops_for

_ROWS: Final = 256
"""Rows whose logits exist at a time: 256 x 30,000 floats are 31 MB, and the decoder is read once for each 256 rows. A
constant, so that sums over rows have one order."""


class MaskedLmLossFunction(torch.autograd.Function):
    """``apply(hidden, labels, weight, bias, goes_back)``: hidden [n, E], labels int32 [n] on the CPU, weight [V, E],
    bias [V].

    Gives the mean over the rows whose label is not negative and, if something ``goes_back``, the three gradients of it,
    which are made in the same pass: backward only scales them.
    """

    @staticmethod
    def forward(hidden: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, goes_back: bool) -> tuple[Tensor, ...]:
        """See the class."""
        ops = ops_for(hidden)
        sums = getattr(torch, ops.sum_dtype)
        counted = int((labels >= 0).sum())
        losses = hidden.new_zeros(len(hidden), dtype=sums)
        dhidden = torch.empty_like(hidden)
        dweight = weight.new_zeros(weight.shape, dtype=sums)
        dbias = bias.new_zeros(bias.shape, dtype=sums)
        logits = hidden.new_empty((min(_ROWS, len(hidden)), len(weight)), dtype=sums)
        dlogits = logits if sums == hidden.dtype else torch.empty_like(logits, dtype=hidden.dtype)
        on = how(hidden)
        for begin in range(0, len(hidden), _ROWS):
            rows = slice(begin, min(begin + _ROWS, len(hidden)))
            x, z, dz = array(hidden[rows]), array(logits[: len(hidden[rows])]), array(dlogits[: len(hidden[rows])])
            ops.linear(x, parameter_array(weight), parameter_array(bias), out=z, **on)
            scale, of = 1 / max(counted, 1), array(losses[rows])
            ops.cross_entropy(z, labels[rows].numpy(), scale=scale, losses=of, dlogits=dz, **on)
            if not goes_back:
                continue
            ops.linear_input_grad(dz, parameter_array(weight), dx=array(dhidden[rows]), **on)
            ops.linear_weight_grad(dz, x, dweight=array(dweight), dbias=array(dbias), accumulate=True, **on)
        mean = losses.sum() / counted  # of no label at all: NaN, as torch has it
        return mean.to(hidden.dtype), dhidden, dweight, dbias

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keeps the gradients, and what they are gradients of."""
        _, dhidden, dweight, dbias = output
        ctx.mark_non_differentiable(dhidden, dweight, dbias)
        ctx.set_materialize_grads(False)
        hidden, labels, weight, bias, _ = inputs
        ctx.save_for_backward(labels, hidden, weight, bias, dhidden, dweight, dbias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients, scaled."""
        grad = grads[0]
        if grad is None:
            return None, None, None, None, None
        labels, *tensors = ctx.saved_tensors
        if graph_wanted():
            plain = partial(_plain, labels.to(grad.device, torch.int64))
            hidden, weight, bias = differentiable(plain, grad, tensors[:3])
            return hidden, None, weight, bias, None
        hidden, weight, bias = Once.apply(_scaled, grad, *tensors)  # type: ignore[no-untyped-call]
        return hidden, None, weight, bias, None


def _scaled(grad: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The inputs' gradients, in their dtypes, times the loss's."""
    return tuple((grad * made).to(given.dtype) for given, made in zip(tensors[:3], tensors[3:], strict=True))


def _plain(labels: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same in torch's own operators."""
    return F.cross_entropy(F.linear(hidden, weight, bias), labels)


def masked_lm_loss(hidden: Tensor, labels: Tensor, decoder_weight: Tensor, decoder_bias: Tensor) -> Tensor:
    """Mean cross entropy of ``hidden decoder_weight^T + decoder_bias`` against labels, differentiable in all but those.

    hidden [n, E], after the head's dense layer, activation and LayerNorm; labels integers [n], -100 for rows that do
    not count; decoder_weight [V, E]; decoder_bias [V]. At most 256 rows of logits exist at a time. NaN if no row
    counts, as ``torch.nn.functional.cross_entropy`` gives. Raises ``InvalidInputError`` for labels that are neither
    -100 nor below V.
    """
    if hidden.dim() != 2 or labels.shape != hidden.shape[:1]:
        raise InvalidInputError(
            f"labels: got shapes {list(hidden.shape)} of hidden and {list(labels.shape)}, expected [n, E] and [n]"
        )
    if labels.dtype not in INTEGERS:
        raise InvalidInputError(f"labels: got {labels.dtype}, expected integers")
    if torch.compiler.is_compiling():
        return _plain(labels, hidden, decoder_weight, decoder_bias)
    host = labels.detach().to("cpu")
    bad = host[(host != -100) & ((host < 0) | (host >= len(decoder_weight)))]
    if len(bad):
        raise InvalidInputError(f"labels: got {int(bad[0])}, expected -100 or 0..{len(decoder_weight) - 1}")
    dtype = compute_dtype(decoder_weight)
    given = [tensor.to(dtype).contiguous() for tensor in (hidden, decoder_weight, decoder_bias)]
    goes_back = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    arguments = (given[0], host.to(torch.int32), given[1], given[2], goes_back)
    loss: Tensor = MaskedLmLossFunction.apply(*arguments)[0]  # type: ignore[no-untyped-call]
    return loss.to(hidden.dtype)
