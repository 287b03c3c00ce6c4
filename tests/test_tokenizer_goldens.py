"""Ids, decoding, truncation and padding equal the slow AlbertTokenizer's of transformers 4.57.3.

``scripts/make_tokenizer_goldens.py`` made the goldens: for our own vocabulary (always run) and for the
published one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from albert_fast.tokenizer import AlbertTokenizer

DATA = Path(__file__).parent / "data" / "tokenizer"
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def load(vocabulary: str, **options: Any) -> AlbertTokenizer:
    if vocabulary == "own":
        return AlbertTokenizer.from_pretrained("random:albert-base-v2", **options)
    if not (SHARED / "spiece.model").exists():
        pytest.skip("the published vocabulary is not ours to ship and ../shared/data/spiece.model is not there")
    return AlbertTokenizer.from_pretrained(SHARED, **options)


def goldens(vocabulary: str) -> dict[str, Any]:
    return json.loads((DATA / f"{vocabulary}.json").read_text())


@pytest.fixture(params=["own", "real"])
def vocabulary(request: pytest.FixtureRequest) -> str:
    return request.param


def test_ids_of_every_path_equal_the_goldens(vocabulary: str) -> None:
    tokenizer = load(vocabulary)
    rows = goldens(vocabulary)["texts"]
    texts = [text for text, _, _ in rows]
    assert len(texts) > 200
    batch = tokenizer.encode_ragged(texts, max_length=512)
    for (text, expected, _), (ids, types) in zip(rows, batch, strict=True):
        assert ids == expected, ascii(text)
        assert types == [0] * len(expected)
        assert tokenizer(text)["input_ids"] == expected, ascii(text)
        assert tokenizer(text, return_offsets_mapping=True)["input_ids"] == expected, ascii(text)
        assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) == expected[1:-1], ascii(text)


def test_decoding_equals_the_goldens(vocabulary: str) -> None:
    tokenizer = load(vocabulary)
    for text, ids, decoded in goldens(vocabulary)["texts"]:
        assert tokenizer.decode(ids) == decoded, ascii(text)


@pytest.mark.parametrize("option", ["do_lower_case", "keep_accents", "remove_space"])
def test_options_equal_the_goldens(vocabulary: str, option: str) -> None:
    value, rows = goldens(vocabulary)["options"][option]
    tokenizer = load(vocabulary, **{option: value})
    for text, expected in rows:
        assert tokenizer(text)["input_ids"] == expected, ascii(text)
        assert tokenizer(text, return_offsets_mapping=True)["input_ids"] == expected, ascii(text)


def test_calls_equal_the_goldens(vocabulary: str) -> None:
    tokenizer = load(vocabulary)
    calls = goldens(vocabulary)["calls"]
    assert len(calls) > 300
    for case in calls:
        got = tokenizer(case["text"], case["text_pair"], **case["options"])
        assert dict(got) == case["expected"], case


def test_the_digit_and_comma_rule_is_exercised_by_our_vocabulary() -> None:
    tokenizer = load("own")
    assert tokenizer.tokenize("in 1945, he had 127, more") == [
        *("\u2581in", "\u25811945", ",", "\u2581he", "\u2581had"),
        *("\u25811", "27", ",", "\u2581more"),
    ]
    assert {"\u25811945,", "27,"} <= tokenizer.get_vocab().keys()


@pytest.mark.parametrize("name", ["golden_token_ids.json", "golden_traps.json"])
def test_published_goldens(name: str) -> None:
    tokenizer = load("real")
    rows = json.loads((SHARED / name).read_text())
    assert [ids for ids, _ in tokenizer.encode_ragged([text for text, _ in rows], max_length=512)] == [
        ids for _, ids in rows
    ]


def test_published_golden_pairs() -> None:
    tokenizer = load("real")
    for first, second, ids, types in json.loads((SHARED / "golden_pairs.json").read_text()):
        assert tokenizer.encode_ragged([(first, second)], max_length=512) == [(ids, types)]
        encoding = tokenizer(first, second)
        assert (encoding.input_ids, encoding.token_type_ids) == (ids, types)
