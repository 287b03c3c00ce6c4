"""Texts in, features out: ``encode`` for all at once, ``encode_iter`` as a stream.

Texts are read in windows; a window is tokenised in one go, packed into ragged batches by token budget,
run and put back into the caller's order. A text's features do not depend on what else is in its batch, so
neither the window nor the budget shows in the result, in any bit: both are free to follow speed and memory.
"""

from __future__ import annotations

import importlib.util
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .batching import RaggedBatch, pack
from .destination import NumpyDestination, torch_destination
from .errors import CheckpointError, InvalidInputError, InvalidTypeError, MissingDependencyError

if TYPE_CHECKING:
    from .model import Model

Text = str | tuple[str, str]
FloatArray = npt.NDArray[np.floating[Any]]  # of the model's dtype

POOLINGS = ("mean", "cls", "pooler", None)
DEFAULT_MODEL = "albert-xxlarge-v2"
DEFAULT_BATCH_TOKENS = 2048

# A window should take about a second: long enough to fill batches, short enough for a stream to flow and for
# a killed job to lose little. The character bound keeps a window of huge texts from filling the memory.
_WINDOW_SECONDS = 1.0
_FIRST_WINDOW, _SMALLEST_WINDOW, _LARGEST_WINDOW = 32, 8, 8192
_WINDOW_CHARACTERS = 2**23

_PROGRESS_DELAY_SECONDS = 3.0


@dataclass(frozen=True)
class EncodeOptions:
    """The options of ``encode`` that shape the work; checked on construction, the model's part by ``check``.

    Raises ``InvalidInputError`` or ``InvalidTypeError`` naming the option.
    """

    pooling: str | None = "mean"
    max_length: int = 512
    truncation: bool = True
    normalize: bool = False
    batch_tokens: int | None = None
    num_threads: int | None = None

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise InvalidInputError(f"pooling: got {self.pooling!r}, expected 'mean', 'cls', 'pooler' or None")
        for name in ("truncation", "normalize"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise InvalidTypeError(f"{name}: got {value!r}, expected True or False")
        _check_integer("max_length", self.max_length, 2, None)
        for name in ("batch_tokens", "num_threads"):
            if getattr(self, name) is not None:
                _check_integer(name, getattr(self, name), 1, None)

    def check(self, model: Model) -> None:
        """Raise ``InvalidInputError`` when ``model`` cannot do what is asked."""
        _check_integer("max_length", self.max_length, 2, model.config.max_position_embeddings)
        if self.pooling == "pooler" and not model.has_pooler:
            raise InvalidInputError(
                f"pooling: got 'pooler', but {model.name} has no pooler; expected 'mean', 'cls' or None"
            )


class Encoder:
    """A model with options: an iterable of texts becomes windows of features, in order."""

    def __init__(self, model: Model, options: EncodeOptions, to: NumpyDestination | None = None) -> None:
        options.check(model)
        self.model = model
        self.to = to or NumpyDestination()
        self.options = options
        self.batch_tokens = options.batch_tokens or DEFAULT_BATCH_TOKENS

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
        width, dtype = self.model.config.hidden_size, self.model.features_dtype
        pooled = self.to.empty(len(window), width, dtype)
        ragged: dict[int, FloatArray] = {}
        for group in pack([len(ids) for ids, _ in sequences], self.batch_tokens):
            batch = RaggedBatch.from_sequences([sequences[i] for i in group])
            count = batch.num_tokens if self.options.pooling is None else batch.num_sequences
            rows = self.model.encode_ragged(
                batch.tokens,
                batch.cu_seqlens,
                positions=batch.positions,
                token_types=batch.token_types,
                pooling=self.options.pooling,
                normalize=self.options.normalize,
                num_threads=self.options.num_threads,
                out=self.to.room(count, width, dtype),
                stream=self.to.stream,
            )
            self._check_finite(rows, batch, group, first_index)
            if self.options.pooling is None:
                ragged.update(zip(group, self.to.split(rows, batch.cu_seqlens[1:-1]), strict=True))
            else:
                pooled[group] = rows
            if progress is not None:
                progress.update(len(group))
        return pooled if self.options.pooling is not None else [ragged[i] for i in range(len(window))]

    def _tokenize(self, window: list[Text], first_index: int) -> list[tuple[list[int], list[int]]]:
        options = self.options
        return self.model.tokenizer.encode_ragged(
            window,
            max_length=options.max_length,
            truncation=options.truncation,
            first_index=first_index,
            num_threads=options.num_threads,
        )

    def _check_finite(self, rows: FloatArray, batch: RaggedBatch, group: list[int], first_index: int) -> None:
        finite = self.to.finite_rows(rows)
        if finite.all():
            return
        row = int(np.argmin(finite))
        if self.options.pooling is None:
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


def encode(
    texts: str | Iterable[Any],
    model: Any = DEFAULT_MODEL,
    pooling: str | None = "mean",
    max_length: int = 512,
    truncation: bool = True,
    normalize: bool = False,
    batch_tokens: int | None = None,
    num_threads: int | None = None,
    show_progress: bool | None = None,
    return_tensors: str = "np",
    device: str | None = None,
    dtype: str | None = None,
) -> Any:
    """Encode texts into ALBERT features.

    Args:
        texts: a list or any iterable of texts, each a ``str`` or a pair ``(str, str)``. One ``str`` is a list
            of one. A generator is read in windows, never whole; types in a list are checked before any work.
        model: a name (Hugging Face id, folder, file, ``random:NAME``), a ``Model`` from ``load``, or a live
            transformers model. The last model asked for by name stays loaded in this process, only that one.
        pooling: ``"mean"`` over all tokens of the text, ``"cls"`` the first token, ``"pooler"`` the model's
            own pooler, or None for every token's features.
        max_length: tokens kept of each text, [CLS] and [SEP] included; 2 up to the model's positions.
        truncation: cut longer texts (the longer half of a pair first); when False a longer text is an error.
        normalize: scale each row to length 1 (L2).
        batch_tokens: tokens per batch, 2048 by default. More needs more memory (0.1 MB a token for xxlarge) and is no
            faster; the result stays the same.
        num_threads: threads to use; by default all processors that this process may run on.
        show_progress: show a progress bar; None shows it on a terminal once the work has taken a few seconds.
        return_tensors: ``"np"``, or ``"pt"`` for torch tensors, which for a model on CUDA stay there.
        device: where a model given by name is loaded, ``"auto"`` by default: CUDA if it is there, else the CPU.
        dtype: of the weights and activations of a model given by name, ``"auto"`` by default: bfloat16 on CUDA,
            float32 on the CPU.

    Returns:
        Features [n, H] in float32 (float64 from a float64 model), row i for text i ([1, H] for a single ``str``,
        [0, H] for none); with ``pooling=None`` a list of n arrays [length, H], row 0 being [CLS].

    Raises:
        InvalidTypeError, InvalidInputError: an argument cannot be used; a text is named by its index.
        CheckpointError: the model cannot be used, or gives features that are not finite.
        ModelNotFoundError: the model is not there.
        MissingDependencyError: ``return_tensors="pt"`` without torch.
    """
    options = EncodeOptions(pooling, max_length, truncation, normalize, batch_tokens, num_threads)
    _check_return_tensors(return_tensors)
    texts = _checked(texts)
    encoder = _encoder(resolve_model(model, device, dtype), options, return_tensors)
    with progress_bar(_count(texts), show_progress) as progress:
        windows = encoder.windows(texts, progress=progress)
        if pooling is None:
            return [encoder.to.finish(features) for window in windows for features in window]
        total = len(texts) if isinstance(texts, Sequence) else None
        return encoder.to.finish(_join(windows, total, encoder))


def encode_iter(
    texts: str | Iterable[Any],
    model: Any = DEFAULT_MODEL,
    pooling: str | None = "mean",
    max_length: int = 512,
    truncation: bool = True,
    normalize: bool = False,
    batch_tokens: int | None = None,
    num_threads: int | None = None,
    show_progress: bool | None = None,
    return_tensors: str = "np",
    device: str | None = None,
    dtype: str | None = None,
) -> Iterator[Any]:
    """Encode texts as a stream: yields one result per text, in order, holding no more than a window of them.

    The arguments and errors are those of ``encode``; arguments are checked and the model is loaded at the
    call, texts are read as results are taken. Windows adapt to about a second of work.

    Yields:
        Features [H] for each text, or [length, H] with ``pooling=None``.
    """
    options = EncodeOptions(pooling, max_length, truncation, normalize, batch_tokens, num_threads)
    _check_return_tensors(return_tensors)
    texts = _checked(texts)
    encoder = _encoder(resolve_model(model, device, dtype), options, return_tensors)

    def stream() -> Iterator[Any]:
        with progress_bar(_count(texts), show_progress) as progress:
            for window in encoder.windows(texts, progress=progress):
                yield from map(encoder.to.finish, window)

    return stream()


def _checked(texts: str | Iterable[Any]) -> Iterable[Any]:
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, (bytes, bytearray, Mapping)) or not isinstance(texts, Iterable):
        raise InvalidTypeError(f"texts: got {type(texts).__name__}, expected a str or an iterable of str or (str, str)")
    if isinstance(texts, Sequence):
        return [check_text(text, index) for index, text in enumerate(texts)]
    return texts


def _encoder(model: Model, options: EncodeOptions, return_tensors: str) -> Encoder:
    return Encoder(model, options, torch_destination(model.device) if return_tensors == "pt" else None)


def _join(windows: Iterator[Any], total: int | None, encoder: Encoder) -> Any:
    """One array of all windows; written in place when the number of texts is known."""
    joined = encoder.to.empty(total or 0, encoder.model.config.hidden_size, encoder.model.features_dtype)
    if total is None:
        return encoder.to.concatenate([joined, *windows])
    done = 0
    for window in windows:
        joined[done : done + len(window)] = window
        done += len(window)
    return joined


def _check_return_tensors(return_tensors: str) -> None:
    if return_tensors not in ("np", "pt"):
        raise InvalidInputError(f"return_tensors: got {return_tensors!r}, expected 'np' or 'pt'")
    if return_tensors == "pt" and importlib.util.find_spec("torch") is None:
        raise MissingDependencyError(
            "return_tensors: 'pt' needs torch, which is not installed; pip install 'albert_fast[torch]'"
        )


def progress_bar(total: int | None, show_progress: bool | None, *, initial: int = 0) -> Any:
    """A tqdm bar of texts; None shows it on a terminal, once the work has taken a few seconds."""
    if show_progress not in (None, True, False):
        raise InvalidTypeError(f"show_progress: got {show_progress!r}, expected True, False or None")
    from tqdm import tqdm  # type: ignore[import-untyped]

    return tqdm(
        total=total,
        initial=initial,
        unit="text",
        disable=None if show_progress is None else not show_progress,
        delay=_PROGRESS_DELAY_SECONDS if show_progress is None else 0,
    )


def _count(texts: Iterable[Any]) -> int | None:
    return len(texts) if isinstance(texts, Sized) else None


def _check_integer(name: str, value: Any, low: int, high: int | None) -> None:
    expected = f"an integer of at least {low}" if high is None else f"an integer in {low}..{high}"
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"{name}: got {value!r}, expected {expected}")
    if not low <= value <= (math.inf if high is None else high):
        raise InvalidInputError(f"{name}: got {value}, expected {expected}")


class _LastModel:
    """The one model that ``encode`` keeps loaded, by name."""

    def __init__(self) -> None:
        self._key: Any = None
        self._model: Model | None = None
        self.renew_lock()

    def renew_lock(self) -> None:
        """For a child after fork, where the thread that held the lock does not exist."""
        self._lock = threading.Lock()

    def get(self, name: str | os.PathLike[str], device: str, dtype: str) -> Model:
        from .model import load

        key = (type(name), os.fspath(name), device, dtype, _stamp(Path(name).expanduser()))
        with self._lock:
            if self._model is None or self._key != key:
                self._model = None  # lets the old buffer go before the new one is filled
                self._model = load(name, device=device, dtype=dtype)
                self._key = key
            return self._model


def _stamp(path: Path) -> list[tuple[str, int, int]]:
    """Changes when a local file or folder is written to; empty when there is none."""
    try:
        entries = sorted(path.iterdir()) if path.is_dir() else [path]
        return [(str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in entries]
    except (OSError, ValueError):
        return []


_last_model = _LastModel()
os.register_at_fork(after_in_child=_last_model.renew_lock)


def resolve_model(model: Any, device: str | None, dtype: str | None) -> Model:
    """The ``Model`` meant by ``model``: itself, the cached one of that name, or a newly loaded one.

    Raises ``InvalidInputError`` when a ``Model`` is asked to be of another device or dtype than it is.
    """
    from .model import Model, load, require_place

    if isinstance(model, Model):
        require_place(model, device, dtype)
        return model
    if isinstance(model, (str, os.PathLike)):
        return _last_model.get(model, device or "auto", dtype or "auto")
    return load(model, device=device or "auto", dtype=dtype or "auto")
