"""Pretraining. Data: raw text to masked examples with two segments, as google-research/albert makes them."""

from __future__ import annotations

from albert_fast.pretraining.corpus import Corpus, read_documents
from albert_fast.pretraining.examples import Example, Examples, collate
from albert_fast.pretraining.masking import IGNORED, MaskRules
from albert_fast.pretraining.segments import SegmentRules

__all__ = [
    "IGNORED",
    "Corpus",
    "Example",
    "Examples",
    "MaskRules",
    "SegmentRules",
    "collate",
    "read_documents",
]
