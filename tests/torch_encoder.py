"""The encoder in plain torch, differentiable, with transformers' parameters: what training has to compute."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from albert_fast.training import LAYER_PARAMETERS, EncoderSpec

SHAPES = {"ffn.weight": ("i", "h"), "ffn.bias": ("i",), "ffn_output.weight": ("h", "i")}


def random_parameters(
    hidden: int, intermediate: int, sets: int, dtype: torch.dtype = torch.float32, seed: int = 0
) -> list[Tensor]:
    """Leaves of the 16 shapes for each set; LayerNorms are not the identity, and weights keep activations in scale."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"h": hidden, "i": intermediate}
    parameters = []
    for _ in range(sets):
        for name in LAYER_PARAMETERS:
            matrix = name.endswith("weight") and "norm" not in name.lower()
            shape = [sizes[axis] for axis in SHAPES.get(name, ("h", "h") if matrix else ("h",))]
            tensor = torch.randn(shape, generator=generator, dtype=torch.float64) * (
                shape[-1] ** -0.5 if matrix else 0.1
            )
            if not matrix and name.endswith("weight"):
                tensor += 1
            parameters.append(tensor.to(dtype).requires_grad_())
    return parameters


def torch_encoder(
    hidden_states: Tensor, attention_mask: Tensor | None, parameters: Sequence[Tensor], spec: EncoderSpec
) -> Tensor:
    """[B, S, H] after all layers, zeros at padding, without dropout."""
    keep = None if attention_mask is None else attention_mask.bool()
    x = hidden_states
    for index in spec.layers:
        x = _layer(x, keep, parameters[16 * index : 16 * index + 16], spec)
    return x if keep is None else torch.where(keep[..., None], x, 0)


def _layer(x: Tensor, keep: Tensor | None, p: Sequence[Tensor], spec: EncoderSpec) -> Tensor:
    q, k, v = (
        F.linear(x, p[i], p[i + 1]).unflatten(-1, (spec.num_attention_heads, -1)).transpose(1, 2) for i in (0, 2, 4)
    )
    mask = None if keep is None else keep[:, None, None, :].expand(-1, -1, x.shape[1], -1)
    context = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
    a = F.layer_norm(x + F.linear(context, p[6], p[7]), x.shape[-1:], p[8], p[9], spec.layer_norm_eps)
    inner = F.gelu(F.linear(a, p[10], p[11]), approximate="none" if spec.hidden_act == "gelu" else "tanh")
    return F.layer_norm(a + F.linear(inner, p[12], p[13]), x.shape[-1:], p[14], p[15], spec.layer_norm_eps)
