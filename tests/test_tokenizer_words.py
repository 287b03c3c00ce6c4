"""Texts that were split into words: ids, words, spans and windows beside transformers on the same vocabulary."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import sentencepiece
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_models import VOCABULARY
from tokenizer_texts import OPTIONS, TEXTS, TOKENIZERS

from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.tokenizer import AlbertTokenizer

TOKENIZER = AlbertTokenizer.from_pretrained("random:albert-base-v2")
# Words that transformers 5, which has no digit-and-comma rule, splits as ALBERT's own tokenizer does.
QUESTION = ["Which", "president", "?"]
SPEECH = [
    "",
    "The",
    "president",
    "said:",
    " ",
    "[MASK]",
    "unimaginable",
    "New York",
    " war",
    "[CLS]",
    "Caf\u00e8",
    "\t",
]
COLUMNS = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask")
SPACE = TOKENIZER.convert_tokens_to_ids("\u2581")


@pytest.fixture(scope="module")
def reference() -> Any:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(VOCABULARY))
    vocabulary = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]
    return transformers.AlbertTokenizer(vocab=vocabulary)


def assert_same(reference: Any, *texts: Any, **options: Any) -> Any:
    """Our encoding of the texts, once every column and ``word_ids`` equal transformers'."""
    asked = {"return_special_tokens_mask": True, "return_offsets_mapping": True, "is_split_into_words": True, **options}
    ours, theirs = TOKENIZER(*texts, **asked), reference(*texts, return_token_type_ids=True, **asked)
    for name in (*COLUMNS, *(["overflow_to_sample_mapping"] if "stride" in options else [])):
        assert np.asarray(ours[name]).tolist() == np.asarray(theirs[name]).tolist(), name
    spans = zip(*(np.reshape(tokens["offset_mapping"], (-1, 2)).tolist() for tokens in (ours, theirs)), strict=True)
    for i, (span, expected) in zip(np.ravel(ours["input_ids"]), spans, strict=True):
        assert span == expected or i == SPACE, "a lone space has an empty span here, as docs/tokenizer.md says"
    for row in range(len(theirs.encodings)):
        assert ours.word_ids(row) == theirs.word_ids(row)
        assert ours.sequence_ids(row) == theirs.sequence_ids(row)
    return ours


def test_one_text_and_one_pair(reference: Any) -> None:
    one = assert_same(reference, SPEECH)
    assert set(one.word_ids()) == {None, 1, 2, 3, 5, 6, 7, 8, 9, 10}, "empty words have no token"
    assert one.word_ids()[0] is one.word_ids()[-1] is None
    pair = assert_same(reference, QUESTION, SPEECH)
    assert pair.word_ids().count(0) == 1
    assert pair.word_ids().count(1) == 2, "each text counts its own words"
    assert assert_same(reference, tuple(QUESTION)) == assert_same(reference, QUESTION)
    assert assert_same(reference, []).input_ids == [2, 3]
    assert_same(reference, SPEECH, add_special_tokens=False)


@pytest.mark.parametrize("side", ["right", "left"])
def test_batches(reference: Any, side: str) -> None:
    texts, partners = [QUESTION, [], SPEECH], [SPEECH, QUESTION, []]
    for options in ({"padding": True}, {"padding": "max_length", "max_length": 20, "truncation": True}):
        assert_same(reference, texts, padding_side=side, **options)
        pairs = assert_same(reference, texts, partners, padding_side=side, **options)
        both = list(zip(texts, partners, strict=True))
        assert TOKENIZER(both, padding_side=side, is_split_into_words=True, **options).input_ids == pairs.input_ids
    assert_same(reference, [[]])
    assert_same(reference, [[], QUESTION], padding=True, return_tensors="np")
    rows = np.array([QUESTION, QUESTION[::-1]])
    assert TOKENIZER(rows, is_split_into_words=True) == TOKENIZER(rows.tolist(), is_split_into_words=True)


@pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
def test_truncation(reference: Any, strategy: str) -> None:
    for limit in (12, 16, 20):
        pair = [QUESTION, SPEECH] if strategy == "only_second" else [SPEECH, QUESTION]
        assert_same(reference, *pair, truncation=strategy, max_length=limit)


@pytest.mark.parametrize("stride", [0, 1, 3])
def test_windows(reference: Any, stride: int) -> None:
    options = {"max_length": 12, "stride": stride, "return_overflowing_tokens": True, "padding": True}
    rows = assert_same(reference, [SPEECH * 2, QUESTION], truncation=True, **options)
    assert len(rows.input_ids) > 3
    assert_same(reference, [QUESTION, QUESTION], [SPEECH * 2, SPEECH], truncation="only_second", **options)
    assert_same(reference, SPEECH, QUESTION, truncation="only_first", **options)


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=map(str, OPTIONS))
@given(words=st.lists(TEXTS, max_size=6))
@settings(max_examples=100, deadline=None)
def test_every_word_is_tokenized_as_a_text_of_its_own(tokenizer: AlbertTokenizer, words: list[str]) -> None:
    plain = {"add_special_tokens": False}
    alone = [tokenizer(word, return_offsets_mapping=True, **plain) for word in words]
    together = tokenizer(words, is_split_into_words=True, return_offsets_mapping=True, **plain)
    assert together.input_ids == [i for word in alone for i in word.input_ids]
    assert together.offset_mapping == [span for word in alone for span in word.offset_mapping]
    assert together.word_ids() == [i for i, word in enumerate(alone) for _ in word.input_ids]
    without_spans = tokenizer(words, is_split_into_words=True, **plain)
    assert without_spans.word_ids() == together.word_ids()
    assert tokenizer.encode(words, is_split_into_words=True, **plain) == without_spans.input_ids == together.input_ids


def test_an_encoding_keeps_its_words() -> None:
    encoding = TOKENIZER([QUESTION, SPEECH], is_split_into_words=True)
    copy = pickle.loads(pickle.dumps(encoding))
    assert copy == encoding
    assert [copy.word_ids(row) for row in (0, 1)] == [encoding.word_ids(row) for row in (0, 1)]
    with pytest.raises(InvalidInputError, match=r"word_ids: the texts were not split .* is_split_into_words=True"):
        TOKENIZER("a text").word_ids()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("the war",), InvalidTypeError, "text: got str, expected a list of words, as is_split_into_words is set"),
        ((5,), InvalidTypeError, "text: got int, expected a list of words"),
        ((["the", 5],), InvalidTypeError, r"text\[1\]: got int, expected a string"),
        ((["the", ["war"]],), InvalidTypeError, r"text\[1\]: got list, expected a string"),
        ((["the", "\ud800"],), InvalidInputError, r"text\[1\]: lone surrogate"),
        ((["the"], "war"), InvalidTypeError, "text_pair: got str, expected a list of words"),
        ((["the"], [["war"]]), InvalidTypeError, r"text_pair\[0\]: got list, expected a string"),
        (([["the"], "war"],), InvalidTypeError, r"text\[1\]: got str, expected a list of words or a pair of them"),
        (([["the"], [5]],), InvalidTypeError, r"text\[1\]\[0\]: got int, expected a string"),
        (([[["a"], ["b"], ["c"]]],), InvalidInputError, r"text\[0\]: got 3 lists, expected a list of words or a pair"),
        (([[["a"], "b"]],), InvalidTypeError, r"text\[0\]\[1\]: got str, expected a list of words"),
        (([["the"]], ["war"]), InvalidTypeError, r"text_pair\[0\]: got str, expected a list of words"),
        (([["the"]], "war"), InvalidTypeError, "text_pair: got str, expected a list of lists of words, as text is one"),
        (([["the"]], [["war"], []]), InvalidInputError, "text_pair: got 2 texts, expected 1 as in text"),
    ],
)
def test_bad_input(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TOKENIZER(*arguments, is_split_into_words=True)


def test_encode_takes_one_text() -> None:
    with pytest.raises(InvalidTypeError, match=r"text\[0\]: got list, expected a string"):
        TOKENIZER.encode([QUESTION], is_split_into_words=True)  # type: ignore[list-item]
