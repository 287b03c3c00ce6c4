"""AlbertTokenizer in the place of transformers' own: data collators, `pad`, Trainer; equal tensors for equal features.

Runs under transformers 4 and 5; what one of them does not have is skipped there.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from their_tokenizer import VOCABULARY, their_tokenizer

from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.tokenizer import AlbertTokenizer, BatchEncoding

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# No "(", "-", "." and the like: to transformers 5, which knows the vocabulary alone, these are special tokens.
TEXTS = ["the war of the people", "no nation would go to war in that year", "peace", "unbelievably preposterous words"]
PAIRS = [("what is it", "a war"), ("who was there", "all the people of the nation"), ("when", "in that year")]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return their_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def ours() -> AlbertTokenizer:
    return AlbertTokenizer(VOCABULARY)


def features(tokenizer: AlbertTokenizer, texts: Any = TEXTS, **options: Any) -> list[dict[str, Any]]:
    columns = tokenizer(texts, **options)
    return [{name: rows[i] for name, rows in columns.items()} for i in range(len(texts))]


def assert_same(one: Any, other: Any) -> None:
    """Equal columns, each of the same kind, dtype, shape and values."""
    assert dict(one).keys() == dict(other).keys()
    for name in one:
        a, b = one[name], other[name]
        assert type(a) is type(b), name
        if isinstance(b, (torch.Tensor, np.ndarray)):
            assert (a.dtype, a.shape) == (b.dtype, b.shape), name
            assert (a == b).all(), name
        else:
            assert a == b, name


def collated(make: Callable[[Any], Any], tokenizer: Any, rows: list[dict[str, Any]]) -> Any:
    torch.manual_seed(7)
    np.random.seed(7)
    return make(tokenizer)([dict(row) for row in rows])


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pad_to_multiple_of": 8},
        {"padding": "max_length", "max_length": 24},
        {"padding": "longest", "pad_to_multiple_of": 5, "return_tensors": "np"},
    ],
)
def test_data_collator_with_padding(ours: Any, theirs: Any, options: dict[str, Any], side: str) -> None:
    rows = [{**row, "label": i} for i, row in enumerate(features(ours))]
    ours.padding_side = theirs.padding_side = side
    try:
        a, b = (collated(lambda t: transformers.DataCollatorWithPadding(t, **options), t, rows) for t in (ours, theirs))
    finally:
        theirs.padding_side = "right"
    assert_same(a, b)
    assert a["input_ids"].shape[1] % options.get("pad_to_multiple_of", 1) == 0


@pytest.mark.parametrize("kind", ["pt", "np"])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("settings", [{}, {"mlm": False}, {"seed": 3}, {"pad_to_multiple_of": 8}])
def test_data_collator_for_language_modeling(
    ours: Any, theirs: Any, settings: dict[str, Any], mask: bool, kind: str
) -> None:
    rows = features(ours, return_special_tokens_mask=mask)

    def make(tokenizer: Any) -> Any:
        return transformers.DataCollatorForLanguageModeling(
            tokenizer, **{"mlm_probability": 0.5, "return_tensors": kind, **settings}
        )

    a, b = (collated(make, tokenizer, rows) for tokenizer in (ours, theirs))
    assert_same(a, b)
    if settings.get("mlm", True):
        assert (a["input_ids"] == ours.mask_token_id).any()
        assert (a["labels"] == -100).any()


def test_a_list_of_ids_for_language_modeling(ours: Any, theirs: Any) -> None:
    rows: Any = [row["input_ids"] for row in features(ours)]
    results = []
    for tokenizer in (ours, theirs):
        torch.manual_seed(7)
        results.append(transformers.DataCollatorForLanguageModeling(tokenizer)(rows))
    assert_same(*results)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # 4.57: the class goes away
@pytest.mark.filterwarnings("ignore:.*(BertTokenizer-like|Random token replacement|Whole word masking)")
@pytest.mark.parametrize("kind", ["pt", "np"])
def test_whole_word_masking(ours: Any, theirs: Any, kind: str) -> None:
    settings = {"mlm_probability": 0.5, "return_tensors": kind, "seed": 5}
    if hasattr(transformers, "DataCollatorForWholeWordMask"):
        make = lambda t: transformers.DataCollatorForWholeWordMask(t, **settings)  # noqa: E731
        rows = features(ours)
    else:
        make = lambda t: transformers.DataCollatorForLanguageModeling(t, whole_word_mask=True, **settings)  # noqa: E731
        rows = features(
            ours, return_offsets_mapping=True, return_special_tokens_mask=True, padding=True
        )  # theirs does not pad offsets
    a, b = (collated(make, tokenizer, rows) for tokenizer in (ours, theirs))
    assert_same(a, b)
    assert (a["labels"] != -100).any()


def test_whole_words_are_masked_whole_and_offsets_padded(ours: Any) -> None:
    if hasattr(transformers, "DataCollatorForWholeWordMask"):
        pytest.skip("transformers 4 has whole words of BertTokenizer alone")
    rows = features(ours, return_offsets_mapping=True, return_special_tokens_mask=True)
    collator = transformers.DataCollatorForLanguageModeling(
        ours, whole_word_mask=True, mask_replace_prob=1, random_replace_prob=0, mlm_probability=0.5, seed=1
    )
    masked = collator(rows)
    some = False
    for text, row, labels in zip(TEXTS, rows, masked["labels"].tolist(), strict=True):
        words: dict[int, set[bool]] = {}
        for (start, end), label in zip(row["offset_mapping"], labels, strict=False):
            if end > start:
                words.setdefault(text[:start].count(" "), set()).add(label != -100)
        assert all(len(states) == 1 for states in words.values())
        some |= any(len(row["input_ids"]) > 2 + len(words) and states == {True} for states in words.values())
    assert some  # a word of several tokens was among them


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["pt", "np"])
def test_data_collator_for_token_classification(ours: Any, theirs: Any, kind: str, side: str) -> None:
    rows = features(ours)
    for row in rows:
        row["labels"] = [i % 3 for i in range(len(row["input_ids"]))]
    ours.padding_side = theirs.padding_side = side

    def make(tokenizer: Any) -> Any:
        return transformers.DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=8, return_tensors=kind)

    try:
        a, b = (collated(make, tokenizer, rows) for tokenizer in (ours, theirs))
    finally:
        theirs.padding_side = "right"
    assert_same(a, b)
    assert (a["labels"] == -100).any()


def test_data_collator_for_multiple_choice(ours: Any, theirs: Any) -> None:
    rows = []
    for label, (question, answer) in enumerate(PAIRS):
        choices = ours([question] * 2, [answer, "nothing of the kind"])
        rows.append({**choices, "label": label % 2})
    a, b = (collated(transformers.DataCollatorForMultipleChoice, tokenizer, rows) for tokenizer in (ours, theirs))
    assert_same(a, b)
    assert a["input_ids"].shape[:2] == (3, 2)


def test_default_data_collator_and_permutations(ours: Any, theirs: Any) -> None:
    rows = [{**row, "label": i} for i, row in enumerate(features(ours, padding=True))]
    batch = transformers.default_data_collator(rows)
    assert batch["input_ids"].tolist() == ours(TEXTS, padding=True)["input_ids"]
    even = features(ours, padding="max_length", max_length=12)
    a, b = (
        collated(transformers.DataCollatorForPermutationLanguageModeling, tokenizer, even)
        for tokenizer in (ours, theirs)
    )
    assert_same(a, b)


def test_sequence_to_sequence_collator(ours: Any, theirs: Any) -> None:
    rows = [{**row, "labels": row["input_ids"][1:]} for row in features(ours)]
    a, b = (collated(transformers.DataCollatorForSeq2Seq, tokenizer, rows) for tokenizer in (ours, theirs))
    assert_same(a, b)


# ---- pad -----------------------------------------------------------------------------------------

PADDED: list[tuple[Any, dict[str, Any]]] = [
    ([{"input_ids": [5, 6]}, {"input_ids": [7]}], {}),
    ({"input_ids": [[5, 6], [7]], "labels": [[1, 1], [1]]}, {}),
    ({"input_ids": [[5, 6], [7]], "attention_mask": [[1, 1], [1]], "token_type_ids": [[0, 1], [1]]}, {}),
    ({"input_ids": [[5, 6], [7]], "special_tokens_mask": [[0, 1], [1]], "label": [0.5, 1.0]}, {"return_tensors": "pt"}),
    ({"input_ids": [[5, 6], [7]], "label": [True, False]}, {"return_tensors": "np"}),
    ({"input_ids": [[5, 6], [7]]}, {"return_attention_mask": False}),
    ({"input_ids": [[5, 6], [7]]}, {"padding": False}),
    ({"input_ids": [[5, 6], [7]]}, {"padding": "max_length", "max_length": 1}),
    ({"input_ids": [[5, 6], [7]]}, {"padding": "max_length", "max_length": 5, "pad_to_multiple_of": 4}),
    ({"input_ids": [[5, 6], [7]]}, {"pad_to_multiple_of": 4, "padding_side": "left", "return_tensors": "np"}),
    ({"input_ids": [5, 6]}, {"padding": "max_length", "max_length": 5}),
    ({"input_ids": [5, 6], "labels": 1}, {"pad_to_multiple_of": 3}),
    ([{"input_ids": torch.tensor([5, 6])}, {"input_ids": torch.tensor([7])}], {}),
    ([{"input_ids": np.array([5, 6])}, {"input_ids": np.array([7])}], {"padding_side": "left"}),
    ({"input_ids": torch.tensor([[5, 6], [7, 8]]), "label": torch.tensor([1, 0])}, {"pad_to_multiple_of": 4}),
    ({"input_ids": []}, {"return_attention_mask": True}),
]


@pytest.mark.parametrize("case", range(len(PADDED)))
def test_pad_is_transformers(ours: Any, theirs: Any, case: int) -> None:
    rows, options = PADDED[case]
    copies = [pickle.loads(pickle.dumps(rows)) for _ in range(2)]
    assert_same(ours.pad(copies[0], **options), theirs.pad(copies[1], **options))


def test_pad_takes_what_a_call_returns(ours: Any) -> None:
    expected = ours(TEXTS, padding=True, return_tensors="pt", return_special_tokens_mask=True)
    assert_same(ours.pad(ours(TEXTS, return_special_tokens_mask=True), return_tensors="pt"), expected)
    assert_same(ours.pad([ours(t, return_special_tokens_mask=True) for t in TEXTS], return_tensors="pt"), expected)
    spans = ours.pad(ours(TEXTS, return_offsets_mapping=True), return_tensors="np")
    assert np.array_equal(
        spans["offset_mapping"],
        ours(TEXTS, return_offsets_mapping=True, padding=True, return_tensors="np")["offset_mapping"],
    )


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([[5, 6]], {}, "encoded_inputs: got list"),
        ({"ids": [[5]]}, {}, "expected input_ids"),
        ([{"input_ids": [5], "label": 1}, {"input_ids": [6]}], {}, r"encoded_inputs\[1\]: got no label"),
        ({"input_ids": [[5, 6]], "attention_mask": [[1]]}, {}, r"attention_mask\[0\].*expected 2"),
        ({"input_ids": [[5, 6]], "label": [1, 2]}, {}, "label.*expected a row for each of 1"),
        ({"input_ids": [[5, 6], [7]], "labels": [[1, 2], [1]]}, {"return_tensors": "pt"}, "labels: got"),
        ({"input_ids": [[5, 6]], "text": ["a"]}, {"return_tensors": "np"}, "text: got"),
        ({"input_ids": [[5, 6], [7]]}, {"return_tensors": "pt", "padding": False}, "padding: rows have 1 to 2"),
        ({"input_ids": [[5]]}, {"padding": "longer"}, "padding: got 'longer'"),
        ({"input_ids": [[5]]}, {"padding_side": "top"}, "padding_side: got 'top'"),
        ({"input_ids": [[5]]}, {"pad_to_multiple_of": 0}, "pad_to_multiple_of: got 0"),
        ({"input_ids": [[5]]}, {"return_tensors": "jax"}, "return_tensors: got 'jax'"),
    ],
)
def test_what_cannot_be_padded_is_named(ours: Any, rows: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidInputError, InvalidTypeError), match=message):
        ours.pad(rows, **options)


# ---- with transformers' Trainer ------------------------------------------------------------------


def test_trainer_with_our_tokenizer(ours: Any, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    config = transformers.AlbertConfig(
        vocab_size=len(ours), embedding_size=8, hidden_size=16, num_attention_heads=2, intermediate_size=16,
        num_hidden_layers=1, num_labels=2,
    )  # fmt: skip
    rows = [{**row, "labels": i % 2} for i, row in enumerate(features(ours))]
    trainer = transformers.Trainer(
        transformers.AlbertForSequenceClassification(config),
        transformers.TrainingArguments(
            str(tmp_path), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True, save_steps=2
        ),
        data_collator=transformers.DataCollatorWithPadding(ours),
        train_dataset=rows,
        processing_class=ours,
    )
    assert trainer.train().global_step == 2
    again = AlbertTokenizer.from_pretrained(tmp_path / "checkpoint-2")
    assert again(TEXTS) == ours(TEXTS)


def test_a_batch_is_made_again_from_its_columns(ours: Any) -> None:
    batch = ours(TEXTS, padding=True, return_tensors="pt")
    again = type(batch)({name: tensor.to("cpu") for name, tensor in batch.items()})  # as Trainer does
    assert isinstance(again, BatchEncoding)
    assert_same(again, batch)
    with pytest.raises(InvalidInputError, match="sequence_ids"):
        again.sequence_ids()
