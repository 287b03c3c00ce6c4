"""The tensors of a layer as the engine takes them: parameters in one buffer, or what adapters make of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.utils.dlpack import from_dlpack

from albert_fast.training import LAYER_PARAMETERS

MODULES: Final = tuple(dict.fromkeys(name.rpartition(".")[0] for name in LAYER_PARAMETERS))
"""The parts of a layer that have parameters, in the engine's order."""
_FIRST: Final = tuple(f"attention.{part}.{kind}" for kind in ("weight", "bias") for part in ("query", "key", "value"))
_IN_MEMORY: Final = (*_FIRST, *(name for name in LAYER_PARAMETERS if name not in _FIRST))
"""The order of a layer's parameters in its buffer: the three projections lie side by side, so that the engine can run
them as one product."""
_RANDOM: Final = (nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout)


def pack(layer: nn.Module) -> None:
    """Lay a layer's parameters side by side in one buffer, in the order of ``_IN_MEMORY``, unless they are already.

    They stay the same objects, each with a storage of its own inside the buffer: pickling one must not take the whole
    buffer along. Does nothing where one is missing (an adapter has taken its place), where they differ in type or
    device, or where processes share them.
    """
    parameters = [_parameter(layer, name) for name in _IN_MEMORY]
    if not all(type(parameter) is nn.Parameter for parameter in parameters):
        return
    kinds = {(parameter.dtype, parameter.device) for parameter in parameters}
    shared = any(p.device.type == "cpu" and p.untyped_storage().is_shared() for p in parameters)
    if len(kinds) > 1 or shared or parameters[0].is_meta or _adjacent(parameters):
        return
    buffer = parameters[0].new_empty(sum(parameter.numel() for parameter in parameters))
    begin = 0
    for parameter in parameters:
        place = buffer[begin : begin + parameter.numel()].view(parameter.shape)
        place.copy_(parameter.detach())
        parameter.data = from_dlpack(place)  # the same memory, which it keeps alive, as another storage
        begin += parameter.numel()


def _parameter(layer: nn.Module, name: str) -> Any:
    module: Any = layer
    *path, last = name.split(".")
    for part in path:
        module = module._modules.get(part) if module is not None else None
    return None if module is None else module._parameters.get(last)


def _adjacent(parameters: Sequence[nn.Parameter]) -> bool:
    """Whether each begins where the one before it ends."""
    place = parameters[0].data_ptr()
    for parameter in parameters:
        if parameter.data_ptr() != place or not parameter.is_contiguous():
            return False
        place += parameter.numel() * parameter.element_size()
    return True


def layer_tensors(layer: nn.Module) -> list[Tensor]:
    """The 16 tensors of a layer in the order of ``LAYER_PARAMETERS``, each as its module uses it."""
    tensors: list[Tensor] = []
    for name in MODULES:
        module: Any = layer.attention if name.startswith("attention.") else layer
        tensors += effective(getattr(module, name.rpartition(".")[2]))
    return tensors


def effective(module: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of a Linear or LayerNorm that ``weight_complaint`` has nothing against.

    Of a parametrized one what its parametrizations give, of one with hooks that compute its weight what they compute,
    of PEFT's LoRA W + BA (Hu et al. 2021, section 4.1), which is one product and a sum for all iterations.
    """
    if is_lora(module):
        weight, bias = effective(module.base_layer)
        for adapter in () if module.merged or module.disable_adapters else module.active_adapters:
            if adapter in module.lora_A:
                weight = weight + module.get_delta_weight(adapter).to(weight.dtype)
                if module.lora_B[adapter].bias is not None:
                    bias = bias + module.scaling[adapter] * module.lora_B[adapter].bias
        return weight, bias
    for hook in module._forward_pre_hooks.values():
        hook(module, None)
    return module.weight, module.bias


def is_lora(module: nn.Module) -> bool:
    """Whether it is the Linear of PEFT's LoRA; PEFT is not imported for that."""
    lora = sys.modules.get("peft.tuners.lora.layer")
    return lora is not None and type(module) is lora.Linear


def weight_complaint(module: Any, kind: type[nn.Module]) -> str | None:
    """Why the weight of a part of a layer is not a tensor that could be formed once a call; None if it is."""
    if is_lora(module):
        return _lora_complaint(module) or weight_complaint(module.base_layer, kind)
    plain = type(module)
    if parametrize.is_parametrized(module):
        if any(isinstance(part, _RANDOM) or "_SpectralNorm" in type(part).__name__ for part in module.modules()):
            return "has a parametrization that is another at every use"
        plain = plain.__bases__[0]
    if plain is not kind:
        return f"is a {type(module).__name__}, not torch's {kind.__name__}"
    missing = [name for name in ("weight", "bias") if module._parameters.get(name, module) is None]
    return f"has no {missing[0]}" if missing else None


def computes_weight(hook: Any) -> bool:
    """Whether a forward pre-hook does no more than set ``weight``: pruning, and the old form of weight norm."""
    return isinstance(hook, prune.BasePruningMethod) or type(hook).__name__ == "WeightNorm"


def _lora_complaint(module: Any) -> str | None:
    active = [name for name in module.active_adapters if name in module.lora_A]
    if module.merged or module.disable_adapters:
        return None
    if any(module.use_dora.get(name, False) for name in active) or any(
        name in getattr(module, "lora_variant", {}) for name in active
    ):
        return "has a LoRA of another kind than W + BA"
    for name in active:
        dropout = module.lora_dropout[name]
        if not isinstance(dropout, nn.Identity) and (
            not isinstance(dropout, nn.Dropout) or (dropout.training and dropout.p)
        ):
            return "has a LoRA with dropout, which is on its input"
    return None


def tensor_complaint(tensor: Any) -> str | None:
    """Why a tensor is none the engine could read."""
    if not isinstance(tensor, Tensor):
        return f"got a {type(tensor).__name__}"
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"are of {type(tensor).__name__}"
    if tensor.dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        return f"are of {tensor.dtype}"
    return None
