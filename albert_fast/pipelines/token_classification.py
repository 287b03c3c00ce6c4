"""token-classification: a class for every token, or for the entities they make up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from albert_fast.errors import InvalidInputError
from albert_fast.model import Model
from albert_fast.pipelines.base import Array, Pipeline
from albert_fast.pipelines.entities import Token, as_strategy, by_sample, classify, group, without_overlaps
from albert_fast.pipelines.heads import Head, Labels, softmax
from albert_fast.tokenizer.arguments import as_words, check_text
from albert_fast.tokenizer.offsets import Span


class TokenClassificationPipeline(Pipeline):
    """``pipe("A text.")``: ``[{"entity", "score", "index", "word", "start", "end"}]``, a dictionary for each token
    whose label is not in ``ignore_labels`` (["O"]); start and end count characters of the text.

    ``aggregation_strategy``: ``"none"``; ``"simple"`` joins neighbours of one kind (``{"entity_group", "score", "word",
    "start", "end"}``); ``"first"``, ``"average"`` and ``"max"`` make the tokens of a word agree first. A piece goes on
    with a word if no space is between it and the piece before. ``stride``: texts that are too long are read in windows
    that share so many tokens, and of entities that overlap the longest is kept; without it they lose their tail.

    ``is_split_into_words``: inputs are lists of words, each tokenized on its own. Start and end count characters of the
    words joined by ``delimiter`` (" "). One list of words gives a list of one result, as in transformers.
    """

    task = "token-classification"
    options = frozenset({"aggregation_strategy", "ignore_labels", "stride", "is_split_into_words", "delimiter"})

    def __init__(self, model: Model, **defaults: Any) -> None:
        super().__init__(model, **defaults)
        self.head = Head.of(model, "classifier", self.task)
        self.labels = Labels.of(model, len(self.head.bias))

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """See the class."""
        split = {**self._defaults, **options}.get("is_split_into_words", False)
        if split and isinstance(inputs, (list, tuple)):
            one = not all(isinstance(item, (list, tuple)) for item in inputs)
            inputs = [inputs] if one else list(inputs)
        return super().__call__(inputs, **options)

    def results(
        self,
        inputs: list[Any],
        aggregation_strategy: str = "none",
        ignore_labels: Sequence[str] = ("O",),
        stride: int | None = None,
        is_split_into_words: bool = False,
        delimiter: str | None = None,
    ) -> list[Any]:
        """See the class."""
        strategy = as_strategy(aggregation_strategy)
        gap = " " if delimiter is None else check_text(delimiter, "delimiter")
        if is_split_into_words:
            inputs = [as_words(item, f"inputs[{i}]") for i, item in enumerate(inputs)]
        if not inputs:  # which the tokenizer would take for one text without words
            return []
        if stride is not None and strategy == "none":
            raise InvalidInputError("stride: got one with aggregation_strategy='none', expected another strategy")
        encoded = self.tokenizer(
            inputs,
            is_split_into_words=is_split_into_words,
            truncation=True,
            max_length=self.max_length,
            stride=stride or 0,
            return_overflowing_tokens=stride is not None,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        rows = list(zip(encoded["input_ids"], encoded["token_type_ids"], strict=True))
        states = self.hidden_states(rows)
        samples = encoded.get("overflow_to_sample_mapping", range(len(inputs)))
        results = []
        for item, windows in zip(inputs, by_sample(samples), strict=True):
            text = gap.join(item) if is_split_into_words else item
            found: list[dict[str, Any]] = []
            for i in windows:
                spans, special = encoded["offset_mapping"][i], encoded["special_tokens_mask"][i]
                if is_split_into_words:
                    spans = _in_joined(spans, encoded.word_ids(i), item, gap)
                tokens = self._tokens(text, rows[i][0], spans, special, states[i])
                found += self._entities(tokens, strategy, ignore_labels)
            results.append(without_overlaps(found) if len(windows) > 1 else found)
        return results

    def _tokens(
        self, text: str, ids: Sequence[int], spans: Sequence[Span], special: Sequence[int], hidden: Array
    ) -> list[Token]:
        scores = softmax(self.head(hidden))
        tokens = []
        for index in np.flatnonzero(np.equal(special, 0)).tolist():
            start, end = spans[index]
            unknown = ids[index] == self.tokenizer.unk_token_id
            piece = text[start:end] if unknown else self.tokenizer.convert_ids_to_tokens(int(ids[index]))
            continues = not unknown and start > 0 and " " not in text[start - 1 : start + 1]
            tokens.append(Token(index, piece, start, end, scores[index], continues))
        return tokens

    def _entities(self, tokens: list[Token], strategy: str, ignored: Sequence[str]) -> list[dict[str, Any]]:
        entities = classify(tokens, self.labels.names, strategy)
        if strategy == "none":
            return [
                {
                    "entity": entity.label,
                    "score": entity.score,
                    "index": entity.index,
                    "word": entity.pieces[0],
                    "start": entity.start,
                    "end": entity.end,
                }
                for entity in entities
                if entity.label not in ignored
            ]
        return [
            {
                "entity_group": members[0].kind,
                "score": float(np.mean([entity.score for entity in members])),
                "word": self._text([piece for entity in members for piece in entity.pieces]),
                "start": members[0].start,
                "end": members[-1].end,
            }
            for members in group(entities)
            if members[0].kind not in ignored
        ]

    def _text(self, pieces: list[str]) -> str:
        return "".join(pieces).replace("▁", " ").strip()


def _in_joined(spans: Sequence[Span], owners: Sequence[int | None], words: Sequence[str], delimiter: str) -> list[Span]:
    """Spans in words as spans in the words joined by the delimiter; ``owners`` holds each token's word, if any."""
    begins = list(accumulate((len(word) + len(delimiter) for word in words), initial=0))
    shifts = [0 if owner is None else begins[owner] for owner in owners]
    return [(start + shift, end + shift) for (start, end), shift in zip(spans, shifts, strict=True)]
