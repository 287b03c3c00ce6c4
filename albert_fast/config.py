"""What an ALBERT model is shaped like: the fields of its ``config.json``, checked, and the published sizes.

Field names and defaults are those of the ``config.json`` files on the Hugging Face hub. Keys this package has
no use for are ignored, as such files carry many; a value it cannot honour is refused by name, never replaced.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from albert_fast.errors import ConfigError, ModelNotFoundError

ACTIVATIONS: Final = ("gelu_new", "gelu_pytorch_tanh", "gelu")
"""Accepted ``hidden_act``: the first two are the tanh form, ``gelu`` is the exact (erf) form."""

# Bounds keep a damaged file from asking for an absurd amount of work before the mistake is noticed.
_INT_RANGES: Final[dict[str, tuple[int, int]]] = {
    "vocab_size": (1, 2**24),
    "embedding_size": (1, 2**20),
    "hidden_size": (1, 2**20),
    "num_hidden_layers": (1, 1024),
    "num_hidden_groups": (1, 1024),
    "inner_group_num": (1, 64),
    "num_attention_heads": (1, 2**20),
    "intermediate_size": (1, 2**20),
    "max_position_embeddings": (1, 2**20),
    "type_vocab_size": (1, 2**16),
}
_PROBABILITIES: Final = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
_SHAPE_KEYS: Final = (
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)


@dataclass(frozen=True)
class AlbertConfig:
    """The shape of an ALBERT model; the defaults are ``albert-xxlarge-v2``. Raises ``ConfigError`` on any bad
    field."""

    vocab_size: int = 30000
    embedding_size: int = 128
    hidden_size: int = 4096
    num_hidden_layers: int = 12
    num_hidden_groups: int = 1
    inner_group_num: int = 1
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    position_embedding_type: str = "absolute"
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3
    tie_word_embeddings: bool = True
    has_embedding_mapping: bool = True
    """Whether embeddings are mapped from E to H; a BERT read as an ALBERT has E = H and no mapping."""

    def __post_init__(self) -> None:
        for name, (low, high) in _INT_RANGES.items():
            value = getattr(self, name)
            if not _is_int(value) or not low <= value <= high:
                raise _bad(name, value, f"an integer in {low}..{high}")
        if self.hidden_size % self.num_attention_heads:
            expected = f"a multiple of num_attention_heads ({self.num_attention_heads})"
            raise _bad("hidden_size", self.hidden_size, expected)
        if self.num_hidden_groups > self.num_hidden_layers:
            expected = f"at most num_hidden_layers ({self.num_hidden_layers})"
            raise _bad("num_hidden_groups", self.num_hidden_groups, expected)
        self._check_floats()
        self._check_choices()
        self._check_token_ids()

    def _check_floats(self) -> None:
        for name in _PROBABILITIES:
            if not 0 <= _number(name, getattr(self, name)) <= 1:
                raise _bad(name, getattr(self, name), "a number in 0..1")
        if not 0 <= _number("initializer_range", self.initializer_range) < math.inf:
            raise _bad("initializer_range", self.initializer_range, "a finite number, at least 0")
        if not 0 < _number("layer_norm_eps", self.layer_norm_eps) < 1:
            raise _bad("layer_norm_eps", self.layer_norm_eps, "a number above 0 and below 1")

    def _check_choices(self) -> None:
        if self.hidden_act not in ACTIVATIONS:
            raise _bad("hidden_act", self.hidden_act, f"one of {', '.join(ACTIVATIONS)}")
        if self.position_embedding_type != "absolute":
            raise _bad("position_embedding_type", self.position_embedding_type, "'absolute'")
        for name in ("tie_word_embeddings", "has_embedding_mapping"):
            if not isinstance(getattr(self, name), bool):
                raise _bad(name, getattr(self, name), "true or false")
        if not self.has_embedding_mapping and self.embedding_size != self.hidden_size:
            expected = f"hidden_size ({self.hidden_size}), as has_embedding_mapping is false"
            raise _bad("embedding_size", self.embedding_size, expected)

    def _check_token_ids(self) -> None:
        if self.bos_token_id is not None and not _is_id(self.bos_token_id):
            raise _bad("bos_token_id", self.bos_token_id, "an integer, at least 0, or null")
        ends = self.eos_token_id if isinstance(self.eos_token_id, list) else [self.eos_token_id]
        if ends != [None] and not all(map(_is_id, ends)):
            raise _bad("eos_token_id", self.eos_token_id, "an integer, at least 0, a list of them, or null")
        pad = self.pad_token_id
        if pad is not None and not (_is_id(pad) and pad < self.vocab_size):
            raise _bad("pad_token_id", pad, f"an integer in 0..{self.vocab_size - 1} (vocab_size - 1) or null")

    @property
    def head_dim(self) -> int:
        """Width of one attention head: ``hidden_size / num_attention_heads``."""
        return self.hidden_size // self.num_attention_heads

    def group_of(self, iteration: int) -> int:
        """Which group of weights iteration 0..num_hidden_layers-1 uses, as the function of that name says."""
        return group_of(iteration, self.num_hidden_layers, self.num_hidden_groups)

    def to_dict(self) -> dict[str, Any]:
        """All fields, with ``model_type``, ready for a ``config.json``.

        ``has_embedding_mapping`` is ours: an ALBERT's file, which others read too, does without it.
        """
        values = {"model_type": "albert", **dataclasses.asdict(self)}
        if self.has_embedding_mapping:
            del values["has_embedding_mapping"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AlbertConfig:
        """Build from the content of a ``config.json``; unknown keys are ignored, absent ones get defaults.

        Raises ``ConfigError`` when ``model_type`` is not ``albert``, when it is absent and the keys that give
        ALBERT its shape are too, or when a field cannot be used.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"config: got {type(values).__name__}, expected an object of names and values")
        if "model_type" in values:
            if values["model_type"] != "albert":
                raise _bad("model_type", values["model_type"], "'albert'; only ALBERT models are supported")
        elif absent := [key for key in _SHAPE_KEYS if key not in values]:
            raise ConfigError(f"model_type: absent, and so are ALBERT's keys {', '.join(absent)}; expected 'albert'")
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    @classmethod
    def from_json_file(cls, path: str | os.PathLike[str]) -> AlbertConfig:
        """Read a ``config.json``. Raises ``ModelNotFoundError`` (no such file) or ``ConfigError`` (not
        usable)."""
        values = read_values(path)
        try:
            return cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"config file {os.fspath(path)}: {error}") from error

    @classmethod
    def preset(cls, name: str) -> AlbertConfig:
        """The configuration of a published model (``albert-xxlarge-v2`` or ``albert/albert-xxlarge-v2``), or
        ``tiny``."""
        if (preset := PRESETS.get(str(name).removeprefix("albert/"))) is None:
            raise _bad("preset", name, f"one of {', '.join(PRESETS)}")
        return preset


def group_of(iteration: int, num_hidden_layers: int, num_hidden_groups: int) -> int:
    """Which group of weights iteration 0..num_hidden_layers-1 uses.

    The division is in float64 and truncated, exactly as transformers does it: where ``num_hidden_groups`` does not
    divide ``num_hidden_layers``, exact integer arithmetic would now and then choose another group.
    """
    return int(iteration / (num_hidden_layers / num_hidden_groups))


def read_values(path: str | os.PathLike[str]) -> Any:
    """The content of a ``config.json``. Raises ``ModelNotFoundError`` or ``ConfigError`` (no JSON)."""
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise ModelNotFoundError(f"config file {os.fspath(path)}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config file {os.fspath(path)}: not valid JSON ({error})") from error


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise _bad(name, value, "a number")
    return value


def _bad(name: str, value: object, expected: str) -> ConfigError:
    shown = repr(value)
    return ConfigError(f"{name}: got {shown if len(shown) <= 80 else shown[:77] + '...'}, expected {expected}")


def _published() -> dict[str, AlbertConfig]:
    """The eight models on the hub, as their own ``config.json`` files describe them.

    v1 and v2 differ in the activation (erf, tanh) and, below xxlarge, in the dropout (0.1, 0).
    """
    shapes = {  # hidden_size, num_attention_heads, num_hidden_layers
        "base": (768, 12, 12),
        "large": (1024, 16, 24),
        "xlarge": (2048, 16, 24),
        "xxlarge": (4096, 64, 12),
    }
    presets = {}
    for version, activation in (("v1", "gelu"), ("v2", "gelu_new")):
        for size, (hidden, heads, layers) in shapes.items():
            dropout = 0.1 if version == "v1" and size != "xxlarge" else 0.0
            presets[f"albert-{size}-{version}"] = AlbertConfig(
                hidden_size=hidden,
                num_attention_heads=heads,
                num_hidden_layers=layers,
                intermediate_size=4 * hidden,
                hidden_act=activation,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            )
    return presets


PRESETS: Final[dict[str, AlbertConfig]] = {
    **_published(),
    "tiny": AlbertConfig(
        vocab_size=20984,  # pieces in data/spiece.model
        embedding_size=16,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=64,
        num_hidden_layers=3,
    ),
}
"""The eight published models by short name, and ``tiny``, which is for tests and trials."""
