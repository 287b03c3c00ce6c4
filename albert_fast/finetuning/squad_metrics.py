"""Exact match and F1 of spans as the official scripts of SQuAD 1.1 and 2.0 count them (Rajpurkar et al. 2016, 2018)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from albert_fast.finetuning.examples import QuestionExample

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = str.maketrans("", "", string.punctuation)
Score = Callable[[str, str], float]


def normalize(answer: str) -> str:
    """Lowercase, without punctuation, articles and superfluous spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact(gold: str, answer: str) -> float:
    """1 if they are the same once normalised, else 0."""
    return float(normalize(gold) == normalize(answer))


def f1(gold: str, answer: str) -> float:
    """Of the words in both; no words at all in one of them agree only with none in the other."""
    wanted, given = normalize(gold).split(), normalize(answer).split()
    if not wanted or not given:
        return float(wanted == given)
    shared = sum((Counter(wanted) & Counter(given)).values())
    return 2 * shared / (len(wanted) + len(given))


def _f1_of_version_1(gold: str, answer: str) -> float:
    """SQuAD 1.1's script has 0 where neither has a word left."""
    return f1(gold, answer) if normalize(gold) else 0.0


def squad_1(examples: Sequence[QuestionExample], answers: Mapping[str, str]) -> dict[str, float]:
    """``exact_match`` and ``f1`` in percent; a question without an answer counts as wrong."""

    def mean(score: Score) -> float:
        best = (max((score(gold, answers[e.id]) for gold, _ in e.answers), default=0.0) for e in given)
        return 100.0 * sum(best) / len(examples)

    given = [example for example in examples if example.id in answers]
    return {"exact_match": mean(exact), "f1": mean(_f1_of_version_1)}


def squad_2(
    examples: Sequence[QuestionExample], answers: Mapping[str, str], null_odds: Mapping[str, float], threshold: float
) -> dict[str, float]:
    """``exact`` and ``f1`` in percent, of those with an answer (``HasAns_``) and without (``NoAns_``) alone, and with
    the threshold that would have been best (``best_exact``, ``best_exact_thresh``, ``best_f1``, ``best_f1_thresh``).

    ``answers``: the best text that is not empty; the empty one counts where ``null_odds`` are above ``threshold``.
    """
    figures: dict[str, float] = {}
    scores = {name: _scores(examples, answers, score) for name, score in (("exact", exact), ("f1", f1))}
    for prefix, group in (
        ("", list(examples)),
        ("HasAns_", [e for e in examples if e.answers]),
        ("NoAns_", [e for e in examples if not e.answers]),
    ):
        for name, of in scores.items():
            if group:
                points = [of[e.id][null_odds[e.id] > threshold] for e in group]
                figures[prefix + name] = 100.0 * sum(points) / len(group)
        figures[prefix + "total"] = len(group)
    for name, of in scores.items():
        figures[f"best_{name}"], figures[f"best_{name}_thresh"] = _best(examples, answers, of, null_odds)
    return figures


def _golds(example: QuestionExample) -> list[str]:
    return [text for text, _ in example.answers if normalize(text)] or [""]


def _scores(
    examples: Sequence[QuestionExample], answers: Mapping[str, str], score: Score
) -> dict[str, tuple[float, float]]:
    """By id: the score of its answer, and of the empty one."""
    return {e.id: (max(score(gold, answers[e.id]) for gold in _golds(e)), float(not e.answers)) for e in examples}


def _best(
    examples: Sequence[QuestionExample],
    answers: Mapping[str, str],
    scores: Mapping[str, tuple[float, float]],
    null_odds: Mapping[str, float],
) -> tuple[float, float]:
    """The highest mean in percent that any threshold gives, and the lowest such threshold: as it rises, question after
    question gets its answer instead of the empty one. Any answer to an impossible question is then wrong, as in the
    official script, also one that normalises to nothing."""
    total = best = sum(scores[e.id][1] for e in examples)
    threshold = min(null_odds[e.id] for e in examples) - 1.0
    ordered = sorted(examples, key=lambda e: null_odds[e.id])
    for i, example in enumerate(ordered):
        total += scores[example.id][0] if example.answers else -float(bool(answers[example.id]))
        odds = null_odds[example.id]
        is_last_of_equals = i + 1 == len(ordered) or null_odds[ordered[i + 1].id] > odds
        if is_last_of_equals and total > best:
            best, threshold = total, odds
    return 100.0 * best / len(examples), threshold
