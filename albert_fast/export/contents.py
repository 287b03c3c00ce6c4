"""What an export reads of a checkpoint: tensors, labels and the head of a task, as they are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from albert_fast.checkpoint import heads
from albert_fast.errors import CheckpointError, ConfigError, InvalidInputError
from albert_fast.layout import Heads
from albert_fast.model import Model
from albert_fast.sources import WeightSource, open_source
from albert_fast.sources.folder import CONFIG_FILE

Array = npt.NDArray[np.float32]

_HEADS: Final = {
    "text-classification": "classifier",
    "token-classification": "classifier",
    "question-answering": "qa_outputs",
    "multiple-choice": "classifier",
    "sentence-order": "sop_classifier.classifier",
}
_SIZES: Final = {"question-answering": 2, "multiple-choice": 1, "sentence-order": 2}
"""Rows of the head, of tasks that do not leave it to the checkpoint."""


class Contents:
    """An open checkpoint. A context manager, as the source it reads from."""

    def __init__(self, source: WeightSource, settings: Mapping[str, Any]) -> None:
        self.source = source
        self.config = source.config
        self.settings = settings
        self.heads: Heads = heads(source)

    @classmethod
    def of(cls, model: Any) -> Contents:
        """Of a loaded ``Model``, or of anything that ``load`` takes. Raises what ``open_source`` raises."""
        source = model.open_source() if isinstance(model, Model) else open_source(model)
        if isinstance(model, Model):
            live = None if source.folder else model.settings_place
        else:
            live = getattr(model, "config", None)
        if live is not None:
            return cls(source, live.to_dict())
        if source.folder is None:
            return cls(source, {})
        return cls(source, json.loads((source.folder / CONFIG_FILE).read_text(encoding="utf-8")))

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, *error: object) -> None:
        self.source.close()

    def tensor(self, name: str) -> Array:
        """In float32 and its own shape. Raises ``CheckpointError`` for NaN or infinite values."""
        shape = self.source.shape(name)
        with np.errstate(over="ignore"):  # becomes infinite, which is refused
            values = self.source.rows(name, 0, shape[0]).astype(np.float32).reshape(shape)
        if not np.isfinite(values).all():
            raise CheckpointError(f"model {self.source.name}: {name} has values that are not finite")
        return values

    def head(self, task: str) -> tuple[Array, Array]:
        """Weight [N, H] and bias [N] of the task's own layer.

        Raises ``CheckpointError`` if there is none, or one that does not fit: the model was not fine-tuned for the
        task, and a random layer would answer anyway.
        """
        name = _HEADS[task]
        found = {*self.source.tensor_names, *self.source.unused_tensors}
        if missing := [n for n in (f"{name}.weight", f"{name}.bias") if n not in found]:
            raise CheckpointError(
                f"model {self.source.name}: got no {missing[0]}, which {task} needs; expected a checkpoint fine-tuned"
                f" for it (its other tensors: {', '.join(self.source.unused_tensors) or 'none'})"
            )
        weight, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        rows, hidden = _SIZES.get(task, len(bias)), self.config.hidden_size
        if weight.shape != (rows, hidden) or bias.shape != (rows,):
            raise CheckpointError(
                f"model {self.source.name}: got {name} of shapes {list(weight.shape)} and {list(bias.shape)},"
                f" expected [{rows}, {hidden}] and [{rows}] for {task}"
            )
        return weight, bias

    def require(self, head: str, task: str) -> None:
        """Raises ``InvalidInputError`` if the checkpoint lacks the pooler or the MLM head, which the task needs."""
        if not getattr(self.heads, head):
            what = {"pooler": "pooler", "mlm_head": "MLM head"}[head]
            raise InvalidInputError(f"{task}: {self.source.name} has no {what}, which this needs")

    def labels(self, count: int) -> dict[int, str]:
        """Names of ``count`` classes: ``id2label`` of the configuration, or LABEL_0, LABEL_1, ...

        Raises ``ConfigError`` if there are names for another number of classes.
        """
        named = self.settings.get("id2label")
        if not isinstance(named, Mapping):
            return {i: f"LABEL_{i}" for i in range(count)}
        by_id = {int(index): str(label) for index, label in named.items()}
        if set(by_id) != set(range(count)):
            raise ConfigError(f"id2label: got labels {sorted(by_id)}, expected 0 to {count - 1}, one for each class")
        return dict(sorted(by_id.items()))
