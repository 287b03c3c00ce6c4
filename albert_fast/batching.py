"""Ragged batches (no padding inside) and the packing of texts into batches by token budget.

A ragged batch of B sequences with T tokens in all::

    cu_seqlens   0        3              8     8  ...  T      int32 [B + 1]
    tokens       a a a    b b b b b      (c is empty)         int32 [T]
    positions    0 1 2    0 1 3 4 6                           int32 [T]   a hole in the mask leaves a gap here
    token_types  0 0 0    0 0 0 1 1                           int32 [T]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .arguments import check_integer
from .errors import InvalidInputError, InvalidTypeError

Int32Array = npt.NDArray[np.int32]


class BatchLimits(Protocol):
    """What a batch is checked against; ``AlbertConfig`` is one."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""

    @property
    def type_vocab_size(self) -> int:
        """Number of token types."""

    @property
    def max_position_embeddings(self) -> int:
        """Number of positions, hence the longest sequence."""


@dataclass(frozen=True, eq=False)
class PaddedOrigin:
    """Where the tokens of a ragged batch stood in the padded batch they were gathered from."""

    batch: int
    length: int
    flat: npt.NDArray[np.int64]  # [T], strictly increasing, in 0..batch * length - 1


@dataclass(frozen=True, eq=False)
class RaggedBatch:
    """A batch without padding; see the picture at the top of this module."""

    tokens: Int32Array
    cu_seqlens: Int32Array
    positions: Int32Array
    token_types: Int32Array
    origin: PaddedOrigin | None = None

    @property
    def num_sequences(self) -> int:
        """B, empty sequences included."""
        return len(self.cu_seqlens) - 1

    @property
    def num_tokens(self) -> int:
        """T, the tokens of all sequences."""
        return len(self.tokens)

    @classmethod
    def from_sequences(cls, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> RaggedBatch:
        """Join tokenised texts, each ``(ids, token_type_ids)`` of equal lengths; positions start at 0.

        The tokenizer made the ids, so they are not checked again here.
        """
        lengths = np.fromiter((len(ids) for ids, _ in sequences), np.int64, len(sequences))
        cu_seqlens = np.zeros(len(sequences) + 1, np.int64)
        np.cumsum(lengths, out=cu_seqlens[1:])
        total = int(cu_seqlens[-1])
        if total > np.iinfo(np.int32).max:
            raise InvalidInputError(f"sequences: got {total} tokens, expected at most 2**31 - 1 in one batch")
        tokens = np.fromiter(chain.from_iterable(ids for ids, _ in sequences), np.int32, total)
        token_types = np.fromiter(chain.from_iterable(types for _, types in sequences), np.int32, total)
        positions = (np.arange(total) - np.repeat(cu_seqlens[:-1], lengths)).astype(np.int32)
        return cls(tokens, cu_seqlens.astype(np.int32), positions, token_types)

    @classmethod
    def from_padded(
        cls,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        *,
        limits: BatchLimits,
    ) -> RaggedBatch:
        """Gather the attended tokens of a padded batch.

        Args:
            input_ids: integers [B, S], S at most ``limits.max_position_embeddings``.
            attention_mask: bool or 0/1 of any dtype [B, S], holes and all-zero rows allowed; all ones by
                default. What stands where the mask is 0 is never read, so it may be any number.
            token_type_ids: integers [B, S] or [1, S]; zeros by default.
            position_ids: integers [B, S] or [1, S]; by default the column, so a token keeps the position that
                it has in the padded batch, as in transformers.
            limits: the model's configuration, which bounds ids, types and positions.

        Raises:
            InvalidTypeError: not arrays of integers.
            InvalidInputError: wrong shapes, a mask with other values than 0 and 1, or a value out of range
                (named with its row and column).
        """
        ids = _integers("input_ids", input_ids)
        if ids.ndim != 2:
            raise InvalidInputError(f"input_ids: got shape {list(ids.shape)}, expected [batch, length]")
        batch, length = ids.shape
        if length > limits.max_position_embeddings:
            raise InvalidInputError(
                f"input_ids: got {length} columns, expected at most max_position_embeddings = "
                f"{limits.max_position_embeddings}"
            )
        mask = _mask(attention_mask, (batch, length))
        flat = np.flatnonzero(mask)
        if len(flat) > np.iinfo(np.int32).max:
            raise InvalidInputError(f"input_ids: got {len(flat)} tokens, expected at most 2**31 - 1 in one batch")
        columns = np.broadcast_to(np.arange(length, dtype=np.int32), (batch, length))
        cu_seqlens = np.zeros(batch + 1, np.int32)
        np.cumsum(np.count_nonzero(mask, axis=1), out=cu_seqlens[1:])
        return cls(
            tokens=_gather("input_ids", ids, flat, limits.vocab_size),
            cu_seqlens=cu_seqlens,
            positions=_gather_optional("position_ids", position_ids, columns, flat, limits.max_position_embeddings),
            token_types=_gather_optional(
                "token_type_ids", token_type_ids, np.zeros_like(columns), flat, limits.type_vocab_size
            ),
            origin=PaddedOrigin(batch, length, flat),
        )

    def to_padded(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Scatter ``rows`` [T, H] of any dtype back to [B, S, H]; rows of padding are zeros.

        Raises:
            InvalidInputError: the batch was not made by ``from_padded``, or ``rows`` is not [T, H].
        """
        if self.origin is None:
            raise InvalidInputError("to_padded: this batch was not made by from_padded, so it has no padded form")
        if rows.ndim != 2 or len(rows) != self.num_tokens:
            raise InvalidInputError(f"rows: got shape {list(rows.shape)}, expected [{self.num_tokens}, hidden_size]")
        batch, length = self.origin.batch, self.origin.length
        width = rows.shape[1]
        if self.num_tokens == batch * length:
            return rows.reshape(batch, length, width)
        padded = np.zeros((batch * length, width), rows.dtype)
        padded[self.origin.flat] = rows
        return padded.reshape(batch, length, width)


def _array(name: str, value: Any) -> npt.NDArray[Any]:
    if getattr(value, "is_cuda", False):  # a tensor; the batch is planned on the host
        value = value.cpu()
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":  # which NumPy does not know; masks come in it
        value = value.float()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidTypeError(
            f"{name}: got {type(value).__name__}, expected an array [batch, length] ({error})"
        ) from error
    if array.dtype == object:
        raise InvalidTypeError(f"{name}: got {type(value).__name__} of objects, expected a rectangular array")
    return array


def _integers(name: str, value: Any) -> npt.NDArray[Any]:
    array = _array(name, value)
    if array.size == 0 and not hasattr(value, "dtype"):  # np.asarray([]) is float64
        return array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidTypeError(f"{name}: got dtype {array.dtype}, expected integers")
    return array


def _mask(value: Any, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    if value is None:
        return np.ones(shape, np.bool_)
    mask = _array("attention_mask", value)
    if mask.shape != shape:
        raise InvalidInputError(
            f"attention_mask: got shape {list(mask.shape)}, expected {list(shape)}, the shape of input_ids"
        )
    if mask.dtype == np.bool_:
        return mask
    if not np.issubdtype(mask.dtype, np.number):
        raise InvalidTypeError(f"attention_mask: got dtype {mask.dtype}, expected bool or numbers that are 0 or 1")
    ones = np.asarray(mask == 1)
    wrong = ~ones & (mask != 0)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise InvalidInputError(
            f"attention_mask: got {mask[row, column]} at row {row}, column {column}, expected only 0 and 1"
        )
    return ones


def _gather(name: str, array: npt.NDArray[Any], flat: npt.NDArray[np.int64], bound: int) -> npt.NDArray[np.int32]:
    """``array.reshape(-1)[flat]`` as int32, each value checked to lie in 0..bound - 1."""
    values = array.reshape(-1)[flat]
    wrong = (values < 0) | (values >= bound)
    if wrong.any():
        first = int(np.argmax(wrong))
        row, column = divmod(int(flat[first]), array.shape[1])
        raise InvalidInputError(f"{name}: got {values[first]} at row {row}, column {column}, expected 0..{bound - 1}")
    return values.astype(np.int32, copy=False)


def _gather_optional(name: str, value: Any, default: Int32Array, flat: npt.NDArray[np.int64], bound: int) -> Int32Array:
    if value is None:
        return _gather(name, default, flat, bound)
    array = _integers(name, value)
    batch, length = default.shape
    if array.shape not in ((batch, length), (1, length)):
        raise InvalidInputError(
            f"{name}: got shape {list(array.shape)}, expected {[batch, length]}, the shape of input_ids"
        )
    return _gather(name, np.broadcast_to(array, default.shape), flat, bound)


def pack(lengths: Sequence[int] | npt.NDArray[np.integer[Any]], batch_tokens: int) -> list[list[int]]:
    """Distribute texts over batches of at most ``batch_tokens`` tokens: first-fit decreasing.

    Texts are taken longest first (equal lengths in the given order); each goes into the first batch with room
    for it. Runs of equal length are placed together, so the cost is O(n log n + batches * distinct lengths),
    the second term in NumPy. A text longer than the budget gets a batch to itself.

    Args:
        lengths: tokens of each text, 0 or more.
        batch_tokens: the budget, at least 1.

    Returns:
        Lists of indices into ``lengths``; every index occurs once.

    Raises:
        InvalidInputError, InvalidTypeError: a budget below 1 or no integer, or a negative length.
    """
    budget = check_integer("batch_tokens", batch_tokens, 1)
    array = np.asarray(lengths, np.int64)
    batch_tokens = min(budget, max(1, int(array.sum())))  # no more than there is, whatever NumPy's integers hold
    if array.size and array.min() < 0:
        raise InvalidInputError(f"lengths: got {int(array.min())}, expected 0 or more")
    order = np.argsort(-array, kind="stable")
    falling = array[order]
    starts = np.flatnonzero(np.diff(falling, prepend=-1)).tolist()
    batches: list[list[int]] = []
    shared: list[list[int]] = []
    room = np.empty(0, np.int64)
    for start, stop in pairwise([*starts, len(order)]):
        run, length = order[start:stop].tolist(), int(falling[start])
        if length > batch_tokens:
            batches += [[index] for index in run]
        else:
            room = _place(run, length, batch_tokens, shared, room)
    return batches + shared


def _place(
    run: list[int], length: int, batch_tokens: int, batches: list[list[int]], room: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Put a run of texts of one length into the batches, first fit; returns the room left in each batch."""
    if length == 0:
        if not batches:
            batches.append([])
            room = np.array([batch_tokens], np.int64)
        batches[0].extend(run)
        return room
    fits = np.minimum(np.cumsum(room // length), len(run))
    taken = np.diff(fits, prepend=0)
    for batch in np.flatnonzero(taken).tolist():
        batches[batch].extend(run[fits[batch] - taken[batch] : fits[batch]])
    left = run[int(fits[-1]) if len(fits) else 0 :]
    per_batch = batch_tokens // length
    fresh = [left[i : i + per_batch] for i in range(0, len(left), per_batch)]
    batches.extend(fresh)
    return np.concatenate([room - taken * length, np.array([batch_tokens - len(f) * length for f in fresh], np.int64)])


def rows_at(batch: RaggedBatch, mlm_mask: Any) -> npt.NDArray[np.int64]:
    """Rows of the ragged batch at the positions of ``mlm_mask``, bool [B, S].

    Raises ``InvalidInputError`` for another dtype or shape, or a position that the attention mask leaves out.
    """
    mask = np.asarray(mlm_mask)
    origin = batch.origin
    assert origin is not None  # made by from_padded
    shape = (origin.batch, origin.length)
    if mask.dtype != np.bool_ or mask.shape != shape:
        raise InvalidInputError(
            f"mlm_mask: got {mask.dtype} {list(mask.shape)}, expected bool {list(shape)}, the shape of input_ids"
        )
    flat = np.flatnonzero(mask)
    rows = np.searchsorted(origin.flat, flat)
    attended = np.zeros(len(flat), np.bool_)
    inside = rows < len(origin.flat)
    attended[inside] = origin.flat[rows[inside]] == flat[inside]
    if not attended.all():
        row, column = divmod(int(flat[~attended][0]), origin.length)
        raise InvalidInputError(
            f"mlm_mask: got True at row {row}, column {column}, where attention_mask is 0; expected attended positions"
        )
    return rows
