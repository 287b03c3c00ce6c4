"""Texts in, features out: ``encode`` for all at once, ``encode_iter`` as a stream.

Texts are read in windows; a window is tokenised in one go, packed into ragged batches by token budget,
run and put back into the caller's order. A text's features do not depend on what else is in its batch, so
neither the window nor the budget shows in the result, in any bit: both are free to follow speed and memory.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .destination import torch_destination
from .errors import InvalidInputError, InvalidTypeError, MissingDependencyError
from .placement import place_names, require_place
from .sentence import PRECISIONS, EncodeOptions, quantize_embeddings
from .sentence.encoder import Encoder, check_text

if TYPE_CHECKING:
    from .model import Model

DEFAULT_MODEL = "albert-xxlarge-v2"

_PROGRESS_DELAY_SECONDS = 3.0


def encode(
    texts: str | Iterable[Any],
    model: Any = DEFAULT_MODEL,
    pooling: str | None = "auto",
    max_length: int | None = None,
    truncation: bool = True,
    normalize: bool = False,
    batch_tokens: int | None = None,
    num_threads: int | None = None,
    show_progress: bool | None = None,
    return_tensors: str = "np",
    device: str | None = None,
    dtype: str | None = None,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
    truncate_dim: int | None = None,
    precision: str = "float32",
) -> Any:
    """Encode texts into ALBERT features.

    Args:
        texts: a list or any iterable of texts, each a ``str`` or a pair ``(str, str)``. One ``str`` is a list
            of one. A generator is read in windows, never whole; types in a list are checked before any work.
        model: a name (Hugging Face id, folder, file, ``random:NAME``), a ``Model`` from ``load``, or a live
            transformers model. The last model asked for by name stays loaded in this process, only that one.
        pooling: ``"auto"``: what the ``modules.json`` of a sentence-transformers folder says, else the mean;
            ``"mean"`` over all tokens of the text, ``"cls"`` the first token, ``"pooler"`` the model's own pooler,
            ``"max"``, ``"mean_sqrt_len_tokens"``, ``"weightedmean"``, ``"lasttoken"``, or None for every token's
            features. All but ``"auto"`` take the place of the folder's pooling and of what follows it there.
        max_length: tokens kept of each text, [CLS] and [SEP] included; 2 up to the model's positions, and no more than
            the model's files say, which is the default.
        truncation: cut longer texts (the longer half of a pair first); when False a longer text is an error.
        normalize: scale each row to length 1 (L2).
        batch_tokens: tokens per batch, 2048 by default. More needs more memory (0.1 MB a token for xxlarge) and is no
            faster; the result stays the same.
        num_threads: threads to use; by default as many as this process has processors (affinity, quotas of its
            control groups, and no more than OMP_NUM_THREADS says).
        show_progress: show a progress bar; None shows it on a terminal once the work has taken a few seconds.
        return_tensors: ``"np"``, or ``"pt"`` for torch tensors, which for a model on CUDA stay there.
        device: where a model given by name is loaded, ``"auto"`` by default: CUDA if it is there, else the CPU.
        dtype: of the weights and activations of a model given by name, ``"auto"`` by default: bfloat16 on CUDA,
            float32 on the CPU.
        prompt, prompt_name: put before each text (of a pair before the first): a string, or one of the folder's
            prompts by name; by default the folder's ``default_prompt_name``.
        truncate_dim: columns to keep (Kusupati et al. 2022, arXiv:2205.13147), before ``normalize``.
        precision: ``"float32"``, or ``"int8"``, ``"uint8"``, ``"binary"``, ``"ubinary"``: see
            ``albert_fast.sentence.quantize_embeddings``.

    Returns:
        Features [n, H] in float32 (float64 from a float64 model), row i for text i ([1, H] for a single ``str``,
        [0, H] for none); with ``pooling=None`` a list of n arrays [length, H], row 0 being [CLS].

    Raises:
        InvalidTypeError, InvalidInputError: an argument cannot be used; a text is named by its index.
        CheckpointError: the model cannot be used, or gives features that are not finite.
        ModelNotFoundError: the model is not there.
        MissingDependencyError: ``return_tensors="pt"`` without torch.
    """
    options = EncodeOptions(
        pooling, max_length, truncation, normalize, batch_tokens, num_threads, prompt, prompt_name, truncate_dim
    )
    _check_return_tensors(return_tensors)
    _check_precision(precision, pooling)
    texts = _checked(texts)
    encoder = _encoder(resolve_model(model, device, dtype), options, return_tensors, precision)
    with progress_bar(_count(texts), show_progress) as progress:
        windows = encoder.windows(texts, progress=progress)
        if pooling is None:
            return [encoder.to.finish(features) for window in windows for features in window]
        total = len(texts) if isinstance(texts, Sequence) else None
        joined = _join(windows, total, encoder)
        return encoder.to.finish(joined if precision == "float32" else quantize_embeddings(joined, precision))


def encode_iter(
    texts: str | Iterable[Any],
    model: Any = DEFAULT_MODEL,
    pooling: str | None = "auto",
    max_length: int | None = None,
    truncation: bool = True,
    normalize: bool = False,
    batch_tokens: int | None = None,
    num_threads: int | None = None,
    show_progress: bool | None = None,
    return_tensors: str = "np",
    device: str | None = None,
    dtype: str | None = None,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
    truncate_dim: int | None = None,
) -> Iterator[Any]:
    """Encode texts as a stream: yields one result per text, in order, holding no more than a window of them.

    The arguments and errors are those of ``encode``; arguments are checked and the model is loaded at the
    call, texts are read as results are taken. Windows adapt to about a second of work.

    Yields:
        Features [H] for each text, or [length, H] with ``pooling=None``.
    """
    options = EncodeOptions(
        pooling, max_length, truncation, normalize, batch_tokens, num_threads, prompt, prompt_name, truncate_dim
    )
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
    is_table = hasattr(texts, "columns") or hasattr(texts, "column_names")  # pandas' and others give names of columns
    if isinstance(texts, (bytes, bytearray, Mapping)) or is_table or not isinstance(texts, Iterable):
        raise InvalidTypeError(f"texts: got {type(texts).__name__}, expected a str or an iterable of str or (str, str)")
    if hasattr(texts, "to_pylist"):  # a column of pyarrow, of scalars of its own
        texts = texts.to_pylist()
    if isinstance(texts, Sequence):
        return [check_text(text, index) for index, text in enumerate(texts)]
    return texts


def _encoder(model: Model, options: EncodeOptions, return_tensors: str, precision: str = "float32") -> Encoder:
    on_host = precision != "float32"  # embeddings of fewer bits are made there
    place = "cpu" if on_host else model.device
    return Encoder(model, options, torch_destination(place) if return_tensors == "pt" else None)


def _check_precision(precision: str, pooling: str | None) -> None:
    if precision not in PRECISIONS:
        raise InvalidInputError(f"precision: got {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if precision != "float32" and pooling is None:
        raise InvalidInputError(f"precision: got {precision!r} with pooling=None, expected one row for each text")


def _join(windows: Iterator[Any], total: int | None, encoder: Encoder) -> Any:
    """One array of all windows; written in place when the number of texts is known."""
    joined = encoder.to.empty(total or 0, encoder.readout.width, encoder.model.features_dtype)
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


class _LastModel:
    """The one model that ``encode`` keeps loaded, by name."""

    def __init__(self) -> None:
        self._key: Any = None
        self._model: Model | None = None
        self.renew_lock()

    def renew_lock(self) -> None:
        """For a child after fork, where the thread that held the lock does not exist."""
        self._lock = threading.Lock()

    def get(self, name: str | os.PathLike[str], device: str, dtype: str, revision: str | None) -> Model:
        from .model import load

        key = (type(name), os.fspath(name), device, dtype, revision, _stamp(Path(os.path.expanduser(name))))
        with self._lock:
            if self._model is None or self._key != key:
                self._model = None  # lets the old buffer go before the new one is filled
                self._model = load(name, device=device, dtype=dtype, revision=revision)
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


def resolve_model(model: Any, device: Any, dtype: Any, revision: str | None = None) -> Model:
    """The ``Model`` meant by ``model``: itself, the cached one of that name, or a newly loaded one.

    ``revision`` is that of a name on the hub. Raises ``InvalidInputError`` when a ``Model`` is asked to be of another
    device or dtype than it is.
    """
    from .model import Model, load

    if isinstance(model, Model):
        require_place(model, device, dtype)
        return model
    if isinstance(model, (str, os.PathLike)):
        return _last_model.get(model, *place_names(device, dtype), revision)
    return load(model, device=device, dtype=dtype)
