"""The encoder as an operator of ``torch.library``, for ``torch.compile``: torch.ops.albert_fast.encoder.

A compiled graph cannot have tensors whose sizes depend on a mask, so what is kept has room for all B x S tokens here;
``AlbertEncoderFunction`` keeps those that are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from albert_fast.training.encoder import backward_pass, forward_pass, split_gradients
from albert_fast.training.engine import Rows, engine_of
from albert_fast.training.spec import LAYER_PARAMETERS, EncoderSpec, TrainingPolicy

_SLACK = 1024
"""Elements by which the engine's alignment may exceed what the tokens take."""


def _room(hidden_states: Tensor, parameters: Sequence[Tensor], spec: EncoderSpec, keep_every: int) -> Any:
    """Elements to keep of B x S tokens; 64 of them fill whole lines, so their size has no alignment in it."""
    a_token = engine_of(spec, parameters, keep_every).saved_size(64) // 64
    return hidden_states.shape[0] * hidden_states.shape[1] * a_token + _SLACK


def _policy(keep_every: int, defer_bytes: int) -> TrainingPolicy:
    return TrainingPolicy("all" if keep_every == 0 else keep_every, defer_bytes)


@torch.library.custom_op("albert_fast::encoder", mutates_args=())
def encoder(
    hidden_states: Tensor,
    attention_mask: Tensor | None,
    seed: Tensor,
    parameters: Sequence[Tensor],
    spec: str,
    keep_every: int,
    defer_bytes: int,
) -> tuple[Tensor, Tensor]:
    """[B, S, H] after all layers, and what the backward pass needs."""
    parsed = EncoderSpec.from_json(spec)
    saved = hidden_states.new_zeros(_room(hidden_states, parameters, parsed, keep_every))  # the same bits every time
    rows = Rows(hidden_states, attention_mask)
    return forward_pass(rows, hidden_states, parameters, saved, parsed, keep_every, int(seed)), saved


@encoder.register_fake
def _(
    hidden_states: Tensor,
    attention_mask: Tensor | None,
    seed: Tensor,
    parameters: Sequence[Tensor],
    spec: str,
    keep_every: int,
    defer_bytes: int,
) -> tuple[Tensor, Tensor]:
    room = _room(hidden_states, parameters, EncoderSpec.from_json(spec), keep_every)
    return torch.empty_like(hidden_states, memory_format=torch.contiguous_format), hidden_states.new_empty(room)


@torch.library.custom_op("albert_fast::encoder_backward", mutates_args=())
def encoder_backward(
    grad: Tensor,
    attention_mask: Tensor | None,
    seed: Tensor,
    parameters: Sequence[Tensor],
    saved: Tensor,
    spec: str,
    keep_every: int,
    defer_bytes: int,
) -> tuple[Tensor, Tensor]:
    """The gradients of hidden_states and, flat, of the parameters."""
    parsed = EncoderSpec.from_json(spec)
    rows = Rows(grad, attention_mask)
    return backward_pass(rows, grad, parameters, saved, parsed, _policy(keep_every, defer_bytes), int(seed))


@encoder_backward.register_fake
def _(
    grad: Tensor,
    attention_mask: Tensor | None,
    seed: Tensor,
    parameters: Sequence[Tensor],
    saved: Tensor,
    spec: str,
    keep_every: int,
    defer_bytes: int,
) -> tuple[Tensor, Tensor]:
    engine = engine_of(EncoderSpec.from_json(spec), parameters, keep_every)
    sets = len(parameters) // len(LAYER_PARAMETERS)
    dtype = getattr(torch, engine.gradient_dtype)
    dx = torch.empty_like(grad, memory_format=torch.contiguous_format)
    return dx, grad.new_empty((sets, engine.gradient_size), dtype=dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, attention_mask, seed, parameters, ctx.spec, ctx.keep_every, ctx.defer_bytes = inputs
    ctx.save_for_backward(attention_mask, seed, output[1], *parameters)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Any, ...]:
    attention_mask, seed, saved, *parameters = ctx.saved_tensors
    dx, gradients = encoder_backward(
        grad, attention_mask, seed, parameters, saved, ctx.spec, ctx.keep_every, ctx.defer_bytes
    )
    offsets = engine_of(EncoderSpec.from_json(ctx.spec), parameters, ctx.keep_every).gradient_offsets
    return dx, None, None, split_gradients(gradients, parameters, offsets), None, None, None


encoder.register_autograd(_backward, setup_context=_setup_context)
