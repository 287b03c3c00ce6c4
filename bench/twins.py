"""transformers models: with the weights of one of ours, or new ones saved for us to load."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albert_fast.config import AlbertConfig

if TYPE_CHECKING:
    from albert_fast import Model

GROUPS = "groups2x2"
_JITTER = 0.02


def preset(name: str) -> AlbertConfig:
    """A published size, ``tiny``, or ``groups2x2``: base with 2 groups of 2 inner layers."""
    if name == GROUPS:
        base = AlbertConfig.preset("albert-base-v2")
        return dataclasses.replace(base, num_hidden_groups=2, inner_group_num=2)
    return AlbertConfig.preset(name)


def flops(config: AlbertConfig, lengths: tuple[int, ...]) -> float:
    """Operations of the encoder for sequences of these lengths, padding not counted: the products alone."""
    hidden, inner = config.hidden_size, config.intermediate_size
    layers = config.num_hidden_layers * config.inner_group_num
    token = 2.0 * (4 * hidden * hidden + 2 * hidden * inner) * layers
    token += 2.0 * config.embedding_size * hidden
    return sum(n * token + 4.0 * n * n * hidden * layers for n in lengths)


def _transformers_config(config: AlbertConfig) -> Any:
    from transformers import AlbertConfig as TheirConfig

    values = config.to_dict()
    del values["model_type"]
    return TheirConfig(**values, attn_implementation="sdpa")


def twin(model: Model) -> Any:
    """transformers' ``AlbertModel`` (float32, sdpa, eval) with the weights of ``model``."""
    import torch
    from transformers import AlbertModel

    theirs = AlbertModel(_transformers_config(model.config), add_pooling_layer=model.has_pooler).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.copy_(torch.from_numpy(model.weights.read(f"albert.{name}")))
    return theirs


def random_pretraining(config: AlbertConfig, seed: int = 0) -> Any:
    """transformers' ``AlbertForPreTraining`` with its own random weights.

    Biases and LayerNorm weights, which it sets to exactly 0 and 1, are moved off these values: otherwise one
    that is left out would not show.
    """
    import torch
    from transformers import AlbertForPreTraining

    torch.manual_seed(seed)
    model = AlbertForPreTraining(_transformers_config(config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(_JITTER * torch.randn_like(parameter))
    return model


def save_checkpoint(name: str, folder: Path) -> None:
    """An ``AlbertModel`` with random weights, as transformers saves it."""
    random_pretraining(preset(name)).albert.save_pretrained(folder)
