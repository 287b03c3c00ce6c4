"""Multiple choice: RACE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from albert_fast.finetuning.examples import ChoiceExample
from albert_fast.finetuning.readers import read_race
from albert_fast.finetuning.task import Feature, FinetuningTask, Report, Row
from albert_fast.model import Model
from albert_fast.nn import AlbertForMultipleChoice
from albert_fast.pipelines import MultipleChoicePipeline


class RaceTask(FinetuningTask[ChoiceExample]):
    """One of several answers to a question about a passage. Figures: ``accuracy``, and that of each part."""

    model_class = AlbertForMultipleChoice
    best_by = "accuracy"

    def read(self, path: Any) -> list[ChoiceExample]:
        """See ``read_race``."""
        return read_race(path)

    def labels(self, examples: Sequence[ChoiceExample]) -> None:
        """It has none: choices are not classes."""

    def features(self, examples: Sequence[ChoiceExample], label2id: Mapping[str, int]) -> list[Feature]:
        """Too long a passage loses its tail."""
        rows = self._rows(examples)
        return [Feature(tuple(next(rows) for _ in example.choices), {"labels": example.answer}) for example in examples]

    def loss(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Of a softmax over the choices that a question has: rows that fill up those with fewer weigh nothing."""
        labels, mask = batch["labels"], batch["attention_mask"]
        inputs = {name: values for name, values in batch.items() if name != "labels"}
        there = mask.bool().any(dim=-1)
        inputs["attention_mask"] = torch.where(
            there[..., None], mask, 1
        )  # a row without a token is none for the engine
        return F.cross_entropy(model(**inputs).logits.masked_fill(~there, -torch.inf), labels)

    def measure(self, model: Model, examples: Sequence[ChoiceExample]) -> Report:
        """The share whose likeliest choice is right."""
        pipe = MultipleChoicePipeline(model)
        logits = pipe.logits(list(self._rows(examples)))
        ends = np.cumsum([len(example.choices) for example in examples])
        found = [int(group.argmax()) for group in np.split(logits, ends[:-1])]
        is_right = np.array([choice == example.answer for choice, example in zip(found, examples, strict=True)])
        figures = {"accuracy": float(is_right.mean()), "total": float(len(examples))}
        groups = np.array([example.group for example in examples])
        for group in sorted(set(groups)):
            figures[f"{group}_accuracy"] = float(is_right[groups == group].mean())
        return Report(figures, found)

    def _rows(self, examples: Sequence[ChoiceExample]) -> Any:
        encoded = self.tokenizer(
            [example.passage for example in examples for _ in example.choices],
            [choice for example in examples for choice in example.choices],
            truncation="only_first",
            max_length=self.rules.max_length,
        )
        rows: list[Row] = list(zip(encoded["input_ids"], encoded["token_type_ids"], strict=True))
        return iter(rows)
