"""ALBERT's own head for SQuAD 2.0 on hidden states of the engine: ``AlbertForBeamQuestionAnswering`` without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from albert_fast.errors import CheckpointError
from albert_fast.model import Model
from albert_fast.pipelines.heads import Array, Head, settings_of

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
        """Of a checkpoint. Raises ``CheckpointError`` if it lacks a part of it."""
        settings = settings_of(model)
        norm = {}
        with model.open_source() as source:
            for kind in ("weight", "bias"):
                name = f"end_logits.LayerNorm.{kind}"
                if name not in source.unused_tensors:
                    raise CheckpointError(f"model {model.name}: got no {name}, which {task} needs")
                norm[kind] = source.rows(name, 0, model.config.hidden_size).astype(np.float64).reshape(-1)
        return cls(
            start=Head.of(model, "start_logits.dense", task),
            end_0=Head.of(model, "end_logits.dense_0", task, states=2),
            norm_weight=norm["weight"],
            norm_bias=norm["bias"],
            norm_eps=model.config.layer_norm_eps,
            end_1=Head.of(model, "end_logits.dense_1", task),
            class_0=Head.of(model, "answer_class.dense_0", task, states=2),
            class_1=Head.of(model, "answer_class.dense_1", task, has_bias=False),
            start_n_top=int(settings.get("start_n_top", 5)),
            end_n_top=int(settings.get("end_n_top", 5)),
        )

    def __call__(self, hidden: Array, allowed: npt.NDArray[np.bool_]) -> Beam:
        """hidden [S, H]; allowed [S], where an answer may begin and end."""
        log_probs = _log_softmax(np.where(allowed, self.start(hidden)[:, 0], _NEVER))
        starts = np.argsort(-log_probs, kind="stable")[: self.start_n_top]
        ends, scores = [], []
        for start in starts:
            of_end = _log_softmax(np.where(allowed, self._end_logits(hidden, hidden[start]), _NEVER))
            order = np.argsort(-of_end, kind="stable")[: self.end_n_top]
            ends.append(order)
            scores.append(of_end[order])
        summary = np.exp(log_probs) @ hidden.astype(np.float64)
        both = np.concatenate([summary, hidden[0]])[None]
        cls_logit = float(self.class_1(np.tanh(self.class_0(both)))[0, 0])
        return Beam(log_probs[starts], starts, np.array(scores), np.array(ends), cls_logit)

    def _end_logits(self, hidden: Array, start: Array) -> Array:
        """[S]."""
        both = np.concatenate([hidden, np.broadcast_to(start, hidden.shape)], axis=1)
        x = np.tanh(self.end_0(both))
        centred = x - x.mean(axis=1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.norm_eps)
        return self.end_1(normed * self.norm_weight + self.norm_bias)[:, 0]


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
