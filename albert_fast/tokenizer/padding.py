"""Rows of one length: of the rows that a call makes, or of features that were made before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.tokenizer.arguments import Padding
from albert_fast.tokenizer.truncation import Side

# What fills each column where a row is padded, input_ids apart (the pad id).
_FILL: Final[dict[str, object]] = {
    "token_type_ids": 0,
    "attention_mask": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
    "sequence_ids": None,
    "word_ids": None,
}

Columns = dict[str, list[Any]]
"""A row for each text, in every column."""


def padded_length(rows: Sequence[Sequence[Any]], padding: Padding, limit: int, multiple: int | None) -> int | None:
    """How long rows are to be: as the longest, or ``limit`` (``"max_length"``), and a multiple; None if they stay."""
    if padding == "do_not_pad":
        return None
    length = limit if padding == "max_length" else max(map(len, rows), default=0)
    return length if multiple is None else -(-length // multiple) * multiple


def pad(columns: Columns, length: int | None, pad_id: int, side: Side) -> None:
    """Pad every row that is shorter than ``length``, in place; columns that are not of tokens stay as they are."""
    for name, rows in columns.items():
        if length is None or (name != "input_ids" and name not in _FILL):
            continue
        fill = [_FILL.get(name, pad_id)]
        for i, row in enumerate(rows):
            missing = fill * (length - len(row))
            rows[i] = row + missing if side == "right" else missing + row


def as_columns(features: Any) -> tuple[Columns, bool, str | None]:
    """Columns of rows from what ``AlbertTokenizer.pad`` takes; whether it was a single text; and the kind of array that
    its ``input_ids`` are ("np", "pt", "tf"; None for lists).

    Raises ``InvalidTypeError`` for anything else, ``InvalidInputError`` for columns that do not fit together.
    """
    kinds = set[str]()
    if isinstance(features, (list, tuple)) and features and all(isinstance(row, Mapping) for row in features):
        names = list(features[0])
        for i, row in enumerate(features):
            if missing := [name for name in names if name not in row]:
                raise InvalidInputError(f"encoded_inputs[{i}]: got no {missing[0]}, expected it as in the first")
        features = {name: [row[name] for row in features] for name in names}
    if not isinstance(features, Mapping):
        raise InvalidTypeError(
            f"encoded_inputs: got {type(features).__name__}, expected a dictionary of columns or a list of dictionaries"
        )
    if "input_ids" not in features:
        raise InvalidInputError(f"encoded_inputs: got {', '.join(features) or 'nothing'}, expected input_ids, too")
    ids = _as_lists(features["input_ids"], kinds)
    columns = {name: ids if name == "input_ids" else _as_lists(column, set()) for name, column in features.items()}
    single = isinstance(ids, list) and ids != [] and not any(isinstance(row, list) for row in ids)
    if single:
        columns = {name: [column] for name, column in columns.items()}
    _check(columns)
    return columns, single, next(iter(kinds), None)


def _check(columns: Columns) -> None:
    """Every column has as many rows, and of those of tokens each as many tokens, as input_ids."""
    for name, rows in columns.items():
        if not isinstance(rows, list) or len(rows) != len(columns["input_ids"]):
            raise InvalidInputError(f"{name}: got {rows!r:.60}, expected a row for each of {len(columns['input_ids'])}")
        for i, (row, ids) in enumerate(zip(rows, columns["input_ids"], strict=True)):
            if (name == "input_ids" or name in _FILL) and (not isinstance(row, list) or len(row) != len(ids)):
                raise InvalidInputError(f"{name}[{i}]: got {row!r:.60}, expected {len(ids)} values, as in input_ids")


def _as_lists(value: Any, kinds: set[str]) -> Any:
    """Arrays and tensors as lists, also inside of lists; their kinds go to ``kinds``."""
    if isinstance(value, (list, tuple)):
        return list(value) if value and isinstance(value[0], (int, str)) else [_as_lists(v, kinds) for v in value]
    if hasattr(value, "tolist"):
        kinds.add("np" if isinstance(value, (np.ndarray, np.generic)) else "pt")
        return value.tolist()
    if hasattr(value, "numpy"):  # TensorFlow's
        kinds.add("tf")
        return value.numpy().tolist()
    return value
