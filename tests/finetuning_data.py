"""Small data for every task of fine-tuning, in the files the tasks come in; each can be learned by heart."""

from __future__ import annotations

import json
from pathlib import Path

GOOD = ("I love this film", "A joy to watch", "Great fun, and very good", "The best of all films")
BAD = ("The worst film ever", "I hate it", "Dull, and very bad", "A waste of time")
OWNERS = (("red", "Rollo"), ("green", "Anna"), ("blue", "Marco"), ("old", "Helen"))


def write_all(folder: Path) -> dict[str, Path]:
    """A data file for each task, by the task's name."""
    folder.mkdir(parents=True, exist_ok=True)
    sst2 = [(text, label) for label, texts in ((1, GOOD), (0, BAD)) for text in texts]
    mnli = [("Rollo sleeps.", "Rollo is asleep.", "entailment"), ("Rollo sleeps.", "Rollo runs.", "contradiction")]
    mnli += [("Anna eats an apple.", "Anna likes fruit.", "neutral"), ("It rains.", "It is wet.", "entailment")]
    contents = {
        "sst2": "sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in sst2),
        "mnli": "sentence1\tsentence2\tgold_label\n" + "".join("\t".join(row) + "\n" for row in mnli),
        "classification": "".join(json.dumps({"text": text, "label": f"stars {n}"}) + "\n" for text, n in sst2),
        "squad": json.dumps(squad(impossible=False)),
        "squad-beam": json.dumps(squad(impossible=True)),
        "conll": "".join(
            f"{name} NNP B-PER\nhas VBZ O\na DT O\n{colour} JJ O\nhouse. NN O\n\n" for colour, name in OWNERS
        ),
    }
    suffixes = {"sst2": "tsv", "mnli": "tsv", "classification": "jsonl", "conll": "txt"}
    paths = {}
    for task, content in contents.items():
        paths[task] = folder / f"{task}.{suffixes.get(task, 'json')}"
        paths[task].write_text(content, encoding="utf-8")
    paths["race"] = folder / "race"
    for i, (colour, name) in enumerate(OWNERS):
        file = paths["race"] / ("high", "middle")[i % 2] / f"{i}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        others = [other for _, other in OWNERS if other != name][:2]
        options = [*others[: i % 3], name, *others[i % 3 :]]
        passage = {"article": f"{name} has a {colour} house.", "questions": [f"The {colour} house is that of _ ."]}
        passage |= {"options": [options], "answers": ["ABC"[i % 3]], "id": f"{file.parent.name}{i}.txt"}
        file.write_text(json.dumps(passage), encoding="utf-8")
    return paths


def squad(impossible: bool) -> dict[str, object]:
    """A paragraph about each owner, longer than a window of 48 tokens; with questions that have no answer."""
    paragraphs = []
    for i, (colour, name) in enumerate(OWNERS):
        filler = "The street is long and quiet, and nobody is ever seen there. " * (2 * (i % 2))
        context = f"{filler}The {colour} house is that of {name}. The garden behind it is small."
        answer = {"text": name, "answer_start": context.index(name)}
        qas = [{"id": f"{i}", "question": f"Whose is the {colour} house?", "answers": [answer], "is_impossible": False}]
        if impossible:
            qas.append({"id": f"{i}-", "question": "When was it built?", "answers": [], "is_impossible": True})
        paragraphs.append({"context": context, "qas": qas})
    return {"version": "v2.0", "data": [{"title": "Houses", "paragraphs": paragraphs}]}
