"""AlbertTokenizer's calls: shapes, truncation, padding, windows, bad input, pickling and threads."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.tokenizer.encoding import BatchEncoding

TOKENIZER = AlbertTokenizer.from_pretrained("random:albert-base-v2")
SPEECH = "the president said that no nation would go to war in 1945, and all the people agreed with him"


def test_ids_of_special_tokens_and_size() -> None:
    t = TOKENIZER
    ids = [t.pad_token_id, t.unk_token_id, t.cls_token_id, t.sep_token_id, t.mask_token_id]
    assert ids == [0, 1, 2, 3, 4] == sorted(t.all_special_ids)
    assert t.vocab_size == len(t) == len(t.get_vocab()) == 20984


def test_a_single_text_gives_flat_lists_and_a_list_gives_rows() -> None:
    one = TOKENIZER(SPEECH)
    assert list(one) == ["input_ids", "token_type_ids", "attention_mask"]
    assert TOKENIZER([SPEECH])["input_ids"] == [one["input_ids"]]
    assert TOKENIZER.encode(SPEECH) == one.input_ids
    assert one.attention_mask == [1] * len(one.input_ids)
    with pytest.raises(AttributeError, match="pixels"):
        _ = one.pixels


def test_arrays_are_int64_and_shaped_rows_by_length() -> None:
    arrays = TOKENIZER(
        [SPEECH, "war"],
        padding=True,
        return_tensors="np",
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    length = len(TOKENIZER(SPEECH).input_ids)
    assert {name: array.shape for name, array in arrays.items()} == {
        "input_ids": (2, length),
        "token_type_ids": (2, length),
        "attention_mask": (2, length),
        "special_tokens_mask": (2, length),
        "offset_mapping": (2, length, 2),
    }
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.int64)}
    assert arrays["attention_mask"][1].tolist() == [1, 1, 1] + [0] * (length - 3)
    assert TOKENIZER("war", return_tensors="np").input_ids.shape == (1, 3)


def test_torch_tensors_equal_the_arrays() -> None:
    torch = pytest.importorskip("torch")
    tensors = TOKENIZER([SPEECH, "war"], padding=True, return_tensors="pt").to("cpu")
    arrays = TOKENIZER([SPEECH, "war"], padding=True, return_tensors="np")
    assert tensors.input_ids.dtype == torch.int64
    assert all(np.array_equal(tensors[name].numpy(), arrays[name]) for name in arrays)


def test_empty_inputs() -> None:
    assert TOKENIZER("").input_ids == [2, 3]
    assert TOKENIZER("", "").input_ids == [2, 3, 3]
    assert TOKENIZER([])["input_ids"] == []
    assert TOKENIZER([], return_tensors="np", padding=True).input_ids.shape == (0, 0)
    assert TOKENIZER([], padding="max_length", return_tensors="np", return_offsets_mapping=True)[
        "offset_mapping"
    ].shape == (0, 0, 2)
    assert TOKENIZER.encode_ragged([], max_length=16) == []
    assert TOKENIZER.encode_ragged(["", ("", "")], max_length=16) == [
        ([2, 3], [0, 0]),
        ([2, 3, 3], [0, 0, 1]),
    ]
    assert TOKENIZER.tokenize("") == TOKENIZER.tokenize(" \u200b") == []


def test_pairs_in_any_form() -> None:
    pairs = [("no war", "the people"), ("a", "b")]
    firsts, seconds = [a for a, _ in pairs], [b for _, b in pairs]
    expected = TOKENIZER(firsts, seconds)
    assert TOKENIZER(pairs) == expected
    assert TOKENIZER(np.array(firsts), np.array(seconds)) == expected
    ragged = TOKENIZER.encode_ragged(pairs, max_length=64)
    assert ragged == list(zip(expected.input_ids, expected.token_type_ids, strict=True))
    mixed = TOKENIZER.encode_ragged(["war", pairs[1]], max_length=64)
    assert [types for _, types in mixed] == [[0, 0, 0], [0, 0, 0, 1, 1]]


def test_ragged_truncation_is_the_calls() -> None:
    texts: list[Any] = [SPEECH, (SPEECH, "war and people"), ("war", SPEECH), "war"]
    for limit in (3, 4, 7, 10, 64):
        rows = TOKENIZER(texts, truncation=True, max_length=limit)
        expected = list(zip(rows.input_ids, rows.token_type_ids, strict=True))
        assert TOKENIZER.encode_ragged(texts, max_length=limit) == expected
        assert max(len(ids) for ids, _ in expected) <= limit


def test_max_length_alone_truncates_as_in_transformers() -> None:
    assert len(TOKENIZER(SPEECH, max_length=6).input_ids) == 6
    assert len(TOKENIZER(SPEECH, max_length=6, truncation=False).input_ids) > 6
    assert TOKENIZER(SPEECH, max_length=2).input_ids == [2, 3]


def test_default_max_length_is_the_models() -> None:
    text = "war " * 600
    assert len(TOKENIZER(text, truncation=True).input_ids) == 512
    assert len(TOKENIZER("war", padding="max_length").input_ids) == 512


@pytest.mark.parametrize("stride", [0, 1, 3])
@pytest.mark.parametrize("strategy", ["only_first", "only_second", "longest_first"])
def test_windows_cover_the_text_and_overlap_by_the_stride(strategy: str, stride: int) -> None:
    pair = ("what nation?", SPEECH) if strategy == "only_second" else (SPEECH, "what nation?")
    texts: list[Any] = [SPEECH, "war"] if strategy == "longest_first" else [pair, ("war", "no war")]
    rows = TOKENIZER(
        texts,
        truncation=strategy,
        max_length=12,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    side = 1 if strategy == "only_second" else 0
    whole = TOKENIZER(SPEECH, add_special_tokens=False).input_ids
    owners = rows["overflow_to_sample_mapping"]
    assert owners == [0] * (len(owners) - 1) + [1]
    assert len(owners) > 2
    joined: list[int] = []
    for i in range(len(owners) - 1):
        part = [t for t, s in zip(rows.input_ids[i], rows.sequence_ids(i), strict=True) if s == side]
        assert len(rows.input_ids[i]) <= 12
        assert joined[len(joined) - stride :] == part[:stride] or not joined
        joined += part[stride:] if joined else part
    assert joined == whole


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((5,), {}, InvalidTypeError, "text: got int, expected a string or a sequence of strings"),
        ((None,), {}, InvalidTypeError, "text: got NoneType"),
        ((b"war",), {}, InvalidTypeError, "text: got bytes"),
        ((["a", 5],), {}, InvalidTypeError, r"text\[1\]: got int, expected a string or a pair of strings"),
        ((["a", ("b", None)],), {}, InvalidTypeError, r"text\[1\]\[1\]: got NoneType, expected a string"),
        (([("a", "b", "c")],), {}, InvalidInputError, r"text\[0\]: got a tuple of 3, expected a pair"),
        (("a", ["b"]), {}, InvalidTypeError, "text_pair: got list, expected a string as text is one"),
        ((["a"], "b"), {}, InvalidTypeError, "text_pair: got str"),
        ((["a", "b"], ["c"]), {}, InvalidInputError, "text_pair: got 1 texts, expected 2 as in text"),
        ((["a", "b\ud800"],), {}, InvalidInputError, r"text\[1\]: lone surrogate U\+D800 at position 1"),
        (("a",), {"padding": "longer"}, InvalidInputError, "padding: got 'longer', expected True"),
        (
            ("a",),
            {"truncation": "only_third"},
            InvalidInputError,
            "truncation: got 'only_third', expected True",
        ),
        (
            ("a",),
            {"padding_side": "up"},
            InvalidInputError,
            "padding_side: got 'up', expected one of 'right', 'left'",
        ),
        (
            ("a",),
            {"return_tensors": "jax"},
            InvalidInputError,
            "return_tensors: got 'jax', expected one of None, 'np', 'pt', 'tf'",
        ),
        (("a",), {"max_length": 1}, InvalidInputError, r"max_length: got 1, expected an integer in 2\.\.512"),
        (
            ("a",),
            {"max_length": 513},
            InvalidInputError,
            r"max_length: got 513, expected an integer in 2\.\.512",
        ),
        (
            ("a", "b"),
            {"max_length": 2},
            InvalidInputError,
            r"max_length: got 2, expected an integer in 3\.\.512",
        ),
        (("a",), {"max_length": 8.0}, InvalidTypeError, r"max_length: got 8\.0, expected an integer"),
        (("a",), {"max_length": True}, InvalidTypeError, "max_length: got True, expected an integer"),
        (
            (SPEECH, SPEECH),
            {"max_length": 10, "truncation": "only_first"},
            InvalidInputError,
            r"text\[0\]: \d+ tokens too many and truncation='only_first' can take away \d+",
        ),
        (
            (SPEECH,),
            {"max_length": 10, "truncation": "only_second"},
            InvalidInputError,
            "truncation='only_second' can take away 0",
        ),
        (
            (SPEECH,),
            {"max_length": 10, "truncation": True, "return_overflowing_tokens": True, "stride": 8},
            InvalidInputError,
            "stride: got 8, expected less than the 8 tokens",
        ),
        ((["a", SPEECH],), {"return_tensors": "np"}, InvalidInputError, "padding: rows have 3 to .* tokens"),
    ],
)
def test_bad_input(arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TOKENIZER(*arguments, **options)
    assert TOKENIZER("war").input_ids[0] == 2


@pytest.mark.parametrize("options", [{}, {"truncation": True, "max_length": 16}])
def test_windows_of_pairs_need_to_know_which_text_to_cut(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"truncation: .* 'only_first' or 'only_second'"):
        TOKENIZER("war", SPEECH, return_overflowing_tokens=True, **({"truncation": "longest_first"} | options))


def test_ragged_errors_name_the_text() -> None:
    with pytest.raises(InvalidInputError, match=r"texts\[7\]: got \d+ tokens, expected at most 8 \(max_length\)"):
        TOKENIZER.encode_ragged(["a", "b", SPEECH], max_length=8, truncation=False, first_index=5)
    with pytest.raises(InvalidTypeError, match=r"texts\[6\]: got int"):
        TOKENIZER.encode_ragged(["a", 3], max_length=8, first_index=5)  # type: ignore[list-item]
    with pytest.raises(InvalidTypeError, match="texts: got str"):
        TOKENIZER.encode_ragged("war", max_length=8)
    with pytest.raises(InvalidInputError, match=r"texts\[0\]: lone surrogate U\+DFFF at position 2"):
        TOKENIZER.encode_ragged(["ab\udfff"], max_length=8)


def test_conversions_and_their_errors() -> None:
    ids = TOKENIZER("no war [MASK].").input_ids
    tokens = TOKENIZER.convert_ids_to_tokens(ids)
    assert tokens == ["[CLS]", "\u2581no", "\u2581war", "[MASK]", "\u2581", ".", "[SEP]"]
    assert TOKENIZER.convert_tokens_to_ids(tokens) == ids
    assert TOKENIZER.convert_ids_to_tokens(3) == "[SEP]"
    assert TOKENIZER.convert_tokens_to_ids("no such piece") == 1
    for bad in (-1, TOKENIZER.vocab_size):
        with pytest.raises(InvalidInputError, match=rf"ids: got {bad}, expected an integer in 0\.\.20983"):
            TOKENIZER.convert_ids_to_tokens([bad])
    with pytest.raises(InvalidTypeError, match="ids: got 'a', expected an integer"):
        TOKENIZER.decode(["a"])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match="tokens: lone surrogate"):
        TOKENIZER.convert_tokens_to_ids("\ud800")


def test_decode_takes_lists_arrays_and_rows() -> None:
    rows = TOKENIZER(["no war", "all people"], return_tensors="np", padding=True).input_ids
    assert TOKENIZER.batch_decode(rows, skip_special_tokens=True) == ["no war", "all people"]
    assert TOKENIZER.decode(rows[0].tolist()) == "[CLS] no war[SEP]"
    assert TOKENIZER.decode(rows[0, 1]) == "no"


def test_pickles_and_serves_threads() -> None:
    texts = [f"{SPEECH} {i}, [MASK]" for i in range(200)]
    expected = TOKENIZER.encode_ragged(texts, max_length=64)
    copy = pickle.loads(pickle.dumps(TOKENIZER))
    assert copy.encode_ragged(texts, max_length=64) == expected
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: TOKENIZER.encode_ragged(texts, max_length=64), range(16)))
    assert all(result == expected for result in results)


def test_an_encoding_pickles() -> None:
    encoding = TOKENIZER("war", "no war")
    copy = pickle.loads(pickle.dumps(encoding))
    assert isinstance(copy, BatchEncoding)
    assert copy == encoding
    assert copy.sequence_ids() == [None, 0, None, 1, 1, None]
