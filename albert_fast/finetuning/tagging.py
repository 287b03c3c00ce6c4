"""Classes of words: CoNLL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from albert_fast.errors import MissingDependencyError
from albert_fast.finetuning.examples import TaggedExample
from albert_fast.finetuning.readers import read_conll
from albert_fast.finetuning.task import Feature, FinetuningTask, Report, Row, label_id
from albert_fast.model import Model
from albert_fast.nn import AlbertForTokenClassification
from albert_fast.pipelines import TokenClassificationPipeline

_IGNORED = -100


class ConllTask(FinetuningTask[TaggedExample]):
    """A tag for every word, which is that of its first piece. Figures: ``precision``, ``recall``, ``f1`` of entities
    (seqeval, as ``conlleval`` counts them) and ``accuracy`` of tags."""

    model_class = AlbertForTokenClassification
    best_by = "f1"

    def read(self, path: Any) -> list[TaggedExample]:
        """See ``read_conll``."""
        return read_conll(path)

    def labels(self, examples: Sequence[TaggedExample]) -> list[str]:
        """All tags that are there, sorted."""
        return sorted({tag for example in examples for tag in example.tags})

    def features(self, examples: Sequence[TaggedExample], label2id: Mapping[str, int]) -> list[Feature]:
        """Tokens that do not begin a word have no label. Too long a sentence loses its tail."""
        features = []
        for example in examples:
            row, first = self._row(example)
            labels = [_IGNORED] * len(row[0])
            for place, tag in zip(first, example.tags, strict=False):
                if place is not None:
                    labels[place] = label_id(tag, label2id, example.where)
            features.append(Feature((row,), {"labels": labels}))
        return features

    def measure(self, model: Model, examples: Sequence[TaggedExample]) -> Report:
        """A word that was cut off, or has no piece, is tagged O."""
        metrics = _seqeval()
        pipe = TokenClassificationPipeline(model)
        names = self.names_of(pipe.labels.names)
        encoded = [self._row(example) for example in examples]
        states = pipe.hidden_states([row for row, _ in encoded])
        found = []
        for (_, first), hidden in zip(encoded, states, strict=True):
            tags = [names[i] for i in pipe.head(hidden).argmax(-1)]
            found.append(["O" if place is None else tags[place] for place in first])
        wanted = [list(example.tags) for example in examples]
        right = [a == b for gold, given in zip(wanted, found, strict=True) for a, b in zip(gold, given, strict=True)]
        figures = {
            name: float(getattr(metrics, f"{name}_score")(wanted, found, zero_division=0))
            for name in ("precision", "recall", "f1")
        }
        return Report({**figures, "accuracy": float(np.mean(right)), "total": len(examples)}, found)

    def _row(self, example: TaggedExample) -> tuple[Row, list[int | None]]:
        """The sentence with special tokens, and the place of each word's first piece."""
        pieces = self.tokenizer(list(example.words), add_special_tokens=False)["input_ids"]
        ids: list[int] = [self.tokenizer.cls_token_id]
        first: list[int | None] = []
        room = self.rules.max_length - 1
        for word in pieces:
            first.append(len(ids) if word and len(ids) < room else None)
            ids += word
        ids = [*ids[:room], self.tokenizer.sep_token_id]
        return (ids, [0] * len(ids)), first


def _seqeval() -> Any:
    try:
        from seqeval import metrics  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependencyError("conll needs seqeval: pip install 'albert_fast[evaluation]'") from error
    return metrics
