"""From tokens back to the characters of the original text they came from.

Two alignments are composed: ``align`` follows the text rules of ``normalizer.py`` character by character,
and SentencePiece reports the same for its own normalisation. A token's span leaves out the white space
around it; a combining mark the rules dropped counts to the character before it; the tokens of one expanded
character (a ligature, a fraction) all get that character's span; a token that stands for a space alone gets
an empty span where the next character is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from albert_fast.tokenizer.normalizer import Normalizer, lower_each
from albert_fast.tokenizer.vocabulary import WORD_START

Span = tuple[int, int]


class _Char(NamedTuple):
    """One character of a text under way, and the range of the original it came from."""

    char: str
    start: int
    end: int


@dataclass(frozen=True)
class Aligned:
    """A normalised text; its character ``i`` came from ``original[starts[i]:ends[i]]``, both never
    decreasing.
    """

    text: str
    starts: list[int]
    ends: list[int]


def align(normalizer: Normalizer, text: str) -> Aligned:
    """Return ``normalizer.normalize(text)`` with the source range of every character."""
    normalized = normalizer.normalize(text)
    if text.isascii() and len(normalized) == len(text):  # every ASCII rule either shortens or keeps positions
        return Aligned(text=normalized, starts=list(range(len(text))), ends=list(range(1, len(text) + 1)))
    chars: Iterable[_Char] = (_Char(c, i, i + 1) for i, c in enumerate(text))
    if normalizer.do_lower_case:
        chars = (_Char(low, c.start, c.end) for c in chars for low in lower_each(c.char))
    if normalizer.remove_space:
        chars = _collapse_space(chars)
    chars = _join_quotes(_join_quotes(chars, "`"), "'")
    if not normalizer.keep_accents:
        chars = _decompose(chars)
    starts, ends = [], []
    for _, start, end in chars:
        starts.append(start)
        ends.append(end)
    return Aligned(normalized, starts, ends)


def _collapse_space(chars: Iterable[_Char]) -> Iterator[_Char]:
    """Turn every run of white space inside the text into one space; drop it at both ends."""
    run: _Char | None = None
    seen_text = False
    for c in chars:
        if c.char.isspace():
            run = _Char(" ", run.start if run else c.start, c.end)
            continue
        if run is not None and seen_text:
            yield run
        run, seen_text = None, True
        yield c


def _join_quotes(chars: Iterable[_Char], quote: str) -> Iterator[_Char]:
    """Turn two ``quote`` characters in a row into one double quote, from the left."""
    held: _Char | None = None
    for c in chars:
        if held is not None and c.char == quote:
            yield _Char('"', held.start, c.end)
            held = None
            continue
        if held is not None:
            yield held
        held = c if c.char == quote else None
        if held is None:
            yield c
    if held is not None:
        yield held


def _decompose(chars: Iterable[_Char]) -> Iterator[_Char]:
    """NFKD without combining marks; a dropped mark widens the character before it.

    Character by character is exact here: composition never happens in NFKD, and only marks, which go, are
    reordered.
    """
    last: _Char | None = None
    for c in chars:
        for part in unicodedata.normalize("NFKD", c.char):
            if not unicodedata.combining(part):
                if last is not None:
                    yield last
                last = _Char(part, c.start, c.end)
            elif last is not None:
                last = last._replace(end=c.end)
    if last is not None:
        yield last


def piece_spans(
    pieces: list[str], surface: tuple[str, list[int]], aligned: Aligned, vanishes: Callable[[str], bool]
) -> list[Span]:
    """Return each piece's span in the original text.

    ``surface`` is SentencePiece's normalised form of ``aligned.text``, of which ``pieces`` are the
    consecutive parts, and the position in ``aligned.text`` each of its characters (and its end) came from;
    ``vanishes`` tells whether a character alone normalises to nothing.
    """
    characters, positions = surface
    spans: list[Span] = []
    begin = covered = 0
    for piece in pieces:
        end = begin + len(piece)
        visible = begin + len(piece) - len(piece.lstrip(WORD_START))
        first = positions[visible]
        if visible < end:
            # the next piece starts at the same place if both are parts of one expanded character
            stop = max(positions[end], positions[end - 1] + 1)
            while stop > first + 1 and vanishes(aligned.text[stop - 1]):
                stop -= 1
            spans.append((aligned.starts[first], aligned.ends[stop - 1]))
        else:
            at = aligned.starts[first] if end < len(characters) else aligned.ends[-1]
            spans.append((at, max(at, covered)))  # not empty inside a character that expands to several words
        covered, begin = spans[-1][1], end
    return spans
