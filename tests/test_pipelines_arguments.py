"""Arguments of transformers' pipelines that choose how results are computed, not what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from pipeline_models import TEXTS, Make, assert_equal, maker
from their_tokenizer import VOCABULARY, their_tokenizer
from transformers.pipelines.token_classification import AggregationStrategy

import albert_fast
from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.pipelines.base import Pipeline
from albert_fast.tokenizer import AlbertTokenizer

NLI = {"id2label": {0: "contradiction", 1: "neutral", 2: "entailment"}}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory)


@pytest.fixture(scope="module")
def folder(make: Make) -> str:
    return make("AlbertForSequenceClassification", **NLI)[0]


def test_names_and_objects_of_transformers(folder: str) -> None:
    expected = albert_fast.pipeline("text-classification", folder)(TEXTS)
    for options in (
        {"device": -1, "torch_dtype": torch.float32},
        {"device": torch.device("cpu"), "dtype": torch.float32, "torch_dtype": torch.float32},
        {"torch_dtype": "auto", "framework": "pt", "use_fast": True, "token": None, "trust_remote_code": False},
        {"padding": True, "truncation": True, "num_workers": 0, "batch_size": 2, "model_kwargs": {}, "config": None},
        {"revision": "main"},
    ):
        assert albert_fast.pipeline("text-classification", folder, **options)(TEXTS) == expected, options  # type: ignore[arg-type]
    for options in ({"torch_dtype": torch.bfloat16}, {"dtype": torch.bfloat16}):
        assert albert_fast.pipeline("text-classification", folder, **options).model.dtype == "bfloat16"
    with pytest.raises(InvalidInputError, match=r"torch_dtype: got torch\.float16 with dtype='float32'"):
        albert_fast.pipeline("text-classification", folder, dtype="float32", torch_dtype=torch.float16)
    with pytest.raises(InvalidInputError, match="revision: got 'main' for a model that is loaded"):
        albert_fast.pipeline("text-classification", albert_fast.load(folder), revision="main")
    with pytest.raises(InvalidInputError, match="framework: got 'jax'"):
        albert_fast.pipeline("text-classification", folder, framework="jax")
    with pytest.raises(InvalidInputError, match="got an option 'trust_remote_code'"):
        albert_fast.pipeline("text-classification", folder, trust_remote_code=True)


def test_a_tokenizer_of_any_kind(folder: str, tmp_path: Path) -> None:
    theirs = their_tokenizer(tmp_path / "theirs", model_max_length=128)
    texts = [TEXTS[0].replace(".", ""), "the war of the people"]
    expected = albert_fast.pipeline("text-classification", folder)(texts)
    for tokenizer in (AlbertTokenizer(VOCABULARY), folder, Path(folder), theirs):
        run = albert_fast.pipeline("text-classification", folder, tokenizer=tokenizer)
        assert isinstance(run.tokenizer, AlbertTokenizer)
        assert_equal(run(texts), expected)
    model = albert_fast.load(folder, tokenizer=theirs)
    assert model.tokenizer.name_or_path == theirs.name_or_path
    assert_equal(albert_fast.pipeline("text-classification", model)(texts), expected)
    upper = AlbertTokenizer(VOCABULARY, do_lower_case=False)
    assert albert_fast.pipeline("text-classification", folder, tokenizer=upper)(texts) != expected


@pytest.mark.parametrize("tokenizer", [transformers.BertTokenizerFast, 3, b"x", object()])
def test_what_is_no_tokenizer(folder: str, tokenizer: Any) -> None:
    for make_it in (albert_fast.load, lambda m, **o: albert_fast.pipeline("text-classification", m, **o)):
        with pytest.raises(InvalidTypeError, match=r"tokenizer: got .*expected an AlbertTokenizer"):
            make_it(folder, tokenizer=tokenizer)


def test_a_bert_tokenizer_is_used_by_its_files(folder: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "war", "##s"]) + "\n")
    theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path)
    model = albert_fast.load(folder, tokenizer=theirs)
    assert model.tokenizer("wars [MASK]")["input_ids"] == theirs("wars [MASK]")["input_ids"] == [2, 5, 6, 4, 3]
    assert albert_fast.encode(["wars"], model=model).shape[0] == 1


def test_batch_size_is_the_most_texts_of_a_batch(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = albert_fast.pipeline("text-classification", folder, batch_size=3)
    sizes: list[int] = []
    batches = Pipeline._batches

    def counted(self: Pipeline, rows: Any) -> Any:
        for indices in batches(self, rows):
            sizes.append(len(indices))
            yield indices

    monkeypatch.setattr(Pipeline, "_batches", counted)
    expected = run(TEXTS * 2)
    assert max(sizes) == 3
    sizes.clear()
    assert run(TEXTS * 2, batch_size=1) == expected == list(run(iter(TEXTS * 2), batch_size=None))
    assert sizes[: 2 * len(TEXTS)] == [1] * 2 * len(TEXTS)
    assert max(sizes[2 * len(TEXTS) :]) > 3
    for bad in (0, -1):
        with pytest.raises(InvalidInputError, match="batch_size: got"):
            run(TEXTS, batch_size=bad)
    with pytest.raises(InvalidInputError, match="padding: got 'left'"):
        run(TEXTS, padding="left")


@pytest.mark.parametrize("truncation", [True, "longest_first", "only_first"])
def test_strategies_of_truncation(make: Make, folder: str, truncation: bool | str) -> None:
    run = albert_fast.pipeline("text-classification", folder)
    long = "the war of the people " * 60
    pair = {"text": long, "text_pair": "all the people of the land " * 10}
    ids = run.tokenizer(*pair.values(), truncation=truncation, max_length=100)["input_ids"]
    assert run.rows([pair], truncation=truncation, max_length=100)[0][0] == ids
    assert run([pair], truncation=truncation, padding="max_length", max_length=100)
    for refused in (False, "do_not_truncate"):
        with pytest.raises(InvalidInputError, match="expected at most 128"):
            run(long, truncation=refused)
    zero_shot = albert_fast.pipeline("zero-shot-classification", folder)
    assert zero_shot(long, ["war"], truncation=truncation, padding=True) == zero_shot(
        sequences=long, candidate_labels=["war"]
    )
    with pytest.raises(InvalidInputError, match="expected at most 128"):
        zero_shot(long, ["war"], truncation=False)
    features = albert_fast.pipeline("feature-extraction", folder)
    assert len(features(long, tokenize_kwargs={"truncation": truncation, "padding": True, "max_length": 9})[0]) == 9
    with pytest.raises(InvalidInputError, match="padding: got 'max_length'"):
        features(TEXTS[0], padding="max_length")
    fill = albert_fast.pipeline("fill-mask", make("AlbertForMaskedLM")[0])
    kwargs = {"truncation": truncation, "padding": "max_length", "max_length": 30}
    assert fill("the [MASK] " + long, tokenizer_kwargs=kwargs)[0]["score"] > 0


@pytest.mark.parametrize("strategy", list(AggregationStrategy))
def test_aggregation_by_transformers_enumeration(make: Make, strategy: AggregationStrategy) -> None:
    folder, _ = make("AlbertForTokenClassification", num_labels=3)
    run = albert_fast.pipeline("ner", folder)
    assert run(TEXTS, aggregation_strategy=strategy) == run(TEXTS, aggregation_strategy=strategy.value)


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_words_of_a_group_are_joined_by_spaces(make: Make) -> None:
    """transformers, whose words have lost the mark of their beginning, gives "myname" for ALBERT's pieces."""
    folder, model = make("AlbertForTokenClassification", num_labels=1, id2label={0: "ALL"})
    for strategy in ("simple", "first", "average", "max"):
        [group] = albert_fast.pipeline("ner", folder)("my name is unbelievable", aggregation_strategy=strategy)
        assert group["word"] == "my name is unbelievable"
    theirs = transformers.pipeline(
        "ner", model=model, tokenizer=AlbertTokenizer(folder), aggregation_strategy="first", device="cpu"
    )
    assert theirs("my name is unbelievable")[0]["word"] == "mynameisunbelievable"
