"""The tasks of fine-tuning by transformers' models and the plainest decoding: what ours must predict, to the last one.

Files are read and answers counted here once more. Input ids are those of our tokenizer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from beam_twin import BeamTwin
from safetensors.torch import load_file
from seqeval import metrics

from albert_fast.finetuning import Report, TaskRules
from albert_fast.tokenizer import AlbertTokenizer

Found = tuple[list[Any], dict[str, float]]
"""A prediction for each example, and figures by name; of questions, answers by id are the only prediction."""
Spans = dict[tuple[int, int], float]
"""Scores by first and last token."""
_ARTICLES = ("a", "an", "the")


def model_in(folder: Path, name: str) -> Any:
    """transformers' model of a saved one."""
    return getattr(transformers, name).from_pretrained(folder).eval()


def accuracy(found: Iterable[Any], wanted: Iterable[Any]) -> float:
    """The share of equal pairs."""
    right = [a == b for a, b in zip(found, wanted, strict=True)]
    return sum(right) / len(right)


def classes(folder: Path, data: Path, rules: TaskRules) -> Found:
    """GLUE's TSV: the class with the highest logit, text by text."""
    theirs, tokenizer = model_in(folder, "AlbertForSequenceClassification"), AlbertTokenizer.from_pretrained(folder)
    header, *rows = (line.split("\t") for line in data.read_text().splitlines())
    found, wanted = [], []
    for *texts, label in rows:
        encoded = tokenizer(*texts, truncation=True, max_length=rules.max_length, return_tensors="pt")
        found.append(theirs.config.id2label[int(theirs(**encoded).logits.argmax())])
        wanted.append(("negative", "positive")[int(label)] if header[-1] == "label" else label)
    return found, {"accuracy": accuracy(found, wanted)}


def choices(folder: Path, data: Path, rules: TaskRules) -> Found:
    """RACE: the choice with the highest logit, question by question, the gap filled by it."""
    theirs, tokenizer = model_in(folder, "AlbertForMultipleChoice"), AlbertTokenizer.from_pretrained(folder)
    found, wanted = [], []
    for file in sorted(data.rglob("*.txt")):
        passage = json.loads(file.read_text())
        for question, options, answer in zip(*(passage[k] for k in ("questions", "options", "answers")), strict=True):
            filled = [question.replace("_", option) for option in options]
            limits = {"truncation": "only_first", "max_length": rules.max_length, "padding": True}
            encoded = tokenizer([passage["article"]] * len(options), filled, **limits, return_tensors="pt")
            found.append(int(theirs(**{name: value[None] for name, value in encoded.items()}).logits.argmax()))
            wanted.append("ABCD".index(answer))
    return found, {"accuracy": accuracy(found, wanted)}


def tags(folder: Path, data: Path, rules: TaskRules) -> Found:
    """CoNLL: the tag with the highest logit at each word's first piece; entities are counted by seqeval."""
    theirs, tokenizer = model_in(folder, "AlbertForTokenClassification"), AlbertTokenizer.from_pretrained(folder)
    found, wanted = [], []
    for sentence in data.read_text().strip().split("\n\n"):
        lines = [line.split() for line in sentence.splitlines()]
        ids, first = [tokenizer.cls_token_id], []
        for word, *_ in lines:
            first.append(len(ids))
            ids += tokenizer([word], add_special_tokens=False)["input_ids"][0]
        best = theirs(input_ids=torch.tensor([[*ids, tokenizer.sep_token_id]])).logits[0].argmax(-1)
        found.append([theirs.config.id2label[int(best[place])] for place in first])
        wanted.append([line[-1] for line in lines])
    return found, {"f1": metrics.f1_score(wanted, found), "accuracy": metrics.accuracy_score(wanted, found)}


@dataclass(frozen=True)
class Window:
    """A question and a part of its context."""

    ids: torch.Tensor  # [1, S]
    types: torch.Tensor  # [1, S]
    offsets: list[tuple[int, int]]  # [S], characters of the context
    inside: list[int]  # tokens of the context


def spans(folder: Path, data: Path, rules: TaskRules) -> Found:
    """SQuAD: of all spans of all windows the one with the highest sum of logits; none, if [CLS] has a higher one."""
    theirs = model_in(folder, "AlbertForQuestionAnswering")

    def score(window: Window) -> tuple[Spans, float]:
        output = theirs(input_ids=window.ids, token_type_ids=window.types)
        starts, ends = output.start_logits[0].tolist(), output.end_logits[0].tolist()
        pairs = {(a, b): starts[a] + ends[b] for a in window.inside for b in window.inside}
        return pairs, starts[0] + ends[0]

    return _answered(folder, data, rules, score, lambda null, best: null - best)


def beam(folder: Path, data: Path, rules: TaskRules) -> Found:
    """SQuAD by the beam head: of five starts and five ends for each the likeliest; none, if the class says so."""
    theirs = BeamTwin(transformers.AlbertConfig.from_pretrained(folder)).eval()
    theirs.load_state_dict(load_file(folder / "model.safetensors"))

    def score(window: Window) -> tuple[Spans, float]:
        hidden = theirs.albert(input_ids=window.ids, token_type_ids=window.types).last_hidden_state
        p_mask = torch.ones(window.ids.shape)
        p_mask[0, [0, *window.inside]] = 0
        starts, ends, logit = theirs.beam(hidden, p_mask, min(5, 1 + len(window.inside)))
        pairs: Spans = {}
        for a, of_a, its_ends in zip(starts.indices.tolist(), starts.values.tolist(), ends, strict=True):
            for b, of_b in zip(its_ends.indices.tolist(), its_ends.values.tolist(), strict=True):
                if a in window.inside and b in window.inside:
                    pairs[a, b] = of_a + of_b
        return pairs, float(logit)

    return _answered(folder, data, rules, score, lambda null, best: null)


def _answered(
    folder: Path,
    data: Path,
    rules: TaskRules,
    score: Callable[[Window], tuple[Spans, float]],
    odds_of_none: Callable[[float, float], float],
) -> Found:
    tokenizer = AlbertTokenizer.from_pretrained(folder)
    answers: dict[str, str] = {}
    odds: dict[str, float] = {}
    golds: dict[str, list[str]] = {}
    paragraphs = [p for article in json.loads(data.read_text())["data"] for p in article["paragraphs"]]
    for context, qa in [(paragraph["context"], qa) for paragraph in paragraphs for qa in paragraph["qas"]]:
        windows = [(window, *score(window)) for window in _windows(tokenizer, qa["question"], context, rules)]
        best, start, end = max(_fitting(windows, rules.max_answer_length), default=(float("-inf"), 0, 0))
        answers[qa["id"]] = context[start:end]
        odds[qa["id"]] = odds_of_none(min(null for *_, null in windows), best)
        golds[qa["id"]] = [answer["text"] for answer in qa["answers"]]
    if all(golds.values()):
        return [answers], _figures("exact_match", answers, golds)
    said = {name: "" if odds[name] > rules.null_threshold else answer for name, answer in answers.items()}
    return [said], _figures("exact", said, golds)


def _figures(exact: str, answers: dict[str, str], golds: dict[str, list[str]]) -> dict[str, float]:
    """In percent; of questions without an answer none is right."""
    points = [max(_points(answers[name], gold) for gold in accepted or [""]) for name, accepted in golds.items()]
    return {exact: 100 * sum(p[0] for p in points) / len(points), "f1": 100 * sum(p[1] for p in points) / len(points)}


def _points(answer: str, gold: str) -> tuple[float, float]:
    """Exact match and F1 of words, without case, punctuation and articles."""
    plain = (re.sub(r"[^\w\s]", "", text.lower()).split() for text in (answer, gold))
    given, wanted = ([word for word in words if word not in _ARTICLES] for words in plain)
    is_exact = float(given == wanted)
    shared = (Counter(given) & Counter(wanted)).total()
    return is_exact, 2 * shared / (len(given) + len(wanted)) if given or wanted else is_exact


def _windows(tokenizer: AlbertTokenizer, question: str, context: str, rules: TaskRules) -> Iterator[Window]:
    limits = {"truncation": "only_second", "max_length": rules.max_length, "stride": rules.doc_stride}
    wanted = {"return_overflowing_tokens": True, "return_offsets_mapping": True}
    encoded = tokenizer([question], [context], **limits, **wanted)
    for i, ids in enumerate(encoded["input_ids"]):
        inside = [place for place, of in enumerate(encoded.sequence_ids(i)) if of == 1]
        types = torch.tensor([encoded["token_type_ids"][i]])
        yield Window(torch.tensor([ids]), types, encoded["offset_mapping"][i], inside)


def _fitting(found: list[tuple[Window, Spans, float]], longest: int) -> Iterator[tuple[float, int, int]]:
    """Score, start and end of spans that are no longer; a start counts in the window that sees most around it."""
    most: dict[int, tuple[float, int]] = {}  # by the start's character: its room, and the window
    for number, (window, _, _) in enumerate(found):
        for place, token in enumerate(window.inside):
            room = min(place, len(window.inside) - 1 - place) + 0.01 * len(window.inside)
            character = window.offsets[token][0]
            if character not in most or room > most[character][0]:
                most[character] = room, number
    for number, (window, pairs, _) in enumerate(found):
        for (a, b), score in pairs.items():
            start, end = window.offsets[a][0], window.offsets[b][1]
            if a <= b < a + longest and most[start][1] == number and start < end:
                yield score, start, end


_KINDS = {"sst2": classes, "mnli": classes, "squad": spans, "squad-beam": beam, "race": choices, "conll": tags}


@torch.inference_mode()
def answers_of(task: str, folder: Path, data: Path, rules: TaskRules) -> Found:
    """What transformers' model of the weights in a folder predicts of a task's file, and its figures."""
    return _KINDS[task](folder, data, rules)


def decided(report: Report, rules: TaskRules) -> list[Any]:
    """Predictions of ours as ``answers_of`` has them: of SQuAD 2.0's answers and odds, no answer where its odds are
    above the threshold, as the official script decides."""
    if not isinstance(report.predictions[0], dict):
        return report.predictions
    best, odds = report.predictions
    threshold = rules.null_threshold if "best_f1" in report.figures else float("inf")
    return [{key: "" if odds[key] > threshold else text for key, text in best.items()}]
