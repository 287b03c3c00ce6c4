"""The one list of op cases: tests, gradients and benches draw from it.

Each case is a set of sizes; ``inputs(seed, dtype)`` draws its random inputs. Sizes are awkward on purpose: nothing
divides tiles (6 or 12 rows, panels of 8 to 32 columns, k blocks of 256), and one case lies just beside each limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]


def _generator(seed: int, *sizes: int) -> np.random.Generator:
    return np.random.default_rng([seed, *sizes])


@dataclass(frozen=True)
class LinearCase:
    """y [T, N] = activation(x [T, K] weight [N, K]^T + bias) + residual."""

    t: int
    n: int
    k: int
    activation: str = "none"
    bias: bool = True
    residual: bool = True

    def inputs(self, seed: int, dtype: str) -> Arrays:
        """x, weight, and bias and residual if the case has them; outputs are of the order of 1."""
        rng = _generator(seed, self.t, self.n, self.k)
        arrays = {"x": rng.standard_normal((self.t, self.k))}
        arrays["weight"] = rng.standard_normal((self.n, self.k)) / np.sqrt(self.k)
        if self.bias:
            arrays["bias"] = rng.standard_normal(self.n)
        if self.residual:
            arrays["residual"] = rng.standard_normal((self.t, self.n))
        return {name: array.astype(dtype) for name, array in arrays.items()}


@dataclass(frozen=True)
class LinearGradCase:
    """dx [T, K] = dy [T, N] weight [N, K] + residual; dweight [N, K] = dy^T x [T, K], dbias [N] = column sums of dy."""

    t: int
    n: int
    k: int
    residual: bool = True

    def inputs(self, seed: int, dtype: str) -> Arrays:
        """dy, weight, x, and residual if the case has one; dx and dweight are of the order of 1."""
        rng = _generator(seed, self.t, self.n, self.k)
        arrays = {"dy": rng.standard_normal((self.t, self.n))}
        arrays["weight"] = rng.standard_normal((self.n, self.k)) / np.sqrt(self.n)
        arrays["x"] = rng.standard_normal((self.t, self.k)) / np.sqrt(self.t)
        if self.residual:
            arrays["residual"] = rng.standard_normal((self.t, self.k))
        return {name: array.astype(dtype) for name, array in arrays.items()}


@dataclass(frozen=True)
class AttentionCase:
    """out [T, H] of qkv [T, 3 H] for sequences of the given lengths."""

    lengths: tuple[int, ...]
    num_heads: int
    head_dim: int

    @property
    def cu_seqlens(self) -> np.ndarray[Any, Any]:
        """int32 [B + 1]."""
        return np.array([0, *accumulate(self.lengths)], np.int32)

    def inputs(self, seed: int, dtype: str) -> Arrays:
        """Qkv; queries and keys are twice as wide as usual, so that softmax has peaks and tails."""
        hidden = self.num_heads * self.head_dim
        rng = _generator(seed, sum(self.lengths), hidden)
        qkv = rng.standard_normal((sum(self.lengths), 3 * hidden))
        qkv[:, : 2 * hidden] *= 2
        return {"qkv": qkv.astype(dtype)}


@dataclass(frozen=True)
class RowsCase:
    """T rows of width H, for layer_norm, embed and the poolings."""

    t: int
    h: int

    def inputs(self, seed: int, dtype: str) -> Arrays:
        """x, whose mean is not 0, and gamma and beta."""
        rng = _generator(seed, self.t, self.h)
        arrays = {"x": rng.standard_normal((self.t, self.h)) + 3 * rng.standard_normal((self.t, 1))}
        arrays["gamma"] = 1 + 0.5 * rng.standard_normal(self.h)
        arrays["beta"] = rng.standard_normal(self.h)
        return {name: array.astype(dtype) for name, array in arrays.items()}


LINEAR = (
    LinearCase(1, 1, 1),
    LinearCase(1, 16, 256),
    LinearCase(5, 33, 257, "gelu_new"),
    LinearCase(6, 31, 255, "gelu"),
    LinearCase(7, 130, 300, "tanh"),
    LinearCase(13, 129, 512, bias=False),
    LinearCase(16, 7, 4096, residual=False),
    LinearCase(63, 300, 700, "gelu_new", residual=False),
    LinearCase(129, 96, 1024, "gelu", residual=False),
    LinearCase(191, 40, 65),
    LinearCase(193, 257, 33),
    LinearCase(400, 64, 128),
    LinearCase(3, 20, 16384),
)

ATTENTION = (
    AttentionCase((1,), 1, 1),
    AttentionCase((1, 5, 0, 7), 2, 16),
    AttentionCase((63, 64, 65), 3, 20),
    AttentionCase((130, 2, 17), 2, 64),
    AttentionCase((512, 1), 1, 64),
    AttentionCase((40, 41), 1, 128),
    AttentionCase((9,), 1, 300),
)

# What CUDA kernels take: widths K and H that are multiples of 8, heads of 32, 64 or 128. T just beside the tiles' 16,
# 32, 64 and 128 rows; N and K that divide no tile; long k; and shapes for which each of the tiles is chosen.
CUDA_LINEAR = (
    LinearCase(1, 2, 8),
    LinearCase(1, 300, 4096, "gelu_new", residual=False),
    LinearCase(15, 33, 40, "gelu"),
    LinearCase(16, 96, 128),
    LinearCase(17, 257, 520, "tanh", residual=False),
    LinearCase(63, 130, 264, "gelu_new", residual=False),
    LinearCase(65, 328, 72, bias=False),
    LinearCase(129, 264, 328, "gelu", residual=False),
    LinearCase(3, 40, 16384),
    LinearCase(100, 520, 72, residual=False),
    LinearCase(65, 2056, 24),
    LinearCase(65, 4104, 24, "gelu_new", residual=False),
    LinearCase(129, 8200, 24),
)

# The same for its gradients, whose tiles are 64 or 128 on both sides and 32 or 64 deep: T, N and K just beside these, N
# that are no multiple of 8 and so copied first; long sums over N and over T; results that choose the larger tile.
CUDA_LINEAR_GRADIENTS = (
    LinearGradCase(1, 2, 8),
    LinearGradCase(3, 8, 40, residual=False),
    LinearGradCase(15, 33, 40),
    LinearGradCase(33, 64, 72, residual=False),
    LinearGradCase(63, 72, 136),
    LinearGradCase(65, 136, 264, residual=False),
    LinearGradCase(129, 257, 120),
    LinearGradCase(5, 16384, 24),
    LinearGradCase(8195, 24, 16, residual=False),
    LinearGradCase(129, 24, 8200),
    LinearGradCase(24, 136, 8200, residual=False),
)

CUDA_ATTENTION = (
    AttentionCase((1,), 1, 32),
    AttentionCase((1, 5, 0, 7), 2, 64),
    AttentionCase((63, 64, 65), 3, 32),
    AttentionCase((130, 2, 17), 2, 64),
    AttentionCase((512, 1), 1, 64),
    AttentionCase((15, 16, 129), 1, 128),
)

CUDA_ROWS = (
    RowsCase(1, 8),
    RowsCase(3, 24),
    RowsCase(17, 128),
    RowsCase(16, 304),
    RowsCase(33, 1024),
    RowsCase(130, 4096),
    RowsCase(5, 8192),
)

ROWS = (RowsCase(1, 1), RowsCase(3, 7), RowsCase(17, 128), RowsCase(16, 300), RowsCase(33, 4096))

# Gradients of gamma and beta are summed in blocks of 32 rows, and those blocks over 256 columns at a time.
GRADIENT_ROWS = (RowsCase(3, 7), RowsCase(31, 33), RowsCase(32, 300), RowsCase(33, 4096), RowsCase(200, 257))

# Real shapes, for benches: (name, N, K) of xxlarge's products.
XXLARGE_PRODUCTS = (
    ("qkv", 12288, 4096),
    ("dense", 4096, 4096),
    ("ffn", 16384, 4096),
    ("ffn_output", 4096, 16384),
)
