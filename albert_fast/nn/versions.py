"""Where transformers 4.57 and 5 differ; all else here is one path for both."""

from __future__ import annotations

from typing import Any, Final

import transformers
from torch import nn
from transformers.models.albert import modeling_albert

try:
    from transformers.utils import output_capturing
except ImportError:  # before 5
    output_capturing = None

RECORDS_BY_HOOKS: Final = output_capturing is not None
"""Since 5, hidden states and attentions are recorded by hooks on layers, and a layer returns a tensor; before, they
were arguments, and a layer returned a tuple."""
ATTENTIONS: Final[tuple[type[nn.Module], ...]] = tuple(
    getattr(modeling_albert, name)
    for name in ("AlbertAttention", "AlbertSdpaAttention")
    if hasattr(modeling_albert, name)
)
_INTERFACES: Final = getattr(modeling_albert, "ALL_ATTENTION_FUNCTIONS", {})
_PLAIN_INTERFACES: Final = {name: _INTERFACES.get(name) for name in ("sdpa", "flash_attention_2", "flash_attention_3")}


def recorded(options: dict[str, Any]) -> set[str]:
    """What this call of an encoder or a layer has to record: ``"hidden_states"``, ``"attentions"``."""
    asked = {name for name in ("hidden_states", "attentions") if options.get(f"output_{name}")}
    if output_capturing is not None:
        asked |= set(output_capturing._active_collector.get() or ())
    return asked


def is_recorder(hook: Any) -> bool:
    """Whether a hook is transformers' own, which does nothing unless a call records."""
    return "output_capturing_hook" in getattr(hook, "__qualname__", "")


def keep_recording(model: nn.Module) -> None:
    """transformers 5 knows by the name of a model's class what it can record; the class has just been exchanged."""
    if output_capturing is not None and isinstance(model, transformers.PreTrainedModel):
        output_capturing._CAN_RECORD_REGISTRY[model] = model._can_record_outputs


def is_plain_interface(name: str) -> bool:
    """Whether ``attn_implementation`` is softmax(QK^T)V as transformers brings it."""
    return name == "eager" or (name in _PLAIN_INTERFACES and _INTERFACES.get(name) is _PLAIN_INTERFACES[name])


def attention_dropout(attention: Any) -> float:
    """The probability that is in force for a call: in 4.57 ``eager`` asked the Dropout whether it trains."""
    asks_module = not RECORDS_BY_HOOKS and type(attention).__name__ == "AlbertAttention"
    training = attention.attention_dropout.training if asks_module else attention.training
    return float(attention.attention_dropout.p) if training else 0.0
