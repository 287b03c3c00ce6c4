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
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache

from albert_fast.tokenizer.added_tokens import ALBERT_TOKENS, AddedToken

SPECIAL_TOKENS = tuple(token.content for token in ALBERT_TOKENS)

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
    """The text rules with the three switches a tokenizer_config.json may set, and the tokens that are split out."""

    do_lower_case: bool = True
    keep_accents: bool = False
    remove_space: bool = True
    added: tuple[AddedToken, ...] = ALBERT_TOKENS

    @cached_property
    def _splitter(self) -> _Splitter:
        return _splitter(self.added, self.do_lower_case)

    def is_plain(self, text: str) -> bool:
        """Whether there cannot be an added token in ``text``: the quick way past ``split``."""
        return not any(start in text for start in self._splitter.starts)

    def split(self, text: str) -> list[Segment]:
        """Cut ``text`` at its added tokens; some, as ``[MASK]``, also eat the white space beside them."""
        splitter = self._splitter
        segments, position = [], 0
        for match in splitter.pattern.finditer(text):
            start, end = match.span()
            token = splitter.tokens.get(match.group()) or splitter.tokens[lower_each(match.group())]
            beside = text[start - 1 : start].strip(" ") + text[end : end + 1].strip(" ")
            if token.single_word and beside:
                continue
            plain_end = position + len(text[position:start].rstrip()) if token.lstrip else start
            if plain_end > position:
                segments.append(Segment(position, plain_end, None))
            segments.append(Segment(start, end, token.content))
            position = len(text) - len(text[end:].lstrip()) if token.rstrip else end
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


@dataclass(frozen=True)
class _Splitter:
    pattern: re.Pattern[str]
    tokens: dict[str, AddedToken]
    starts: frozenset[str]  # first characters of all spellings


def _splitter(added: tuple[AddedToken, ...], lowers: bool) -> _Splitter:
    """How added tokens are found, the longest first.

    With lowercasing they are looked for after it, so every spelling that lowers to a token counts as it (``<PAD>``;
    U+212A, the Kelvin sign, lowers to k), while special tokens with capitals, such as ``[CLS]``, and normalised ones
    are kept from it and match exactly.
    """
    spellings = []
    for token in sorted(added, key=lambda token: -len(token.content)):
        content = token.content
        if lowers and content == lower_each(content):
            spellings.append([_capitals().get(char, "") + char for char in content])
        elif not lowers or token.special or token.normalized:
            spellings.append(list(content))
    patterns = ["".join(f"[{re.escape(chars)}]" for chars in spelling) for spelling in spellings]
    return _Splitter(
        re.compile("|".join(patterns) or r"(?!)"),
        {token.content: token for token in added},
        frozenset(char for spelling in spellings for char in spelling[0]),
    )


@lru_cache(maxsize=1)
def _capitals() -> dict[str, str]:
    """For each character the others that lower to it; none beyond the Adlam script, U+1E900, has capitals."""
    lowered: dict[str, str] = defaultdict(str)
    for char in map(chr, range(0x1E944)):
        if (low := lower_each(char)) != char and len(low) == 1:
            lowered[low] += char
    return dict(lowered)
