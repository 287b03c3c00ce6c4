"""Pipelines that transformers does not have, beside its models and the rule spelled out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pipeline_models import TEXTS, Make, assert_equal, maker

import albert_fast
from albert_fast.errors import InvalidInputError
from albert_fast.tokenizer import AlbertTokenizer


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory)


# ---- question-answering -----------------------------------------

QUESTION = "Where is the company based?"


def every_span(model: Any, tokenizer: AlbertTokenizer, context: str) -> Iterator[tuple[float, int, int]]:
    """Probability, start and end of all spans of at most 15 tokens, by transformers' model, of a short context."""
    encoded = tokenizer(QUESTION, context, return_offsets_mapping=True, return_tensors="pt")
    offsets = encoded.pop("offset_mapping")[0].tolist()
    inside = [i for i, of in enumerate(encoded.sequence_ids(0)) if of == 1]
    with torch.no_grad():
        output = model(**encoded)
    kept = [0, *inside]
    starts, ends = (logits[0, kept].double().softmax(0)[1:] for logits in (output.start_logits, output.end_logits))
    for a, first in enumerate(inside):
        for b, last in enumerate(inside[a : a + 15], start=a):
            yield float(starts[a] * ends[b]), offsets[first][0], offsets[last][1]


def test_question_answering(make: Make) -> None:
    folder, model = make("AlbertForQuestionAnswering")
    ours = albert_fast.pipeline("question-answering", folder)
    for context in TEXTS:
        score, start, end = max(every_span(model, ours.tokenizer, context))
        answer = ours(question=QUESTION, context=context, align_to_words=False)
        assert_equal(answer, {"score": score, "start": start, "end": end, "answer": context[start:end]})
        whole = ours(question=QUESTION, context=context)
        assert whole["answer"] == context[whole["start"] : whole["end"]]
        assert whole["start"] <= start, "whole words begin no later"
        assert all(word in context.split() for word in whole["answer"].split())
    ranked = ours(question=QUESTION, context=TEXTS[0], top_k=4, align_to_words=False)
    best = sorted(every_span(model, ours.tokenizer, TEXTS[0]), reverse=True)[:4]
    assert_equal([answer["score"] for answer in ranked], [score for score, _, _ in best])
    both = ours(question=[QUESTION, "Who?"], context=TEXTS[0])
    assert both[0] == ours([{"question": QUESTION, "context": TEXTS[0]}])[0]


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
    encoded = ours.tokenizer([prompt] * 3, choices, padding=True, return_tensors="pt")
    with torch.no_grad():
        scores = model(**{name: value[None] for name, value in encoded.items()}).logits[0].softmax(0).tolist()
    order = sorted(range(3), key=lambda i: -scores[i])
    expected = [{"choice": choices[i], "index": i, "score": scores[i]} for i in order]
    assert_equal(ours({"prompt": prompt, "choices": choices}), expected)
    several = [{"prompt": TEXTS[1], "choices": choices[:2]}, {"prompt": prompt, "choices": choices}]
    assert_equal(ours(several, top_k=1)[1], expected[:1])
    with pytest.raises(InvalidInputError, match=r"inputs\[0\]: got .*, expected \{'prompt'"):
        ours({"prompt": prompt, "choices": []})


def test_sentence_order(make: Make) -> None:
    folder, model = make("AlbertForPreTraining")
    ours = albert_fast.pipeline("sentence-order", folder)
    encoded = ours.tokenizer(TEXTS[0], TEXTS[1], return_tensors="pt")
    with torch.no_grad():
        scores = model(**encoded).sop_logits[0].softmax(0).tolist()
    named = zip(("IN_ORDER", "SWAPPED"), scores, strict=True)
    expected = sorted(({"label": label, "score": score} for label, score in named), key=lambda x: -x["score"])
    assert_equal(ours((TEXTS[0], TEXTS[1])), expected)
    assert_equal(ours({"text": TEXTS[0], "text_pair": TEXTS[1]}), expected)
    with pytest.raises(InvalidInputError, match=r"inputs\[0\]: got one text, expected a pair"):
        ours(TEXTS[0])
