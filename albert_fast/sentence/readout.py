"""From the hidden states of a batch to a row for each text, as a folder's modules or a caller's options say."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from albert_fast.errors import InvalidInputError
from albert_fast.sentence.modules import Normalize, SentenceModules, Step
from albert_fast.sentence.options import EncodeOptions

Array = npt.NDArray[np.floating[Any]]

_IN_ENGINE: Final = ("mean", "cls", "pooler")


class Readout:
    """What is asked of the engine (``engine_pooling``, ``engine_normalize``), and what is done with its answer.

    ``pooling="auto"`` is what ``modules`` says, and the mean over all tokens without modules. Any other pooling takes
    the place of the folder's and of what comes after it there. ``width`` is the number of columns, for models of
    ``hidden_size``. Raises ``InvalidInputError`` for a ``truncate_dim`` beyond them, ``CheckpointError`` for modules
    that do not fit to each other.
    """

    def __init__(self, options: EncodeOptions, modules: SentenceModules | None, hidden_size: int) -> None:
        automatic = options.pooling == "auto"
        chosen = modules if automatic and modules is not None else SentenceModules()
        self.per_token = options.pooling is None
        self._poolings = chosen.poolings if automatic else (str(options.pooling),)
        self._steps: tuple[Step, ...] = chosen.steps
        self.excludes_prompt = not chosen.include_prompt
        columns = hidden_size * len(self._poolings)
        for step in self._steps:
            columns = step.width(columns)
        if options.truncate_dim is not None and options.truncate_dim > columns:
            raise InvalidInputError(f"truncate_dim: got {options.truncate_dim}, expected at most {columns} columns")
        if options.truncate_dim is not None and self.per_token:
            raise InvalidInputError("truncate_dim: got it with pooling=None, expected one row for each text")
        self.width = columns if options.truncate_dim is None else options.truncate_dim
        self._last: tuple[Step, ...] = (Normalize(),) if options.normalize else ()
        self._truncates = self.width < columns
        in_engine = len(self._poolings) == 1 and self._poolings[0] in _IN_ENGINE and not self.excludes_prompt
        self.is_direct = self.per_token or (in_engine and not self._steps and not self._truncates)
        """Whether the engine's answer is the result."""
        self.engine_pooling = None if self.per_token or not in_engine else self._poolings[0]
        self.engine_normalize = options.normalize and self.is_direct

    def __call__(self, rows: Array, cu_seqlens: npt.NDArray[np.int32], prompt_tokens: int) -> Array:
        """Rows of the engine, [T, H] or already pooled [B, H], as [B, width] of their dtype.

        ``prompt_tokens``: how many tokens at the beginning of each text are the prompt's, with [CLS].
        """
        if self.engine_pooling is None:
            skipped = prompt_tokens if self.excludes_prompt else 0
            texts = [rows[begin:end] for begin, end in pairwise(cu_seqlens)]
            pooled = np.stack(
                [np.concatenate([pool(text, mode, skipped) for mode in self._poolings]) for text in texts]
            )
        else:
            pooled = rows
        for step in self._steps:
            pooled = step(pooled)
        pooled = pooled[:, : self.width]
        for step in self._last:
            pooled = step(pooled)
        return pooled.astype(rows.dtype, copy=False)


def pool(hidden: Array, mode: str, skipped: int = 0) -> Array:
    """Hidden states of one text, [S, H], as [H]; the first ``skipped`` tokens do not count, unless there are no more.

    ``weightedmean`` weighs token i by i + 1 (Muennighoff 2022, arXiv:2202.08904), ``mean_sqrt_len_tokens`` divides the
    sum by the root of the number of tokens. Sums are float64.
    """
    kept = hidden[skipped:] if skipped < len(hidden) else hidden
    wide = kept.astype(np.float64)
    if mode == "cls":
        return np.asarray(kept[0])
    if mode == "lasttoken":
        return np.asarray(kept[-1])
    if mode == "max":
        return np.asarray(kept.max(axis=0))
    if mode == "weightedmean":
        weights = np.arange(1, len(hidden) + 1, dtype=np.float64)[len(hidden) - len(kept) :, None]
        return np.asarray((wide * weights).sum(axis=0) / weights.sum())
    return np.asarray(wide.sum(axis=0) / (len(wide) if mode == "mean" else np.sqrt(len(wide))))
