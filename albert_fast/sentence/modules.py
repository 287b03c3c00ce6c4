"""The folder of a sentence-transformers model: ``modules.json`` and the small files it names."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from albert_fast.errors import CheckpointError
from albert_fast.sources.place import Place
from albert_fast.sources.safetensors_file import read_safetensors
from albert_fast.sources.torch_state import read_torch_file

Array = npt.NDArray[np.floating[Any]]

MODULES_FILE: Final = "modules.json"
_TRANSFORMER_FILES: Final = (
    *("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json"),
    *("sentence_camembert_config.json", "sentence_albert_config.json", "sentence_xlm-roberta_config.json"),
    "sentence_xlnet_config.json",
)
"""In the order in which sentence-transformers looks for them."""

MODES: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""What files before version 6 call the ways of pooling, in the order in which several are put side by side."""

_log = logging.getLogger("albert_fast")


class Step(Protocol):
    """What is done with pooled rows; a row's result does not depend on the rows beside it."""

    def width(self, columns: int) -> int:
        """How many columns it makes of so many. Raises ``CheckpointError`` if they are not what it takes."""

    def __call__(self, rows: Array) -> Array:
        """[n, columns] -> [n, width(columns)]."""


@dataclass(frozen=True)
class Normalize:
    """x / max(||x||, 1e-12), as ``torch.nn.functional.normalize``."""

    def width(self, columns: int) -> int:
        """The same."""
        return columns

    def __call__(self, rows: Array) -> Array:
        """See ``Step``."""
        norms = np.sqrt(np.sum(np.square(rows, dtype=np.float64), axis=1, keepdims=True))
        return np.asarray(rows / np.maximum(norms, 1e-12))


@dataclass(frozen=True, eq=False)
class Dense:
    """activation(W x + b), plus x or R x with ``use_residual``; in float64, row by row."""

    name: str
    weight: Array  # [out, in]
    bias: Array  # [out]
    activation: str
    residual: Array | None = None  # [out, in]

    def width(self, columns: int) -> int:
        """See ``Step``."""
        _require_width(self.name, self.weight.shape[1], columns)
        return len(self.weight)

    def __call__(self, rows: Array) -> Array:
        """See ``Step``."""
        function = _ACTIVATIONS[self.activation]
        out = np.stack([function(self.weight @ row + self.bias) for row in rows.astype(np.float64)])
        return (
            out if self.residual is None else out + np.stack([self.residual @ row for row in rows.astype(np.float64)])
        )


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """(x - mean) / sqrt(variance + 1e-5) * weight + bias, as ``torch.nn.LayerNorm``."""

    name: str
    weight: Array
    bias: Array

    def width(self, columns: int) -> int:
        """See ``Step``."""
        _require_width(self.name, len(self.weight), columns)
        return columns

    def __call__(self, rows: Array) -> Array:
        """See ``Step``."""
        wide = rows.astype(np.float64)
        centred = wide - wide.mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        return np.asarray(centred / np.sqrt(variance + 1e-5) * self.weight + self.bias)


_ACTIVATIONS: Final[dict[str, Callable[[Array], Array]]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
"""By the last part of the name that a file gives, such as ``torch.nn.modules.activation.Tanh``."""


@dataclass(frozen=True)
class SentenceModules:
    """How a folder says its features are to be made."""

    poolings: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    steps: tuple[Step, ...] = ()
    max_seq_length: int | None = None
    do_lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None


def read_modules(place: Place) -> SentenceModules | None:
    """What ``modules.json`` says, or None for a folder without one.

    Raises ``CheckpointError`` naming the file and what is wrong, for damaged files and for modules that change
    features and are not known here.
    """
    path = place.find(MODULES_FILE)
    if path is None:
        return None
    entries = _json(path)
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and isinstance(e.get("type"), str) for e in entries
    ):
        raise CheckpointError(f"{path}: got {type(entries).__name__}, expected a list of objects with a 'type'")
    found: dict[str, Any] = {}
    steps: list[Step] = []
    for entry in entries:
        kind, inside = entry["type"].rpartition(".")[2], place.below(str(entry.get("path") or ""))
        if kind == "Transformer":
            found |= _transformer(inside)
        elif kind == "Pooling":
            found |= _pooling(inside)
        elif kind in _STEPS:
            steps.append(_STEPS[kind](inside))
        elif kind != "Dropout":  # changes nothing outside of training
            raise CheckpointError(f"{path}: got a module {kind}, expected Transformer, Pooling, {', '.join(_STEPS)}")
    return SentenceModules(steps=tuple(steps), **found, **_prompts(place))


def _transformer(place: Place) -> dict[str, Any]:
    path = next((path for name in _TRANSFORMER_FILES if (path := place.find(name)) is not None), None)
    config = {} if path is None else _object(path)
    length = config.get("max_seq_length")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 2):
        raise CheckpointError(f"{path}: max_seq_length: got {length!r}, expected an integer of at least 2 or null")
    return {"max_seq_length": length, "do_lower_case": config.get("do_lower_case") is True}


def _pooling(place: Place) -> dict[str, Any]:
    path = place.require("config.json")
    config = _object(path)
    modes = config.get("pooling_mode", [mode for key, mode in MODES.items() if config.get(key)])
    modes = (modes,) if isinstance(modes, str) else tuple(modes) if isinstance(modes, list) else modes
    if not isinstance(modes, tuple) or not all(mode in MODES.values() for mode in modes):
        raise CheckpointError(
            f"{path}: pooling_mode: got {modes!r}, expected one or several of {', '.join(MODES.values())}"
        )
    return {"poolings": modes or ("mean",), "include_prompt": config.get("include_prompt", True) is not False}


def _dense(place: Place) -> Dense:
    path = place.require("config.json")
    config = _object(path)
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if activation not in _ACTIVATIONS:
        raise CheckpointError(f"{path}: activation_function: got {activation}, expected {', '.join(_ACTIVATIONS)}")
    tensors, name = _tensors(place)
    weight = _tensor(tensors, "linear.weight", 2, name)
    bias = _tensor(tensors, "linear.bias", 1, name) if "linear.bias" in tensors else np.zeros(len(weight))
    residual = None
    if config.get("use_residual"):
        residual = _tensor(tensors, "residual.weight", 2, name) if "residual.weight" in tensors else np.eye(len(weight))
    return Dense(name, weight, bias, activation, residual)


def _layer_norm(place: Place) -> LayerNorm:
    tensors, name = _tensors(place)
    return LayerNorm(name, _tensor(tensors, "norm.weight", 1, name), _tensor(tensors, "norm.bias", 1, name))


_STEPS: Final[dict[str, Callable[[Place], Step]]] = {
    "Dense": _dense,
    "LayerNorm": _layer_norm,
    "Normalize": lambda _: Normalize(),
}


def _prompts(place: Place) -> dict[str, Any]:
    path = place.find("config_sentence_transformers.json")
    config = {} if path is None else _object(path)
    prompts = config.get("prompts")
    texts = {k: v for k, v in prompts.items() if isinstance(v, str)} if isinstance(prompts, Mapping) else {}
    default = config.get("default_prompt_name")
    if default is not None and default not in texts:
        _log.warning(
            "%s: default_prompt_name is %r, which is none of its prompts (%s)", path, default, ", ".join(texts)
        )
        default = None
    return {"prompts": texts, "default_prompt_name": default}


def _tensors(place: Place) -> tuple[Mapping[str, Any], str]:
    if (path := place.find("model.safetensors")) is not None:
        return read_safetensors(path), str(path)
    path = place.require("pytorch_model.bin")
    return read_torch_file(path), str(path)


def _tensor(tensors: Mapping[str, Any], name: str, dimensions: int, file: str) -> Array:
    stored = tensors.get(name)
    if stored is None or len(stored.shape) != dimensions:
        got = "nothing" if stored is None else f"shape {list(stored.shape)}"
        raise CheckpointError(f"{file}: {name}: got {got}, expected a tensor of {dimensions} dimensions")
    return np.asarray(stored.rows(0, stored.shape[0]), np.float64).reshape(stored.shape)


def _require_width(file: str, expected: int, got: int) -> None:
    if got != expected:
        raise CheckpointError(f"{file}: takes {expected} columns, got {got} from what is before it")


def _object(path: Path) -> dict[str, Any]:
    content = _json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: got a JSON {type(content).__name__}, expected an object")
    return content


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not usable as JSON ({error})") from error
