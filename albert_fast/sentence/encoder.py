"""Texts, window by window, through the engine to features in the order of the texts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from albert_fast.arguments import check_integer
from albert_fast.batching import RaggedBatch, pack
from albert_fast.destination import NumpyDestination
from albert_fast.errors import CheckpointError, InvalidInputError, InvalidTypeError
from albert_fast.sentence.modules import SentenceModules, read_modules
from albert_fast.sentence.options import EncodeOptions
from albert_fast.sentence.readout import Readout

if TYPE_CHECKING:
    from albert_fast.model import Model

Text = str | tuple[str, str]
FloatArray = npt.NDArray[np.floating[Any]]  # of the model's dtype

DEFAULT_BATCH_TOKENS = 2048

# A window should take about a second: long enough to fill batches, short enough for a stream to flow and for
# a killed job to lose little. The character bound keeps a window of huge texts from filling the memory.
_WINDOW_SECONDS = 1.0
_FIRST_WINDOW, _SMALLEST_WINDOW, _LARGEST_WINDOW = 32, 8, 8192
_WINDOW_CHARACTERS = 2**23

_log = logging.getLogger("albert_fast")


class Encoder:
    """A model with options: an iterable of texts becomes windows of features, in order."""

    def __init__(self, model: Model, options: EncodeOptions, to: NumpyDestination | None = None) -> None:
        self.model = model
        self.options = options
        self.batch_tokens = options.batch_tokens or DEFAULT_BATCH_TOKENS
        place = model.files()
        self._modules = (None if place is None else read_modules(place)) or SentenceModules()
        self.readout = Readout(options, self._modules, model.config.hidden_size)
        if options.pooling == "pooler" and not model.has_pooler:
            raise InvalidInputError(f"pooling: got 'pooler', but {model.name} has no pooler; expected another")
        self.max_length = self._choose_max_length()
        self._prompt, self._prompt_tokens = self._choose_prompt()
        self.to = to or NumpyDestination()
        # What is done after the engine is done on the host; tensors are then made of its results.
        self._engine_to = self.to if self.readout.is_direct else NumpyDestination()

    def windows(
        self, texts: Iterable[Any], *, first_index: int = 0, progress: Any = None
    ) -> Iterator[FloatArray | list[FloatArray]]:
        """Encode ``texts`` window by window; never reads further than the window it is working on.

        Yields [n, H] for the n texts of the window, or with ``pooling=None`` a list of n arrays
        [length, H]. ``first_index`` is the number of the first text in error messages; ``progress`` is a tqdm
        bar or None.
        """
        iterator = iter(texts)
        size = _FIRST_WINDOW
        while window := read_window(iterator, size, first_index):
            started = time.monotonic()
            features = self._encode_window(window, first_index, progress)
            elapsed = time.monotonic() - started
            yield features
            first_index += len(window)
            if elapsed < _WINDOW_SECONDS / 2 and len(window) == size:
                size = min(2 * size, _LARGEST_WINDOW)
            elif elapsed > 2 * _WINDOW_SECONDS:
                size = max(size // 2, _SMALLEST_WINDOW)

    def _encode_window(self, window: list[Text], first_index: int, progress: Any) -> FloatArray | list[FloatArray]:
        sequences = self._tokenize(window, first_index)
        width, dtype, ragged = self.model.config.hidden_size, self.model.features_dtype, self.readout.per_token
        rows_of: dict[int, FloatArray] = {}
        pooled = self._engine_to.empty(len(window), self.readout.width, dtype)
        for group in pack([len(ids) for ids, _ in sequences], self.batch_tokens):
            batch = RaggedBatch.from_sequences([sequences[i] for i in group])
            count = batch.num_tokens if self.readout.engine_pooling is None else batch.num_sequences
            rows = self.model.encode_ragged(
                batch.tokens,
                batch.cu_seqlens,
                positions=batch.positions,
                token_types=batch.token_types,
                pooling=self.readout.engine_pooling,
                normalize=self.readout.engine_normalize,
                num_threads=self.options.num_threads,
                out=self._engine_to.room(count, width, dtype),
                stream=self._engine_to.stream,
            )
            self._check_finite(rows, batch, group, first_index)
            if ragged:
                rows_of.update(zip(group, self._engine_to.split(rows, batch.cu_seqlens[1:-1]), strict=True))
            else:
                direct = self.readout.is_direct
                pooled[group] = rows if direct else self.readout(rows, batch.cu_seqlens, self._prompt_tokens)
            if progress is not None:
                progress.update(len(group))
        return [rows_of[i] for i in range(len(window))] if ragged else pooled

    def _tokenize(self, window: list[Text], first_index: int) -> list[tuple[list[int], list[int]]]:
        options = self.options
        return self.model.tokenizer.encode_ragged(
            [self._prepared(text) for text in window],
            max_length=self.max_length,
            truncation=options.truncation,
            first_index=first_index,
            num_threads=options.num_threads,
        )

    def _prepared(self, text: Text) -> Text:
        """With the prompt before it, of a pair before its first text."""
        if self._modules.do_lower_case:
            text = text.lower() if isinstance(text, str) else (text[0].lower(), text[1].lower())
        if not self._prompt:
            return text
        return self._prompt + text if isinstance(text, str) else (self._prompt + text[0], text[1])

    def _choose_max_length(self) -> int:
        """The smallest of what is asked for, what the files say and the model's positions."""
        positions, asked = self.model.config.max_position_embeddings, self.options.max_length
        if asked is not None:
            check_integer("max_length", asked, 2, positions)
        limit = min(positions, self.model.tokenizer.model_max_length, self._modules.max_seq_length or positions)
        if asked is not None and asked > limit:
            _log.warning("max_length: got %d, but the files of %s say %d, which is used", asked, self.model.name, limit)
        return limit if asked is None else min(asked, limit)

    def _choose_prompt(self) -> tuple[str, int]:
        """The prompt, and how many tokens it is at the beginning of a text, [CLS] with them."""
        options, prompts = self.options, self._modules.prompts
        name = options.prompt_name or self._modules.default_prompt_name
        if options.prompt is None and options.prompt_name is not None and options.prompt_name not in prompts:
            known = ", ".join(map(repr, prompts)) or "none"
            raise InvalidInputError(
                f"prompt_name: got {options.prompt_name!r}, expected a prompt of {self.model.name}: {known}"
            )
        prompt = prompts[name] if options.prompt is None and name is not None else options.prompt or ""
        if not prompt or not self.readout.excludes_prompt:
            return prompt, 0
        return prompt, len(self.model.tokenizer.encode(prompt)) - 1

    def _check_finite(self, rows: FloatArray, batch: RaggedBatch, group: list[int], first_index: int) -> None:
        finite = self._engine_to.finite_rows(rows)
        if finite.all():
            return
        row = int(np.argmin(finite))
        if self.readout.engine_pooling is None:
            row = int(np.searchsorted(batch.cu_seqlens, row, side="right")) - 1
        raise CheckpointError(
            f"texts[{first_index + group[row]}]: the features that {self.model.name} gives are not finite; "
            f"expected weights under which they are"
        )


def read_window(iterator: Iterator[Any], size: int, first_index: int) -> list[Text]:
    """Take up to ``size`` texts (fewer when they are very long), checked; empty at the end."""
    window: list[Text] = []
    characters = 0
    for value in iterator:
        text = check_text(value, first_index + len(window))
        window.append(text)
        characters += len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
        if len(window) >= size or characters >= _WINDOW_CHARACTERS:
            break
    return window


def check_text(value: Any, index: int) -> Text:
    """``value`` as a text or a pair; raises ``InvalidTypeError`` naming ``texts[index]`` if it is neither."""
    if isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return value[0], value[1]
    got = type(value).__name__
    if isinstance(value, (tuple, list)):
        got += " of " + (", ".join(type(part).__name__ for part in value[:4]) or "nothing")
        got += ", ..." if len(value) > 4 else ""
    raise InvalidTypeError(f"texts[{index}]: got {got}, expected a str or a pair (str, str)")
