"""What pipelines make of unusual inputs: targets with id 0, words without spaces between them, no candidate at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pipeline_models import Make, maker

import albert_fast
from albert_fast.errors import InvalidInputError

ENTITIES = {"id2label": {0: "O", 1: "B-PER", 2: "B-LOC"}}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory)


def test_a_target_may_be_token_0() -> None:
    fill = albert_fast.pipeline("fill-mask", "mini")
    [only] = fill("the [MASK] of france", targets=["<pad>"])
    assert only["token"] == 0
    assert {a["token"] for a in fill("the [MASK] of france", targets=["king", "<pad>"])} > {0}


@pytest.mark.parametrize("space", ["\n", "\t", "\u00a0", "\u3000"])
def test_words_end_at_any_white_space(make: Make, space: str) -> None:
    ner = albert_fast.pipeline("ner", make("AlbertForTokenClassification", **ENTITIES)[0], aggregation_strategy="first")
    kinds = [[(e["entity_group"], e["score"]) for e in ner(f"john{s}paris", ignore_labels=[])] for s in (" ", space)]
    assert kinds[0] == kinds[1]


def test_contradiction_is_found_by_its_name(make: Make) -> None:
    by_name = {0: "neutral", 1: "entailment", 2: "contradiction"}
    folder, _ = make("AlbertForSequenceClassification", id2label=by_name)
    zero_shot = albert_fast.pipeline("zero-shot-classification", folder)
    raw = albert_fast.pipeline("text-classification", folder, function_to_apply="none", top_k=None)
    [scores] = raw([("the king went to war", "This example is war.")])
    logit = {answer["label"]: answer["score"] for answer in scores}
    expected = 1 / (1 + np.exp(logit["contradiction"] - logit["entailment"]))
    got = zero_shot("the king went to war", ["war"], multi_label=True)["scores"][0]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.fixture(scope="module")
def answer(make: Make) -> Any:
    return albert_fast.pipeline("question-answering", make("AlbertForQuestionAnswering")[0])


def test_a_context_without_a_token(answer: Any) -> None:
    assert answer(question="who", context="\u200b") == {"score": 0.0, "start": 0, "end": 0, "answer": ""}
    assert answer(question="who", context="\u200b", top_k=2) == []
    assert answer(question="who", context="\u200b", handle_impossible_answer=True)["answer"] == ""


@pytest.mark.parametrize("max_seq_len", [384, 24])
def test_an_answer_has_one_score(answer: Any, max_seq_len: int) -> None:
    context = (
        "The quick brown fox, it is said, jumps over the lazy dog, and the dog sleeps on all the same, says the fox."
    )
    ask = {"question": "Who jumps?", "context": context, "max_seq_len": max_seq_len, "doc_stride": 8}
    every = answer(**ask, top_k=10_000)
    assert len(every) > 30
    for top_k in (1, 2, 3, 20):
        some = answer(**ask, top_k=top_k)
        assert ([some] if top_k == 1 else some) == every[:top_k]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_answer_len": 0}, "max_answer_len: got 0, expected an integer of at least 1"),
        ({"max_question_len": 0}, "max_question_len: got 0"),
        ({"max_seq_len": 3}, "max_seq_len: got 3"),
        ({"doc_stride": -1}, "doc_stride: got -1"),
        ({"question": ["a", "b"], "context": ["c"]}, "context: got 1 for 2 questions, expected as many"),
    ],
)
def test_bad_options_of_question_answering(answer: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        answer(**{"question": "who", "context": "the king", **options})
