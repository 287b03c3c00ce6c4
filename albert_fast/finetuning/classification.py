"""Classes of texts and pairs: SST-2, MNLI, and files of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from albert_fast.finetuning.examples import TextExample
from albert_fast.finetuning.readers import ANY, MNLI, SST2, Columns, read_texts
from albert_fast.finetuning.task import Feature, FinetuningTask, Report, label_id
from albert_fast.model import Model
from albert_fast.nn import AlbertForSequenceClassification
from albert_fast.pipelines import TextClassificationPipeline


class ClassificationTask(FinetuningTask[TextExample]):
    """A text or a pair has one of several classes. Figures: ``accuracy``."""

    model_class = AlbertForSequenceClassification
    best_by = "accuracy"
    columns: ClassVar[Columns] = ANY
    order: ClassVar[tuple[str, ...] | None] = None

    def read(self, path: Any) -> list[TextExample]:
        """See ``read_texts``."""
        return read_texts(path, self.columns)

    def labels(self, examples: Sequence[TextExample]) -> list[str]:
        """Those of the data set, or all that are there, sorted."""
        return list(self.order) if self.order else sorted({example.label for example in examples})

    def features(self, examples: Sequence[TextExample], label2id: Mapping[str, int]) -> list[Feature]:
        """Too long a pair loses tokens of the longer text."""
        encoded = self.tokenizer.encode_ragged([_text(e) for e in examples], max_length=self.rules.max_length)
        return [
            Feature((row,), {"labels": label_id(example.label, label2id, example.where)})
            for row, example in zip(encoded, examples, strict=True)
        ]

    def measure(self, model: Model, examples: Sequence[TextExample]) -> Report:
        """The share whose likeliest class is right."""
        pipe = TextClassificationPipeline(model)
        names = self.names_of(pipe.labels.names)
        label2id = {name: i for i, name in enumerate(names)}
        wanted = np.array([label_id(example.label, label2id, example.where) for example in examples])
        logits = pipe.logits([_text(e) for e in examples], truncation=True, max_length=self.rules.max_length)
        found = logits.argmax(-1)
        return Report(
            {"accuracy": float(np.mean(found == wanted)), "total": len(examples)},
            [names[i] for i in found],
        )


class Sst2Task(ClassificationTask):
    """SST-2 from GLUE's TSV: sentence and label."""

    columns = SST2
    order = ("negative", "positive")

    def names_of(self, own: Sequence[str]) -> tuple[str, ...]:
        """Of a model that says LABEL_0 and LABEL_1 the data's own 0 and 1 are meant."""
        unnamed = self.label_names is None and list(own) == ["LABEL_0", "LABEL_1"]
        return self.order if unnamed else super().names_of(own)


class MnliTask(ClassificationTask):
    """MNLI from GLUE's TSV or its own JSONL: sentence1, sentence2, gold_label."""

    columns = MNLI
    order = ("contradiction", "entailment", "neutral")


def _text(example: TextExample) -> Any:
    return example.text if example.text_pair is None else (example.text, example.text_pair)
