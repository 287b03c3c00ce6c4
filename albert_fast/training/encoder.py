"""The encoder as a ``torch.autograd.Function``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from albert_fast.errors import InvalidInputError
from albert_fast.training.engine import (
    Rows,
    array,
    compute_dtype,
    deferred_layers,
    engine_of,
    how,
    parameter_array,
    resolve_policy,
)
from albert_fast.training.once import Once, differentiable, graph_wanted
from albert_fast.training.plain import plain_encoder
from albert_fast.training.spec import LAYER_PARAMETERS, EncoderSpec, TrainingPolicy

_PRODUCTS: Final = {
    "projections": ("attention.query", "attention.key", "attention.value"),
    "dense": ("attention.dense",),
    "ffn": ("ffn",),
    "ffn_output": ("ffn_output",),
}
"""The modules whose weight and bias get their gradients from one product; those of LayerNorms need none."""


def _products(needed: Sequence[bool]) -> list[str]:
    """The products of which any parameter, of any set, needs its gradient."""
    modules = {LAYER_PARAMETERS[i % len(LAYER_PARAMETERS)].rpartition(".")[0] for i, n in enumerate(needed) if n}
    return [product for product, parts in _PRODUCTS.items() if modules & set(parts)]


def forward_pass(
    rows: Rows,
    hidden_states: Tensor,
    parameters: Sequence[Tensor],
    saved: Tensor,
    spec: EncoderSpec,
    keep_every: int,
    seed: int,
) -> Tensor:
    """[B, S, H] after all layers; into ``saved``, which has room for it, goes what the backward pass needs of them."""
    engine = engine_of(spec, parameters, keep_every)
    x = rows.take(hidden_states)
    y = torch.empty_like(x)
    room = array(saved[: engine.saved_size(len(x))])
    engine.forward(array(x), rows.cu_seqlens, _arrays(parameters), out=array(y), saved=room, seed=seed, **how(x))
    return rows.put(y)


def backward_pass(
    rows: Rows,
    grad: Tensor,
    parameters: Sequence[Tensor],
    saved: Tensor,
    spec: EncoderSpec,
    policy: TrainingPolicy,
    seed: int,
    products: Sequence[str] | None = None,
) -> tuple[Tensor, Tensor]:
    """The gradients of hidden_states, [B, S, H], and of the parameters, a flat buffer for each set: [sets, n].

    ``products``: of which weights, by the names of ``_PRODUCTS``; the buffer has nothing where others would be.
    """
    engine = engine_of(spec, parameters, policy.keep_every)
    dy = rows.take(grad)
    dx = torch.empty_like(dy)
    room = array(saved[: engine.saved_size(len(dy))])
    chunk = deferred_layers(policy, engine.chunk_layer_bytes(len(dy)), spec)
    sets = len(parameters) // len(LAYER_PARAMETERS)
    gradients = dy.new_empty((sets, engine.gradient_size), dtype=getattr(torch, engine.gradient_dtype))
    engine.backward(
        array(dy),
        rows.cu_seqlens,
        _arrays(parameters),
        room,
        seed=seed,
        chunk=chunk,
        products=products,
        dx=array(dx),
        gradients=[array(gradient) for gradient in gradients],
        **how(dy),
    )
    return rows.put(dx), gradients


def split_gradients(gradients: Tensor, parameters: Sequence[Tensor], offsets: Sequence[int]) -> list[Tensor]:
    """Views of the flat buffers, one for each parameter, in its shape and dtype."""
    views = []
    for i, parameter in enumerate(parameters):
        flat = gradients[i // len(LAYER_PARAMETERS)]
        part = flat.narrow(0, offsets[i % len(LAYER_PARAMETERS)], parameter.numel())
        views.append(part.view(parameter.shape).to(parameter.dtype))
    return views


def _arrays(parameters: Sequence[Tensor]) -> list[Any]:
    return [parameter_array(parameter) for parameter in parameters]


class AlbertEncoderFunction(torch.autograd.Function):
    """All layers of an ALBERT encoder, forwards and backwards, in the engine's own kernels.

    ``apply(hidden_states, attention_mask, seed, spec, policy, *parameters)`` with hidden_states [B, S, H] and, for each
    set, the 16 tensors of ``LAYER_PARAMETERS``, all of one dtype and device (float32 or float64 on the CPU; float32,
    bfloat16 or float16 on CUDA); attention_mask [B, S], nonzero where there is a token, or None. Gives hidden_states
    after the last layer, [B, S, H], zeros at padding, and a tensor without a gradient that holds what the backward pass
    needs. ``run_encoder`` is the same for callers who need not care about dtypes, seeds and the second result.

    A backward pass that is itself recorded (``create_graph=True``) is computed in torch's own operators, unless there
    is dropout, whose draws only the kernels know. Has no rule for ``torch.vmap``.
    """

    @staticmethod
    def forward(
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        seed: int,
        spec: EncoderSpec,
        policy: TrainingPolicy,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See the class."""
        rows = Rows(hidden_states, attention_mask)
        policy = resolve_policy(policy, spec, parameters, rows.cu_seqlens)
        size = engine_of(spec, parameters, policy.keep_every).saved_size(int(rows.cu_seqlens[-1]))
        saved = hidden_states.new_empty(size)
        return forward_pass(rows, hidden_states, parameters, saved, spec, policy.keep_every, seed), saved

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """What backward needs; parameters are saved through torch, which notices if they are changed in between."""
        hidden_states, attention_mask, ctx.seed, ctx.spec, ctx.policy, *parameters = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hidden_states, attention_mask, output[1], *parameters)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of hidden_states and of every parameter."""
        hidden_states, attention_mask, saved, *parameters = ctx.saved_tensors
        grad = grads[0]
        if grad is None:
            return (None,) * (5 + len(parameters))
        if graph_wanted() and not ctx.spec.has_dropout:

            def plain(hidden_states: Tensor, *parameters: Tensor) -> Tensor:
                return plain_encoder(hidden_states, attention_mask, parameters, ctx.spec)

            dx, *gradients = differentiable(plain, grad, (hidden_states, *parameters))
            return dx, None, None, None, None, *gradients

        def compute(
            grad: Tensor, hidden_states: Tensor, attention_mask: Tensor | None, saved: Tensor, *parameters: Tensor
        ) -> tuple[Tensor, Tensor]:
            rows = Rows(grad, attention_mask)
            policy = resolve_policy(ctx.policy, ctx.spec, parameters, rows.cu_seqlens)
            return backward_pass(rows, grad, parameters, saved, ctx.spec, policy, ctx.seed, _products(needed))

        needed = ctx.needs_input_grad[5:]
        tensors = (grad, hidden_states, attention_mask, saved, *parameters)
        dx, flat = Once.apply(compute, *tensors)  # type: ignore[no-untyped-call]
        offsets = engine_of(ctx.spec, parameters, keep_every=0).gradient_offsets
        made = split_gradients(flat, parameters, offsets)
        wanted = (gradient if need else None for gradient, need in zip(made, needed, strict=True))
        return (dx, None, None, None, None, *wanted)

    @staticmethod
    def vmap(*_: Any) -> Any:
        """Refuses."""
        raise InvalidInputError(
            "vmap: got a batched call of the encoder, expected the batch as an axis of hidden_states"
        )


def run_encoder(
    hidden_states: Tensor,
    attention_mask: Tensor | None,
    parameters: Sequence[Tensor],
    spec: EncoderSpec,
    policy: TrainingPolicy | None = None,
) -> Tensor:
    """All layers of an ALBERT encoder, differentiable in hidden_states and in every parameter.

    Args:
        hidden_states: [B, S, H], after the mapping from E to H.
        attention_mask: [B, S], nonzero where there is a token; None: everywhere.
        parameters: for each set, the 16 tensors of ``LAYER_PARAMETERS``.
        spec: heads, layers, activation, epsilon, dropout. Dropout is seeded from torch's generator.
        policy: memory for speed; by default the input of each layer is kept.

    Returns [B, S, H], zeros at padding, of the parameters' dtype. A CPU computes in float32 (float64 for float64),
    whatever autocast or narrower parameters say; CUDA in the parameters' dtype, or autocast's.

    Raises ``InvalidInputError`` for shapes or dtypes that do not fit, ``ConfigError`` for sizes the kernels do not
    take.
    """
    if hidden_states.dim() != 3:
        raise InvalidInputError(f"hidden_states: got shape {list(hidden_states.shape)}, expected [B, S, H]")
    if attention_mask is not None and attention_mask.shape != hidden_states.shape[:2]:
        raise InvalidInputError(
            f"attention_mask: got shape {list(attention_mask.shape)}, expected {list(hidden_states.shape[:2])}"
        )
    if not parameters:
        raise InvalidInputError(f"parameters: got none, expected {len(LAYER_PARAMETERS)} for each set")
    policy = policy or TrainingPolicy()
    dtype = compute_dtype(parameters[0])
    given = [parameter.to(dtype) for parameter in parameters]
    x = hidden_states.to(dtype)
    if torch.compiler.is_compiling():
        from albert_fast.training.library import encoder

        seed = torch.randint(2**62, (1,)) if spec.has_dropout else torch.zeros(1, dtype=torch.int64)
        y: Tensor = encoder(x, attention_mask, seed, given, spec.json, policy.keep_every, policy.defer_bytes)[0]
        return y.to(parameters[0].dtype)
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in (x, *given))):
        policy = TrainingPolicy(len(spec.layers))  # nothing goes back: keep as little as there is
    drawn = int(torch.randint(2**62, (1,))) if spec.has_dropout else 0
    arguments = (x, attention_mask, drawn, spec, policy, *given)
    result: Tensor = AlbertEncoderFunction.apply(*arguments)[0]  # type: ignore[no-untyped-call]
    return result.to(parameters[0].dtype)
