"""Embeddings of 8 bits or of one, as vector stores take them; names and arithmetic are sentence-transformers'."""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from albert_fast.errors import InvalidInputError

PRECISIONS: Final = ("float32", "int8", "uint8", "binary", "ubinary")

# So few rows say little of where a column's values lie.
_FEW_ROWS: Final = 100

_log = logging.getLogger("albert_fast")


def quantize_embeddings(
    embeddings: npt.NDArray[Any], precision: str, ranges: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """Embeddings [n, W] as ``precision``.

    ``"uint8"`` counts 255 steps between the least and the greatest value of each column, which are ``ranges`` [2, W] or
    those of the embeddings themselves; ``"int8"`` is that less 128. ``"ubinary"`` packs the signs of 8 columns into a
    byte, [n, ceil(W / 8)]; ``"binary"`` is that less 128. What is compared with a corpus needs the corpus's ranges.

    Raises ``InvalidInputError`` for another precision, or ranges of another shape.
    """
    if precision not in PRECISIONS:
        raise InvalidInputError(f"precision: got {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if precision == "float32":
        return embeddings.astype(np.float32, copy=False)
    if precision.endswith("binary"):
        packed = np.packbits(embeddings > 0, axis=-1)
        return packed if precision == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
    if ranges is None:
        ranges = _ranges(embeddings, precision)
    if np.shape(ranges) != (2, embeddings.shape[1]):
        raise InvalidInputError(f"ranges: got shape {list(np.shape(ranges))}, expected {[2, embeddings.shape[1]]}")
    low, high = np.asarray(ranges, np.float32)
    steps = (high - low) / np.float32(255)
    counts = np.clip(np.floor((embeddings - low) / np.where(steps == 0, 1, steps)), 0, 255)
    return np.asarray(counts.astype(np.uint8) if precision == "uint8" else (counts - 128).astype(np.int8))


def _ranges(embeddings: npt.NDArray[Any], precision: str) -> npt.NDArray[Any]:
    if not len(embeddings):
        return np.zeros((2, embeddings.shape[1]), np.float32)
    if len(embeddings) < _FEW_ROWS:
        _log.warning(
            "precision %s: the ranges of columns come from %d embeddings only; albert_fast.sentence.quantize_embeddings"
            " takes those of a corpus",
            precision,
            len(embeddings),
        )
    return np.stack([embeddings.min(axis=0), embeddings.max(axis=0)])
