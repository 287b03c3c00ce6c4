"""What a tokenizer call returns: a dictionary of columns, padded and as arrays where asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from albert_fast.destination import tensorflow_tensor
from albert_fast.errors import InvalidInputError, MissingDependencyError
from albert_fast.tokenizer.assembly import COLUMNS

if TYPE_CHECKING:
    import torch

Column = list[Any]
Owners = list[list[int | None]]


class BatchEncoding(dict[str, Any]):
    """The columns of a tokenizer call, also readable as attributes (``encoding.input_ids``).

    ``model(**encoding)`` passes them on. ``sequence_ids(i)`` tells for each token of row ``i`` which text
    it is from (0, 1 or None for special tokens and padding), ``word_ids(i)`` which word of that text.
    """

    def __init__(
        self,
        columns: Mapping[str, Any] | None = None,
        sequence_ids: Owners | None = None,
        word_ids: Owners | None = None,
    ) -> None:
        super().__init__(columns or {})
        self._sequence_ids = sequence_ids
        self._word_ids = word_ids

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[type[BatchEncoding], tuple[dict[str, Any], Owners | None, Owners | None]]:
        return BatchEncoding, (dict(self), self._sequence_ids, self._word_ids)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return which text (0 or 1) each token of a row is from, None for special tokens and padding.

        Raises InvalidInputError if the rows are not from a call of the tokenizer, which alone knows.
        """
        if self._sequence_ids is None:
            raise InvalidInputError("sequence_ids: the rows are not from texts, expected those of a tokenizer call")
        return self._sequence_ids[batch_index]

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the index of the word that each token of a row is from, None for special tokens and padding.

        Each text of a pair counts its own words. Raises InvalidInputError if texts were not given as words.
        """
        if self._word_ids is None:
            raise InvalidInputError("word_ids: the texts were not split into words, expected is_split_into_words=True")
        return self._word_ids[batch_index]

    def to(self, device: str | int | torch.device, *, non_blocking: bool = False) -> BatchEncoding:
        """Move the torch tensors to ``device``, in place, and return self."""
        for name, column in self.items():
            if hasattr(column, "to"):
                self[name] = column.to(device, non_blocking=non_blocking)
        return self


def as_arrays(columns: dict[str, Column], kind: Literal["np", "pt", "tf"]) -> dict[str, Any]:
    """Turn rows of equal length into int64 NumPy arrays or torch tensors, or int32 TensorFlow ones (its own habit),
    ``[rows, length]`` (spans ``[.., .., 2]``). Columns that are not of tokens, such as labels, keep their shape, and
    floats are float32 in tensors.
    """
    lengths = {len(row) for row in columns["input_ids"]}
    if len(lengths) > 1:
        raise InvalidInputError(
            f"padding: rows have {min(lengths)} to {max(lengths)} tokens, expected equal lengths for"
            f" return_tensors={kind!r}: pass padding=True, and truncation=True if rows are too long"
        )
    length = max(lengths, default=0)
    arrays = {name: _array(rows, length, name) for name, rows in columns.items()}
    if kind == "np":
        return arrays
    narrow = {"f": np.float32, "i": np.int32 if kind == "tf" else np.int64}
    arrays = {name: array.astype(narrow.get(array.dtype.kind, array.dtype)) for name, array in arrays.items()}
    if kind == "tf":
        return {name: tensorflow_tensor(array) for name, array in arrays.items()}
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "return_tensors: got 'pt' but torch is not installed; pip install 'albert_fast[torch]'"
        ) from error
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _array(rows: Column, length: int, name: str) -> npt.NDArray[Any]:
    if name in COLUMNS:
        shape = (len(rows), length, 2) if name == "offset_mapping" else (len(rows), length)
        return np.array(rows, dtype=np.int64).reshape(shape)
    try:
        array = np.array(rows)
    except ValueError:  # rows of several lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf":
        raise InvalidInputError(f"{name}: got {rows!r:.60}, expected numbers in rows of one length, as for any tensor")
    return array.astype(np.int64) if array.dtype.kind in "iu" else array
