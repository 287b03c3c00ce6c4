"""What pipelines share: inputs of any kind into batches without padding, and results back in the inputs' order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from itertools import islice
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
import numpy.typing as npt

from albert_fast import _core
from albert_fast.arguments import check_integer, check_threads
from albert_fast.batching import RaggedBatch, pack
from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.model import Model
from albert_fast.tokenizer import as_tokenizer
from albert_fast.tokenizer.arguments import as_padding, as_strategy

Array = npt.NDArray[Any]
Row = tuple[Sequence[int], Sequence[int]]
"""Token ids with special tokens, and their token types."""
Result = TypeVar("Result")

_COMMON: Final = frozenset({"batch_size", "num_workers", "padding"})
"""Options of every pipeline; results depend on none of them."""

_WINDOW = 256
"""Inputs of an iterator that are computed together."""


class Pipeline:
    """From inputs to results, one task of one model.

    Calling it with one input gives one result, with a list a list of results in the same order, and with any other
    iterable an iterator, which reads some inputs ahead. Options of a call that were given to the constructor hold
    for every call.
    """

    task: ClassVar[str]
    options: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        model: Model,
        *,
        tokenizer: Any = None,
        batch_tokens: int = 4096,
        num_threads: int | None = None,
        **defaults: Any,
    ) -> None:
        self.model = model
        self.tokenizer = model.tokenizer if tokenizer is None else as_tokenizer(tokenizer)
        self.batch_size: int | None = None
        self.batch_tokens = check_integer("batch_tokens", batch_tokens, 1)
        self.num_threads = check_threads(num_threads)
        self._defaults = self._checked(defaults)

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """See the class; options are those of the task."""
        options = {**self._defaults, **self._checked(options)}
        call = copy(self)  # of a size of its own
        call.batch_size = options.get("batch_size")
        options = {name: value for name, value in options.items() if name not in _COMMON or name in self.options}
        if isinstance(inputs, list):
            return call.results(inputs, **options)
        if isinstance(inputs, Iterable) and not isinstance(inputs, (str, bytes, dict, tuple)):
            return call._stream(inputs, options)
        return call.results([inputs], **options)[0]

    results: Callable[..., list[Any]]
    """``results(inputs, **options)`` gives one result for each input; each task has its own options."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    @property
    def max_length(self) -> int:
        """The most tokens that the model takes."""
        return min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)

    def rows(
        self,
        inputs: Sequence[Any],
        *,
        truncation: bool | str | None = False,
        max_length: int | None = None,
        padding: bool | str = False,
    ) -> list[Row]:
        """Texts, pairs or ``{"text": ..., "text_pair": ...}`` as tokens, without padding whatever is asked for.

        Raises ``InvalidInputError`` for one that is too long, unless it is to be truncated.
        """
        as_padding(padding)
        pairs = [_text_of(item, f"inputs[{i}]") for i, item in enumerate(inputs)]
        limit = self.max_length if max_length is None else max_length
        strategy = as_strategy(truncation or False, None, "do_not_pad")
        if strategy in ("only_first", "only_second"):
            encoded = self.tokenizer(pairs, truncation=strategy, max_length=limit, num_threads=self.num_threads)
            return list(zip(encoded["input_ids"], encoded["token_type_ids"], strict=True))
        cut = strategy != "do_not_truncate"
        return list(self.tokenizer.encode_ragged(pairs, max_length=limit, truncation=cut, num_threads=self.num_threads))

    def run(
        self, rows: Sequence[Row], read: Callable[[_core.EncoderState, list[int]], Iterable[Result]]
    ) -> list[Result]:
        """The encoder over all rows; ``read(state, indices)`` gives what is wanted of each row of a finished batch."""
        results: dict[int, Result] = {}
        for indices in self._batches(rows):
            state = self.model.start(
                RaggedBatch.from_sequences([rows[i] for i in indices]), num_threads=self.num_threads
            )
            while state.advance(self.num_threads):
                pass
            results.update(zip(indices, read(state, indices), strict=True))
        return [results[i] for i in range(len(rows))]

    def _batches(self, rows: Sequence[Row]) -> Iterator[list[int]]:
        for indices in pack([len(ids) for ids, _ in rows], self.batch_tokens):
            most = self.batch_size or len(indices)
            yield from (indices[start : start + most] for start in range(0, len(indices), most))

    def pooled(self, rows: Sequence[Row]) -> Array:
        """The pooler's output for each row, [R, H]."""
        self.require_pooler()
        return np.stack(self.run(rows, lambda state, _: state.pooler(num_threads=self.num_threads)))

    def hidden_states(self, rows: Sequence[Row]) -> list[Array]:
        """[S, H] for each row."""
        return self.run(rows, lambda state, indices: self.split(state, rows, indices))

    def split(self, state: _core.EncoderState, rows: Sequence[Row], indices: list[int]) -> list[Array]:
        """The hidden states of a finished batch, text by text."""
        room = np.empty((sum(len(rows[i][0]) for i in indices), self.model.config.hidden_size), self._activations)
        hidden = state.hidden_states(out=room, num_threads=self.num_threads)
        return np.split(hidden, np.cumsum([len(rows[i][0]) for i in indices])[:-1])

    def require_pooler(self) -> None:
        """Raises ``InvalidInputError`` if the checkpoint has none."""
        if not self.model.has_pooler:
            raise InvalidInputError(f"{self.task}: {self.model.name} has no pooler, which this task needs")

    @property
    def _activations(self) -> str:
        return self.model.features_dtype

    def _checked(self, options: dict[str, Any]) -> dict[str, Any]:
        for name in ("batch_size", "num_workers"):
            if options.get(name) is not None:
                check_integer(name, options[name], int(name == "batch_size"))
        as_padding(options.get("padding", False))
        unknown = sorted(set(options) - self.options - _COMMON)
        if unknown:
            known = ", ".join(sorted(self.options)) or "none"
            raise InvalidInputError(f"{self.task}: got an option {unknown[0]!r}, expected one of {known}")
        return options

    def _stream(self, inputs: Iterable[Any], options: dict[str, Any]) -> Iterator[Any]:
        remaining = iter(inputs)
        while window := list(islice(remaining, _WINDOW)):
            yield from self.results(window, **options)


def _text_of(item: Any, name: str) -> str | tuple[str, str]:
    if isinstance(item, dict):
        if "text" not in item or set(item) - {"text", "text_pair"}:
            raise InvalidInputError(f"{name}: got the keys {sorted(item)}, expected 'text' and perhaps 'text_pair'")
        return item["text"] if item.get("text_pair") is None else (item["text"], item["text_pair"])
    if not isinstance(item, (str, tuple)):
        raise InvalidTypeError(f"{name}: got {type(item).__name__}, expected a text, a pair or a dictionary of them")
    return item


def as_top_k(top_k: Any) -> int:
    """Raises ``InvalidInputError`` unless it is an integer of at least 1."""
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise InvalidInputError(f"top_k: got {top_k!r}, expected an integer of at least 1")
    return top_k
