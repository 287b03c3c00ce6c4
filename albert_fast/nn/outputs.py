"""transformers' outputs with logits that are computed when they are first looked at."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor
from transformers.modeling_outputs import MaskedLMOutput, ModelOutput
from transformers.models.albert.modeling_albert import AlbertForPreTrainingOutput


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


class _LazyOutput(ModelOutput):
    """An output of which a field may be ``Lazy``: every way to read that field computes it, and keeps it."""

    def defer(self, name: str, lazy: Lazy) -> None:
        """Give a field without a value one that is computed later; constructors look at what they are given."""
        OrderedDict.__setitem__(self, name, lazy)
        self.__dict__[name] = lazy
        names = [field.name for field in fields(self)]
        for later in names[names.index(name) + 1 :]:
            if later in self:
                self.move_to_end(later)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if type(value) is Lazy:
            value = self[name] = value()
        return value

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return tuple(self[name] for name in list(self)[key])
        name = list(self)[key] if isinstance(key, int) else key
        if name not in self:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:  # having it makes dict(output) ask __getitem__, which computes what is lazy
        return cast(Iterator[str], super().__iter__())

    def get(self, key: str, default: Any = None) -> Any:
        """The field, or ``default`` if it is not there."""
        return self[key] if key in self else default  # noqa: SIM401

    def values(self) -> list[Any]:
        """The fields that are there."""
        return [self[name] for name in self]

    def items(self) -> list[tuple[str, Any]]:
        """Names and fields."""
        return [(name, self[name]) for name in self]

    def copy(self) -> dict[str, Any]:
        """A plain dictionary."""
        return dict(self.items())

    def __repr__(self) -> str:  # looking at an output in a debugger computes nothing
        shown = (f"{name}={value!r}" for name, value in super().items())
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        self.values()
        return cast(tuple[Any, ...], super().__reduce__())


@dataclass(repr=False)
class LazyMaskedLMOutput(_LazyOutput, MaskedLMOutput):
    """loss []; logits [B, S, V]; hidden_states; attentions."""


@dataclass(repr=False)
class LazyForPreTrainingOutput(_LazyOutput, AlbertForPreTrainingOutput):
    """loss []; prediction_logits [B, S, V]; sop_logits [B, 2]; hidden_states; attentions."""
