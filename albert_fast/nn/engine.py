"""From modules in transformers' shape to the arguments of ``albert_fast.training``: what both our models and
accelerated ones call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from torch import Tensor, nn

from albert_fast.config import AlbertConfig
from albert_fast.errors import InvalidInputError
from albert_fast.training import LAYER_PARAMETERS, EncoderSpec

_KINDS: Final = {"LayerNorm": nn.LayerNorm, "full_layer_layer_norm": nn.LayerNorm}
"""The class of a layer's part by its last name; all others are ``nn.Linear``."""
_MODULES: Final = tuple(dict.fromkeys(name.rpartition(".")[0] for name in LAYER_PARAMETERS))


def layers_of(encoder: nn.Module) -> list[nn.Module]:
    """Every parameter set of an encoder: its groups, and in each its inner layers."""
    groups = cast("nn.ModuleList", encoder.albert_layer_groups)
    return [layer for group in groups for layer in cast("nn.ModuleList", group.albert_layers)]


def encoder_spec(shape: AlbertConfig, layers: Sequence[nn.Module], *, training: bool) -> EncoderSpec:
    """What is applied, layer by layer: iteration i runs every inner layer of its group.

    Dropout is that of the layers' own ``nn.Dropout`` modules, which must agree.
    """
    inner = shape.inner_group_num
    hidden, attention = (_dropout(layers, f"attention.{name}") for name in ("output_dropout", "attention_dropout"))
    return EncoderSpec(
        num_attention_heads=shape.num_attention_heads,
        layers=tuple(shape.group_of(i) * inner + j for i in range(shape.num_hidden_layers) for j in range(inner)),
        hidden_act=shape.hidden_act,
        layer_norm_eps=shape.layer_norm_eps,
        hidden_dropout_prob=hidden if training else 0.0,
        attention_probs_dropout_prob=attention if training else 0.0,
    )


def layer_parameters(layers: Sequence[nn.Module]) -> list[Tensor]:
    """The parameters of every layer, in the order of ``LAYER_PARAMETERS``.

    The engine reads these and never calls the modules. So a module that does more than its class says (an adapter in
    its place, a hook on it) is refused, as it would be left out without a word.
    """
    parameters: list[Tensor] = []
    for layer in layers:
        for name in _MODULES:
            _check_plain(layer.get_submodule(name), name)
        parameters += [layer.get_parameter(name) for name in LAYER_PARAMETERS]
    return parameters


def check_mask(mask: Any, batch: int, length: int) -> None:
    """Refuse what is not one number per token."""
    if mask is not None and tuple(mask.shape) != (batch, length):
        raise InvalidInputError(
            f"attention_mask: got {list(mask.shape)}, expected [{batch}, {length}], nonzero where there is a token;"
            " masks that differ between queries or heads are not supported"
        )


def _check_plain(module: nn.Module, name: str) -> None:
    expected = _KINDS.get(name.rpartition(".")[2], nn.Linear)
    if type(module) is not expected:
        raise InvalidInputError(
            f"{name}: got a {type(module).__name__}, expected torch's {expected.__name__}; the encoder runs as a whole"
            " and cannot run adapters or replaced layers inside it"
        )
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        raise InvalidInputError(f"{name}: has hooks, which would never be called, as the encoder runs as a whole")


def _dropout(layers: Sequence[nn.Module], name: str) -> float:
    found = {cast(nn.Dropout, layer.get_submodule(name)).p for layer in layers}
    if len(found) > 1:
        raise InvalidInputError(f"{name}: got p = {sorted(found)} in different layers, expected one for all")
    return float(found.pop())
