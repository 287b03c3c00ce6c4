"""The batched fast path gives what the plain definition gives: piece strings, one text at a time."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published.files import spiece
from tokenizer_texts import TEXTS, TOKENIZERS

from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.tokenizer.normalizer import SPECIAL_TOKENS, Normalizer, lower_each
from albert_fast.tokenizer.pretrained import sentencepiece_backend
from albert_fast.tokenizer.settings import TokenizerSettings


def plain_ids(tokenizer: AlbertTokenizer, text: str) -> list[int]:
    """[CLS], the ids of the token strings, [SEP]."""
    ids = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
    return [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]


def plain_normalize(rules: Normalizer, text: str) -> str:
    """The text rules with no short cuts."""
    if rules.do_lower_case:
        text = "".join(c.lower() for c in text)
    if rules.remove_space:
        text = " ".join(text.strip().split())
    text = text.replace("``", '"').replace("''", '"')
    if not rules.keep_accents:
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return text.lower() if rules.do_lower_case else text


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda t: str(t.backend.rules))
@given(texts=st.lists(TEXTS, max_size=5))
@settings(max_examples=60, deadline=None)
def test_fast_and_plain_path_agree(tokenizer: AlbertTokenizer, texts: list[str]) -> None:
    expected = [plain_ids(tokenizer, text) for text in texts]
    assert [ids for ids, _ in tokenizer.encode_ragged(texts, max_length=100_000)] == expected
    batch = (texts * 65)[:65]  # long enough for SentencePiece's own batches
    rows = [ids for ids, _ in tokenizer.encode_ragged(batch, max_length=100_000, num_threads=2)]
    assert rows == (expected * 65)[:65]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda t: str(t.backend.rules))
@given(text=TEXTS)
@settings(max_examples=100, deadline=None)
def test_the_rules_have_no_wrong_short_cut(tokenizer: AlbertTokenizer, text: str) -> None:
    rules = tokenizer.backend.rules
    assert rules.normalize(text) == plain_normalize(rules, text)


def test_lowercasing_one_character_at_a_time_for_all_of_unicode() -> None:
    points = [chr(p) for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    assert lower_each("".join(points)) == "".join(c.lower() for c in points)
    assert lower_each("\u03a3\u0391\u03a3") == "\u03c3\u03b1\u03c3"


@pytest.fixture(scope="module")
def poor_vocabulary() -> bytes:
    """A vocabulary without a comma, digits or brackets: runs of unknown characters become one piece."""
    return spiece(["the war of the words", "a word of war", "the other word"], vocab_size=40)


@pytest.mark.parametrize("text", ["9, war", "war 1945,5", "\uff1cpad\uff1e", "\uff3b\uff2d\uff21\uff33\uff2b\uff3d"])
@pytest.mark.parametrize("do_lower_case", [True, False])
def test_unknown_runs_are_judged_by_their_text(poor_vocabulary: bytes, text: str, do_lower_case: bool) -> None:
    options = {"do_lower_case": do_lower_case}
    tokenizer = AlbertTokenizer(sentencepiece_backend(poor_vocabulary, "poor", TokenizerSettings(), options))
    assert tokenizer(text)["input_ids"] == plain_ids(tokenizer, text)
    if not do_lower_case and text.startswith("\uff3b"):
        assert tokenizer.mask_token_id in tokenizer(text)["input_ids"]


def test_special_tokens_in_text() -> None:
    tokenizer = AlbertTokenizer.from_pretrained("random:tiny")
    for token in SPECIAL_TOKENS:
        assert tokenizer.tokenize(f"war{token}war") == ["\u2581war", token, "\u2581war"]
    assert tokenizer.tokenize("<PAD> <un\u212a>") == ["<pad>", "<unk>"]
    assert tokenizer.tokenize("war [MASK].") == ["\u2581war", "[MASK]", "\u2581", "."]
