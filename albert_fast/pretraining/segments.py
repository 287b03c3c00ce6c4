"""Which sentences make up an example: pairs of segments for sentence-order prediction.

The procedure of google-research/albert's ``create_pretraining_data`` (Lan et al. 2020, section 3.1), with one
difference: what is drawn depends on the seed, the epoch and the document alone, so that any example can be made again
by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from albert_fast.errors import InvalidInputError
from albert_fast.pretraining.corpus import Corpus

SPECIAL_TOKENS = 3
"""[CLS] A [SEP] B [SEP]."""
FIRST_BEGIN, FIRST_END, SECOND_BEGIN, SECOND_END, SWAPPED = range(5)
"""Columns of a plan: sentences of the two segments, in the order in which they are given, and the SOP label."""


class Draws(IntEnum):
    """What random numbers are for; no two share any."""

    ORDER = 0
    DOCUMENT = 1
    EXAMPLE = 2


def generator(draws: Draws, seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one thing."""
    return np.random.default_rng([int(draws), seed, epoch, index])


@dataclass(frozen=True)
class SegmentRules:
    """How long examples are. ``short_seq_prob``: how often they are made for a length drawn evenly from 2 on, so that
    short texts are known, too."""

    max_seq_length: int = 512
    short_seq_prob: float = 0.1

    def __post_init__(self) -> None:
        if self.max_seq_length < SPECIAL_TOKENS + 2:
            raise InvalidInputError(f"max_seq_length: got {self.max_seq_length}, expected at least 5")
        if not 0 <= self.short_seq_prob <= 1:
            raise InvalidInputError(f"short_seq_prob: got {self.short_seq_prob}, expected a probability")

    @property
    def max_tokens(self) -> int:
        """Of both segments together."""
        return self.max_seq_length - SPECIAL_TOKENS


def plan(corpus: Corpus, rules: SegmentRules, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The examples of an epoch in the order in which they are trained on, [n, 5]."""
    lengths = corpus.sentence_lengths()
    rows = [
        row
        for document in range(corpus.num_documents)
        for row in _of_document(corpus, lengths, rules, document, generator(Draws.DOCUMENT, seed, epoch, document))
    ]
    order = generator(Draws.ORDER, seed, epoch, 0).permutation(len(rows))
    return np.array(rows, np.int64).reshape(-1, 5)[order]


def _of_document(
    corpus: Corpus, lengths: npt.NDArray[np.int64], rules: SegmentRules, document: int, rng: np.random.Generator
) -> Iterator[tuple[int, int, int, int, int]]:
    """Runs of sentences up to a target length, each cut in two at random; half of the pairs are swapped."""
    begin, last = int(corpus.documents[document]), int(corpus.documents[document + 1])
    target = _target(rules, rng)
    total = 0
    for end in range(begin + 1, last + 1):
        total += int(lengths[end - 1])
        if total < target and end < last:
            continue
        if end - begin == 1:
            row = _with_another_document(corpus, lengths, document, begin, target - total, rng)
        else:
            cut = begin + int(rng.integers(1, end - begin))
            swapped = bool(rng.random() < 0.5)
            row = (cut, end, begin, cut, 1) if swapped else (begin, cut, cut, end, 0)
        if row is not None:
            yield row
        begin, total, target = end, 0, _target(rules, rng)


def _target(rules: SegmentRules, rng: np.random.Generator) -> int:
    return int(rng.integers(2, rules.max_tokens + 1)) if rng.random() < rules.short_seq_prob else rules.max_tokens


def _with_another_document(
    corpus: Corpus, lengths: npt.NDArray[np.int64], document: int, sentence: int, room: int, rng: np.random.Generator
) -> tuple[int, int, int, int, int] | None:
    """A sentence that is alone is followed by some of another document, which counts as swapped."""
    if corpus.num_documents == 1:
        return None
    other = int(rng.integers(corpus.num_documents - 1))
    other += other >= document
    first, last = int(corpus.documents[other]), int(corpus.documents[other + 1])
    begin = end = int(rng.integers(first, last))
    while end < last and (end == begin or room > 0):
        room -= int(lengths[end])
        end += 1
    return sentence, sentence + 1, begin, end, 1


def segments(
    corpus: Corpus, row: npt.NDArray[np.int64], max_tokens: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The tokens of an example's segments. What is too long loses tokens of the longer one, at random ends."""
    first, second = (
        corpus.ids[corpus.sentences[row[begin]] : corpus.sentences[row[end]]]
        for begin, end in ((FIRST_BEGIN, FIRST_END), (SECOND_BEGIN, SECOND_END))
    )
    longest = max_tokens - min(len(second), max_tokens // 2)
    kept_first = min(len(first), longest)
    kept_second = min(len(second), max_tokens - kept_first)
    return _cut(first, kept_first, rng), _cut(second, kept_second, rng)


def _cut(tokens: npt.NDArray[np.int32], length: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """So many neighbouring tokens: each that goes is the first or the last of what is left, by a coin."""
    from_front = int(rng.binomial(len(tokens) - length, 0.5))
    return tokens[from_front : from_front + length]
