"""The eight pipelines beside transformers' on the same weights and input ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import albert_fast
from albert_fast.finetuning.readers import SST2, read_conll, read_race, read_squad, read_texts

ALLOWED = 1e-4
"""How far two scores may be apart."""


@dataclass(frozen=True)
class Source:
    """Which weights a pipeline runs, a sample's or ``mini``'s; of which sample its inputs are, and how they are made of
    the file; options of the calls."""

    model: str
    sample: str
    inputs: Callable[[Path], list[Any]]
    options: dict[str, Any]


def _texts(path: Path) -> list[str]:
    return [example.text for example in read_texts(path, SST2)]


def _masked(path: Path) -> list[str]:
    """The last word but the full stop is what is asked for."""
    return [" ".join([*text.split()[:-2], "[MASK]", "."]) for text in _texts(path)]


def _pairs(path: Path) -> list[tuple[str, str]]:
    texts = _texts(path)
    return list(zip(texts, texts[1:] + texts[:1], strict=True))


def _sentences(path: Path) -> list[str]:
    return [" ".join(example.words) for example in read_conll(path)]


def _questions(path: Path) -> list[dict[str, str]]:
    return [{"question": example.question, "context": example.context} for example in read_squad(path)]


def _choices(path: Path) -> list[dict[str, Any]]:
    return [{"prompt": example.passage, "choices": list(example.choices)} for example in read_race(path)]


PIPELINES = {
    "fill-mask": Source("mini", "sst2", _masked, {}),
    "feature-extraction": Source("mini", "sst2", _texts, {}),
    "sentence-order": Source("mini", "sst2", _pairs, {}),
    "text-classification": Source("sst2", "sst2", _texts, {"top_k": None}),
    "zero-shot-classification": Source("mnli", "sst2", _texts, {"candidate_labels": ["praise", "blame", "music"]}),
    "token-classification": Source("conll", "conll", _sentences, {"aggregation_strategy": "simple"}),
    "question-answering": Source("squad1", "squad1", _questions, {"align_to_words": False}),
    "multiple-choice": Source("race", "race", _choices, {}),
}


@dataclass
class Comparison:
    """How many inputs, the largest difference of two numbers at one place, and how many other things are not equal."""

    examples: int
    largest: float = 0.0
    others: int = 0

    def add(self, ours: Any, theirs: Any) -> None:
        """Results of one input, or parts of them."""
        if isinstance(theirs, dict) and isinstance(ours, dict) and ours.keys() == theirs.keys():
            for key, value in theirs.items():
                self.add(ours[key], value)
        elif isinstance(theirs, list) and isinstance(ours, list) and len(ours) == len(theirs):
            for pair in zip(ours, theirs, strict=True):
                self.add(*pair)
        elif isinstance(theirs, (float, np.floating)) and isinstance(ours, float):
            self.largest = float(np.maximum(self.largest, abs(ours - theirs)))  # NaN stays
        else:
            self.others += ours != theirs


def compare(task: str, folder: Path, data: Path) -> Comparison:
    """Both on all inputs that a file gives."""
    from their_pipelines import theirs  # of tests/, where bench.cases looks too

    source = PIPELINES[task]
    inputs = source.inputs(data)
    ours = albert_fast.pipeline(task, folder, device="cpu", dtype="float32")(inputs, **source.options)
    comparison = Comparison(len(inputs))
    comparison.add(ours, theirs(task, folder)(inputs, **source.options))
    return comparison
