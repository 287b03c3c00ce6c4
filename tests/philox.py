"""Dropout's numbers in NumPy: Philox4x32-10 (Salmon et al. 2011), counted as csrc/kernels/types.h says."""

from __future__ import annotations

from typing import Any

import numpy as np

Words = np.ndarray[Any, np.dtype[np.uint32]]
Kept = np.ndarray[Any, np.dtype[np.bool_]]

_FACTORS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
_KEY_STEPS = np.array([0x9E3779B9, 0xBB67AE85], np.uint32)
_ROUNDS = 10


def philox(counters: Words, key: Words) -> Words:
    """The words [n, 4] of counters [n, 4] under a key [2]."""
    state, key = counters.astype(np.uint32), key.astype(np.uint32)
    for _ in range(_ROUNDS):
        products = state[:, [0, 2]].astype(np.uint64) * _FACTORS
        high, low = (products >> np.uint64(32)).astype(np.uint32), products.astype(np.uint32)
        state = np.stack(
            [high[:, 1] ^ state[:, 1] ^ key[0], low[:, 1], high[:, 0] ^ state[:, 3] ^ key[1], low[:, 0]], 1
        )
        key = key + _KEY_STEPS
    return state


def uniform_words(seed: int, stream: int, first: int, count: int) -> Words:
    """Words of the element numbers first .. first + count - 1."""
    blocks = np.arange(first // 4, (first + count + 3) // 4, dtype=np.uint64)
    counters = np.zeros((len(blocks), 4), np.uint32)
    counters[:, 0], counters[:, 1] = blocks & np.uint64(0xFFFFFFFF), blocks >> np.uint64(32)
    counters[:, 2] = stream
    words = philox(counters, np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32))
    return words.ravel()[first % 4 :][:count]


def kept(dropout: tuple[float, int, int], first: int, count: int) -> Kept:
    """Which of those numbers dropout (p, seed, stream) keeps."""
    p, seed, stream = dropout
    return uniform_words(seed, stream, first, count) >= np.uint32(int(p * 2**32))
