"""text-classification, zero-shot-classification and multiple-choice: one layer on the pooler's output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from albert_fast.errors import ConfigError, InvalidInputError
from albert_fast.model import Model
from albert_fast.pipelines.base import Array, Pipeline, Row, as_top_k
from albert_fast.pipelines.heads import Head, Labels, sigmoid, softmax
from albert_fast.tokenizer.arguments import check_text

_FUNCTIONS: Final[dict[str, Callable[[Array], Array]]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": lambda logits: logits,
}


class TextClassificationPipeline(Pipeline):
    """``pipe("A text.")``: ``[{"label", "score"}]``, the likeliest class. A list of texts gives one such
    dictionary each. With ``top_k`` it is lists of the k likeliest, with ``top_k=None`` of all.

    Pairs come as ``{"text": ..., "text_pair": ...}`` or as a tuple. ``function_to_apply``: ``"softmax"``, ``"sigmoid"``
    or ``"none"``; by default none for a regression, sigmoid for several labels at once or for a single one, softmax
    otherwise, as the configuration's ``problem_type`` and number of labels say. ``truncation``, ``max_length``: as the
    tokenizer has them; too long a text is an error otherwise.
    """

    task = "text-classification"
    options = frozenset({"top_k", "function_to_apply", "truncation", "max_length"})

    def __init__(self, model: Model, **defaults: Any) -> None:
        super().__init__(model, **defaults)
        self.require_pooler()
        self.head = Head.of(model, "classifier", self.task)
        self.labels = Labels.of(model, len(self.head.bias))

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """See the class."""
        result = super().__call__(inputs, **options)
        return [result] if "top_k" not in options and isinstance(inputs, str) else result

    def results(
        self,
        inputs: list[Any],
        top_k: int | str | None = "",
        function_to_apply: str | None = None,
        truncation: bool | str = False,
        max_length: int | None = None,
    ) -> list[Any]:
        """See the class."""
        name = (self._default_function() if function_to_apply is None else str(function_to_apply)).lower()
        if name not in _FUNCTIONS:
            raise InvalidInputError(
                f"function_to_apply: got {function_to_apply!r}, expected 'softmax', 'sigmoid' or 'none'"
            )
        scores = _FUNCTIONS[name](self.logits(inputs, truncation, max_length))
        if top_k == "":
            return [self._ranked(row)[0] for row in scores]
        count = len(self.labels.names) if top_k is None else as_top_k(top_k)
        return [self._ranked(row)[:count] for row in scores]

    def logits(self, inputs: list[Any], truncation: bool | str = False, max_length: int | None = None) -> Array:
        """[inputs, labels], before any function."""
        if not inputs:
            return np.empty((0, len(self.head.bias)))
        return self.head(self.pooled(self.rows(inputs, truncation=truncation, max_length=max_length)))

    def _default_function(self) -> str:
        kind = self.labels.problem_type
        if kind == "regression":
            return "none"
        return "sigmoid" if kind == "multi_label_classification" or len(self.labels.names) == 1 else "softmax"

    def _ranked(self, scores: Array) -> list[dict[str, Any]]:
        order = np.argsort(-scores, kind="stable")
        return [{"label": self.labels.names[i], "score": float(scores[i])} for i in order]


class ZeroShotClassificationPipeline(TextClassificationPipeline):
    """``pipe("A text.", candidate_labels=["sports", "politics"])``: ``{"sequence", "labels", "scores"}``, best first.

    The model must be one for natural language inference, with a label that begins with "entail": each label, put into
    ``hypothesis_template`` ("This example is {}."), is a hypothesis, and its score is that of being entailed; over all
    labels, or with ``multi_label=True`` against contradiction for each: the label that begins with "contra", without
    one the first or, if that is the entailment, the last. A text that is too long loses its tail, with
    ``truncation=False`` it is an error.
    """

    task = "zero-shot-classification"
    options = frozenset({"candidate_labels", "hypothesis_template", "multi_label", "truncation"})

    def __init__(self, model: Model, **defaults: Any) -> None:
        super().__init__(model, **defaults)
        found = [i for i, label in enumerate(self.labels.names) if label.lower().startswith("entail")]
        if not found or len(self.labels.names) < 2:
            raise ConfigError(f"id2label: got {list(self.labels.names)}, expected one that begins with 'entail'")
        self.entailment_id = found[0]
        named = [i for i, label in enumerate(self.labels.names) if label.lower().startswith("contra")]
        last = len(self.labels.names) - 1
        self.contradiction_id = named[0] if named else last if self.entailment_id == 0 else 0

    def __call__(
        self, inputs: Any = None, candidate_labels: Any = None, *, sequences: Any = None, **options: Any
    ) -> Any:
        """See the class; ``sequences`` is what transformers calls ``inputs``."""
        if candidate_labels is not None:
            options["candidate_labels"] = candidate_labels
        return Pipeline.__call__(self, sequences if inputs is None else inputs, **options)

    def results(  # type: ignore[override]  # other options
        self,
        inputs: list[Any],
        candidate_labels: str | Sequence[str] = (),
        hypothesis_template: str = "This example is {}.",
        multi_label: bool = False,
        truncation: bool | str = "only_first",
    ) -> list[Any]:
        """See the class."""
        labels = _as_labels(candidate_labels)
        if not labels:
            raise InvalidInputError("candidate_labels: got none, expected at least one")
        if hypothesis_template.format(labels[0]) == hypothesis_template:
            raise InvalidInputError(f"hypothesis_template: got {hypothesis_template!r}, expected one with {{}} in it")
        hypotheses = [hypothesis_template.format(label) for label in labels]
        pairs = [(check_text(text, f"inputs[{i}]"), label) for i, text in enumerate(inputs) for label in hypotheses]
        rows = self.rows(pairs, truncation="only_first" if truncation is True else truncation)
        logits = self.head(self.pooled(rows)) if rows else np.empty((0, len(self.labels.names)))
        grouped = logits.reshape(len(inputs), len(labels), -1)
        results = []
        for text, scores in zip(inputs, self._entailed(grouped, multi_label or len(labels) == 1), strict=True):
            order = np.argsort(-scores, kind="stable")
            results.append(
                {"sequence": text, "labels": [labels[i] for i in order], "scores": [float(scores[i]) for i in order]}
            )
        return results

    def _entailed(self, logits: Array, each_alone: bool) -> Array:
        """[texts, labels, classes] -> [texts, labels]."""
        if not each_alone:
            return softmax(logits[..., self.entailment_id])
        return softmax(logits[..., [self.contradiction_id, self.entailment_id]])[..., 1]


def _as_labels(labels: str | Sequence[str]) -> list[str]:
    """A string has them between commas."""
    if isinstance(labels, str):
        return [label.strip() for label in labels.split(",") if label.strip()]
    return list(labels)


class MultipleChoicePipeline(Pipeline):
    """``pipe({"prompt": ..., "choices": [...]})``: ``[{"choice", "index", "score"}]``, the likeliest first; scores
    add up to 1. ``top_k``: so many. ``truncation``: whether too long a prompt loses its tail (True)."""

    task = "multiple-choice"
    options = frozenset({"top_k", "truncation"})

    def __init__(self, model: Model, **defaults: Any) -> None:
        super().__init__(model, **defaults)
        self.require_pooler()
        self.head = Head.of(model, "classifier", self.task)
        if len(self.head.bias) != 1:
            raise ConfigError(f"classifier: got {len(self.head.bias)} labels, expected 1 for multiple-choice")

    def results(self, inputs: list[Any], top_k: int | None = None, truncation: bool = True) -> list[Any]:
        """See the class."""
        for i, item in enumerate(inputs):
            if not isinstance(item, dict) or set(item) != {"prompt", "choices"} or not item["choices"]:
                raise InvalidInputError(f"inputs[{i}]: got {item!r}, expected {{'prompt': a text, 'choices': texts}}")
        pairs = [(item["prompt"], choice) for item in inputs for choice in item["choices"]]
        encoded = self.tokenizer(
            [prompt for prompt, _ in pairs],
            [choice for _, choice in pairs],
            truncation="only_first" if truncation else False,
            max_length=self.max_length,
        )
        logits = self.logits(list(zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)))
        ends = np.cumsum([len(item["choices"]) for item in inputs])
        results = []
        for item, group in zip(inputs, np.split(logits, ends[:-1]), strict=True):
            scores = softmax(group)
            order = np.argsort(-scores, kind="stable")[: len(scores) if top_k is None else as_top_k(top_k)]
            results.append([{"choice": item["choices"][i], "index": int(i), "score": float(scores[i])} for i in order])
        return results

    def logits(self, rows: Sequence[Row]) -> Array:
        """[R]: one number for a prompt with one of its choices."""
        return self.head(self.pooled(rows))[:, 0] if rows else np.empty(0)


class SentenceOrderPipeline(Pipeline):
    """``pipe(("First.", "Then."))``: ``[{"label", "score"}]`` for ``IN_ORDER`` and ``SWAPPED``, the likelier first.

    Of ALBERT's sentence-order prediction (Lan et al. 2020, section 3.1); the checkpoint must have that head. A pair is
    a tuple or ``{"text": ..., "text_pair": ...}``. ``truncation=True`` cuts pairs that are too long.
    """

    task = "sentence-order"
    options = frozenset({"truncation"})
    labels = ("IN_ORDER", "SWAPPED")

    def __init__(self, model: Model, **defaults: Any) -> None:
        super().__init__(model, **defaults)
        self.require_pooler()
        if not model.has_sop_head:
            raise InvalidInputError(f"sentence-order: {model.name} has no SOP head, which this task needs")

    def results(self, inputs: list[Any], truncation: bool = False) -> list[Any]:
        """See the class."""
        for i, item in enumerate(inputs):
            if isinstance(item, str) or (isinstance(item, dict) and item.get("text_pair") is None):
                raise InvalidInputError(f"inputs[{i}]: got one text, expected a pair")
        rows = self.rows(inputs, truncation=truncation)
        logits = self.run(rows, lambda state, _: state.sop_logits(num_threads=self.num_threads))
        results = []
        for scores in (softmax(row.astype(np.float64)) for row in logits):
            order = np.argsort(-scores, kind="stable")
            results.append([{"label": self.labels[i], "score": float(scores[i])} for i in order])
        return results
