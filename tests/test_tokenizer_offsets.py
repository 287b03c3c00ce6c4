"""Character offsets: every token points at the characters it came from, whatever the text rules did to
them.
"""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from tokenizer_texts import OPTIONS, TEXTS, TOKENIZERS

from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.tokenizer.normalizer import SPECIAL_TOKENS, Normalizer
from albert_fast.tokenizer.offsets import align
from albert_fast.tokenizer.vocabulary import WORD_START

TOKENIZER = TOKENIZERS[0]


def tokens_and_spans(tokenizer: AlbertTokenizer, text: str) -> tuple[list[str], list[tuple[int, int]]]:
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    tokens = tokenizer.tokenize(text)
    assert encoding["input_ids"] == tokenizer.convert_tokens_to_ids(tokens)
    return tokens, encoding["offset_mapping"]


def surface_form(tokenizer: AlbertTokenizer, text: str) -> str:
    """What a stretch of text normalises to, word starts and the context of a final sigma aside."""
    normalized = tokenizer.backend.vocabulary.normalize(tokenizer.backend.rules.normalize(text))[0]
    return normalized.replace(WORD_START, "").replace("\u03c2", "\u03c3")


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=map(str, OPTIONS))
@given(text=TEXTS)
@settings(max_examples=150, deadline=None)
@example(text="a\ufdfb b")
@example(text="x \u013f\u4e00, 1945, e\u0301\u0301")
def test_offsets_properties(tokenizer: AlbertTokenizer, text: str) -> None:
    tokens, spans = tokens_and_spans(tokenizer, text)
    assert len(spans) == len(tokens)
    covered: set[int] = set()
    for start, end in spans:
        assert 0 <= start <= end <= len(text)
        covered.update(range(start, end))
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start <= next_start
        assert end <= next_end
    for i in set(range(len(text))) - covered:
        assert text[i].isspace() or not surface_form(tokenizer, text[i]), f"{text[i]!r} belongs to no token"
    for i, (token, (start, end)) in enumerate(zip(tokens, spans, strict=True)):
        if token in SPECIAL_TOKENS:
            assert text[start:end].lower() == token.lower()
            continue
        if tokenizer.backend.rules.remove_space:
            assert text[start:end] == text[start:end].strip()
        piece = token.replace(WORD_START, "").replace("\u03c2", "\u03c3")
        surface = surface_form(tokenizer, text[start:end])
        shares = (i > 0 and spans[i - 1][1] > start) or (i + 1 < len(spans) and spans[i + 1][0] < end)
        assert (piece in surface) if shares else (piece == surface)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@given(text=TEXTS)
@settings(max_examples=150, deadline=None)
def test_the_aligned_normaliser_is_the_normaliser(options: dict[str, bool], text: str) -> None:
    rules = Normalizer(**options)
    aligned = align(rules, text)
    assert aligned.text == rules.normalize(text)
    assert len(aligned.starts) == len(aligned.ends) == len(aligned.text)


def test_offsets_point_at_the_original_spelling() -> None:
    text = "Caf\u00e8  M\u00fcller''s e\u0301t\u00e9 in 1945, [MASK]. \ufb02oor \u00bd!"
    tokens, spans = tokens_and_spans(TOKENIZER, text)
    words: list[list[tuple[int, int]]] = []
    for token, span in zip(tokens, spans, strict=True):
        if token.startswith((WORD_START, "[")):
            words.append([])
        words[-1].append(span)
    surfaces = [text[word[0][0] : word[-1][1]] for word in words]
    assert "M\u00fcller''s" in surfaces
    assert "e\u0301t\u00e9" in surfaces
    assert "1945," in surfaces
    assert "[MASK]" in surfaces
    assert "\ufb02oor" in surfaces
    assert text[slice(*spans[tokens.index(",")])] == ","


def test_specials_added_here_and_padding_have_empty_spans() -> None:
    encoding = TOKENIZER(["a war", "war"], ["b", "c"], padding=True, return_offsets_mapping=True)
    rows = encoding["offset_mapping"]
    assert rows[0] == [(0, 0), (0, 1), (2, 5), (0, 0), (0, 1), (0, 0)]
    assert rows[1] == [(0, 0), (0, 3), (0, 0), (0, 1), (0, 0), (0, 0)]
    assert encoding.sequence_ids(1) == [None, 0, None, 1, None, None]


def test_a_mark_counts_to_the_letter_before_it() -> None:
    text = "war\u0301 \u0301x"
    assert unicodedata.combining(text[3])
    _, spans = tokens_and_spans(TOKENIZER, text)
    assert spans[0] == (0, 4)


def test_invisible_characters_around_a_token_are_left_out() -> None:
    text = "\u200b war\x01\u200b\u00a8 \x02no\u00b4"
    tokens, spans = tokens_and_spans(TOKENIZER, text)
    assert tokens == ["\u2581war", "\u2581no"]
    assert [text[start:end] for start, end in spans] == ["war", "no"]
