"""A BERT seen as an ALBERT: a group of its own for each layer, and embeddings that are hidden states already.

Devlin et al. 2018, arXiv:1810.04805. One layer of it computes what one of ALBERT's does, under other names; what ALBERT
shares over all iterations a BERT has once for each, so its weight buffer holds all layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

MODEL_TYPE: Final = "bert"
T = TypeVar("T")

_LAYER: Final = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias|gamma|beta)")
_IN_LAYER: Final = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.dense",
    "attention.output.LayerNorm": "attention.LayerNorm",
    "intermediate.dense": "ffn",
    "output.dense": "ffn_output",
    "output.LayerNorm": "full_layer_layer_norm",
}
_OTHERS: Final = {
    "pooler.dense.": "albert.pooler.",
    "cls.predictions.transform.dense.": "predictions.dense.",
    "cls.predictions.transform.LayerNorm.": "predictions.LayerNorm.",
    "cls.predictions.decoder.": "predictions.decoder.",
    "cls.predictions.bias": "predictions.bias",
}


def as_albert(values: Mapping[str, Any], tensors: Mapping[str, T]) -> tuple[Mapping[str, Any], Mapping[str, T]]:
    """The content of a ``config.json`` and tensors by their stored names, as an ALBERT has them if they are a BERT's:
    by ``model_type``, or, of a file without one, by the tensors. Anything else as it is."""
    if values.get("model_type", MODEL_TYPE if is_bert(tensors) else None) != MODEL_TYPE:
        return values, tensors
    return albert_config(values), {albert_name(name): tensor for name, tensor in tensors.items()}


def albert_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """The ``config.json`` of a BERT as that of an ALBERT. What BERT's leaves out has BERT's defaults."""
    layers, width = values.get("num_hidden_layers", 12), values.get("hidden_size", 768)
    defaults = {
        "vocab_size": 30522,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    dropout = values.get("classifier_dropout")
    return {
        **defaults,
        **values,
        "model_type": "albert",
        "hidden_size": width,
        "embedding_size": width,
        "num_hidden_layers": layers,
        "num_hidden_groups": layers,
        "inner_group_num": 1,
        "classifier_dropout_prob": 0.1 if dropout is None else dropout,
        "has_embedding_mapping": False,
    }


def is_bert(tensor_names: Iterable[str]) -> bool:
    """Whether tensors have the names of a BERT's."""
    return any(_LAYER.fullmatch(name.removeprefix("bert.")) for name in tensor_names)


def albert_name(raw: str) -> str:
    """What ALBERT calls a tensor of BERT's; heads of tasks, which have no place in it, keep their names."""
    name = raw.removeprefix("bert.")
    if (match := _LAYER.fullmatch(name)) is not None and match[2] in _IN_LAYER:
        layer = f"albert.encoder.albert_layer_groups.{match[1]}.albert_layers.0"
        return f"{layer}.{_IN_LAYER[match[2]]}.{match[3]}"
    for theirs, ours in _OTHERS.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
