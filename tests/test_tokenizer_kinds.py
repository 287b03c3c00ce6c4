"""Vocabularies of every kind beside transformers: WordPiece, ``tokenizer.json`` alone, tokens added in four places."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers

from albert_fast.errors import CheckpointError, ConfigError
from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.tokenizer.pretrained import OWN_VOCABULARY

CHINESE = [
    *("[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *"我爱北京天安门\uff0c。",
    *("the", "##se", "are", "word", "##s", "naive", "naïve", "É", "e", "1", "##9", "!", "-", "안", "##녕"),
]
TEXTS = [
    "我爱北京天安门。",
    "these WORDS 我 are naïve!",
    "我[MASK]北京\uff0cthe [MASK] 京",
    "",
    "  \t\u200b\ufffd ",
    "e\u0301 É x\u00a0words-the",
    "안녕 unknown19",
    "a" * 120 + " these",
]
CONFIGS: list[dict[str, Any]] = [
    {},
    {"do_lower_case": False},
    {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"tokenize_chinese_chars": False, "model_max_length": 512, "tokenizer_class": "BertTokenizer"},
]


@pytest.fixture(params=range(len(CONFIGS)))
def chinese(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder as of albert_chinese_tiny: a ``vocab.txt``, and perhaps a tokenizer_config.json."""
    (tmp_path / "vocab.txt").write_text("\n".join(CHINESE) + "\n", encoding="utf-8")
    if CONFIGS[request.param]:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(CONFIGS[request.param]))
    return tmp_path


def assert_equal(ours: AlbertTokenizer, theirs: Any, texts: list[Any]) -> None:
    """Ids, types, masks and offsets of every text and pair, padded, and what is decoded from them."""
    for options in ({}, {"max_length": 9, "truncation": True}, {"add_special_tokens": False}):
        pairs = [pair for pair in zip(texts, texts[1:], strict=False) if pair[1]]  # theirs takes "" for no partner
        for text in [*texts, *pairs]:
            pair = (text,) if isinstance(text, str) else text
            mine = ours(*pair, return_offsets_mapping=True, **options)
            expected = theirs(*pair, return_offsets_mapping=True, return_token_type_ids=True, **options)
            framed = options.get("add_special_tokens", True)  # without a frame, ours is of one type as in slow ones
            for column in ("input_ids", "attention_mask", "offset_mapping", *["token_type_ids"] * framed):
                assert mine[column] == [tuple(x) if isinstance(x, list) else x for x in expected[column]], (
                    column,
                    text,
                )
            assert ours.tokenize(pair[0]) == theirs.tokenize(pair[0]), text
    for max_length in range(4, 30):  # which of the two loses the odd token
        for pair in pairs:
            mine = ours(*pair, max_length=max_length, truncation=True)["input_ids"]
            assert mine == theirs(*pair, max_length=max_length, truncation=True)["input_ids"], (max_length, pair)
    batch = theirs(texts, padding=True)
    assert ours(texts, padding=True)["input_ids"] == batch["input_ids"]
    ragged = ours.encode_ragged(texts * 3, max_length=512)  # more than are encoded one by one
    assert [ids for ids, _ in ragged] == theirs(texts * 3)["input_ids"]
    for ids in batch["input_ids"]:
        for skip in (False, True):
            expected = theirs.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
            assert ours.decode(ids, skip).split() == expected.split()


def test_word_piece_is_as_bert_tokenizer(chinese: Path) -> None:
    ours = AlbertTokenizer.from_pretrained(chinese)
    theirs = transformers.BertTokenizerFast.from_pretrained(chinese)
    assert_equal(ours, theirs, TEXTS)
    assert (ours.pad_token_id, ours.mask_token, len(ours)) == (0, "[MASK]", len(theirs))
    assert sorted(ours.all_special_ids) == sorted(theirs.all_special_ids)
    assert ours.get_vocab() == theirs.get_vocab()


def test_word_piece_is_saved_for_others(chinese: Path, tmp_path: Path) -> None:
    ours = AlbertTokenizer.from_pretrained(chinese)
    saved = {Path(path).name for path in ours.save_pretrained(tmp_path / "saved")}
    assert saved == {"vocab.txt", "tokenizer.json", "tokenizer_config.json"}
    again = AlbertTokenizer.from_pretrained(tmp_path / "saved")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    for tokenizer in (again, theirs, pickle.loads(pickle.dumps(ours))):
        assert tokenizer(TEXTS)["input_ids"] == ours(TEXTS)["input_ids"]
    (tmp_path / "saved" / "tokenizer.json").unlink()
    assert AlbertTokenizer.from_pretrained(tmp_path / "saved")(TEXTS)["input_ids"] == ours(TEXTS)["input_ids"]


def test_tokenizer_json_alone(tmp_path: Path) -> None:
    """What transformers 5 saves for an ALBERT: no ``spiece.model``."""
    folder = Path(OWN_VOCABULARY).parent / "mini"
    theirs = transformers.AlbertTokenizer.from_pretrained(folder)
    theirs.save_pretrained(tmp_path)
    assert not (tmp_path / "spiece.model").exists()
    ours = AlbertTokenizer.from_pretrained(tmp_path)
    texts = ["Shall I compare thee to a summer's day?", "the [MASK] of France.", "", "naïve (x) 1945, ``so''"]
    for text in texts:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"], text
        assert ours.tokenize(text) == theirs.tokenize(text)
        for start, end in ours(text, return_offsets_mapping=True)["offset_mapping"]:
            assert text[start:end] == text[start:end].strip()
    assert ours.pad_token, ours.pad_token_id == ("<pad>", 0)
    assert ours.encode(("x", "y")[0], "y") == theirs.encode("x", "y")
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(tmp_path / "tokenizer.json", bare)
    assert AlbertTokenizer.from_pretrained(bare)(texts)["input_ids"] == ours(texts)["input_ids"]
    assert AlbertTokenizer.from_pretrained(bare / "tokenizer.json").mask_token_id == ours.mask_token_id


FOUR_PLACES: dict[str, dict[str, Any]] = {
    "added_tokens.json": {"added_tokens.json": {"[NEW]": 20984, "<e1>": 20985}},
    "special_tokens_map.json": {
        "added_tokens.json": {"<e1>": 20985, "[NEW]": 20984},
        "special_tokens_map.json": {"additional_special_tokens": ["<e1>", "[NEW]"]},
    },
    "additional_special_tokens": {"tokenizer_config.json": {"additional_special_tokens": ["[NEW]", "<e1>"]}},
    "added_tokens_decoder": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                "20984": {"content": "[NEW]", "normalized": True, "special": False},
                "20985": {"content": "<e1>", "special": True, "lstrip": True},
                "4": "[MASK]",
            }
        }
    },
}


@pytest.mark.parametrize("place", FOUR_PLACES)
def test_added_tokens_are_kept_whole(place: str, tmp_path: Path) -> None:
    shutil.copy(OWN_VOCABULARY, tmp_path)
    for name, content in FOUR_PLACES[place].items():
        (tmp_path / name).write_text(json.dumps(content))
    tokenizer = AlbertTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("war [NEW] <E1>war[NEW]") == ["▁war", "[NEW]", "<e1>", "▁war", "[NEW]"]
    encoded = tokenizer("war [NEW] <e1> war", return_offsets_mapping=True)
    assert encoded["input_ids"][2:4] == [20984, 20985]
    assert encoded["offset_mapping"][2:4] == [(4, 9), (10, 14)]
    assert (tokenizer.vocab_size, len(tokenizer)) == (20984, 20986)
    assert tokenizer.convert_ids_to_tokens([20985, 20984]) == ["<e1>", "[NEW]"]
    assert tokenizer.convert_tokens_to_ids("<e1>") == 20985
    assert "[NEW]" in tokenizer.decode(encoded["input_ids"])
    tokenizer.save_pretrained(tmp_path / "saved")
    for again in (AlbertTokenizer.from_pretrained(tmp_path / "saved"), pickle.loads(pickle.dumps(tokenizer))):
        assert again("war [NEW] <e1> war") == tokenizer("war [NEW] <e1> war")
        assert len(again) == 20986


def test_words_are_single_and_white_space_goes_where_the_token_says(tmp_path: Path) -> None:
    shutil.copy(OWN_VOCABULARY, tmp_path)
    decoder = {
        "20984": {"content": "qking", "single_word": True, "special": False},
        "20985": {"content": "<r>", "rstrip": True, "special": True},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    tokenizer = AlbertTokenizer.from_pretrained(tmp_path)
    plain = AlbertTokenizer.from_pretrained("random:tiny")
    assert tokenizer.tokenize("a qking") == ["▁a", "qking"]
    assert tokenizer.tokenize("a qkingdom") == plain.tokenize("a qkingdom")
    encoded = tokenizer("<r>  war", return_offsets_mapping=True)
    assert encoded["offset_mapping"][1:3] == [(0, 3), (5, 8)]


def test_pieces_that_a_fast_tokenizer_lists_are_no_added_tokens(tmp_path: Path) -> None:
    """transformers 4.57's AutoTokenizer lists user-defined pieces, here of the vocabulary's own."""
    shutil.copy(OWN_VOCABULARY, tmp_path)
    pieces = {str(i): {"content": c, "special": False} for i, c in ((5, "("), (6, ")"), (7, ","))}
    plain = AlbertTokenizer.from_pretrained(tmp_path)
    pieces = {str(plain.convert_tokens_to_ids(e["content"])): e for e in pieces.values()}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": pieces}))
    text = "war (the war), so"
    assert AlbertTokenizer.from_pretrained(tmp_path)(text) == plain(text)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("tokenizer.json", b"{}", CheckpointError, r"tokenizer\.json: not a usable tokenizer definition"),
        ("tokenizer.json", b"\xff", CheckpointError, r"tokenizer\.json: not UTF-8"),
        (
            "tokenizer.json",
            b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}',
            CheckpointError,
            r"\[CLS\] or <s>",
        ),
        ("vocab.txt", b"", CheckpointError, r"vocab\.txt: the vocabulary has no \[UNK\]"),
        ("vocab.txt", b"[UNK]\n\xff\n", CheckpointError, r"vocab\.txt: not UTF-8 .* byte 6"),
    ],
)
def test_damaged_vocabularies_are_named(
    tmp_path: Path, name: str, content: bytes, error: type[Exception], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        AlbertTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"added_tokens_decoder": {"x": {}, "4": 7}, "additional_special_tokens": 3}']
)
def test_strange_settings(tmp_path: Path, content: str) -> None:
    shutil.copy(OWN_VOCABULARY, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(content)
    if content.startswith("["):
        with pytest.raises((CheckpointError, ConfigError), match=r"tokenizer_config\.json"):
            AlbertTokenizer.from_pretrained(tmp_path)
    else:
        assert len(AlbertTokenizer.from_pretrained(tmp_path)) == 20984
