"""What task models have beyond ALBERT: one linear layer, and labels in ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_fast.errors import CheckpointError, ConfigError
from albert_fast.model import Model
from albert_fast.sources.folder import CONFIG_FILE

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Head:
    """A linear layer on hidden states or on the pooler's output."""

    weight: npt.NDArray[np.float64]  # [N, K]; K is H but for layers on several states
    bias: npt.NDArray[np.float64]  # [N]

    def __call__(self, rows: Array) -> npt.NDArray[np.float64]:
        """[R, K] -> [R, N], in float64; row by row, so that none depends on the rows beside it."""
        products = np.empty((len(rows), len(self.bias)))
        for row, product in zip(rows.astype(np.float64), products, strict=True):
            np.add(self.weight @ row, self.bias, out=product)
        return products

    @classmethod
    def of(
        cls,
        model: Model,
        name: str,
        task: str,
        *,
        labels: int | None = None,
        states: int = 1,
        has_bias: bool = True,
    ) -> Head:
        """The layer ``name`` of the model's checkpoint, to ``labels`` numbers (any if None), on so many hidden states
        side by side.

        Raises ``CheckpointError`` if that has none, or one that does not fit: the model was not fine-tuned for the
        task, and a random layer would answer anyway.
        """
        weight = tensor_of(model, f"{name}.weight", task, (labels, states * model.config.hidden_size))
        if not has_bias:
            return cls(weight, np.zeros(len(weight)))
        return cls(weight, tensor_of(model, f"{name}.bias", task, (len(weight),)))


@dataclass(frozen=True)
class Labels:
    """What a checkpoint's configuration says of its classes."""

    names: tuple[str, ...]
    problem_type: str | None

    @classmethod
    def of(cls, model: Model, count: int) -> Labels:
        """Names of ``count`` classes: ``id2label`` of the configuration, or LABEL_0, LABEL_1, ...

        Raises ``ConfigError`` if there are names for another number of classes.
        """
        settings = settings_of(model)
        named = settings.get("id2label")
        if not isinstance(named, Mapping):
            named = {i: f"LABEL_{i}" for i in range(count)}
        by_id = {int(index): str(label) for index, label in named.items()}
        if set(by_id) != set(range(count)):
            raise ConfigError(f"id2label: got labels {sorted(by_id)}, expected 0 to {count - 1}, one for each class")
        return cls(tuple(by_id[i] for i in range(count)), settings.get("problem_type"))


def tensor_of(model: Model, name: str, task: str, expected: tuple[int | None, ...]) -> npt.NDArray[np.float64]:
    """The tensor of the model's checkpoint that ALBERT has no place for; None in ``expected`` is any size.

    Raises ``CheckpointError`` if it has none, or one of another shape.
    """
    with model.open_source() as source:
        if name not in source.unused_tensors:
            raise CheckpointError(
                f"model {model.name}: got no {name}, which {task} needs; expected a checkpoint fine-tuned for it"
                f" (its other tensors: {', '.join(source.unused_tensors) or 'none'})"
            )
        shape = source.shape(name)
        fits = len(shape) == len(expected) and all(
            want in (None, got) for want, got in zip(expected, shape, strict=True)
        )
        if not fits:
            sizes = ", ".join("labels" if size is None else str(size) for size in expected)
            raise CheckpointError(f"model {model.name}: got {name} of shape {list(shape)}, expected [{sizes}]")
        return source.rows(name, 0, shape[0]).astype(np.float64).reshape(shape)


def settings_of(model: Model) -> Mapping[str, Any]:
    """The configuration as stored, with all that ``AlbertConfig`` has no place for."""
    place = model.settings_place
    if isinstance(place, Path):
        values: Mapping[str, Any] = json.loads((place / CONFIG_FILE).read_text(encoding="utf-8"))
        return values
    return {} if place is None else dict(place.to_dict())


def softmax(logits: Array) -> Array:
    """Over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-x)), where exp cannot overflow."""
    raised = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + raised), raised / (1 + raised))
