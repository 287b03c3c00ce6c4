"""What becomes of the hidden states of a text: pooling, and the modules of sentence-transformers folders."""

from __future__ import annotations

from albert_fast.sentence.modules import SentenceModules, read_modules
from albert_fast.sentence.options import POOLINGS, EncodeOptions
from albert_fast.sentence.precision import PRECISIONS, quantize_embeddings
from albert_fast.sentence.readout import Readout

__all__ = [
    "POOLINGS",
    "PRECISIONS",
    "EncodeOptions",
    "Readout",
    "SentenceModules",
    "quantize_embeddings",
    "read_modules",
]
