"""The encoder in torch's own operators, which can be differentiated any number of times: what the kernels compute."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, finfo, where
from torch.nn import functional as F

from albert_fast.training.spec import LAYER_PARAMETERS, EncoderSpec

_SET = len(LAYER_PARAMETERS)


def plain_encoder(
    hidden_states: Tensor, attention_mask: Tensor | None, parameters: Sequence[Tensor], spec: EncoderSpec
) -> Tensor:
    """[B, S, H] after all layers, zeros at padding, without dropout."""
    keep = None if attention_mask is None else attention_mask.bool()
    x = hidden_states
    for index in spec.layers:
        x = _layer(x, keep, parameters[_SET * index : _SET * (index + 1)], spec)
    return x if keep is None else where(keep[..., None], x, 0)


def _layer(x: Tensor, keep: Tensor | None, p: Sequence[Tensor], spec: EncoderSpec) -> Tensor:
    q, k, v = (
        F.linear(x, p[i], p[i + 1]).view(*x.shape[:2], spec.num_attention_heads, -1).transpose(1, 2) for i in (0, 2, 4)
    )
    # Written out: the fused attention of torch has no second derivative on a CPU.
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if keep is not None:
        scores = scores.masked_fill(~keep[:, None, None, :], finfo(scores.dtype).min)
    context = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    a = F.layer_norm(x + F.linear(context, p[6], p[7]), x.shape[-1:], p[8], p[9], spec.layer_norm_eps)
    inner = F.gelu(F.linear(a, p[10], p[11]), approximate="none" if spec.hidden_act == "gelu" else "tanh")
    return F.layer_norm(a + F.linear(inner, p[12], p[13]), x.shape[-1:], p[14], p[15], spec.layer_norm_eps)
