"""AlbertTokenizer's methods around tokens, as scripts for transformers call them: roles, added tokens, sides, masks.

Compared with transformers' AlbertTokenizer on the same vocabulary (4: the slow one; 5 lacks some methods).
"""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from their_tokenizer import VOCABULARY, their_tokenizer

from albert_fast.errors import ConfigError, InvalidInputError, InvalidTypeError
from albert_fast.tokenizer import AlbertTokenizer

TEXT, PARTNER = "no nation would go to war in that year", "all the people of the land"
WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "war", "##s", "no", ","]


@pytest.fixture
def ours() -> AlbertTokenizer:
    return AlbertTokenizer(VOCABULARY)


@pytest.fixture
def theirs(tmp_path: Path) -> Any:
    return their_tokenizer(tmp_path / "theirs")


@pytest.fixture
def word_piece(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(WORD_PIECES) + "\n")
    return tmp_path


def test_a_path_is_enough(tmp_path: Path, ours: AlbertTokenizer) -> None:
    ours.save_pretrained(tmp_path)
    for tokenizer in (AlbertTokenizer(tmp_path), AlbertTokenizer(str(tmp_path / "spiece.model"))):
        assert tokenizer(TEXT, PARTNER) == ours(TEXT, PARTNER)
    assert AlbertTokenizer(vocab_file=VOCABULARY, do_lower_case=False).tokenize("A") != ours.tokenize("A")
    assert AlbertTokenizer.from_pretrained(str(tmp_path)).name_or_path == str(tmp_path)
    saved = ours.save_vocabulary(tmp_path / "vocabulary", "x")
    assert [Path(path).name for path in saved] == ["x-spiece.model"]
    assert Path(saved[0]).read_bytes() == VOCABULARY.read_bytes()
    with pytest.raises(InvalidTypeError, match="name_or_folder: got bytes"):
        AlbertTokenizer(b"spiece.model")  # type: ignore[arg-type]


def test_options_of_transformers(ours: AlbertTokenizer) -> None:
    nothing = {"use_fast": True, "token": None, "trust_remote_code": False, "force_download": False}
    tokenizer = AlbertTokenizer.from_pretrained(VOCABULARY, **nothing, padding_side="left", mask_token=None)
    assert (tokenizer.padding_side, tokenizer.mask_token, tokenizer.is_fast) == ("left", "[MASK]", True)
    with pytest.raises(InvalidTypeError, match="token"):
        AlbertTokenizer.from_pretrained(VOCABULARY, token="secret")
    added = AlbertTokenizer.from_pretrained(VOCABULARY, additional_special_tokens=["[E]"], pad_token="[PAD]")
    assert added.pad_token_id == len(ours) + 1
    assert added.encode("a [E]", add_special_tokens=False)[-1] == len(ours)


def test_names_of_special_tokens(ours: Any, theirs: Any) -> None:
    for name in ("special_tokens_map", "padding_side", "truncation_side", "pad_token_type_id", "vocab_size"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"):
        assert getattr(ours, f"{role}_token") == getattr(theirs, f"{role}_token")
        assert getattr(ours, f"{role}_token_id") == getattr(theirs, f"{role}_token_id")
    expected = ["[CLS]", "[SEP]", "<unk>", "<pad>", "[MASK]"]
    assert ours.all_special_tokens == expected == theirs.all_special_tokens[:5]
    assert ours.all_special_ids == ours.convert_tokens_to_ids(expected)
    assert len(ours) == len(theirs) == len(ours.get_vocab())
    assert ours.get_added_vocab() == {"<pad>": 0, "<unk>": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    assert (ours.max_len_single_sentence, ours.max_len_sentences_pair) == (510, 509)
    assert ours.additional_special_tokens == ours.extra_special_tokens == ours.additional_special_tokens_ids == []


def test_bert_tokenizers_have_no_ends(word_piece: Path) -> None:
    ours = AlbertTokenizer(word_piece)
    theirs = transformers.BertTokenizerFast.from_pretrained(word_piece)
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert (ours.bos_token, ours.eos_token_id) == (None, None)


def test_around_one_text_and_two(ours: Any, theirs: Any) -> None:
    calls: list[tuple[str, tuple[Any, ...], Any]] = [
        ("num_special_tokens_to_add", (), 2),
        ("num_special_tokens_to_add", (True,), 3),
        ("build_inputs_with_special_tokens", ([9, 8],), [2, 9, 8, 3]),
        ("build_inputs_with_special_tokens", ([9, 8], [7]), [2, 9, 8, 3, 7, 3]),
        ("create_token_type_ids_from_sequences", ([9, 8],), [0] * 4),
        ("create_token_type_ids_from_sequences", ([9, 8], [7]), [0, 0, 0, 0, 1, 1]),
        ("get_special_tokens_mask", ([9, 8],), [1, 0, 0, 1]),
        ("get_special_tokens_mask", ([9, 8], [7]), [1, 0, 0, 1, 0, 1]),
        ("get_special_tokens_mask", ([2, 99, 1, 0, 4, 3], None, True), [1, 0, 1, 1, 1, 1]),
    ]
    for name, arguments, expected in calls:
        assert getattr(ours, name)(*arguments) == expected, name
        try:
            assert getattr(theirs, name)(*arguments) == expected, name
        except (AttributeError, NotImplementedError):
            assert transformers.__version__.startswith("5"), name
    with pytest.raises(InvalidInputError, match="token_ids_1"):
        ours.get_special_tokens_mask([2, 3], [4], already_has_special_tokens=True)


def test_encode_plus_and_batches(ours: Any) -> None:
    assert ours.encode_plus(TEXT, PARTNER, max_length=9) == ours(TEXT, PARTNER, max_length=9)
    assert ours.encode_plus(["no", "war"], is_split_into_words=True) == ours(["no", "war"], is_split_into_words=True)
    assert ours.batch_encode_plus([TEXT, PARTNER], padding=True) == ours([TEXT, PARTNER], padding=True)
    assert ours.batch_encode_plus([(TEXT, PARTNER)]) == ours([TEXT], [PARTNER])
    with pytest.raises(InvalidTypeError, match="text: got list"):
        ours.encode_plus([TEXT])
    with pytest.raises(InvalidTypeError, match="batch_text_or_text_pairs: got str"):
        ours.batch_encode_plus(TEXT)
    assert ours.tokenize("a b", "c", add_special_tokens=True) == ["[CLS]", "▁a", "▁b", "[SEP]", "▁c", "[SEP]"]
    assert ours.tokenize("a b", pair="c") == ["▁a", "▁b", "▁c"]


def test_decoding_any_kind_of_ids(ours: Any) -> None:
    torch = pytest.importorskip("torch")
    rows = ours([TEXT, PARTNER], padding=True)["input_ids"]
    expected = [TEXT, PARTNER]
    for ids in (rows, np.array(rows), torch.tensor(rows), [torch.tensor(row) for row in rows], iter(rows)):
        assert ours.batch_decode(ids, skip_special_tokens=True) == expected
    assert ours.batch_decode(rows[0][:2]) == ["[CLS]", "no"]
    assert ours.decode(np.int64(2)) == ours.decode(torch.tensor(2)) == "[CLS]"
    assert ours.convert_ids_to_tokens(torch.tensor(rows[0][:2])) == ["[CLS]", "▁no"]
    assert ours.convert_ids_to_tokens(rows[0], skip_special_tokens=True) == ours.tokenize(TEXT)
    spaced = ours.convert_tokens_to_ids(["▁i", "▁", "'", "m", "▁", ".", "▁no"])
    assert ours.decode(spaced) == "i 'm . no"
    assert ours.decode(spaced, clean_up_tokenization_spaces=True) == "i'm. no"


# ---- sides ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("partner", [None, PARTNER])
@pytest.mark.parametrize("max_length", [6, 7, 9])
def test_left_truncation_is_transformers(ours: Any, theirs: Any, partner: str | None, max_length: int) -> None:
    ours.truncation_side = theirs.truncation_side = "left"
    strategies = ["longest_first", "only_first"] if partner is None else ["longest_first"]
    if partner is not None and transformers.__version__.startswith("5"):
        strategies = ["only_second"]  # of two texts its fast tokenizers cut other tokens, on either side
        max_length += 8
    for strategy in strategies:
        options = {"truncation": strategy, "max_length": max_length}
        mine = ours(TEXT, partner, **options)
        assert mine["input_ids"] == theirs(TEXT, partner, **options)["input_ids"], strategy
        assert len(mine["input_ids"]) == max_length
    both = ours([(TEXT, PARTNER)], truncation=True, max_length=max_length)
    ragged = ours.encode_ragged([(TEXT, PARTNER), TEXT], max_length=max_length)
    assert ragged[0] == (both["input_ids"][0], both["token_type_ids"][0])
    assert ragged[1][0] == ours(TEXT, truncation=True, max_length=max_length)["input_ids"]


def test_left_truncation_keeps_the_end_of_very_long_texts(ours: Any) -> None:
    ours.truncation_side = "left"
    text = "war " * 20_000 + TEXT
    assert ours.encode_ragged([text], max_length=6)[0][0] == [2, *ours.encode(TEXT)[-5:-1], 3]


@pytest.mark.parametrize("stride", [0, 1, 2])
def test_windows_from_the_left(ours: Any, stride: int, tmp_path: Path) -> None:
    options = {"max_length": 6, "truncation": True, "return_overflowing_tokens": True, "stride": stride}
    mirrored = AlbertTokenizer(VOCABULARY)
    ours.truncation_side = "left"
    ids = ours.encode(TEXT, add_special_tokens=False)
    rows = ours(TEXT, **options, return_offsets_mapping=True)
    parts = [row[1:-1] for row in rows["input_ids"]]
    assert parts[0] == ids[-4:]
    count = len(mirrored(TEXT, **options)["input_ids"])
    assert len(parts) == count > 1
    ends = [len(ids) - i * (4 - stride) for i in range(count)]
    assert parts == [ids[max(0, end - 4) : end] for end in ends]
    for row, spans in zip(parts, rows["offset_mapping"], strict=True):
        words = [TEXT[start:end] for start, end in spans[1:-1]]
        assert ours.encode(" ".join(words), add_special_tokens=False) == row
    if transformers.__version__.startswith("5"):
        theirs = their_tokenizer(tmp_path, truncation_side="left")
        assert rows["input_ids"] == theirs(TEXT, **options)["input_ids"]


def test_sides_are_kept_in_files(ours: Any, tmp_path: Path) -> None:
    ours.padding_side, ours.truncation_side = "left", "left"
    ours.save_pretrained(tmp_path)
    for again in (AlbertTokenizer(tmp_path), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert (again.padding_side, again.truncation_side) == ("left", "left")
        row = again([TEXT, "war"], padding=True)["input_ids"][1]
        assert row[-3:] == again.encode("war")
        assert row[0] == again.pad_token_id
        assert again(["war", TEXT], padding=True, padding_side="right")["input_ids"][0][:3] == again.encode("war")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.padding_side, theirs.truncation_side) == ("left", "left")
    assert AlbertTokenizer(tmp_path, padding_side="right").padding_side == "right"
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({"truncation_side": "top"}))
    with pytest.raises(ConfigError, match="truncation_side is 'top', expected 'left' or 'right'"):
        AlbertTokenizer(tmp_path)
    for name in ("padding_side", "truncation_side"):
        with pytest.raises(InvalidInputError, match=f"{name}: got 'top'"):
            setattr(ours, name, "top")


def test_multiples_lengths_and_input_names(ours: Any, theirs: Any) -> None:
    texts = [TEXT, "war"]
    for options in (
        {"padding": True, "pad_to_multiple_of": 8},
        {"padding": False, "pad_to_multiple_of": 8},
        {"padding": "max_length", "max_length": 12, "pad_to_multiple_of": 5},
        {"padding": "max_length", "max_length": 12, "pad_to_multiple_of": 6, "truncation": True},
        {"return_length": True},
    ):
        mine, expected = ours(texts, **options), theirs(texts, **options)
        assert {name: mine[name] for name in expected} == dict(expected), options
    with pytest.raises(InvalidInputError, match="pad_to_multiple_of: got 5, expected a divisor of 12"):
        ours(texts, padding=True, max_length=12, pad_to_multiple_of=5, truncation=True)
    assert ours(texts, padding=True, return_length=True)["length"] == [11, 11]
    ours.model_input_names = ["input_ids", "attention_mask"]
    assert list(ours(TEXT)) == ["input_ids", "attention_mask"]
    assert "token_type_ids" in ours(TEXT, return_token_type_ids=True)


# ---- added tokens --------------------------------------------------------------------------------

ADDED = ["a [NEW] and newword, [E1]here [E2]", "A NEWWORD", "[e1] [mask] [M]"]


def test_added_tokens_are_transformers(ours: Any, theirs: Any, tmp_path: Path) -> None:
    results = []
    for tokenizer in (ours, theirs):
        counts = [
            tokenizer.add_tokens(["[NEW]", "newword"]),
            tokenizer.add_tokens("newword"),
            tokenizer.add_special_tokens({"additional_special_tokens": ["[E1]", "[E2]"]}),
            tokenizer.add_tokens([transformers.AddedToken("<x>", lstrip=True, rstrip=True)], special_tokens=True),
        ]
        results.append((counts, len(tokenizer), tokenizer.vocab_size, tokenizer.convert_tokens_to_ids("[E2]")))
    assert results[0] == results[1]
    assert ours.tokenize("a [NEW] and newword") == ["▁a", "[new]", "▁and", "newword"]
    assert ours.additional_special_tokens == ["[E1]", "[E2]", "<x>"]
    assert ours.special_tokens_map["additional_special_tokens"] == ["[E1]", "[E2]", "<x>"]
    known = {i for token, i in ours.get_added_vocab().items() if i >= ours.vocab_size}
    assert known == set(range(ours.vocab_size, len(ours)))
    if transformers.__version__.startswith("4"):  # 5 puts words of its own after an added token
        for text in ADDED:
            assert ours.encode(text) == theirs.encode(text), text
            assert ours.decode(ours.encode(text), skip_special_tokens=True) == theirs.decode(
                theirs.encode(text), skip_special_tokens=True, spaces_between_special_tokens=True
            )
    ours.save_pretrained(tmp_path)
    for again in (AlbertTokenizer(tmp_path), pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        assert again.special_tokens_map == ours.special_tokens_map
        assert again(ADDED) == ours(ADDED)
        assert len(again) == len(ours)


def test_roles_of_other_tokens(ours: AlbertTokenizer, tmp_path: Path) -> None:
    assert ours.add_special_tokens({"mask_token": transformers.AddedToken("[M]", lstrip=True)}) == 1
    assert (ours.mask_token, ours.mask_token_id) == ("[M]", len(ours) - 1)
    assert ours.tokenize("the [M].") == ["▁the", "[M]", "▁", "."]
    ours.pad_token = "<unk>"
    assert ours.pad_token_id == 1
    assert ours(["war", TEXT], padding=True)["input_ids"][0][-1] == 1
    with pytest.raises(InvalidInputError, match="cls_token: got 'nowhere', which is no token"):
        ours.cls_token = "nowhere"
    with pytest.raises(InvalidInputError, match="special_tokens_dict: got 'mask'"):
        ours.add_special_tokens({"mask": "x"})
    for bad in ([3], "", [""]):
        with pytest.raises(InvalidTypeError, match="new_tokens"):
            ours.add_tokens(bad)
    ours.save_pretrained(tmp_path)
    again = AlbertTokenizer(tmp_path)
    assert (again.mask_token, again.pad_token, again.mask_token_id) == ("[M]", "<unk>", ours.mask_token_id)
    assert again.tokenize("the [M].") == ours.tokenize("the [M].")


def test_a_piece_stays_one_unless_it_is_special(ours: AlbertTokenizer, tmp_path: Path) -> None:
    before = ours.tokenize("then the")
    assert ours.add_tokens(["▁the", "the"]) == (ours.backend.token_to_id("the") is None)
    plain = AlbertTokenizer(VOCABULARY)
    assert plain.add_tokens(["▁the"]) == 0
    assert plain.tokenize("then the") == before
    assert plain.add_tokens(["en"], special_tokens=True) == (
        0 if "en" in AlbertTokenizer(VOCABULARY).get_vocab() else 1
    )
    assert "en" in plain.tokenize("women")
    plain.save_pretrained(tmp_path)
    assert AlbertTokenizer(tmp_path).tokenize("women") == plain.tokenize("women")
    assert AlbertTokenizer(tmp_path).additional_special_tokens == ["en"]


def test_added_tokens_of_a_definition(word_piece: Path, tmp_path: Path) -> None:
    ours, theirs = AlbertTokenizer(word_piece), transformers.BertTokenizerFast.from_pretrained(word_piece)
    for tokenizer in (ours, theirs):
        tokenizer.add_tokens(["[NEW]", "war"])
        assert tokenizer.add_special_tokens({"additional_special_tokens": ["[E1]"]}) == 1
        assert tokenizer.add_special_tokens({"mask_token": "[M]"}) == 1
    text = "no [NEW] the[E1]wars , [M] [MASK]"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert len(ours) == len(theirs) == len(WORD_PIECES) + 3
    assert ours.mask_token_id == theirs.mask_token_id
    assert {"[E1]", "[M]"} < set(ours.all_special_tokens)
    ours.save_pretrained(tmp_path / "saved")
    for again in (AlbertTokenizer(tmp_path / "saved"), pickle.loads(pickle.dumps(ours))):
        assert again(text) == ours(text)
        assert again.mask_token == "[M]"
        assert again.get_vocab() == ours.get_vocab()


def test_rows_of_a_resized_model_fit(ours: AlbertTokenizer) -> None:
    pytest.importorskip("torch")
    ours.add_tokens(["[NEW]"])
    config = transformers.AlbertConfig(
        vocab_size=ours.vocab_size, embedding_size=8, hidden_size=8, num_attention_heads=1, intermediate_size=8,
        num_hidden_layers=1,
    )  # fmt: skip
    model = transformers.AlbertModel(config)
    model.resize_token_embeddings(len(ours))
    ids = ours("a [NEW]", return_tensors="pt")
    assert ids["input_ids"].max() == len(ours) - 1
    assert model(**ids).last_hidden_state.shape[1] == ids["input_ids"].shape[1]
