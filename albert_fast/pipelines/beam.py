"""ALBERT's own head for SQuAD 2.0 on hidden states of the engine: ``AlbertForBeamQuestionAnswering`` without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_fast.errors import ConfigError, InvalidInputError
from albert_fast.model import Model
from albert_fast.pipelines.heads import Array, Head, settings_of, tensor_of

_NEVER = np.finfo(np.float64).min


@dataclass(frozen=True, eq=False)
class Beam:
    """The likeliest n starts of a text, m ends for each, and whether there is an answer at all."""

    start_log_probs: Array  # [n]
    start_index: Array  # [n]
    end_log_probs: Array  # [n, m]
    end_index: Array  # [n, m]
    cls_logit: float  # above 0: there is none


@dataclass(frozen=True, eq=False)
class BeamHead:
    """The layers of the head, and how many starts and ends it keeps."""

    start: Head
    end_0: Head
    norm_weight: Array  # [H]
    norm_bias: Array  # [H]
    norm_eps: float
    end_1: Head
    class_0: Head
    class_1: Head
    start_n_top: int
    end_n_top: int

    @classmethod
    def of(cls, model: Model, task: str) -> BeamHead:
        """Of a checkpoint.

        Raises ``CheckpointError`` if it lacks a part of it, or has one that does not fit, and ``ConfigError`` if its
        configuration keeps no start or no end.
        """
        settings, width = settings_of(model), model.config.hidden_size
        return cls(
            start=Head.of(model, "start_logits.dense", task, labels=1),
            end_0=Head.of(model, "end_logits.dense_0", task, labels=width, states=2),
            norm_weight=tensor_of(model, "end_logits.LayerNorm.weight", task, (width,)),
            norm_bias=tensor_of(model, "end_logits.LayerNorm.bias", task, (width,)),
            norm_eps=model.config.layer_norm_eps,
            end_1=Head.of(model, "end_logits.dense_1", task, labels=1),
            class_0=Head.of(model, "answer_class.dense_0", task, labels=width, states=2),
            class_1=Head.of(model, "answer_class.dense_1", task, labels=1, has_bias=False),
            start_n_top=_count(settings, "start_n_top"),
            end_n_top=_count(settings, "end_n_top"),
        )

    def __call__(self, hidden: Array, allowed: npt.NDArray[np.bool_]) -> Beam:
        """hidden [S, H] of one text; allowed [S], where an answer may begin and end; n and m are at most S.

        Raises ``InvalidInputError`` if ``allowed`` is not one boolean for each token.
        """
        if allowed.dtype != np.bool_ or allowed.shape != hidden.shape[:1]:
            raise InvalidInputError(
                f"allowed: got {allowed.dtype} {list(allowed.shape)}, expected bool [{len(hidden)}], one for each token"
            )
        hidden = hidden.astype(np.float64)
        log_probs = _log_softmax(np.where(allowed, self.start(hidden)[:, 0], _NEVER))
        starts = np.argsort(-log_probs, kind="stable")[: self.start_n_top]
        of_token, of_start = np.split(self.end_0.weight, 2, axis=1)
        tokens = hidden @ of_token.T + self.end_0.bias  # the part of dense_0 that all starts share, by far the largest
        ends, scores = [], []
        for start in starts:
            of_end = _log_softmax(np.where(allowed, self._end_logits(tokens + of_start @ hidden[start]), _NEVER))
            order = np.argsort(-of_end, kind="stable")[: self.end_n_top]
            ends.append(order)
            scores.append(of_end[order])
        summary = np.exp(log_probs) @ hidden
        both = np.concatenate([summary, hidden[0]])[None]
        cls_logit = float(self.class_1(np.tanh(self.class_0(both)))[0, 0])
        return Beam(log_probs[starts], starts, np.array(scores), np.array(ends), cls_logit)

    def _end_logits(self, products: Array) -> Array:
        """What dense_0 gives for every token beside one start, [S, H] -> [S]."""
        x = np.tanh(products)
        centred = x - x.mean(axis=1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.norm_eps)
        return self.end_1(normed * self.norm_weight + self.norm_bias)[:, 0]


def _count(settings: Mapping[str, Any], name: str) -> int:
    count = settings.get(name, 5)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigError(f"{name}: got {count!r}, expected an integer of at least 1")
    return count


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
