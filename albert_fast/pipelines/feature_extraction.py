"""feature-extraction: the hidden states of every token."""

from __future__ import annotations

from typing import Any

from albert_fast.destination import tensorflow_tensor
from albert_fast.errors import InvalidInputError, MissingDependencyError
from albert_fast.pipelines.base import Array, Pipeline


class FeatureExtractionPipeline(Pipeline):
    """``pipe("A text.")``: the last hidden states as nested lists, [1, S, H], special tokens included.

    ``return_tensors``: ``"np"`` for NumPy, ``"pt"`` or True for torch, ``"tf"`` for TensorFlow. ``truncation=True`` (or
    ``tokenize_kwargs``) cuts texts that are too long. ``albert_fast.encode`` gives one vector a text.
    """

    task = "feature-extraction"
    options = frozenset({"return_tensors", "truncation", "tokenize_kwargs", "padding"})

    def results(
        self,
        inputs: list[Any],
        return_tensors: str | bool | None = None,
        truncation: bool | str | None = None,
        tokenize_kwargs: dict[str, Any] | None = None,
        padding: bool | str | None = None,
    ) -> list[Any]:
        """See the class."""
        wanted = dict(tokenize_kwargs or {})
        if truncation is not None:
            wanted["truncation"] = truncation
        if padding is not None:
            wanted["padding"] = padding
        if wanted.get("padding") == "max_length":
            raise InvalidInputError("padding: got 'max_length', expected another, as there are no features of padding")
        return [_as(hidden[None], return_tensors) for hidden in self.hidden_states(self.rows(inputs, **wanted))]


def _as(array: Array, kind: str | bool | None) -> Any:
    if kind in (None, False):
        return array.tolist()
    if kind == "np":
        return array
    if kind in (True, "pt"):
        try:
            import torch
        except ImportError as error:
            raise MissingDependencyError(
                f"return_tensors: got {kind!r}, which needs `pip install albert_fast[torch]`"
            ) from error
        return torch.from_numpy(array.copy())
    if kind == "tf":
        return tensorflow_tensor(array)
    raise InvalidInputError(f"return_tensors: got {kind!r}, expected None, 'np', 'pt' or 'tf'")
