"""token-classification: a class for every token, or for the entities they make up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from albert_fast.errors import InvalidInputError
from albert_fast.model import Model
from albert_fast.pipelines.base import Array, Pipeline
from albert_fast.pipelines.entities import Token, as_strategy, by_sample, classify, group, without_overlaps
from albert_fast.pipelines.heads import Head, Labels, softmax


class TokenClassificationPipeline(Pipeline):
    """``pipe("A text.")``: ``[{"entity", "score", "index", "word", "start", "end"}]``, a dictionary for each token
    whose label is not in ``ignore_labels`` (["O"]); start and end count characters of the text.

    ``aggregation_strategy``: ``"none"``; ``"simple"`` joins neighbours of one kind (``{"entity_group", "score", "word",
    "start", "end"}``); ``"first"``, ``"average"`` and ``"max"`` make the tokens of a word agree first. A piece goes on
    with a word if no space is between it and the piece before. ``stride``: texts that are too long are read in windows
    that share so many tokens, and of entities that overlap the longest is kept; without it they lose their tail.
    """

    task = "token-classification"
    options = frozenset({"aggregation_strategy", "ignore_labels", "stride"})

    def __init__(self, model: Model, **defaults: Any) -> None:
        super().__init__(model, **defaults)
        self.head = Head.of(model, "classifier", self.task)
        self.labels = Labels.of(model, len(self.head.bias))

    def results(
        self,
        inputs: list[Any],
        aggregation_strategy: str = "none",
        ignore_labels: Sequence[str] = ("O",),
        stride: int | None = None,
    ) -> list[Any]:
        """See the class."""
        strategy = as_strategy(aggregation_strategy)
        if stride is not None and strategy == "none":
            raise InvalidInputError("stride: got one with aggregation_strategy='none', expected another strategy")
        encoded = self.tokenizer(
            inputs,
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
        for text, windows in zip(inputs, by_sample(samples), strict=True):
            found: list[dict[str, Any]] = []
            for i in windows:
                special = encoded["special_tokens_mask"][i]
                tokens = self._tokens(text, rows[i][0], encoded["offset_mapping"][i], special, states[i])
                found += self._entities(tokens, strategy, ignore_labels)
            results.append(without_overlaps(found) if len(windows) > 1 else found)
        return results

    def _tokens(
        self, text: str, ids: Sequence[int], spans: Sequence[tuple[int, int]], special: Sequence[int], hidden: Array
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
