"""ALBERT's text rules: what happens to a text before SentencePiece sees it.

The order is fixed by the published models and every step depends on the one before::

    lowercase each character alone  ->  split out special tokens  ->  per part: collapse white space
    ->  two backquotes or two single quotes become "  ->  NFKD  ->  drop combining marks  ->  lowercase

Lowercasing runs twice on purpose: NFKD turns, say, a mathematical bold capital into a plain capital that
the first pass could not have lowered. The first pass looks at one character at a time, so it never produces
a final sigma; the second looks at words, and can.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")

_SPECIAL = re.compile(r"\[(?:CLS|SEP|MASK)\]|<(?:pad|unk)>")
# Special tokens are looked for after the first lowercasing, so every spelling that lowers to <pad> or <unk>
# counts as one (U+212A, the Kelvin sign, lowers to k), while [CLS], [SEP] and [MASK] are kept from it and
# match exactly.
_SPECIAL_LOWERING = re.compile("\\[(?:CLS|SEP|MASK)\\]|<(?:[pP][aA][dD]|[uU][nN][kK\u212a])>")

_CAPITAL_SIGMA, _SMALL_SIGMA = "\u03a3", "\u03c3"


@dataclass(frozen=True)
class Segment:
    """``text[start:end]`` of the original text: a special token, or (``special is None``) plain text."""

    start: int
    end: int
    special: str | None


def lower_each(text: str) -> str:
    """Lowercase every character on its own; ``str.lower`` differs from that only at a final sigma."""
    return text.replace(_CAPITAL_SIGMA, _SMALL_SIGMA).lower()


def drop_marks(text: str) -> str:
    """Remove the characters with a non-zero canonical combining class."""
    for mark in [c for c in set(text) if unicodedata.combining(c)]:
        text = text.replace(mark, "")
    return text


@dataclass(frozen=True)
class Normalizer:
    """The text rules with the three switches a tokenizer_config.json may set."""

    do_lower_case: bool = True
    keep_accents: bool = False
    remove_space: bool = True

    @staticmethod
    def is_plain(text: str) -> bool:
        """Whether there cannot be a special token in ``text``: the quick way past ``split``."""
        return "[" not in text and "<" not in text

    def split(self, text: str) -> list[Segment]:
        """Cut ``text`` at its special tokens; ``[MASK]`` also eats the white space before it."""
        pattern = _SPECIAL_LOWERING if self.do_lower_case else _SPECIAL
        segments, position = [], 0
        for match in pattern.finditer(text):
            start, end = match.span()
            token = match.group() if match.group()[0] == "[" else match.group().lower()
            plain_end = position + len(text[position:start].rstrip()) if token == MASK else start
            if plain_end > position:
                segments.append(Segment(position, plain_end, None))
            segments.append(Segment(start, end, token))
            position = end
        if position < len(text):
            segments.append(Segment(position, len(text), None))
        return segments

    def normalize(self, text: str) -> str:
        """Apply the rules to a part without special tokens; ASCII text skips everything Unicode."""
        if self.do_lower_case:
            text = text.lower() if text.isascii() else lower_each(text)
        if self.remove_space:
            text = " ".join(text.split())
        text = text.replace("``", '"').replace("''", '"')
        if text.isascii():
            return text
        if not self.keep_accents:
            text = drop_marks(unicodedata.normalize("NFKD", text))
        return text.lower() if self.do_lower_case else text
