"""Texts as people keep them: columns and tables, and very long ones."""

from __future__ import annotations

import time

import numpy as np
import pyarrow
import pytest

import albert_fast
from albert_fast.errors import InvalidTypeError
from albert_fast.tokenizer import AlbertTokenizer

TEXTS = ["One layer.", "It runs again."]


class Table:
    """Iterates over its columns' names, as pandas' DataFrame does."""

    columns = ("text", "label")

    def __iter__(self):
        return iter(self.columns)


def test_columns_are_texts_and_tables_are_not() -> None:
    expected = albert_fast.encode(TEXTS, "mini")
    for column in (pyarrow.array(TEXTS), pyarrow.chunked_array([TEXTS[:1], TEXTS[1:]]), np.array(TEXTS), tuple(TEXTS)):
        np.testing.assert_array_equal(albert_fast.encode(column, "mini"), expected)
    for table in (Table(), pyarrow.table({"text": TEXTS})):
        with pytest.raises(InvalidTypeError, match=f"texts: got {type(table).__name__}, expected a str or an iterable"):
            albert_fast.encode(table, "mini")
    with pytest.raises(InvalidTypeError, match=r"texts\[1\]: got NoneType"):
        albert_fast.encode(pyarrow.array(["a", None]), "mini")


@pytest.mark.parametrize(
    "unit",
    [
        "the war of the worlds, ",
        "war [MASK] in 1945, <pad> ",
        "na\u00efve \u0391\u03a3 \ufb01ne ``x'' ",
        "\ufdfa",
        "nospaces",
        "a\u0301 \u200b ",
        " \n\t ",
    ],
)
def test_of_a_long_text_the_beginning_is_enough(unit: str) -> None:
    """The ids of the whole text, cut; of a pair, too."""
    tokenizer = AlbertTokenizer.from_pretrained("random:tiny")
    text = unit * (12_000 // len(unit))
    for max_length in (8, 37):
        whole = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
        assert tokenizer.encode_ragged([text, "a"], max_length=max_length)[0][0] == whole
        for pair in ((text, "a b c"), ("a b c", text), (text, text)):
            whole = tokenizer(*pair, truncation=True, max_length=max_length)
            [(ids, types)] = tokenizer.encode_ragged([pair], max_length=max_length)
            assert (ids, types) == (whole["input_ids"], whole["token_type_ids"])


def test_a_very_long_text_takes_no_time() -> None:
    tokenizer = AlbertTokenizer.from_pretrained("random:tiny")
    begin = time.process_time()
    [(ids, _)] = tokenizer.encode_ragged(["\ufdfa" * 10_000_000], max_length=512)
    assert len(ids) == 512
    assert time.process_time() - begin < 5
