"""``random:NAME``: a model of the right shape whose weights are random, for tests and benchmarks."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from albert_fast.config import AlbertConfig
from albert_fast.layout import Heads, Shape, expected_shapes
from albert_fast.sources.base import Rows, WeightSource

PREFIX: Final = "random:"
_SEED: Final = 20190926
_STD: Final = 0.02
# Values per independently seeded block: enough to hide the ~20 us a generator costs to seed, little enough to
# stay in L2.
_BLOCK_VALUES: Final = 1 << 16


@dataclass(frozen=True)
class RandomTensor:
    """N(0, 0.02) float32 values (a LayerNorm weight: 1 + N(0, 0.02)) that depend on the name and the position
    alone."""

    name: str
    shape: Shape

    def rows(self, start: int, stop: int) -> Rows:
        """Rows start..stop-1 as [stop - start, cols]; whole seeded blocks are drawn, so the split asked for
        is no matter."""
        columns = self.shape[1] if len(self.shape) == 2 else 1
        step = max(1, _BLOCK_VALUES // columns)
        out = np.empty((stop - start, columns), np.float32)
        for first in range(start - start % step, stop, step):
            block = self._block(first // step, step * columns).reshape(step, columns)
            low, high = max(first, start), min(first + step, stop)
            out[low - start : high - start] = block[low - first : high - first]
        return out

    def _block(self, index: int, count: int) -> Rows:
        seed = np.random.SeedSequence((_SEED, zlib.crc32(self.name.encode()), index))
        values = np.random.Generator(np.random.SFC64(seed)).standard_normal(count, dtype=np.float32)
        values *= np.float32(_STD)
        if self.name.endswith(("LayerNorm.weight", "layer_norm.weight")):
            values += np.float32(1)
        return values


def random_source(name: str, config: AlbertConfig) -> WeightSource:
    """Random weights for every tensor of ``config``, with pooler, MLM head and SOP head.

    The same name and position give the same value on every machine with the same NumPy.
    """
    shapes = expected_shapes(config, Heads(pooler=True, mlm_head=True, sop_head=True))
    tensors = {tensor: RandomTensor(tensor, shape) for tensor, shape in shapes.items()}
    return WeightSource(name, config, tensors, is_random=True)
