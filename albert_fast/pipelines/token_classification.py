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
    with a word if no white space is between it and the piece before; WordPiece marks those that do. ``stride``: texts
    that are too long are read in windows that share so many tokens, and of entities that overlap the longest is kept;
    without it they lose their tail.

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
                owners = encoded.word_ids(i) if is_split_into_words else None
                inside = [_goes_on(text if owners is None else item, owners, k, spans[k][0]) for k in range(len(spans))]
                if owners is not None:
                    spans = _in_joined(spans, owners, item, gap)
                tokens = self._tokens(text, rows[i][0], spans, special, states[i], inside)
                found += self._entities(tokens, strategy, ignore_labels)
            results.append(without_overlaps(found) if len(windows) > 1 else found)
        return results

    def _tokens(
        self,
        text: str,
        ids: Sequence[int],
        spans: Sequence[Span],
        special: Sequence[int],
        hidden: Array,
        inside: Sequence[bool],
    ) -> list[Token]:
        """``inside``: whether a token stands inside of a word, by the text alone."""
        scores = softmax(self.head(hidden))
        prefix = self.tokenizer.backend.subword_prefix
        tokens = []
        for index in np.flatnonzero(np.equal(special, 0)).tolist():
            start, end = spans[index]
            unknown = ids[index] == self.tokenizer.unk_token_id
            piece = text[start:end] if unknown else self.tokenizer.convert_ids_to_tokens(int(ids[index]))
            continues = inside[index] if prefix is None else piece.startswith(prefix)
            tokens.append(Token(index, piece, start, end, scores[index], continues and not unknown))
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
                "word": self.tokenizer.convert_tokens_to_string([p for entity in members for p in entity.pieces]),
                "start": members[0].start,
                "end": members[-1].end,
            }
            for members in group(entities)
            if members[0].kind not in ignored
        ]


def _goes_on(text: str | Sequence[str], owners: Sequence[int | None] | None, index: int, start: int) -> bool:
    """Whether no white space is about the place where a token starts, in its own word if words were given."""
    if owners is not None:
        owner = owners[index]
        text = "" if owner is None else text[owner]
    return start > 0 and not any(map(str.isspace, text[start - 1 : start + 1]))


def _in_joined(spans: Sequence[Span], owners: Sequence[int | None], words: Sequence[str], delimiter: str) -> list[Span]:
    """Spans in words as spans in the words joined by the delimiter; ``owners`` holds each token's word, if any."""
    begins = list(accumulate((len(word) + len(delimiter) for word in words), initial=0))
    shifts = [0 if owner is None else begins[owner] for owner in owners]
    return [(start + shift, end + shift) for (start, end), shift in zip(spans, shifts, strict=True)]
