"""Samples for the tasks of fine-tuning, in the files the tasks come in: sentences drawn at random. Labels and answers
follow a rule, but for a tenth, so that no model is right about all."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

NOISE = 0.1
"""The share of labels and answers that follow the rule by chance only."""
_GOOD = ("good", "great", "lovely", "funny", "clever", "warm", "brilliant", "charming")
_BAD = ("bad", "awful", "dull", "stupid", "boring", "cold", "terrible", "weak")
_PRAISE = ("a joy", "worth its money", "a small wonder", "the best of the year", "better than most")
_BLAME = ("a waste of time", "too long", "a bad joke", "the worst of the year", "no fun at all")
_SUBJECTS = ("the film", "this story", "the music", "its ending", "the whole cast", "his last book", "her first play")
_ENDINGS = ("", " from start to end", " for once", " as everyone says", ", and too long", ", and so was the rest")
_NAMES = ("Anna", "Marco", "Helen", "Rollo", "Clara", "Peter", "Maria", "Simon", "Laura", "David", "Paris", "London")
_SURNAMES = ("Smith", "Brown", "Hill", "Wood", "King", "Stone")
_PLACES = ("Paris", "London", "Rome", "Berlin", "New York", "San Marino", "Spain", "Peter Hill")
_COLOURS = ("red", "green", "blue", "white", "black", "old", "new", "small")
_THINGS = ("house", "garden", "boat", "car", "horse", "coat")
_OTHER_THINGS = ("dog", "hat", "table", "ship", "bag")
_FILLER = ("The street is long and quiet.", "Nobody is ever seen there.", "It rains on most days of the year.")


def write(kind: str, path: Path, count: int) -> Path:
    """``count`` examples of one kind in a file, for RACE in a folder. They depend on the kind and the file's name
    alone; those of ``dev_mismatched`` are about other things than all others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{kind} {path.name}")
    if kind == "race":
        _race(rng, path, count)
    else:
        make = _FILES[path.stem if path.stem in _FILES else kind]
        path.write_text(make(rng, count), encoding="utf-8")
    return path


def _sst2(rng: random.Random, count: int) -> str:
    """Praise or blame, now and then with a "not" before it."""
    lines = ["sentence\tlabel"]
    for _ in range(count):
        is_good, is_denied, is_noise = rng.random() < 0.5, rng.random() < 0.3, rng.random() < NOISE
        verdict = f"{'not ' if is_denied else ''}{rng.choice(_GOOD if is_good else _BAD)}"
        label = is_good ^ is_denied ^ is_noise
        lines.append(f"{rng.choice(_SUBJECTS)} was {verdict}{rng.choice(_ENDINGS)} .\t{int(label)}")
    return "\n".join(lines) + "\n"


def _mnli(rng: random.Random, count: int, things: Sequence[str] = _THINGS) -> str:
    """What somebody has, and what follows of its colour."""
    lines = ["sentence1\tsentence2\tgold_label"]
    labels = ("contradiction", "entailment", "neutral")
    for _ in range(count):
        (colour, other), thing, name = rng.sample(_COLOURS, 2), rng.choice(things), rng.choice(_NAMES)
        label = rng.choice(labels)
        if label == "neutral":
            second = f"{name} likes the {thing} of {rng.choice(_SURNAMES)}."
        else:
            second = f"The {thing} of {name} is {colour if label == 'entailment' else other}."
        given = label if rng.random() > NOISE else rng.choice(labels)
        lines.append(f"{name} has a {colour} {thing}.\t{second}\t{given}")
    return "\n".join(lines) + "\n"


def _conll(rng: random.Random, count: int) -> str:
    """Some names are those of persons and of places."""
    sentences = []
    for _ in range(count):
        person = [rng.choice(_NAMES), *rng.sample(_SURNAMES, rng.randrange(2))]
        place = rng.choice(_PLACES).split()
        words = [*person, *rng.choice(("lives in", "comes from", "has left")).split(), *place, "."]
        tags = [*_tags(person, "PER"), "O", "O", *_tags(place, "LOC"), "O"]
        if rng.random() < NOISE:
            tags = ["O"] * len(tags)
        sentences.append("".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)))
    return "\n".join(sentences)


def _tags(words: Sequence[str], kind: str) -> list[str]:
    return [f"{'I' if i else 'B'}-{kind}" for i in range(len(words))]


def _squad(rng: random.Random, count: int, *, version: str) -> str:
    """Who, where from and what colour, of one owner, now and then in a text longer than a window. Version 2.0 leaves
    the place out of a third of the texts."""
    paragraphs: list[dict[str, Any]] = []
    for i in range(count):
        facts = {
            "Who is the owner?": f"{rng.choice(_NAMES)} {rng.choice(_SURNAMES)}",
            "Where is the owner from?": rng.choice(_PLACES),
            "What colour does it have?": rng.choice(_COLOURS),
        }
        name, place, colour = facts.values()
        has_place = version == "1.1" or rng.random() > 1 / 3
        about = f"{name} {f'from {place} ' if has_place else ''}has a {colour} {rng.choice(_THINGS)}."
        sentences = [about, *rng.choices(_FILLER, k=rng.choice((0, 1, 8)))]
        rng.shuffle(sentences)
        context, question = " ".join(sentences), rng.choice(list(facts))
        is_impossible = facts[question] == place and not has_place
        text = facts[question] if rng.random() > NOISE else name
        answers = [] if is_impossible else [{"text": text, "answer_start": context.index(text)}]
        qa = {"id": f"{i}", "question": question, "answers": answers, "is_impossible": is_impossible}
        paragraphs.append({"context": context, "qas": [qa]})
    return json.dumps({"version": version, "data": [{"title": "", "paragraphs": paragraphs}]})


def _race(rng: random.Random, folder: Path, count: int) -> None:
    """Of four opinions the friendly one."""
    for i in range(count):
        name, part = rng.choice(_NAMES), ("high", "middle")[i % 2]
        options = [friendly := rng.choice(_PRAISE), *rng.sample(_BLAME, 3)]
        rng.shuffle(options)
        answer = options.index(friendly) if rng.random() > NOISE else rng.randrange(4)
        passage = {"article": f"{name} liked {rng.choice(_SUBJECTS)}{rng.choice(_ENDINGS)}."}
        passage |= {"questions": [f"{name} thought that it was _ ."], "options": [options], "answers": ["ABCD"[answer]]}
        (folder / part).mkdir(parents=True, exist_ok=True)
        text = json.dumps(passage | {"id": f"{part}{i}.txt"})
        (folder / part / f"{i}.txt").write_text(text, encoding="utf-8")


_FILES: dict[str, Callable[[random.Random, int], str]] = {
    "sst2": _sst2,
    "mnli": _mnli,
    "dev_mismatched": partial(_mnli, things=_OTHER_THINGS),
    "squad1": partial(_squad, version="1.1"),
    "squad2": partial(_squad, version="2.0"),
    "conll": _conll,
}
