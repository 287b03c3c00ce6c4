"""Model inputs from tokens: special tokens, token types, masks and spans, column by column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from albert_fast.tokenizer.offsets import Span
from albert_fast.tokenizer.truncation import Kept

# [CLS] and one or two [SEP].
SPECIALS_SINGLE, SPECIALS_PAIR = 2, 3

COLUMNS = (
    "input_ids",
    "token_type_ids",
    "attention_mask",
    "special_tokens_mask",
    "offset_mapping",
    "sequence_ids",
    "word_ids",
)
"""One value for each token."""

_T = TypeVar("_T")


class Tokens(NamedTuple):
    """The tokens of one text, without special ones; ``spans`` is empty if they were not asked for, ``words`` (the
    index of each token's word) if the text was not split into words.
    """

    ids: list[int]
    spans: list[Span]
    words: list[int | None]

    @classmethod
    def of_words(cls, parts: list[Tokens]) -> Tokens:
        """Join the tokens of a text's words; spans keep counting the characters of their own word."""
        return cls(
            [i for part in parts for i in part.ids],
            [span for part in parts for span in part.spans],
            [index for index, part in enumerate(parts) for _ in part.ids],
        )


@dataclass(frozen=True)
class Frame:
    """The ids around a text or pair; ``add`` is False if there are to be none."""

    cls_id: int
    sep_id: int
    add: bool = True

    def count(self, pair: bool) -> int:
        """How many special tokens a single text or a pair gets."""
        return 0 if not self.add else SPECIALS_PAIR if pair else SPECIALS_SINGLE

    def ids(self, first: list[int], second: list[int] | None) -> list[int]:
        """``[CLS] first [SEP]`` or ``[CLS] first [SEP] second [SEP]``."""
        return self._around(first, second, self.cls_id, self.sep_id)

    def token_types(self, first: int, second: int | None) -> list[int]:
        """0 for the first text, 1 for the second with its [SEP]; 0 throughout without special tokens."""
        if not self.add or second is None:
            return [0] * (first + (second or 0) + self.count(pair=False))
        return [0] * (first + SPECIALS_SINGLE) + [1] * (second + SPECIALS_PAIR - SPECIALS_SINGLE)

    def special_tokens_mask(self, first: int, second: int | None) -> list[int]:
        """1 for the special tokens, 0 for those of texts of so many."""
        return self._around([0] * first, None if second is None else [0] * second, 1, 1)

    def row(self, first: Tokens, second: Tokens | None, kept: Kept) -> dict[str, list[Any]]:
        """Return every column for the tokens that are kept."""
        part = slice(kept.first.start, kept.first.stop)
        ids, spans, words, n, m = first.ids[part], first.spans[part], first.words[part], len(kept.first), None
        second_ids: list[int] | None = None
        second_spans: list[Span] | None = None
        second_words: list[int | None] | None = None
        if second is not None and kept.second is not None:
            part, m = slice(kept.second.start, kept.second.stop), len(kept.second)
            second_ids, second_spans, second_words = second.ids[part], second.spans[part], second.words[part]
        text_of: list[int | None] = [0] * n
        partner_of: list[int | None] | None = None if m is None else [1] * m
        return {
            "input_ids": self.ids(ids, second_ids),
            "token_type_ids": self.token_types(n, m),
            "attention_mask": [1] * (n + (m or 0) + self.count(m is not None)),
            "special_tokens_mask": self.special_tokens_mask(n, m),
            "offset_mapping": self._around(spans, second_spans, (0, 0), (0, 0)),
            "sequence_ids": self._around(text_of, partner_of, None, None),
            "word_ids": self._around(words, second_words, None, None),
        }

    def _around(self, first: list[_T], second: list[_T] | None, opening: _T, closing: _T) -> list[_T]:
        if not self.add:
            return first if second is None else first + second
        row = [opening, *first, closing]
        return row if second is None else [*row, *second, closing]


def stack(rows: Iterable[dict[str, list[Any]]]) -> dict[str, list[list[Any]]]:
    """Turn rows of columns into columns of rows."""
    columns: dict[str, list[list[Any]]] = {name: [] for name in COLUMNS}
    for row in rows:
        for name, values in row.items():
            columns[name].append(values)
    return columns
