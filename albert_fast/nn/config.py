"""The configuration that training scripts know: ALBERT's shape, labels, and whatever else a ``config.json`` holds.

``albert_fast.AlbertConfig`` is the shape of a model, checked and frozen. Scripts want more of a configuration: labels,
a problem type, keys of their own, and to change all of that in place. So this one is a plain bag of attributes, with
the names, defaults and label rules of transformers' ``AlbertConfig``, and ``shape()`` makes the checked one out of it.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import torch

from albert_fast.config import AlbertConfig as Shape
from albert_fast.errors import ConfigError, InvalidTypeError, OutputError
from albert_fast.nn.reading import read_config
from albert_fast.sources.folder import CONFIG_FILE

_SHAPE_DEFAULTS: Final = {
    field.name: field.default for field in dataclasses.fields(Shape) if field.name != "has_embedding_mapping"
}
_COMMON_DEFAULTS: Final[dict[str, Any]] = {
    "architectures": None,
    "chunk_size_feed_forward": 0,
    "dtype": None,
    "is_encoder_decoder": False,
    "name_or_path": "",
    "output_attentions": False,
    "output_hidden_states": False,
    "problem_type": None,
    "return_dict": True,
}
"""Attributes that every configuration of transformers has; a ``config.json`` names those that differ."""
_DEFAULT_LABELS: Final = 2
_PROBLEM_TYPES: Final = (None, "regression", "single_label_classification", "multi_label_classification")


class AlbertConfig:
    """Attributes by name. Keys it does not know are kept, and saved again.

    Raises ``ConfigError`` for a shape that ``albert_fast.AlbertConfig`` refuses, or labels that cannot be.
    """

    model_type: ClassVar[str] = "albert"

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_hidden_layers: int
    num_hidden_groups: int
    inner_group_num: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str
    hidden_dropout_prob: float
    attention_probs_dropout_prob: float
    classifier_dropout_prob: float
    max_position_embeddings: int
    type_vocab_size: int
    initializer_range: float
    layer_norm_eps: float
    pad_token_id: int | None
    bos_token_id: int | None
    eos_token_id: int | list[int] | None
    position_embedding_type: str
    tie_word_embeddings: bool
    architectures: list[str] | None
    dtype: torch.dtype | None
    name_or_path: str
    output_attentions: bool
    output_hidden_states: bool
    problem_type: str | None
    return_dict: bool
    id2label: dict[int, str] | None
    label2id: dict[str, int] | None

    def __init__(self, **values: Any) -> None:
        if values.pop("model_type", self.model_type) != self.model_type:
            raise ConfigError("model_type: expected 'albert'; only ALBERT models are supported")
        old_dtype = values.pop("torch_dtype", None)  # its name before transformers 4.56
        num_labels = values.pop("num_labels", None)
        labels = {key: values.pop(key, None) for key in ("id2label", "label2id")}
        self.__dict__.update(copy.deepcopy(_SHAPE_DEFAULTS | _COMMON_DEFAULTS | values))
        self.dtype = as_dtype(self.dtype if self.dtype is not None else old_dtype)
        self.id2label, self.label2id = _with_integer_keys(labels["id2label"]), labels["label2id"]
        if self.id2label is None:
            self.num_labels = _DEFAULT_LABELS if num_labels is None else num_labels
        elif num_labels is not None:
            self.num_labels = num_labels
        self._check_problem_type()
        self.shape()

    @classmethod
    def of(cls, config: Any) -> AlbertConfig:
        """``config`` itself if it is one of these, else a copy of a mapping or of an object with ``to_dict()``."""
        if isinstance(config, AlbertConfig):
            return config
        values = config.to_dict() if hasattr(config, "to_dict") else config
        if not isinstance(values, Mapping):
            expected = "an AlbertConfig of albert_fast or transformers, or a mapping"
            raise InvalidTypeError(f"config: got {type(config).__name__}, expected {expected}")
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], **overrides: Any) -> AlbertConfig:
        """The content of a ``config.json``, then ``overrides`` one after the other, as assignments would."""
        config = cls(**values)
        config.update(overrides)
        return config

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **options: Any) -> AlbertConfig:
        """The configuration of a model, from anything that the models' ``from_pretrained`` takes by name.

        From the hub it fetches the weights as well, as the model that follows will want them.
        """
        hub = {key: options.pop(key) for key in ("revision", "cache_dir", "local_files_only") if key in options}
        return cls.from_dict(read_config(name_or_path, **hub), **options)

    def update(self, values: Mapping[str, Any]) -> None:
        """Assign every item, in order."""
        for name, value in values.items():
            setattr(self, "dtype" if name == "torch_dtype" else name, value)
        self.dtype, self.id2label = as_dtype(self.dtype), _with_integer_keys(self.id2label)
        self._check_problem_type()
        self.shape()

    @property
    def num_labels(self) -> int | None:
        """How many labels ``id2label`` has. Assigning another number makes new ones: ``LABEL_0``, ``LABEL_1``, ..."""
        return None if self.id2label is None else len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"num_labels: got {count!r}, expected an integer above 0")
        if self.id2label is None or len(self.id2label) != count:
            self.id2label = {index: f"LABEL_{index}" for index in range(count)}
            self.label2id = {label: index for index, label in self.id2label.items()}

    @property
    def use_return_dict(self) -> bool:
        """The old name of ``return_dict``."""
        return self.return_dict

    def shape(self) -> Shape:
        """The checked configuration of ``albert_fast``. Raises ``ConfigError``."""
        return Shape(**{name: getattr(self, name) for name in _SHAPE_DEFAULTS})

    def to_dict(self) -> dict[str, Any]:
        """All attributes with ``model_type``; the dtype is a string, so that JSON can hold it."""
        values = copy.deepcopy(self.__dict__)
        if isinstance(self.dtype, torch.dtype):
            values["dtype"] = str(self.dtype).removeprefix("torch.")
        return {"model_type": self.model_type, **values}

    def to_json_string(self) -> str:
        """A ``config.json``, which leaves out what is private to a process and common attributes at their default."""
        default_labels = dict(enumerate(f"LABEL_{index}" for index in range(_DEFAULT_LABELS)))
        values = {
            name: value
            for name, value in self.to_dict().items()
            if not name.startswith("_") and name != "name_or_path" and _COMMON_DEFAULTS.get(name, ...) != value
        }
        if self.id2label == default_labels and self.label2id == {label: i for i, label in default_labels.items()}:
            del values["id2label"], values["label2id"]
        return json.dumps(values, indent=2, sort_keys=True)

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write ``config.json``. Raises ``OutputError``."""
        folder = Path(save_directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CONFIG_FILE).write_text(self.to_json_string() + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"save_directory: cannot write in {folder} ({error.strerror or error})") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AlbertConfig) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    def _check_problem_type(self) -> None:
        if self.problem_type not in _PROBLEM_TYPES:
            expected = f"one of {', '.join(map(repr, _PROBLEM_TYPES))}"
            raise ConfigError(f"problem_type: got {self.problem_type!r}, expected {expected}")
        if self.problem_type == "single_label_classification" and self.num_labels == 1:
            raise ConfigError("num_labels: got 1, expected at least 2 for problem_type 'single_label_classification'")


def as_dtype(value: Any) -> torch.dtype | None:
    """A floating type of torch from itself or from its name; None and ``"auto"`` are None."""
    if value is None or value == "auto":
        return None
    found = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else value
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ConfigError(f"dtype: got {value!r}, expected a floating type of torch or its name")
    return found


def _with_integer_keys(labels: Any) -> dict[int, str] | None:
    """JSON makes strings of the keys of ``id2label``."""
    if labels is None:
        return None
    try:
        return {int(key): value for key, value in labels.items()}
    except (AttributeError, ValueError, TypeError):
        raise ConfigError(f"id2label: got {labels!r}, expected a dictionary from integers to names") from None
