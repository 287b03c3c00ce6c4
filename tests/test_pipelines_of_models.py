"""Pipelines that transformers does not have, beside its models and the rule spelled out."""

from __future__ import annotations

import pytest
import torch
from pipeline_models import TEXTS, Make, assert_equal, maker
from their_pipelines import every_span, theirs

import albert_fast
from albert_fast.errors import InvalidInputError


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory)


# ---- question-answering -----------------------------------------

QUESTION = "Where is the company based?"


def test_question_answering(make: Make) -> None:
    folder, model = make("AlbertForQuestionAnswering")
    ours = albert_fast.pipeline("question-answering", folder)
    asked = [{"question": QUESTION, "context": context} for context in TEXTS]
    answers = theirs("question-answering", folder, model)(asked)
    assert_equal(ours(asked, align_to_words=False), answers)
    for context, answer in zip(TEXTS, answers, strict=True):
        whole = ours(question=QUESTION, context=context)
        assert whole["answer"] == context[whole["start"] : whole["end"]]
        assert whole["start"] <= answer["start"], "whole words begin no later"
        assert all(word in context.split() for word in whole["answer"].split())
    ranked = ours(question=QUESTION, context=TEXTS[0], top_k=4, align_to_words=False)
    best = sorted(every_span(model, ours.tokenizer, asked[0]), reverse=True)[:4]
    assert_equal([answer["score"] for answer in ranked], [score for score, _, _ in best])
    both = ours(question=[QUESTION, "Who?"], context=TEXTS[0])
    assert both[0] == ours([{"question": QUESTION, "context": TEXTS[0]}]) == ours(asked[:1])


def test_question_answering_reads_long_contexts_in_windows(make: Make) -> None:
    """An answer near the end of a long context is found where it stands, in windows of any size."""
    folder, _ = make("AlbertForQuestionAnswering")
    ours = albert_fast.pipeline("question-answering", folder)
    context = " ".join(TEXTS) * 5
    spans = {(a["start"], a["end"]) for a in ours(question=QUESTION, context=context, top_k=200, max_seq_len=48)}
    assert max(end for _, end in spans) > 0.8 * len(context)
    assert min(start for start, _ in spans) < 0.2 * len(context)
    short = ours(question=QUESTION, context=TEXTS[0], max_seq_len=128, doc_stride=8)
    assert short == ours(question=QUESTION, context=TEXTS[0])


def test_impossible_answers(make: Make) -> None:
    folder, model = make("AlbertForQuestionAnswering")
    ours = albert_fast.pipeline("question-answering", folder)
    with torch.no_grad():
        encoded = ours.tokenizer(QUESTION, TEXTS[0], return_tensors="pt")
        output = model(**encoded)
    kept = [0, *(i for i, of in enumerate(encoded.sequence_ids(0)) if of == 1)]
    null = [logits[0, kept].double().softmax(0)[0] for logits in (output.start_logits, output.end_logits)]
    answers = ours(question=QUESTION, context=TEXTS[0], top_k=500, handle_impossible_answer=True)
    [empty] = [answer for answer in answers if not answer["answer"]]
    assert_equal(empty, {"score": float(null[0] * null[1]), "start": 0, "end": 0, "answer": ""})
    assert all(answer["answer"] for answer in ours(question=QUESTION, context=TEXTS[0], top_k=500))


def test_question_answering_refuses(make: Make) -> None:
    ours = albert_fast.pipeline("question-answering", make("AlbertForQuestionAnswering")[0])
    with pytest.raises(InvalidInputError, match=r"inputs\[0\]: got '' as context, expected a text that is not empty"):
        ours(question=QUESTION, context="")
    with pytest.raises(InvalidInputError, match=r"inputs\[0\]: got .* expected a dictionary of 'question' and"):
        ours({"question": QUESTION})


# ---- multiple-choice and sentence-order --------------------------------------------------------------


def test_multiple_choice(make: Make) -> None:
    folder, model = make("AlbertForMultipleChoice")
    ours = albert_fast.pipeline("multiple-choice", folder)
    prompt, choices = TEXTS[0], ["In New York.", "In Berlin.", "Nowhere at all."]
    asked = {"prompt": prompt, "choices": choices}
    [expected] = theirs("multiple-choice", folder, model)([asked])
    assert_equal(ours(asked), expected)
    several = [{"prompt": TEXTS[1], "choices": choices[:2]}, asked]
    assert_equal(ours(several, top_k=1)[1], expected[:1])
    with pytest.raises(InvalidInputError, match=r"inputs\[0\]: got .*, expected \{'prompt'"):
        ours({"prompt": prompt, "choices": []})


def test_sentence_order(make: Make) -> None:
    folder, model = make("AlbertForPreTraining")
    ours = albert_fast.pipeline("sentence-order", folder)
    [expected] = theirs("sentence-order", folder, model)([(TEXTS[0], TEXTS[1])])
    assert_equal(ours((TEXTS[0], TEXTS[1])), expected)
    assert_equal(ours({"text": TEXTS[0], "text_pair": TEXTS[1]}), expected)
    with pytest.raises(InvalidInputError, match=r"inputs\[0\]: got one text, expected a pair"):
        ours(TEXTS[0])
