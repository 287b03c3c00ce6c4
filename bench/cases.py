"""The shapes measured: the classes of the tests' case list, at the sizes of published models."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np

from albert_fast.batching import RaggedBatch
from albert_fast.config import AlbertConfig
from albert_fast.errors import InvalidInputError

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from cases import XXLARGE_PRODUCTS, AttentionCase, LinearCase, RowsCase
from cases import LinearGradCase as LinearGradCase

TOKENS = (1, 4, 8, 16, 64, 128, 512, 1024)
ATTENTION_LENGTHS = (16, 128, 512)
ATTENTION_TOKENS = 512  # in one batch of sequences of equal length

EPILOGUES = {"ffn": ("gelu_new", False), "dense": ("none", True), "ffn_output": ("none", True)}
"""Activation and residual of each product in the layer; ``qkv`` has a bias alone."""

MIXED_LENGTHS = (125, 18, 96, 41, 77, 112, 29, 63, 88, 54, 103, 35, 12, 70, 119, 58)
"""16 texts, 1,100 tokens, 2,000 when padded."""


def products(model: str) -> list[tuple[str, int, int]]:
    """(name, N, K) of the four products of a layer."""
    if model == "albert-xxlarge-v2":
        return list(XXLARGE_PRODUCTS)
    config = AlbertConfig.preset(model)
    hidden, inner = config.hidden_size, config.intermediate_size
    return [
        ("qkv", 3 * hidden, hidden),
        ("dense", hidden, hidden),
        ("ffn", inner, hidden),
        ("ffn_output", hidden, inner),
    ]


def linear_case(product: str, t: int, n: int, k: int) -> LinearCase:
    """A product with the epilogue that it has in the layer."""
    activation, residual = EPILOGUES.get(product, ("none", False))
    return LinearCase(t, n, k, activation, bias=True, residual=residual)


def attention_cases(model: str) -> list[AttentionCase]:
    """512 tokens as 32 x 16, 4 x 128 and 1 x 512."""
    config = AlbertConfig.preset(model)
    return [
        AttentionCase((length,) * (ATTENTION_TOKENS // length), config.num_attention_heads, config.head_dim)
        for length in ATTENTION_LENGTHS
    ]


def rows_cases(width: int, tokens: tuple[int, ...]) -> list[RowsCase]:
    """Rows of one width, for the numbers of tokens that the products are measured at."""
    return [RowsCase(t, width) for t in tokens]


def sequence_lengths(case: str) -> tuple[int, ...]:
    """``"8x128"``: 8 sequences of 128; ``"mixed"``: ``MIXED_LENGTHS``; else ``ValueError``."""
    if case == "mixed":
        return MIXED_LENGTHS
    count, cross, length = case.partition("x")
    if not (cross and count.isdecimal() and length.isdecimal() and int(count) and int(length)):
        raise ValueError(f"case: got {case!r}, expected COUNTxLENGTH or 'mixed'")
    return (int(length),) * int(count)


def parse_choices(option: str, text: str, known: Collection[str]) -> tuple[str, ...]:
    """``"a,b"`` as names, each once and each known; else ``InvalidInputError`` that names the option."""
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in known:
            raise InvalidInputError(f"{option}: got {name!r}, expected some of {', '.join(known)}")
    return names


def random_batch(vocab_size: int, lengths: tuple[int, ...]) -> RaggedBatch:
    """Sequences of these lengths, of random tokens and one type."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, vocab_size, n).tolist() for n in lengths]
    return RaggedBatch.from_sequences([(ids, [0] * len(ids)) for ids in rows])
