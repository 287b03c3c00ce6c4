"""fill-mask: which pieces may stand where a text says [MASK]."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from albert_fast import _core
from albert_fast.errors import InvalidInputError
from albert_fast.model import Model
from albert_fast.pipelines.base import Array, Pipeline, Row, as_top_k
from albert_fast.pipelines.heads import softmax

_logger = logging.getLogger("albert_fast")


class FillMaskPipeline(Pipeline):
    """``pipe("Hello I'm a [MASK] model.")``: a list of ``{"score", "token", "token_str", "sequence"}``, best first.

    A list of one text gives what the text alone does, as in transformers. A text with several masks gives a list of
    such lists, one for each mask; their probabilities are independent of each other. ``top_k`` (5): how many.
    ``targets``: only these pieces (a word that is none counts as its first piece, with a warning).
    ``tokenizer_kwargs={"truncation": True}`` cuts texts that are too long, which is an error otherwise. Raises
    ``InvalidInputError`` for a text without a mask.
    """

    task = "fill-mask"
    options = frozenset({"top_k", "targets", "tokenizer_kwargs"})

    def __init__(self, model: Model, **defaults: Any) -> None:
        super().__init__(model, **defaults)
        if not model.has_mlm_head:
            raise InvalidInputError(f"fill-mask: {model.name} has no MLM head, which this task needs")

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """See the class; a list of one text gives its answers, as in transformers."""
        result = super().__call__(inputs, **options)
        return result[0] if isinstance(inputs, list) and len(inputs) == 1 else result

    def results(
        self,
        inputs: list[Any],
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
    ) -> list[Any]:
        """See the class."""
        allowed = None if targets is None else self._target_ids(targets)
        count = as_top_k(top_k)
        rows = self.rows(inputs, **(tokenizer_kwargs or {}))
        masks = [np.flatnonzero(np.equal(ids, self.tokenizer.mask_token_id)) for ids, _ in rows]
        for i, places in enumerate(masks):
            if not len(places):
                raise InvalidInputError(f"inputs[{i}]: got no {self.tokenizer.mask_token}, expected at least one")

        def read(state: _core.EncoderState, indices: list[int]) -> Iterable[Array]:
            starts = np.cumsum([0, *(len(rows[i][0]) for i in indices)])[:-1]
            places = [start + masks[i] for start, i in zip(starts, indices, strict=True)]
            logits = state.mlm_logits(np.concatenate(places).astype(np.int32), num_threads=self.num_threads)
            return np.split(softmax(logits.astype(np.float64)), np.cumsum([len(p) for p in places])[:-1])

        filled = []
        for row, places, probabilities in zip(rows, masks, self.run(rows, read), strict=True):
            single = len(places) == 1
            answers = [
                self._answers(row, int(place), scores, allowed, count, skip_special_tokens=single)
                for place, scores in zip(places, probabilities, strict=True)
            ]
            filled.append(answers[0] if single else answers)
        return filled

    def _answers(
        self, row: Row, place: int, scores: Array, allowed: Array | None, top_k: int, *, skip_special_tokens: bool
    ) -> list[dict[str, Any]]:
        candidates = np.arange(len(scores)) if allowed is None else allowed
        best = candidates[np.argsort(-scores[candidates], kind="stable")[:top_k]]
        answers = []
        for token in best.tolist():
            ids = [*row[0][:place], token, *row[0][place + 1 :]]
            answers.append(
                {
                    "score": float(scores[token]),
                    "token": token,
                    "token_str": self.tokenizer.decode([token]),
                    "sequence": self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens),
                }
            )
        return answers

    def _target_ids(self, targets: str | Sequence[str]) -> Array:
        vocabulary = self.tokenizer.get_vocab()
        ids = []
        for target in [targets] if isinstance(targets, str) else targets:
            if target not in vocabulary:
                pieces = self.tokenizer.encode(target, add_special_tokens=False)
                if not pieces:
                    raise InvalidInputError(f"targets: got {target!r}, of which no piece is left, expected a word")
                token = self.tokenizer.convert_ids_to_tokens(pieces[0])
                _logger.warning("targets: %r is not a piece of the vocabulary, %r stands for it", target, token)
                ids.append(pieces[0])
            else:
                ids.append(vocabulary[target])
        if not ids:
            raise InvalidInputError("targets: got none, expected at least one")
        return np.unique(ids)
