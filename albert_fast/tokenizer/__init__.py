"""ALBERT's tokenizer: text to SentencePiece ids and back to character positions."""

from __future__ import annotations

from albert_fast.tokenizer.albert_tokenizer import AlbertTokenizer
from albert_fast.tokenizer.encoding import BatchEncoding
from albert_fast.tokenizer.given import as_tokenizer

__all__ = ["AlbertTokenizer", "BatchEncoding", "as_tokenizer"]
