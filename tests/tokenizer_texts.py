"""Texts that hypothesis makes for the tokenizer's tests, and tokenizers with every option."""

from __future__ import annotations

from hypothesis import strategies as st

from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.tokenizer.normalizer import SPECIAL_TOKENS

OPTIONS = [
    {},
    {"do_lower_case": False},
    {"keep_accents": True},
    {"remove_space": False},
    {"do_lower_case": False, "keep_accents": True, "remove_space": False},
]
TOKENIZERS = [
    AlbertTokenizer.from_pretrained("random:tiny", model_max_length=100_000, **options) for options in OPTIONS
]

PIECES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.text(max_size=6, alphabet="abcxyz ABC0123456789,,.'`\"()-\t\n"),
    st.sampled_from(
        [
            *SPECIAL_TOKENS,
            "<PAD>",
            "<un\u212a>",
            "1945,",
            "27,",
            " 30,30",
            "``",
            "''",
            "'''",
            "\u0130",
            "\u03a3\u0391\u03a3 ",
            "e\u0301",
            "\ufb02oor",
            "\u00bd",
            "\ufdfa",
            "\ufdfb",
            "\u013f",
            "\u1112\u1161\u11ab",
            "\ud55c",
            "\u200b",
            "\x01",
            "\u2581",
            "\U0001f469\u200d\U0001f467",
            "\u00a8",
            "\u0149",
            "\U0001d6ba\U0001d6ba",
            "war",
            " the ",
            "\u00a0",
            "\x85",
            "\u0345",
        ]
    ),
)
TEXTS = st.lists(PIECES, max_size=10).map("".join)
