"""Pipelines beside transformers' own on the same checkpoint and input ids, to the token and to 1e-4 in score."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nn_models import BASE
from pipeline_models import TEXTS, TOLERANCE, Make, assert_equal, maker
from their_pipelines import theirs

import albert_fast
from albert_fast.errors import CheckpointError, ConfigError, InvalidInputError, InvalidTypeError, MissingDependencyError
from albert_fast.pipelines import TASKS
from albert_fast.tokenizer import AlbertTokenizer

PROMPTS = ["Hello I'm a [MASK] model.", "The man worked as a [MASK].", "The woman worked as a [MASK]."]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory)


def without_spaces(found: list[Any]) -> list[Any]:
    """transformers joins the words of a group without spaces, where a tokenizer marks them by a piece's first
    character; ours stand as in the text."""
    return [
        without_spaces(item) if isinstance(item, list) else {**item, "word": item["word"].replace(" ", "")}
        for item in found
    ]


# ---- fill-mask ---------------------------------------------------------------------------------------


def test_fill_mask(make: Make) -> None:
    folder, model = make("AlbertForMaskedLM")
    ours, reference = albert_fast.pipeline("fill-mask", folder), theirs("fill-mask", folder, model)
    for prompt in PROMPTS:
        assert_equal(ours(prompt), reference(prompt))
    several = [*PROMPTS, "A [MASK] and a [MASK] text.", "[MASK]"]
    assert_equal(ours(several, top_k=3), reference(several, top_k=3))
    found = ours("A [MASK] and a [MASK] text.")
    assert [len(answers) for answers in found] == [5, 5]
    assert "[MASK]" in found[0][0]["sequence"]
    long_list = [f"Number {i} is a [MASK] of {i % 7} words{' and more' * (i % 9)}." for i in range(100)]
    assert_equal(ours(long_list), reference(long_list))


def test_fill_mask_targets(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    folder, model = make("AlbertForMaskedLM")
    ours, reference = albert_fast.pipeline("fill-mask", folder), theirs("fill-mask", folder, model)
    targets = ["▁the", "▁a", "s"]
    assert_equal(ours(PROMPTS[0], targets=targets), reference(PROMPTS[0], targets=targets))
    assert_equal(ours(PROMPTS[0], targets="▁the"), reference(PROMPTS[0], targets="▁the"))
    with caplog.at_level("WARNING", logger="albert_fast"):
        [answer] = ours(PROMPTS[0], targets=["the man"])
    assert answer["token"] == ours.tokenizer.convert_tokens_to_ids("▁the")
    assert "'the man' is not a piece of the vocabulary, '▁the' stands for it" in caplog.text


def test_fill_mask_refuses(make: Make) -> None:
    folder, _ = make("AlbertForMaskedLM")
    ours = albert_fast.pipeline("fill-mask", folder)
    with pytest.raises(InvalidInputError, match=r"inputs\[1\]: got no \[MASK\], expected at least one"):
        ours([PROMPTS[0], "Nothing."])
    with pytest.raises(InvalidInputError, match="top_k: got 0"):
        ours(PROMPTS[0], top_k=0)
    with pytest.raises(InvalidInputError, match="targets: got none"):
        ours(PROMPTS[0], targets=[])
    too_long = PROMPTS[0] + " and so on" * 200
    with pytest.raises(InvalidInputError, match="expected at most 128"):
        ours(too_long)
    assert len(ours(too_long, tokenizer_kwargs={"truncation": True})) == 5


# ---- feature-extraction ------------------------------------------------------------------------------


def test_feature_extraction(make: Make) -> None:
    folder, model = make("AlbertModel")
    ours, reference = albert_fast.pipeline("feature-extraction", folder), theirs("feature-extraction", folder, model)
    assert_equal(ours(TEXTS[0]), reference(TEXTS[0]))
    assert_equal(ours(TEXTS), reference(TEXTS))
    tensor = ours(TEXTS[1], return_tensors="pt")
    torch.testing.assert_close(tensor, reference(TEXTS[1], return_tensors=True), atol=TOLERANCE, rtol=0)
    assert ours(TEXTS[1], return_tensors="np").shape == tuple(tensor.shape)
    assert ours(TEXTS[0] * 50, truncation=True, return_tensors="np").shape == (1, 128, BASE["hidden_size"])
    with pytest.raises(InvalidInputError, match="return_tensors: got 'jax'"):
        ours(TEXTS[0], return_tensors="jax")


def test_torch_tensors_without_torch(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = albert_fast.pipeline("feature-extraction", make("AlbertModel")[0])
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"albert_fast\[torch\]"):
        ours(TEXTS[0], return_tensors="pt")


# ---- text-classification and zero-shot-classification ------------------------------------------------

NLI = {"id2label": {0: "contradiction", 1: "neutral", 2: "ENTAILMENT"}}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        NLI,
        {"num_labels": 1},
        {"num_labels": 3, "problem_type": "multi_label_classification"},
        {"num_labels": 2, "problem_type": "regression"},
    ],
    ids=str,
)
def test_text_classification(make: Make, settings: dict[str, Any]) -> None:
    folder, model = make("AlbertForSequenceClassification", **settings)
    ours, reference = (albert_fast.pipeline("sentiment-analysis", folder), theirs("text-classification", folder, model))
    assert_equal(ours(TEXTS[0]), reference(TEXTS[0]))
    assert_equal(ours(TEXTS), reference(TEXTS))
    assert_equal(ours(TEXTS, top_k=2), reference(TEXTS, top_k=2))
    assert_equal(ours(TEXTS, top_k=None), reference(TEXTS, top_k=None))
    pair = {"text": TEXTS[0], "text_pair": TEXTS[1]}
    assert_equal(ours(pair), reference(pair))
    for function in ("softmax", "sigmoid", "none"):
        options = {"top_k": None, "function_to_apply": function}
        assert_equal(ours([pair], **options), reference([pair], **options))
    too_long = TEXTS[3] * 20
    assert_equal(ours(too_long, truncation=True), reference(too_long, truncation=True))
    assert ours([]) == []


def test_options_of_the_constructor_hold_for_every_call(make: Make) -> None:
    folder, model = make("AlbertForSequenceClassification", **NLI)
    ours = albert_fast.pipeline("text-classification", folder, top_k=1, batch_tokens=16, num_threads=1)
    reference = theirs("text-classification", folder, model, top_k=1)
    assert_equal(ours(TEXTS[0]), reference(TEXTS[0]))
    assert list(ours(text for text in TEXTS * 100)) == ours(TEXTS) * 100, "the same bits in any batch"


def test_zero_shot_classification(make: Make) -> None:
    folder, model = make("AlbertForSequenceClassification", **NLI)
    task = "zero-shot-classification"
    ours, reference = albert_fast.pipeline(task, folder), theirs(task, folder, model)
    labels = ["sports", "world politics", "music"]
    for options in (
        {"candidate_labels": labels},
        {"candidate_labels": "sports, music"},
        {"candidate_labels": labels, "multi_label": True},
        {"candidate_labels": ["music"]},
        {"candidate_labels": labels, "hypothesis_template": "This is about {}!"},
    ):
        assert_equal(ours(TEXTS[0], **options), reference(TEXTS[0], **options))
        assert_equal(ours(TEXTS, **options), reference(TEXTS, **options))
    too_long = TEXTS[3] * 20
    assert_equal(ours(too_long, labels), reference(too_long, labels))
    with pytest.raises(InvalidInputError, match="candidate_labels: got none"):
        ours(TEXTS[0])
    with pytest.raises(InvalidInputError, match="hypothesis_template: got 'No place'"):
        ours(TEXTS[0], labels, hypothesis_template="No place")
    with pytest.raises(ConfigError, match="expected one that begins with 'entail'"):
        albert_fast.pipeline(task, make("AlbertForSequenceClassification")[0])


# ---- token-classification ----------------------------------------------------------------------------

ENTITIES = {"id2label": dict(enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]))}


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_token_classification(make: Make, strategy: str) -> None:
    folder, model = make("AlbertForTokenClassification", **ENTITIES)
    ours, reference = albert_fast.pipeline("ner", folder), theirs("token-classification", folder, model)
    options: dict[str, Any] = {"aggregation_strategy": strategy}
    same = without_spaces if strategy in ("first", "average", "max") else list
    for inputs in (TEXTS, TEXTS[0], TEXTS[3] * 20):
        assert_equal(same(ours(inputs, **options)), same(reference(inputs, **options)))
    options["ignore_labels"] = ["LOC", "MISC", "B-LOC"]
    assert_equal(same(ours(TEXTS, **options)), same(reference(TEXTS, **options)))
    if strategy != "none":
        words = [found["word"] for found in ours(TEXTS[0], aggregation_strategy=strategy, ignore_labels=[])]
        assert all(word in TEXTS[0].lower() for word in words)


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("strategy", ["simple", "first"])
def test_token_classification_of_long_texts(make: Make, strategy: str) -> None:
    folder, model = make("AlbertForTokenClassification", **ENTITIES)
    ours, reference = albert_fast.pipeline("ner", folder), theirs("token-classification", folder, model)
    text = " ".join(TEXTS) * 6
    options = {"aggregation_strategy": strategy, "stride": 16, "ignore_labels": []}
    found = ours(text, **options)
    assert found[-1]["end"] > len(text) - 10, "the end of the text is read, too"
    same = without_spaces if strategy == "first" else list
    assert_equal(same(found), same(reference(text, **options)))


WORDS = [
    ["Hugging", "Face", "is", "", "based", "in", "New York", "."],
    ["Wolfgang", "lives,", "they", " ", "say,", "in\u00a0", "Berlin!", "\u4e00\u4e01x"],
    [],
]


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_token_classification_of_words(make: Make, strategy: str) -> None:
    folder, model = make("AlbertForTokenClassification", **ENTITIES)
    ours, reference = albert_fast.pipeline("ner", folder), theirs("token-classification", folder, model)
    same = without_spaces if strategy in ("first", "average", "max") else list
    whole_words = strategy in ("first", "average", "max")
    for delimiter in (None, "", "-", " | "):
        options: dict[str, Any] = {"is_split_into_words": True, "delimiter": delimiter, "ignore_labels": []}
        options["aggregation_strategy"] = strategy
        found = ours(WORDS, **options)
        for words in WORDS:  # transformers takes any list of lists for one text, and an empty one for none
            if whole_words and delimiter in ("", "-"):  # where transformers makes one word of all
                found_with_spaces = ours([words], **{**options, "delimiter": " "})
                kinds = [
                    [(e["entity_group"], e["score"]) for e in r[0]]
                    for r in (ours([words], **options), found_with_spaces)
                ]
                assert kinds[0] == kinds[1]
                continue
            expected = reference([words], **options) if words else [[]]
            assert_equal(same(ours([words], **options)), same(expected))
        assert found == [ours([words], **options)[0] for words in WORDS] == list(ours(iter(WORDS), **options))
        if not (whole_words and delimiter in ("", "-")):
            assert_equal(same(ours(WORDS[0], **options)), same(reference(WORDS[0], **options)))
        assert ours(tuple(WORDS[0]), **options) == ours(WORDS[0], **options) == found[:1]
        assert ours(tuple(WORDS), **options) == found
        joined = (" " if delimiter is None else delimiter).join(WORDS[0])
        assert found[0][-1]["end"] == len(joined)
    assert ours([], is_split_into_words=True) == []


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("strategy", ["simple", "first"])
def test_token_classification_of_many_words(make: Make, strategy: str) -> None:
    folder, model = make("AlbertForTokenClassification", **ENTITIES)
    ours, reference = albert_fast.pipeline("ner", folder), theirs("token-classification", folder, model)
    words = " ".join(TEXTS * 6).split(" ")
    options = {"aggregation_strategy": strategy, "stride": 16, "ignore_labels": [], "is_split_into_words": True}
    [found] = ours(words, **options)
    assert found[-1]["end"] == len(" ".join(words)), "the end of the text is read, too"
    same = without_spaces if strategy == "first" else list
    assert_equal(same(found), same(reference(words, **options)[0]))


def test_token_classification_refuses(make: Make) -> None:
    ours = albert_fast.pipeline("ner", make("AlbertForTokenClassification", **ENTITIES)[0])
    with pytest.raises(InvalidTypeError, match=r"inputs\[0\]: got str, expected a list of words, as is_split_into"):
        ours("New York", is_split_into_words=True)
    with pytest.raises(InvalidTypeError, match=r"inputs\[0\]\[1\]: got int, expected a string"):
        ours(["New", 3], is_split_into_words=True)
    with pytest.raises(InvalidTypeError, match="delimiter: got int, expected a string"):
        ours(["New"], is_split_into_words=True, delimiter=3)
    with pytest.raises(InvalidInputError, match="aggregation_strategy: got 'best'"):
        ours(TEXTS[0], aggregation_strategy="best")
    with pytest.raises(InvalidInputError, match="stride: got one with aggregation_strategy='none'"):
        ours(TEXTS[0], stride=3)


# ---- what all have in common -------------------------------------------------------------------------


def test_a_live_model_and_a_loaded_one_give_the_same(make: Make) -> None:
    folder, model = make("AlbertForSequenceClassification", **NLI)
    expected = albert_fast.pipeline("text-classification", folder)(TEXTS)
    tokenizer = AlbertTokenizer.from_pretrained(folder)
    for given in (albert_fast.load(folder), albert_fast.load(model, tokenizer=tokenizer)):
        assert albert_fast.pipeline("text-classification", given)(TEXTS) == expected


@pytest.mark.parametrize("dtype", ["bfloat16", "int16", "int8"])
def test_narrow_weights(make: Make, dtype: str) -> None:
    folder, _ = make("AlbertForMaskedLM")
    answers = albert_fast.pipeline("fill-mask", folder, dtype=dtype)(PROMPTS)
    exact = albert_fast.pipeline("fill-mask", folder, dtype="float32", top_k=30_000)(PROMPTS)
    for narrow, wide in zip(answers, exact, strict=True):
        scores = {answer["token"]: answer["score"] for answer in wide}
        for answer in narrow:
            assert answer["score"] == pytest.approx(scores[answer["token"]], rel=0.2)


def test_refusals(make: Make) -> None:
    folder, _ = make("AlbertForMaskedLM")
    with pytest.raises(InvalidInputError, match="task: got 'translation', expected one of fill-mask"):
        albert_fast.pipeline("translation", folder)
    with pytest.raises(
        InvalidInputError, match="fill-mask: got an option 'beams', expected one of targets, tokenizer_"
    ):
        albert_fast.pipeline("fill-mask", folder)(PROMPTS[0], beams=3)
    with pytest.raises(CheckpointError, match=r"got no classifier\.weight, which token-classification needs"):
        albert_fast.pipeline("token-classification", folder)
    with pytest.raises(InvalidTypeError, match=r"inputs\[1\]: got int, expected a text"):
        albert_fast.pipeline("fill-mask", folder)([PROMPTS[0], 3])
    for task in ("text-classification", "multiple-choice", "sentence-order"):
        with pytest.raises(InvalidInputError, match="has no pooler"):
            albert_fast.pipeline(task, folder)
    with pytest.raises(InvalidInputError, match="has no MLM head"):
        albert_fast.pipeline("fill-mask", make("AlbertModel")[0])
    assert set(TASKS) == {kind.task for kind in TASKS.values()}
