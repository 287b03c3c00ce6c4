"""question-answering: the span of a context that answers a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from albert_fast.errors import ConfigError, InvalidInputError
from albert_fast.model import Model
from albert_fast.pipelines.base import Array, Pipeline, as_top_k
from albert_fast.pipelines.entities import by_sample
from albert_fast.pipelines.heads import Head, softmax
from albert_fast.tokenizer.arguments import as_integer

_OUTSIDE = -10_000.0
"""The logit of a token that no answer may start or end at."""


@dataclass(frozen=True, eq=False)
class Window:
    """A part of a context, behind its question, and the model's opinion of it."""

    spans: Sequence[tuple[int, int]]  # [S], characters of the context
    in_context: Array  # [S], bool
    starts: Array  # [S], probabilities
    ends: Array

    @property
    def null_score(self) -> float:
        """The probability that it has no answer: both ends at [CLS]."""
        return float(self.starts[0] * self.ends[0])

    def answers(self, context: str, longest: int, align_to_words: bool) -> tuple[Array, Array]:
        """Spans [n, 2] of the context, and the probability of each; of tokens that make one span the likeliest count.
        A span has at most ``longest`` tokens."""
        starts, ends = (np.where(self.in_context, scores, 0.0) for scores in (self.starts, self.ends))
        scores = np.triu(np.tril(np.outer(starts, ends), longest - 1))
        first, last = np.nonzero(scores)
        places = list(map(tuple, self.spans))
        if align_to_words:
            places = [_whole_words(context, *places[i]) if self.in_context[i] else (0, 0) for i in range(len(places))]
        begin, end = np.array(places).T
        spans, of = np.unique(np.stack([begin[first], end[last]], axis=1), axis=0, return_inverse=True)
        best = np.zeros(len(spans))
        np.maximum.at(best, of.reshape(-1), scores[first, last])
        return spans, best


class QuestionAnsweringPipeline(Pipeline):
    """``pipe(question="...", context="...")``: ``{"score", "start", "end", "answer"}``; start and end count characters
    of the context. With ``top_k`` above 1 it is a list. Several come as a list of ``{"question", "context"}``; a list
    of one gives what the one alone does, as in transformers.

    ``max_answer_len`` (15): tokens of an answer. ``max_seq_len`` (384), ``doc_stride`` (128): a long context is read in
    windows of so many tokens with the question, that overlap by so many. ``max_question_len`` (64): tokens of the
    question that are read. ``handle_impossible_answer``: the empty answer counts as one. ``align_to_words`` (True): an
    answer is extended to whole words. An answer that several windows find has the sum of its scores. Where a
    context has no token, the answer is empty and scores 0.
    """

    task = "question-answering"
    options = frozenset(
        {
            "top_k",
            "max_answer_len",
            "max_seq_len",
            "doc_stride",
            "max_question_len",
            "handle_impossible_answer",
            "align_to_words",
        }
    )

    def __init__(self, model: Model, **defaults: Any) -> None:
        super().__init__(model, **defaults)
        self.head = Head.of(model, "qa_outputs", self.task)
        if len(self.head.bias) != 2:
            raise ConfigError(f"qa_outputs: got {len(self.head.bias)} rows, expected 2, a start and an end")

    def __call__(self, inputs: Any = None, *, question: Any = None, context: Any = None, **options: Any) -> Any:
        """See the class."""
        if inputs is None:
            if isinstance(question, list):
                contexts = context if isinstance(context, list) else [context] * len(question)
                if len(contexts) != len(question):
                    raise InvalidInputError(
                        f"context: got {len(contexts)} for {len(question)} questions, expected as many, or one for all"
                    )
                inputs = [{"question": q, "context": c} for q, c in zip(question, contexts, strict=True)]
            else:
                inputs = {"question": question, "context": context}
        return super().__call__(inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs, **options)

    def results(
        self,
        inputs: list[Any],
        top_k: int = 1,
        max_answer_len: int = 15,
        max_seq_len: int = 384,
        doc_stride: int = 128,
        max_question_len: int = 64,
        handle_impossible_answer: bool = False,
        align_to_words: bool = True,
    ) -> list[Any]:
        """See the class."""
        count = as_top_k(top_k)
        as_integer(max_answer_len, "max_answer_len", 1)
        as_integer(max_question_len, "max_question_len", 1)
        as_integer(max_seq_len, "max_seq_len", 4)
        as_integer(doc_stride, "doc_stride", 0)
        for i, item in enumerate(inputs):
            _check(item, i)
        questions = [self._shortened(item["question"], max_question_len) for item in inputs]
        encoded = self.tokenizer(
            questions,
            [item["context"] for item in inputs],
            truncation="only_second",
            max_length=min(max_seq_len, self.max_length),
            stride=min(doc_stride, max_seq_len // 2),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        rows = list(zip(encoded["input_ids"], encoded["token_type_ids"], strict=True))
        states = self.hidden_states(rows)
        results = []
        for item, indices in zip(inputs, by_sample(encoded["overflow_to_sample_mapping"]), strict=True):
            windows = [self._window(states[i], encoded["offset_mapping"][i], encoded.sequence_ids(i)) for i in indices]
            answers = _answers(item["context"], windows, count, max_answer_len, align_to_words)
            if handle_impossible_answer:
                null = min(window.null_score for window in windows)
                answers.append({"score": null, "start": 0, "end": 0, "answer": ""})
            answers = sorted(answers, key=lambda answer: -answer["score"])[:count]
            if count == 1:
                answers = answers or [{"score": 0.0, "start": 0, "end": 0, "answer": ""}]
            results.append(answers[0] if count == 1 else answers)
        return results

    def _shortened(self, question: str, most: int) -> str:
        encoded = self.tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
        spans = encoded["offset_mapping"]
        return question if len(spans) <= most else question[: spans[most - 1][1]]

    def _window(self, hidden: Array, spans: Sequence[tuple[int, int]], sequence_ids: Sequence[int | None]) -> Window:
        in_context = np.array([of == 1 for of in sequence_ids])
        allowed = in_context.copy()
        allowed[0] = True  # [CLS], where an answer is that there is none
        logits = np.where(allowed[:, None], self.head(hidden), _OUTSIDE)
        return Window(spans, in_context, softmax(logits[:, 0]), softmax(logits[:, 1]))


def _check(item: Any, index: int) -> None:
    if not isinstance(item, dict) or set(item) != {"question", "context"}:
        raise InvalidInputError(f"inputs[{index}]: got {item!r}, expected a dictionary of 'question' and 'context'")
    for name, text in item.items():
        if not isinstance(text, str) or not text.strip():
            raise InvalidInputError(f"inputs[{index}]: got {text!r} as {name}, expected a text that is not empty")


def _answers(
    context: str, windows: Sequence[Window], count: int, longest: int, align_to_words: bool
) -> list[dict[str, Any]]:
    """The ``count`` best; what an answer scores does not depend on how many are asked for."""
    found = [window.answers(context, longest, align_to_words) for window in windows]
    spans, of = np.unique(np.concatenate([spans for spans, _ in found]), axis=0, return_inverse=True)
    scores = np.zeros(len(spans))
    np.add.at(scores, of.reshape(-1), np.concatenate([best for _, best in found]))
    return [
        {
            "score": float(scores[i]),
            "start": int(spans[i, 0]),
            "end": int(spans[i, 1]),
            "answer": context[slice(*spans[i])],
        }
        for i in np.argsort(-scores, kind="stable")[:count]
    ]


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The span from one space to another around it."""
    while start < end and text[start].isspace():
        start += 1
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    while end < len(text) and not text[end].isspace():
        end += 1
    return start, end
