"""Whether the engine may run a call, which is what ``complaint`` functions decide: None, or what stands against it.

The engine computes the encoder as a whole and calls none of its modules. So it runs where they are what transformers
made them and nobody listens, and nowhere else: where a hook, a replaced module, a patched ``forward`` or a recording
wants to see what happens inside, transformers' own code runs, on the same parameters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as torch_module
from transformers import activations
from transformers.models.albert import modeling_albert

from albert_fast.errors import InvalidInputError
from albert_fast.nn import versions
from albert_fast.nn.weights import MODULES, computes_weight, tensor_complaint, weight_complaint
from albert_fast.training import EncoderSpec
from albert_fast.training.engine import complaint_of_device, complaint_of_sizes, compute_dtype, name_of

_log = logging.getLogger("albert_fast")

_HOOKS: Final = ("_forward_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS: Final = tuple(f"_global{name}" for name in (*_HOOKS, "_forward_pre_hooks"))
_THEIRS: Final = {
    kind: kind.forward
    for kind in (
        *versions.ATTENTIONS,
        modeling_albert.AlbertLayer,
        modeling_albert.AlbertLayerGroup,
        modeling_albert.AlbertTransformer,
        modeling_albert.AlbertEmbeddings,
        modeling_albert.AlbertMLMHead,
        nn.Linear,
        nn.LayerNorm,
        nn.Embedding,
        nn.Dropout,
    )
}
"""transformers' classes and those of torch inside, and their code as it was when this was imported."""
_CALL: Final = nn.Module.__call__
_FUNCTIONS: Final = {
    "scaled_dot_product_attention": torch._C._nn.scaled_dot_product_attention,
    **{name: getattr(F, name) for name in ("linear", "layer_norm", "embedding", "dropout")},
}
"""What that code calls, which libraries of other kernels put something else in the place of."""
_KINDS: Final = {"LayerNorm": nn.LayerNorm, "full_layer_layer_norm": nn.LayerNorm}
"""The class of a layer's part by its last name; all others are ``nn.Linear``."""
_GELUS: Final[dict[str, str]] = {
    "GELUActivation": "gelu",
    "NewGELUActivation": "gelu_new",
    "FastGELUActivation": "gelu_new",
    "GELUTanh": "gelu_new",
    "PytorchGELUTanh": "gelu_new",
}
"""By the name of the class, in either version: which of the engine's two it computes. All but the first are the form
with tanh (Hendrycks and Gimpel 2016, section 2), written differently."""


_DROPOUTS: Final = ("attention.attention_dropout", "attention.output_dropout")
_TABLES: Final = ("word_embeddings", "position_embeddings", "token_type_embeddings")
_SETTINGS: Final[dict[str, Callable[[Any], Any]]] = {
    "num_attention_heads": lambda layer: layer.attention.num_attention_heads,
    "hidden_act": lambda layer: activation_of(layer.activation),
    "layer_norm_eps": lambda layer: layer.full_layer_layer_norm.eps,
    "hidden_dropout_prob": lambda layer: _in_force(layer.attention.output_dropout),
    "attention_probs_dropout_prob": lambda layer: versions.attention_dropout(layer.attention),
    "hidden_size": lambda layer: layer.attention.hidden_size,
    "intermediate_size": lambda layer: layer.ffn.out_features,
}


def _in_force(dropout: nn.Dropout) -> float:
    return float(dropout.p) if dropout.training else 0.0


def activation_of(module: nn.Module) -> str | None:
    """``"gelu"``, ``"gelu_new"``, or None for what the engine does not know."""
    if type(module) is nn.GELU:
        return "gelu" if module.approximate == "none" else "gelu_new"
    name = type(module).__name__
    return _GELUS.get(name) if getattr(activations, name, None) is type(module) else None


def call_complaint() -> str | None:
    """What the surroundings of a call have against the engine."""
    if torch._C._get_tracing_state() is not None or torch.compiler.is_exporting():
        return "the model is being traced or exported"
    if torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None:
        return "tensors are fake"
    if any(getattr(torch_module, name) for name in _GLOBAL_HOOKS):
        return "hooks on all modules are registered"
    if nn.Module.__call__ is not _CALL or any(getattr(F, name) is not code for name, code in _FUNCTIONS.items()):
        return "torch's code has been changed"
    if torch.autograd.forward_ad._current_level >= 0:
        return "derivatives are computed forwards"
    levels = [level.key() for level in torch._C._functorch.get_interpreter_stack() or ()]
    if other := [level for level in levels if level != torch._C._functorch.TransformType.Grad]:
        return f"torch.func's {other[0].name.lower()} is at work"
    return "torch.func takes gradients of gradients" if len(levels) > 1 else None


def module_complaint(module: nn.Module, name: str) -> str | None:
    """What speaks against not calling a module. ``name`` is for the message."""
    if "forward" in module.__dict__:
        return f"{name} has a forward of its own"
    hooks = [hook for kind in _HOOKS for hook in getattr(module, kind).values()]
    hooks += [hook for hook in module._forward_pre_hooks.values() if not computes_weight(hook)]
    if not all(map(versions.is_recorder, hooks)):
        return f"{name} has hooks"
    return None


def _attention_complaint(attention: Any, interface: str) -> str | None:
    """What speaks against computing attention as softmax(QK^T / sqrt(d))V, with d numbers a head."""
    if type(attention) not in versions.ATTENTIONS:
        return f"attention is a {type(attention).__name__}"
    if getattr(attention, "pruned_heads", None):
        return "attention has pruned heads"
    if getattr(attention, "position_embedding_type", "absolute") != "absolute":
        return f"position_embedding_type is {attention.position_embedding_type!r}"
    size = attention.all_head_size // attention.num_attention_heads
    if attention.attention_head_size != size or getattr(attention, "scaling", size**-0.5) != size**-0.5:
        return "attention has another size of heads, or another scaling"
    if getattr(attention, "is_causal", False):
        return "attention is causal"
    if not versions.is_plain_interface(interface):
        return f"attn_implementation is {interface!r}"
    return None


def layer_complaint(layer: Any) -> str | None:
    """What speaks against computing an ``AlbertLayer`` as a whole; hooks on the layer itself do not."""
    if found := _attention_complaint(layer.attention, layer.config._attn_implementation):
        return found
    if activation_of(layer.activation) is None:
        return f"activation is a {type(layer.activation).__name__}"
    for name, module in layer.named_modules():
        if name and (found := module_complaint(module, name)):
            return found
    for name in _DROPOUTS:
        if type(layer.get_submodule(name)) is not nn.Dropout:
            return f"{name} is a {type(layer.get_submodule(name)).__name__}"
    for name in MODULES:
        kind = _KINDS.get(name.rpartition(".")[2], nn.Linear)
        if found := weight_complaint(layer.get_submodule(name), kind):
            return f"{name} {found}"
    return next((f"parameters {found}" for p in layer.parameters() if (found := tensor_complaint(p))), None)


def code_complaint(module: nn.Module) -> str | None:
    """Whether a module and those inside it still run the code that transformers brought."""
    if "ff_chunk" in module.__dict__ or any(kind.forward is not code for kind, code in _THEIRS.items()):
        return "the code of transformers or of torch has been changed"
    return None


def plan(layers: Sequence[Any], order: tuple[int, ...]) -> EncoderSpec | str:
    """What the engine has to do to run ``layers`` in an ``order`` of their indices, or why it may not.

    Dropout is that of the layers' own ``nn.Dropout`` modules, and of their modes.
    """
    if found := call_complaint():
        return found
    for layer in layers:
        if found := code_complaint(layer) or layer_complaint(layer):
            return found
    settings = {name: {value(layer) for layer in layers} for name, value in _SETTINGS.items()}
    settings["layer_norm_eps"] |= {layer.attention.LayerNorm.eps for layer in layers}
    for name, values in settings.items():
        if len(values) > 1:
            return f"{name} differs between layers: {sorted(values)}"
    chosen: dict[str, Any] = {name: values.pop() for name, values in settings.items()}
    width, inner = chosen.pop("hidden_size"), chosen.pop("intermediate_size")
    try:
        spec = EncoderSpec(layers=order, **chosen)
    except InvalidInputError as error:  # dropout of everything
        return str(error)
    weight = layers[0].full_layer_layer_norm.weight
    return complaint_of_sizes(spec, width, inner, name_of(compute_dtype(weight)), weight.device.type) or spec


def embeddings_complaint(embeddings: Any) -> str | None:
    """What speaks against computing ``AlbertEmbeddings`` at once."""
    if found := call_complaint() or code_complaint(embeddings):
        return found
    if getattr(embeddings, "position_embedding_type", "absolute") != "absolute":
        return f"position_embedding_type is {embeddings.position_embedding_type!r}"
    for name in _TABLES:
        table = embeddings.get_submodule(name)
        if type(table) is not nn.Embedding or table.max_norm is not None or table.sparse or table.scale_grad_by_freq:
            return f"{name} is more than a table"
        if found := module_complaint(table, name) or tensor_complaint(table.weight):
            return found
    norm = embeddings.LayerNorm
    if type(norm) is not nn.LayerNorm:
        return f"LayerNorm is a {type(norm).__name__}"
    found = module_complaint(norm, "LayerNorm") or tensor_complaint(norm.weight) or tensor_complaint(norm.bias)
    return found or complaint_of_device(norm.weight.device.type)


class TellsOnce:
    """A module that says, once, why the engine does not run."""

    @torch._dynamo.assume_constant_result  # at compile time, once
    def tell(self, complaint: str) -> None:
        """One warning for a module, with the first complaint."""
        if not self.__dict__.get("_has_told"):
            self.__dict__["_has_told"] = True
            _log.warning(
                "%s: transformers' own code runs instead of the engine, with the same result: %s",
                type(self).__name__,
                complaint,
            )
