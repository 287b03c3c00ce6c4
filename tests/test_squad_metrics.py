"""Exact match and F1 as the official scripts count them: normalisation, several answers, questions without one."""

from __future__ import annotations

import pytest

from albert_fast.finetuning.examples import QuestionExample
from albert_fast.finetuning.squad_metrics import exact, f1, normalize, squad_1, squad_2


def question(name: str, *answers: str) -> QuestionExample:
    return QuestionExample(name, "?", "", tuple((answer, 0) for answer in answers))


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Duke of Normandy.", "duke of normandy"),
        ("a an the", ""),
        ("theatre", "theatre"),
        ("10th-11th", "10th11th"),
        ("  Éa\tthé ", "éa thé"),
        ("an, apple", "apple"),
    ],
)
def test_articles_punctuation_case_and_spaces_do_not_count(text: str, normal: str) -> None:
    assert normalize(text) == normal


@pytest.mark.parametrize(
    ("gold", "answer", "is_exact", "score"),
    [
        ("the Duke", "duke!", 1.0, 1.0),
        ("William the Duke of Normandy", "duke of", 0.0, 2 / 3),
        ("duke duke", "duke", 0.0, 2 / 3),
        ("duke", "king", 0.0, 0.0),
        ("", "the", 1.0, 1.0),
        ("", "king", 0.0, 0.0),
    ],
)
def test_scores_of_one_answer(gold: str, answer: str, is_exact: float, score: float) -> None:
    assert exact(gold, answer) == is_exact
    assert f1(gold, answer) == pytest.approx(score, abs=1e-15)


def test_squad_1_takes_the_best_of_several_answers_and_counts_missing_ones_as_wrong() -> None:
    examples = [question("a", "the king", "King William"), question("b", "1066"), question("c", "France")]
    figures = squad_1(examples, {"a": "William", "b": "1066."})
    assert figures == pytest.approx({"exact_match": 100 / 3, "f1": 100 * (2 / 3 + 1) / 3})
    assert squad_1([question("a", "the")], {"a": "a"}) == {"exact_match": 100.0, "f1": 0.0}, (
        "1.1's script: no word left"
    )


EXAMPLES = [
    question("a", "king"),
    question("b", "in 1066", "1066"),
    question("c"),
    question("d"),
    question("e", "Rollo"),
]
ANSWERS = {"a": "the king", "b": "1066 or so", "c": "Paris", "d": "Rome", "e": "Rolf"}
ODDS = {"a": -2.0, "b": 1.5, "c": 0.5, "d": -0.5, "e": 0.5}


def test_squad_2_answers_below_the_threshold_and_says_nothing_above() -> None:
    figures = squad_2(EXAMPLES, ANSWERS, ODDS, 0.0)
    # a is right, b is not answered, c is rightly not answered, d is wrongly answered, e is not answered
    expected = {"exact": 40.0, "f1": 40.0, "total": 5, "HasAns_exact": 100 / 3, "HasAns_f1": 100 / 3, "HasAns_total": 3}
    expected |= {"NoAns_exact": 50.0, "NoAns_f1": 50.0, "NoAns_total": 2}
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    answered = squad_2(EXAMPLES, ANSWERS, ODDS, 2.0)
    assert answered["f1"] == pytest.approx(100 * (1 + 0.5) / 5), "1066 of 1066 or so: one word of one and of three"


def test_the_best_threshold_is_the_best_of_all() -> None:
    figures = squad_2(EXAMPLES, ANSWERS, ODDS, 0.0)
    for name in ("exact", "f1"):
        tried = {t: squad_2(EXAMPLES, ANSWERS, ODDS, t)[name] for t in (-9.0, *sorted(ODDS.values()))}
        assert figures[f"best_{name}"] == pytest.approx(max(tried.values()))
        assert tried[figures[f"best_{name}_thresh"]] == pytest.approx(figures[f"best_{name}"])


def test_all_of_one_kind() -> None:
    figures = squad_2(EXAMPLES[2:4], ANSWERS, ODDS, 0.0)
    assert figures["NoAns_total"] == figures["total"] == 2
    assert figures["HasAns_total"] == 0
    assert "HasAns_f1" not in figures
