"""What the models return: transformers' field names, reached as attributes, items, by index, slice or as a tuple.

The tuple in ``albert_fast.outputs`` cannot serve here: training code asks whether an output is a dictionary, and a
field may be one that is computed when it is first looked at.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor


class Lazy:
    """A tensor that is computed when it is first looked at, from parameters that should be as they were.

    Gradients are recorded if they would have been when this was made.
    """

    def __init__(self, compute: Callable[[], Tensor], parameters: Sequence[Tensor]) -> None:
        self._compute = compute
        self._parameters = tuple(parameters)
        self._versions = self._count_changes()
        self._records_gradients = torch.is_grad_enabled()

    def __call__(self) -> Tensor:
        """The tensor, with a warning if an optimizer has changed the parameters meanwhile."""
        if self._count_changes() != self._versions:
            warnings.warn(
                "logits are computed when they are first read, and the weights have changed since the forward pass;"
                " read them before optimizer.step() to have those of the forward pass",
                stacklevel=4,
            )
        with torch.set_grad_enabled(self._records_gradients):
            return self._compute()

    def _count_changes(self) -> list[int]:
        return [parameter._version for parameter in self._parameters]


class ModelOutput(dict[str, Any]):
    """The fields that are there, in order; a field that was not computed is an attribute with the value None."""

    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, values: Any = (), /, **named: Any) -> None:
        given = dict(values, **named)
        if unknown := set(given) - set(self.fields):
            raise TypeError(f"{type(self).__name__} has no field {sorted(unknown)[0]!r}")
        super().__init__((field, given[field]) for field in self.fields if given.get(field) is not None)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return tuple(self[name] for name in list(self)[key])
        name = list(self)[key] if isinstance(key, int) else key
        value = super().__getitem__(name)
        if isinstance(value, Lazy):
            value = value()
            super().__setitem__(name, value)
        return value

    def __getattr__(self, name: str) -> Any:
        if name not in self.fields:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        super().__setitem__(name, value)

    def __iter__(self) -> Iterator[str]:  # having it makes dict(output) ask __getitem__, which computes what is lazy
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        """The field, or ``default`` if it is not there."""
        return self[key] if key in self else default  # noqa: SIM401

    def values(self) -> list[Any]:  # type: ignore[override]
        """The fields that are there."""
        return [self[name] for name in self]

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]
        """Names and fields."""
        return [(name, self[name]) for name in self]

    def copy(self) -> dict[str, Any]:
        """A plain dictionary."""
        return dict(self.items())

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are there."""
        return tuple(self.values())

    def _fixed(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"the fields of {type(self).__name__} cannot be taken out")

    __delitem__ = pop = popitem = setdefault = update = clear = _fixed

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.copy(),)

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in super().items())
        return f"{type(self).__name__}({', '.join(shown)})"


class AlbertModelOutput(ModelOutput):
    """last_hidden_state [B, S, H]; pooler_output [B, H]; hidden_states: one [B, S, H] more than layers."""

    fields = ("last_hidden_state", "pooler_output", "hidden_states")


class AlbertForPreTrainingOutput(ModelOutput):
    """loss []; prediction_logits [B, S, V]; sop_logits [B, 2]; hidden_states."""

    fields = ("loss", "prediction_logits", "sop_logits", "hidden_states")


class LogitsOutput(ModelOutput):
    """loss []; logits, of the shape its model documents; hidden_states."""

    fields = ("loss", "logits", "hidden_states")


class QuestionAnsweringOutput(ModelOutput):
    """loss []; start_logits and end_logits [B, S]; hidden_states."""

    fields = ("loss", "start_logits", "end_logits", "hidden_states")


class BeamQuestionAnsweringOutput(ModelOutput):
    """loss []; start_top_log_probs and start_top_index [B, n]; end_top_log_probs and end_top_index [B, m * n],
    the j-th end of the i-th start at j * n + i; cls_logits [B]; hidden_states."""

    fields = (
        "loss",
        "start_top_log_probs",
        "start_top_index",
        "end_top_log_probs",
        "end_top_index",
        "cls_logits",
        "hidden_states",
    )
