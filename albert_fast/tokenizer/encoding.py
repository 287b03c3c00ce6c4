"""What a tokenizer call returns: a dictionary of columns, padded and as arrays where asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from albert_fast.destination import tensorflow_tensor
from albert_fast.errors import InvalidInputError, MissingDependencyError

if TYPE_CHECKING:
    import torch

Column = list[Any]
Owners = list[list[int | None]]


class BatchEncoding(dict[str, Any]):
    """The columns of a tokenizer call, also readable as attributes (``encoding.input_ids``).

    ``model(**encoding)`` passes them on. ``sequence_ids(i)`` tells for each token of row ``i`` which text
    it is from (0, 1 or None for special tokens and padding), ``word_ids(i)`` which word of that text.
    """

    def __init__(self, columns: Mapping[str, Any], sequence_ids: Owners, word_ids: Owners | None = None) -> None:
        super().__init__(columns)
        self._sequence_ids = sequence_ids
        self._word_ids = word_ids

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[type[BatchEncoding], tuple[dict[str, Any], Owners, Owners | None]]:
        return BatchEncoding, (dict(self), self._sequence_ids, self._word_ids)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return which text (0 or 1) each token of a row is from, None for special tokens and padding."""
        return self._sequence_ids[batch_index]

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the index of the word that each token of a row is from, None for special tokens and padding.

        Each text of a pair counts its own words. Raises InvalidInputError if texts were not given as words.
        """
        if self._word_ids is None:
            raise InvalidInputError("word_ids: the texts were not split into words, expected is_split_into_words=True")
        return self._word_ids[batch_index]

    def to(self, device: str | torch.device) -> BatchEncoding:
        """Move the torch tensors to ``device``, in place, and return self."""
        for name, column in self.items():
            if hasattr(column, "to"):
                self[name] = column.to(device)
        return self


def as_arrays(columns: dict[str, Column], kind: Literal["np", "pt", "tf"]) -> dict[str, Any]:
    """Turn rows of equal length into int64 NumPy arrays or torch tensors, or int32 TensorFlow ones (its own habit),
    ``[rows, length]`` (spans ``[.., .., 2]``).
    """
    lengths = {len(row) for row in columns["input_ids"]}
    if len(lengths) > 1:
        raise InvalidInputError(
            f"padding: rows have {min(lengths)} to {max(lengths)} tokens, expected equal lengths for"
            f" return_tensors={kind!r}: pass padding=True, and truncation=True if rows are too long"
        )
    length = max(lengths, default=0)
    arrays = {name: np.array(rows, dtype=np.int64) for name, rows in columns.items()}
    for name, array in arrays.items():
        if name == "overflow_to_sample_mapping":
            continue
        shape = (len(columns[name]), length)
        arrays[name] = array.reshape((*shape, 2) if name == "offset_mapping" else shape)
    if kind == "np":
        return arrays
    if kind == "tf":
        return {name: tensorflow_tensor(array.astype(np.int32)) for name, array in arrays.items()}
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "return_tensors: got 'pt' but torch is not installed; pip install 'albert_fast[torch]'"
        ) from error
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
