"""transformers' pipelines on a checkpoint of ours; of tasks that it has none for, its model and the rule spelled out.

They are given our input ids: the tokenizer of version 5 makes others in places.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers

from albert_fast.tokenizer import AlbertTokenizer

LONGEST_ANSWER = 15
"""Tokens; the pipeline's default."""


def theirs(task: str, folder: str | os.PathLike[str], model: Any = None, **options: Any) -> Callable[..., Any]:
    """To be called as ours, without a pipeline in transformers with a list. ``model``: one of its that is loaded."""
    if model is None:
        model = getattr(transformers, CLASSES[task]).from_pretrained(folder).eval()
    if task not in _RULES:
        tokenizer = AlbertTokenizer(folder, model_max_length=128)
        return transformers.pipeline(task, model=model, tokenizer=tokenizer, device="cpu", **options)
    ours, rule = AlbertTokenizer.from_pretrained(folder), _RULES[task]
    return lambda inputs, **_: [rule(model, ours, item) for item in inputs]


def every_span(model: Any, tokenizer: AlbertTokenizer, asked: dict[str, str]) -> Iterator[tuple[float, int, int]]:
    """Probability, start and end of all spans of at most 15 tokens of a short context."""
    encoded = tokenizer(asked["question"], asked["context"], return_offsets_mapping=True, return_tensors="pt")
    offsets = encoded.pop("offset_mapping")[0].tolist()
    inside = [i for i, of in enumerate(encoded.sequence_ids(0)) if of == 1]
    with torch.no_grad():
        output = model(**encoded)
    kept = [0, *inside]
    starts, ends = (logits[0, kept].double().softmax(0)[1:] for logits in (output.start_logits, output.end_logits))
    for a, first in enumerate(inside):
        for b, last in enumerate(inside[a : a + LONGEST_ANSWER], start=a):
            yield float(starts[a] * ends[b]), offsets[first][0], offsets[last][1]


def _likeliest_span(model: Any, tokenizer: AlbertTokenizer, asked: dict[str, str]) -> dict[str, Any]:
    score, start, end = max(every_span(model, tokenizer, asked))
    return {"score": score, "start": start, "end": end, "answer": asked["context"][start:end]}


@torch.no_grad()
def _choices(model: Any, tokenizer: AlbertTokenizer, asked: dict[str, Any]) -> list[dict[str, Any]]:
    choices = asked["choices"]
    encoded = tokenizer([asked["prompt"]] * len(choices), choices, padding=True, return_tensors="pt")
    scores = model(**{name: value[None] for name, value in encoded.items()}).logits[0].softmax(0).tolist()
    order = sorted(range(len(choices)), key=lambda i: -scores[i])
    return [{"choice": choices[i], "index": i, "score": scores[i]} for i in order]


@torch.no_grad()
def _order(model: Any, tokenizer: AlbertTokenizer, pair: tuple[str, str]) -> list[dict[str, Any]]:
    scores = model(**tokenizer(*pair, return_tensors="pt")).sop_logits[0].softmax(0).tolist()
    named = zip(("IN_ORDER", "SWAPPED"), scores, strict=True)
    return sorted(({"label": label, "score": score} for label, score in named), key=lambda x: -x["score"])


CLASSES = {
    "fill-mask": "AlbertForMaskedLM",
    "feature-extraction": "AlbertModel",
    "text-classification": "AlbertForSequenceClassification",
    "zero-shot-classification": "AlbertForSequenceClassification",
    "token-classification": "AlbertForTokenClassification",
    "question-answering": "AlbertForQuestionAnswering",
    "multiple-choice": "AlbertForMultipleChoice",
    "sentence-order": "AlbertForPreTraining",
}
_RULES = {"question-answering": _likeliest_span, "multiple-choice": _choices, "sentence-order": _order}
