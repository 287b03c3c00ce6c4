"""What callers give as a tokenizer, and whether one fits a model."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from typing import Any, Final

from albert_fast.errors import InvalidTypeError
from albert_fast.tokenizer.albert_tokenizer import AlbertTokenizer

# Rows of word embeddings that no token has: vocabularies are rounded up to multiples of 64 or 128.
_MOST_SPARE_ROWS: Final = 128


def as_tokenizer(value: Any) -> AlbertTokenizer:
    """One of ours as it is, a name or path as ``AlbertTokenizer.from_pretrained`` loads it, and a tokenizer of
    transformers by the files that it saves.

    Raises ``InvalidTypeError`` for anything else, and what ``from_pretrained`` raises.
    """
    if isinstance(value, AlbertTokenizer):
        return value
    if isinstance(value, (str, os.PathLike)):
        return AlbertTokenizer.from_pretrained(value)
    if isinstance(value, type) or not (hasattr(value, "save_pretrained") and hasattr(value, "convert_ids_to_tokens")):
        raise InvalidTypeError(
            f"tokenizer: got {value!r:.80}, expected an AlbertTokenizer, a name or folder, or one of transformers"
        )
    with TemporaryDirectory() as folder:
        value.save_pretrained(folder)
        tokenizer = AlbertTokenizer.from_pretrained(folder)
    tokenizer.name_or_path = tokenizer.backend.name = str(value.name_or_path)
    return tokenizer


def why_misfit(tokenizer: AlbertTokenizer, rows: int) -> str | None:
    """Why a tokenizer does not seem to be that of a model with so many rows of word embeddings; None if it does."""
    if len(tokenizer) > rows:
        return f"its tokenizer has {len(tokenizer)} tokens, the model {rows}; texts with the others are refused"
    if tokenizer.vocab_size < rows - _MOST_SPARE_ROWS:
        return f"its tokenizer has {tokenizer.vocab_size} tokens, the model {rows}; it may be that of another model"
    return None
