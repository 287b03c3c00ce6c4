"""Make the tokenizer's goldens: what the slow AlbertTokenizer of transformers 4.57.3 does with texts of
every kind.

    python -m venv goldens && goldens/bin/pip install transformers==4.57.3 sentencepiece==0.2.3
    goldens/bin/python scripts/make_tokenizer_goldens.py --vocabulary albert_fast/data/spiece.model \
        --output tests/data/tokenizer/own.json --count 500

The published vocabulary's goldens, ``real.json``, are made the same way from its spiece.model (``--count
150``). Random characters are taken from Unicode 3.2, so that every supported Python version knows them and
normalises them alike.
"""

# ruff: noqa: SIM905  (a text split at spaces reads better here than a list of a hundred strings)

from __future__ import annotations

import argparse
import itertools
import json
import logging
import random
import unicodedata
from pathlib import Path
from typing import Any

import transformers

EXPECTED_VERSION = "4.57.3"
SEED = 20240607

SPECIALS = [
    *(
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "<unk>",
        "<pad>",
        "<PAD>",
        "<UNK>",
        "<un\u212a>",
        "<uNk>",
        "[mask]",
        "[cls]",
    ),
    *(
        "[MASK",
        "MASK]",
        "[[MASK]]",
        "[CLS[CLS]]",
        "<pad<pad>>",
        "<unk",
        "\uff1cpad\uff1e",
        "\uff3b\uff2d\uff21\uff33\uff2b\uff3d",
    ),
    *(
        " [MASK]",
        "  [MASK]  ",
        "\u00a0[MASK]",
        "\x1c[MASK]",
        "\u3000[MASK]\u3000",
        "[MASK].",
        "[SEP] ",
        " [CLS] ",
    ),
]
WORDS = [
    *(
        "the of and president war nations 1945, 27, 28, 2016, 1,000 4,500 7,000, , 12, 98, $35, 9,9 1, "
        "30,30, don't it's"
    ).split(),
    *(
        "na\u00efve Stra\u00dfe \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03a3\u0391\u03a3 "
        "\u03a3. \u0130stanbul \ufb01ne \ufb02oor \u00bd \u00be \u00b2, \u0663, \u2463,"
    ).split(),
    *(
        "\U0001d6ba\U0001d6ba \U0001d400\U0001d401 \u2163 ``a'' ''' ``` ```` '''' ` ' `` '' \u00b4 "
        '\u00a8 " \u2014 \u2013 \u00a35 \u20ac6 (x) - . \u2026'
    ).split(),
    *(
        "e\u0301 o\u0308\u0301 \ud55c\uae00 \u1112\u1161\u11ab \u6771\u4eac \u05e9\u05dc\u05d5\u05dd "
        "\u0634\u064f\u0643\u0631\u064b\u0627 \u0939\u093f\u0928\u094d\u0926\u0940 \ufdfa \u0149 \u01c4 "
        "\u212b \u2126"
    ).split(),
]
INVISIBLE = [
    *"\u200d \u200b \u200c \ufe0f \u202e \u2066 \u2069 \ufeff \u00ad".split(" "),
    *"\u0301 \u0327 \u0345 \u3099 \u2581 \u034f \ufffd \ufffe".split(" "),
    *(
        "\x00",
        "\x01",
        "\x1f",
        "\x7f",
        "\x85",
        "\xa0",
        "\u2028",
        "\u2029",
        "\u3000",
        "\t",
        "\n",
        "\r",
        "\x0b",
        "\x0c",
        "\x1c",
    ),
]
EMOJI = [
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f44d\U0001f3fd",
    "\U0001f1e9\U0001f1ea",
    "\u2764\ufe0f",
    "\U0001f600",
]
GLUE = ["", "", " ", "  ", "\t", "\n"]
KNOWN_POINTS = [
    point
    for point in range(0x110000)
    if not 0xD800 <= point < 0xE000 and unicodedata.ucd_3_2_0.category(chr(point)) != "Cn"
]
STRATEGIES = ["longest_first", "only_first", "only_second", "do_not_truncate", True, False]


def random_text(choose: random.Random) -> str:
    """One text of one to fourteen parts: words, specials, invisible characters, emoji, numbers, long words,
    noise.
    """
    parts = []
    for _ in range(choose.randint(1, 14)):
        kinds = [
            lambda: choose.choice(SPECIALS),
            lambda: choose.choice(INVISIBLE) * choose.randint(1, 2),
            lambda: choose.choice(EMOJI),
            lambda: f"{choose.randrange(3000)},",
            lambda: choose.choice("ax1\u00e9\u6f22") * choose.randint(10, 120),
            lambda: "".join(chr(choose.choice(KNOWN_POINTS)) for _ in range(choose.randint(1, 5))),
            lambda: "".join(chr(choose.randrange(32, 0x250)) for _ in range(choose.randint(1, 5))),
            lambda: choose.choice(WORDS),
        ]
        weights = [12, 10, 3, 6, 1, 15, 15, 38]
        parts.append(choose.choices(kinds, weights)[0]())
        parts.append(choose.choice(GLUE))
    return "".join(parts)


def can_truncate(tokenizer: Any, first: str, second: str | None, strategy: object, max_length: int) -> bool:
    """Whether the strategy can reach ``max_length``; where it cannot, transformers logs an error and gives
    too much.
    """
    length = len(tokenizer(first, second)["input_ids"])
    rest = {
        "only_first": len(tokenizer.tokenize(first)),
        "only_second": len(tokenizer.tokenize(second or "")),
    }.get(str(strategy), length)
    return length - max_length < rest


def truncation_cases(tokenizer: Any) -> list[dict[str, Any]]:
    """Every strategy on pairs of several lengths, down to the shortest max_length that holds the special
    tokens.
    """
    words = ("the president said that no nation would go to war in 1945, and all the people agreed with him").split()
    lengths = [
        (7, None),
        (1, None),
        (0, None),
        (12, 3),
        (3, 12),
        (6, 6),
        (7, 6),
        (6, 7),
        (0, 9),
        (9, 0),
        (15, 14),
    ]
    cases = []
    for (n, m), strategy, max_length in itertools.product(lengths, STRATEGIES, (3, 4, 5, 8, 11, 16)):
        first, second = " ".join(words[:n]), None if m is None else " ".join(words[-m:] if m else [])
        if can_truncate(tokenizer, first, second, strategy, max_length):
            options = {"truncation": strategy, "max_length": max_length, "return_special_tokens_mask": True}
            cases.append({"text": first, "text_pair": second, "options": options})
    texts, partners = [" ".join(words[:n]) for n in (9, 0, 4)], [" ".join(words[n:]) for n in (9, 2, 14)]
    for padding, side, special in itertools.product(
        (True, "longest", "max_length", False), ("right", "left"), (True, False)
    ):
        options = {
            "padding": padding,
            "padding_side": side,
            "truncation": True,
            "max_length": 20,
            "add_special_tokens": special,
        }
        cases.append({"text": texts, "text_pair": None, "options": options})
        cases.append({"text": texts, "text_pair": partners, "options": options})
    return cases


def run_case(tokenizer: Any, case: dict[str, Any]) -> dict[str, Any]:
    """Add the slow tokenizer's columns to a case."""
    return case | {"expected": dict(tokenizer(case["text"], case["text_pair"], **case["options"]))}


def main() -> None:
    """Write the goldens of one vocabulary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=500)
    arguments = parser.parse_args()
    if transformers.__version__ != EXPECTED_VERSION:
        parser.error(f"transformers {transformers.__version__}, expected {EXPECTED_VERSION}")
    logging.disable(logging.CRITICAL)
    tokenizer = transformers.AlbertTokenizer(str(arguments.vocabulary))
    choose = random.Random(SEED)
    fixed = ["", " ", *SPECIALS, *WORDS, *INVISIBLE, *EMOJI]
    texts = fixed + [random_text(choose) for _ in range(arguments.count)]
    rows = [[text, tokenizer(text)["input_ids"], tokenizer.decode(tokenizer(text)["input_ids"])] for text in texts]
    options: dict[str, list[Any]] = {}
    for name, value in (("do_lower_case", False), ("keep_accents", True), ("remove_space", False)):
        other = transformers.AlbertTokenizer(str(arguments.vocabulary), **{name: value})
        options[name] = [value, [[text, other(text)["input_ids"]] for text in texts[-arguments.count // 6 :]]]
    goldens = {
        "transformers": transformers.__version__,
        "texts": rows,
        "options": options,
        "calls": [run_case(tokenizer, case) for case in truncation_cases(tokenizer)],
    }
    lines = json.dumps(goldens, separators=(",", ":")).replace('],["', '],\n["').replace('},{"text"', '},\n{"text"')
    arguments.output.write_text(lines + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
