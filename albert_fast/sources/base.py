"""``WeightSource``: named tensors of a model, read by rows, wherever they are stored."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from albert_fast.config import AlbertConfig
from albert_fast.errors import CheckpointError, InvalidInputError
from albert_fast.layout import Shape
from albert_fast.sources.names import (
    DECODER_BIAS,
    DECODER_WEIGHT,
    MLM_BIAS,
    MLM_HEAD,
    NAMESPACES,
    TIED,
    WORD_EMBEDDINGS,
    canonical_name,
)

_log = logging.getLogger("albert_fast")

Rows = NDArray[np.floating[Any]]
"""float32 or float64, [rows, cols], C-contiguous."""

BLOCK_BYTES = 8 << 20
"""How much of a tensor is held at once while it is converted, compared or copied."""


class StoredTensor(Protocol):
    """One tensor as some storage keeps it."""

    @property
    def shape(self) -> Shape:
        """Its stored shape."""

    def rows(self, start: int, stop: int) -> Rows:
        """Rows start..stop-1 as [stop - start, cols], a view where the storage allows; a 1-D tensor is seen
        as [n, 1]."""


@dataclass(frozen=True)
class SumTensor:
    """Two tensors of one shape, added."""

    first: StoredTensor
    second: StoredTensor

    @property
    def shape(self) -> Shape:
        """That of the first."""
        return self.first.shape

    def rows(self, start: int, stop: int) -> Rows:
        """Rows start..stop-1 of both, added."""
        return self.first.rows(start, stop) + self.second.rows(start, stop)


class WeightSource:
    """The weights of one model under canonical names, its configuration and where it came from.

    A context manager; closing it lets mapped files go once no view returned by ``rows`` is alive any more.

    ``name`` is what the user asked for. ``folder`` is where other files of the model may lie
    (``spiece.model``), or None. ``tensor_names`` are those in ALBERT's own namespaces, whether the
    configuration has a place for them or not; ``unused_tensors`` are the rest, task heads of fine-tuned models,
    which ``shape`` and ``rows`` know as well, under the names they are stored under. ``mlm_bias`` is one of
    ``MLM_BIASES``.
    """

    def __init__(
        self,
        name: str,
        config: AlbertConfig,
        tensors: Mapping[str, StoredTensor],
        *,
        folder: Path | None = None,
        is_random: bool = False,
        mlm_bias: str = "decoder",
    ) -> None:
        self.name = name
        self.config = config
        self.folder = folder
        self.is_random = is_random
        self._closed = False
        self._tensors, self._others = _by_canonical_name(name, tensors)
        self._untie_decoder()
        self._choose_mlm_bias(mlm_bias)
        for second, first in TIED.items():
            if (tensor := self._tensors.pop(second, None)) is not None:
                self._tensors.setdefault(first, tensor)

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Canonical names, in the order of the storage."""
        return tuple(self._tensors)

    @property
    def unused_tensors(self) -> tuple[str, ...]:
        """Stored names of tensors outside ALBERT's namespaces."""
        return tuple(self._others)

    def shape(self, name: str) -> Shape:
        """The stored shape of a tensor. Raises ``InvalidInputError`` for a name it does not have."""
        return self._tensor(name).shape

    def rows(self, name: str, start: int, stop: int) -> Rows:
        """Rows ``start..stop-1`` of a tensor: float32 (float64 if stored so), [rows, cols], C-contiguous.

        A view of the storage where that is possible, not to be written to. A 1-D tensor is seen as [n, 1].
        float16 and bfloat16 are widened. Raises ``InvalidInputError`` for an unknown name or rows outside the
        tensor, and ``CheckpointError`` when the stored bytes cannot be used.
        """
        tensor = self._tensor(name)
        count = tensor.shape[0] if tensor.shape else 0
        if not 0 <= start <= stop <= count:
            raise InvalidInputError(f"rows of {name}: got {start}..{stop}, expected a range within 0..{count}")
        return tensor.rows(start, stop)

    def close(self) -> None:
        """Let the storage go. Closing twice is harmless."""
        self._closed = True
        self._tensors, self._others = {}, {}

    def __enter__(self) -> WeightSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _tensor(self, name: str) -> StoredTensor:
        if self._closed:
            raise InvalidInputError(f"model {self.name}: its weight source is closed")
        tensor = self._tensors.get(name) or self._others.get(name)
        if tensor is None:
            raise InvalidInputError(f"tensor name: got {name!r}, expected one of model {self.name}'s tensor_names")
        return tensor

    def _untie_decoder(self) -> None:
        """A decoder with weights of its own is not run; the rest of the model does not depend on it."""
        if not self._differ(DECODER_WEIGHT, WORD_EMBEDDINGS):
            return
        _log.warning(
            "model %s: %s differs from %s; an MLM head that is not tied to the word embeddings is left out",
            self.name,
            DECODER_WEIGHT,
            WORD_EMBEDDINGS,
        )
        for name in [name for name in self._tensors if name.startswith(MLM_HEAD)]:
            self._others[name] = self._tensors.pop(name)

    def _choose_mlm_bias(self, mlm_bias: str) -> None:
        """Of two biases of the MLM head, which published files have, keep the one that is asked for as ``MLM_BIAS``."""
        if not self._differ(DECODER_BIAS, MLM_BIAS):
            return
        own, decoder = self._tensors.pop(MLM_BIAS), self._tensors.pop(DECODER_BIAS)
        self._tensors[MLM_BIAS] = {"decoder": decoder, "predictions": own, "sum": SumTensor(own, decoder)}[mlm_bias]
        if mlm_bias == "decoder":
            _log.warning(
                "model %s: its MLM head has two biases; as in transformers 5, %s is added, not %s."
                " load(..., mlm_bias='predictions') adds the latter, as the original code does",
                self.name,
                DECODER_BIAS,
                MLM_BIAS,
            )

    def _differ(self, first: str, second: str) -> bool:
        return first in self._tensors and second in self._tensors and not self._equal(first, second)

    def _equal(self, first: str, second: str) -> bool:
        if self.shape(first) != self.shape(second):
            return False
        return all(
            np.array_equal(self.rows(first, *block), self.rows(second, *block), equal_nan=True)
            for block in row_blocks(self.shape(first))
        )


def row_blocks(shape: Shape) -> list[tuple[int, int]]:
    """Split a tensor into ``(start, stop)`` ranges of rows of about ``BLOCK_BYTES`` in float32, at least a
    row each."""
    step = max(1, BLOCK_BYTES // max(1, 4 * math.prod(shape[1:])))
    count = shape[0] if shape else 0
    return [(start, min(start + step, count)) for start in range(0, count, step)]


def _by_canonical_name(
    model: str, tensors: Mapping[str, StoredTensor]
) -> tuple[dict[str, StoredTensor], dict[str, StoredTensor]]:
    known: dict[str, StoredTensor] = {}
    others: dict[str, StoredTensor] = {}
    for raw, tensor in tensors.items():
        name = canonical_name(raw)
        if name is None:
            continue
        if not name.startswith(NAMESPACES):
            others[raw] = tensor
        elif name in known:
            raise CheckpointError(f"model {model}: {name} is stored twice, under two spellings of its name")
        else:
            known[name] = tensor
    return known, others
