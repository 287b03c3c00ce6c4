"""Random parameters for the encoder, with transformers' shapes."""

from __future__ import annotations

import torch
from torch import Tensor

from albert_fast.training import LAYER_PARAMETERS

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
