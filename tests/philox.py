"""Philox4x32-10 in NumPy (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3), and the
masks that `Dropout` of csrc/kernels/types.h makes of it. Written from the paper, with nothing of the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

Words = np.ndarray[Any, np.dtype[np.uint64]]

_LOW = np.uint64(0xFFFFFFFF)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt(3) - 1
_ROUNDS = 10


def philox4x32(counter: Words, key: tuple[int, int]) -> Words:
    """Words [.., 4] for counters [.., 4]; all of 32 bits, in uint64."""
    a, b, c, d = (counter[..., i].astype(np.uint64) for i in range(4))
    for i in range(_ROUNDS):
        k0, k1 = (np.uint64((k + i * w) & 0xFFFFFFFF) for k, w in zip(key, _WEYL, strict=True))
        left, right = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (right >> 32) ^ b ^ k0, right & _LOW, (left >> 32) ^ d ^ k1, left & _LOW
    return np.stack([a, b, c, d], axis=-1)


def kept(numbers: Any, p: float, seed: int, stream: int) -> Any:
    """Which of these numbers of a stream dropout keeps."""
    numbers = np.asarray(numbers, np.uint64)
    quarter = numbers >> 2
    counter = np.stack([quarter & _LOW, quarter >> 32, np.full_like(quarter, stream), np.zeros_like(quarter)], -1)
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    chosen = np.take_along_axis(words, (numbers & 3)[..., None].astype(np.int64), axis=-1)[..., 0]
    return chosen >= np.uint64(int(p * 2**32))


def mask(numbers: Any, p: float, seed: int, stream: int) -> Any:
    """What dropout multiplies these numbers by: 0 or 1 / (1 - p), in float64."""
    return kept(numbers, p, seed, stream) / (1 - p)


def attention_numbers(rows: Any, num_heads: int, length: int) -> Any:
    """Numbers [num_heads, rows, length] of the keys of a sequence's query rows: (t num_heads + h) 2^16 + j."""
    rows, heads, keys = np.asarray(rows), np.arange(num_heads), np.arange(length)
    return ((rows[None, :, None] * num_heads + heads[:, None, None]) << 16) + keys
