"""What ``forward`` returns: attributes with transformers' names, and a tuple of those that are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar


class ModelOutput(tuple[Any, ...]):
    """A tuple of the fields that are not None, in order, each also an attribute and an item by name.

    ``output.last_hidden_state``, ``output["last_hidden_state"]`` and ``output[0]`` are the same array; a field that
    was not computed is an attribute with the value None and takes no place in the tuple.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    _values: dict[str, Any]

    def __new__(cls, **values: Any) -> ModelOutput:
        """Fields by name; those left out are None."""
        unknown = set(values) - set(cls.fields)
        if unknown:
            raise TypeError(f"{cls.__name__} has no field {sorted(unknown)[0]!r}")
        output = super().__new__(cls, (values[f] for f in cls.fields if values.get(f) is not None))
        output._values = {field: values.get(field) for field in cls.fields}
        return output

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if self._values.get(key) is None:
                raise KeyError(key)
            return self._values[key]
        return super().__getitem__(key)

    def keys(self) -> Iterator[str]:
        """Names of the fields that are there, in the tuple's order."""
        return (field for field in self.fields if self._values[field] is not None)

    def to_tuple(self) -> tuple[Any, ...]:
        """The plain tuple."""
        return tuple(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={self[key]!r}' for key in self.keys())})"


def _rebuild(cls: type[ModelOutput], values: dict[str, Any]) -> ModelOutput:
    return cls(**values)


class AlbertModelOutput(ModelOutput):
    """last_hidden_state [B, S, H]; pooler_output [B, H]; hidden_states: L + 1 arrays [B, S, H]."""

    fields = ("last_hidden_state", "pooler_output", "hidden_states")


class AlbertForPreTrainingOutput(ModelOutput):
    """prediction_logits [B, S, V] or [selected, V]; sop_logits [B, 2]; hidden_states: L + 1 arrays [B, S, H]."""

    fields = ("prediction_logits", "sop_logits", "hidden_states")
