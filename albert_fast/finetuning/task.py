"""What fine-tuning tasks have in common: examples to features, features to batches, a model to figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from albert_fast.errors import InvalidInputError
from albert_fast.model import Model, load
from albert_fast.nn import AlbertPreTrainedModel
from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.trainer import Place

Row = tuple[Sequence[int], Sequence[int]]
"""Token ids with special tokens, and token types."""
E = TypeVar("E")


@dataclass(frozen=True)
class TaskRules:
    """``max_length``: tokens of an input. Span question answering: ``doc_stride`` tokens are shared by windows of a
    long context, questions have ``max_question_length``, answers ``max_answer_length``; ``null_threshold``: how much
    likelier no answer must be than the best one; ``n_best``: starts and ends that are combined."""

    max_length: int = 512
    doc_stride: int = 128
    max_question_length: int = 64
    max_answer_length: int = 30
    null_threshold: float = 0.0
    n_best: int = 20

    def __post_init__(self) -> None:
        for name in ("max_length", "max_question_length", "max_answer_length", "n_best"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: got {getattr(self, name)}, expected at least 1")
        if self.doc_stride < 0:
            raise InvalidInputError(f"doc_stride: got {self.doc_stride}, expected at least 0")


@dataclass(frozen=True)
class Feature:
    """One input of the model, several for multiple choice, and its labels by the names ``forward`` has: a number, or
    one for each token."""

    rows: tuple[Row, ...]
    labels: Mapping[str, int | Sequence[int]]


@dataclass(frozen=True)
class Report:
    """Figures by name, and what was predicted for each example, as JSON has it."""

    figures: dict[str, float]
    predictions: list[Any]


class FinetuningTask(ABC, Generic[E]):
    """One kind of task, for one tokenizer."""

    model_class: ClassVar[type[AlbertPreTrainedModel]]
    settings: ClassVar[Mapping[str, Any]] = {}
    """What the model's configuration has to say for this task."""
    best_by: ClassVar[str]

    def __init__(self, tokenizer: AlbertTokenizer, rules: TaskRules, label_names: Sequence[str] | None = None) -> None:
        """``label_names``: of a model's classes in the order of their ids, where its own names say nothing."""
        self.tokenizer = tokenizer
        self.rules = rules
        self.label_names = None if label_names is None else tuple(label_names)

    def names_of(self, own: Sequence[str]) -> tuple[str, ...]:
        """What a model's classes are called: as was said, or as its configuration says.

        Raises ``InvalidInputError`` where another number of names was given.
        """
        if self.label_names is None:
            return tuple(own)
        if len(self.label_names) != len(own):
            raise InvalidInputError(f"labels: got {len(self.label_names)}, expected {len(own)}, one for each class")
        return self.label_names

    @abstractmethod
    def read(self, path: Any) -> list[E]:
        """The examples of a file."""

    @abstractmethod
    def labels(self, examples: Sequence[E]) -> list[str] | None:
        """Names of the classes, in the order of their ids; None for a task without."""

    @abstractmethod
    def features(self, examples: Sequence[E], label2id: Mapping[str, int]) -> list[Feature]:
        """What is trained on. Raises ``InvalidInputError`` for a label that the model does not have."""

    def loss(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """That of the model's head."""
        return cast(Tensor, model(**batch).loss)

    @abstractmethod
    def measure(self, model: Model, examples: Sequence[E]) -> Report:
        """How good a model is at the task. It runs in the engine, in whatever dtype and on whatever device it is."""


class Objective(Generic[E]):
    """A task with its data, as ``Trainer`` takes it."""

    def __init__(
        self, task: FinetuningTask[E], features: list[Feature], development: Mapping[str, Sequence[E]], seed: int
    ) -> None:
        self.task, self.features, self.development, self._seed = task, features, development, seed
        first = next(iter(development), None)
        self.best_by = None if first is None else f"-{_name(task.best_by, first, len(development))}"

    def batches(self, place: Place, batch_size: int) -> Iterator[tuple[Place, dict[str, Tensor]]]:
        """Every example once an epoch, in an order of that epoch."""
        epoch, index = place
        while True:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self.features))
            while index < len(order):
                chosen = [self.features[i] for i in order[index : index + batch_size]]
                index += len(chosen)
                yield Place(epoch, index), collate(chosen, self.task.tokenizer.pad_token_id)
            epoch, index = epoch + 1, 0

    def losses(self, model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The task's loss."""
        return {"loss": self.task.loss(model, batch)}

    def evaluate(self, model: Any) -> dict[str, float]:
        """The figures of each development set; with several, the set's name is before each figure's."""
        if not self.development:
            return {}
        figures: dict[str, float] = {}
        device = "cuda" if model.device.type == "cuda" else "cpu"
        loaded = load(model, tokenizer=self.task.tokenizer, device=device)
        for name, examples in self.development.items():
            found = self.task.measure(loaded, examples).figures
            figures |= {_name(key, name, len(self.development)): value for key, value in found.items()}
        return figures


def _name(figure: str, development: str, count: int) -> str:
    return figure if count < 2 else f"{development}_{figure}"


def collate(features: Sequence[Feature], pad_token_id: int) -> dict[str, Tensor]:
    """A batch for ``forward``: input_ids, attention_mask, token_type_ids [B, S], with several choices [B, choices, S];
    labels [B], or [B, S] with -100 at padding."""
    choices = max(len(feature.rows) for feature in features)
    length = max(len(ids) for feature in features for ids, _ in feature.rows)
    shape = (len(features), choices, length)
    batch = {
        "input_ids": np.full(shape, pad_token_id, np.int64),
        "attention_mask": np.zeros(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    for i, feature in enumerate(features):
        for j, (ids, types) in enumerate(feature.rows):
            batch["input_ids"][i, j, : len(ids)] = ids
            batch["attention_mask"][i, j, : len(ids)] = 1
            batch["token_type_ids"][i, j, : len(types)] = types
    if all(len(feature.rows) == 1 for feature in features):
        batch = {name: array[:, 0] for name, array in batch.items()}
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}
    for name in features[0].labels:
        tensors[name] = _labels([feature.labels[name] for feature in features], length)
    return tensors


def _labels(values: Sequence[int | Sequence[int]], length: int) -> Tensor:
    rows = [value if isinstance(value, int) else [*value, *[-100] * (length - len(value))] for value in values]
    return torch.tensor(rows)


def label_id(label: str, label2id: Mapping[str, int], where: str = "") -> int:
    """The class of a label; of names that differ in capitals alone, too.

    Raises ``InvalidInputError`` for a label that is not among the model's.
    """
    if label in label2id:
        return label2id[label]
    alike = [index for name, index in label2id.items() if name.casefold() == label.casefold()]
    if len(alike) != 1:
        hint = "; labels= (--labels) names a model's classes" if all(n.startswith("LABEL_") for n in label2id) else ""
        place, names = f"{where}: " if where else "", ", ".join(map(repr, label2id))
        raise InvalidInputError(f"{place}label: got {label!r}, expected one of {names}{hint}")
    return alike[0]
