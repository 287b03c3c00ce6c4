"""Fine-tuning and evaluation: every task is learned from its files, and measured as transformers' model on the same
weights measures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from finetuning_data import write_all

import albert_fast
from albert_fast.errors import CheckpointError, ConfigError, InvalidInputError
from albert_fast.finetuning import TASKS, FinetuningRecipe, TaskRules, evaluate, finetune
from albert_fast.finetuning.squad_metrics import squad_1
from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.trainer import TrainingRules
from albert_fast.trainer.logs import read_log

RULES = TaskRules(max_length=48, doc_stride=8, max_question_length=16, max_answer_length=4)
STEPS = {"mnli": 60, "squad": 80, "squad-beam": 80, "race": 100}
RATES = {"race": 1e-3}
TRAINING = TrainingRules(steps=40, batch_size=8, learning_rate=3e-3, warmup_steps=5, evaluate_every=40, save_every=40)
PROVES = {"squad": ("exact_match", 100.0), "squad-beam": ("exact", 100.0), "conll": ("f1", 1.0)}
PROVES |= {"mnli": ("accuracy", 0.75), "race": ("accuracy", 0.75)}
"""The figure that says a task was learned, and what it reaches at least; all right for the others. So tiny a model does
not tell the last of four pairs apart."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a finished run of a task."""
    made: dict[str, Path] = {}

    def of(task: str) -> Path:
        if task not in made:
            made[task] = tmp_path_factory.mktemp(task)
            changes = {
                "steps": STEPS.get(task, TRAINING.steps),
                "learning_rate": RATES.get(task, TRAINING.learning_rate),
            }
            recipe = FinetuningRecipe(dataclasses.replace(TRAINING, **changes), RULES)
            finetune(task, recipe, "random:tiny", data[task], made[task], development=[data[task]], progress=False)
        return made[task]

    return of


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_learned(task: str, data: dict[str, Path], trained: Callable[[str], Path]) -> None:
    folder = trained(task)
    losses = [record["loss"] for record in read_log(folder, "train")]
    assert losses[-1] < 0.7 * losses[0]
    figures = read_log(folder, "evaluation")[-1]
    name, least = PROVES.get(task, ("accuracy", 1.0))
    assert figures[name] >= least
    report = evaluate(task, folder / "final", data[task], rules=RULES)
    assert report.figures == {key: value for key, value in figures.items() if key not in ("kind", "step")}


def their_model(name: str, folder: Path) -> tuple[Any, AlbertTokenizer]:
    return getattr(transformers, name).from_pretrained(folder).eval(), AlbertTokenizer.from_pretrained(folder)


@torch.no_grad()
def test_classes_are_those_of_transformers(data: dict[str, Path], trained: Callable[[str], Path]) -> None:
    for task, columns in (("sst2", ("sentence",)), ("mnli", ("sentence1", "sentence2"))):
        theirs, tokenizer = their_model("AlbertForSequenceClassification", trained(task) / "best")
        lines = [line.split("\t") for line in data[task].read_text().splitlines()[1:]]
        texts = [[line[i] for line in lines] for i in range(len(columns))]
        logits = theirs(**tokenizer(*texts, padding=True, return_tensors="pt")).logits
        expected = [theirs.config.id2label[i] for i in logits.argmax(-1).tolist()]
        assert evaluate(task, trained(task) / "best", data[task]).predictions == expected


@torch.no_grad()
def test_choices_are_those_of_transformers(data: dict[str, Path], trained: Callable[[str], Path]) -> None:
    theirs, tokenizer = their_model("AlbertForMultipleChoice", trained("race") / "best")
    expected = []
    for file in sorted(data["race"].rglob("*.txt")):
        passage = json.loads(file.read_text())
        choices = [passage["questions"][0].replace("_", option) for option in passage["options"][0]]
        inputs = tokenizer([passage["article"]] * 3, choices, padding=True, return_tensors="pt")
        expected.append(int(theirs(**{k: v[None] for k, v in inputs.items()}).logits[0].argmax()))
    report = evaluate("race", trained("race") / "best", data["race"])
    assert report.predictions == expected
    assert {"high_accuracy", "middle_accuracy"} <= set(report.figures)


@torch.no_grad()
def test_tags_are_those_of_transformers(data: dict[str, Path], trained: Callable[[str], Path]) -> None:
    theirs, tokenizer = their_model("AlbertForTokenClassification", trained("conll") / "best")
    expected = []
    for sentence in data["conll"].read_text().strip().split("\n\n"):
        words = [line.split()[0] for line in sentence.splitlines()]
        pieces = tokenizer(words, add_special_tokens=False)["input_ids"]
        ids = [tokenizer.cls_token_id, *(piece for word in pieces for piece in word), tokenizer.sep_token_id]
        tags = theirs(input_ids=torch.tensor([ids])).logits[0].argmax(-1)
        first = 1 + np.cumsum([0, *(len(word) for word in pieces[:-1])])
        expected.append([theirs.config.id2label[int(tags[i])] for i in first])
    assert evaluate("conll", trained("conll") / "best", data["conll"]).predictions == expected


@torch.no_grad()
def test_answers_are_the_best_spans_of_transformers(data: dict[str, Path], trained: Callable[[str], Path]) -> None:
    """Every span of every window, by its sum of logits; of windows that see a start, the one that sees most of it."""
    theirs, tokenizer = their_model("AlbertForQuestionAnswering", trained("squad") / "best")
    rules = {"truncation": "only_second", "max_length": RULES.max_length, "stride": RULES.doc_stride}
    expected: dict[str, str] = {}
    for paragraph in json.loads(data["squad"].read_text())["data"][0]["paragraphs"]:
        context, qa = paragraph["context"], paragraph["qas"][0]
        encoded = tokenizer(
            [qa["question"]], [context], return_overflowing_tokens=True, return_offsets_mapping=True, **rules
        )
        spans: list[tuple[float, int, int]] = []
        seen: dict[int, float] = {}
        for i, ids in enumerate(encoded["input_ids"]):
            inside = [place for place, of in enumerate(encoded.sequence_ids(i)) if of == 1]
            offsets = encoded["offset_mapping"][i]
            types = torch.tensor([encoded["token_type_ids"][i]])
            output = theirs(input_ids=torch.tensor([ids]), token_type_ids=types)
            for a, start in enumerate(inside):
                room = min(a, len(inside) - 1 - a) + 0.01 * len(inside)
                if room > seen.get(offsets[start][0], -1.0):
                    seen[offsets[start][0]] = room
                    spans = [span for span in spans if span[1] != offsets[start][0]]
                    for end in inside[a : a + RULES.max_answer_length]:
                        score = float(output.start_logits[0, start] + output.end_logits[0, end])
                        spans.append((score, offsets[start][0], offsets[end][1]))
        _, start, end = max(spans)
        expected[qa["id"]] = context[start:end]
    report = evaluate("squad", trained("squad") / "best", data["squad"], rules=dataclasses.replace(RULES, n_best=64))
    assert report.predictions[0] == expected
    kind = TASKS["squad"](tokenizer, RULES)
    assert squad_1(kind.read(data["squad"]), expected)["f1"] == report.figures["f1"]


def test_a_task_can_be_measured_in_any_dtype(data: dict[str, Path], trained: Callable[[str], Path]) -> None:
    exact = evaluate("sst2", trained("sst2") / "best", data["sst2"])
    assert evaluate("sst2", trained("sst2") / "best", data["sst2"], dtype="int16").predictions == exact.predictions
    loaded = albert_fast.load(trained("sst2") / "best", dtype="int8")
    assert evaluate("sst2", loaded, data["sst2"]).figures["total"] == 8


def test_several_development_sets_have_their_names(data: dict[str, Path], tmp_path: Path) -> None:
    sets = []
    for name in ("matched", "mismatched"):
        sets.append(tmp_path / f"{name}.tsv")
        sets[-1].write_bytes(data["mnli"].read_bytes())
    recipe = FinetuningRecipe(dataclasses.replace(TRAINING, steps=2, warmup_steps=0), RULES)
    figures = finetune("mnli", recipe, "random:tiny", data["mnli"], tmp_path / "out", development=sets, progress=False)
    assert set(figures) == {f"{s}_{name}" for s in ("matched", "mismatched") for name in ("accuracy", "total")}
    again = finetune("mnli", recipe, "random:tiny", data["mnli"], tmp_path / "none", progress=False)
    assert again == {}, "no development set, no figures"
    assert not (tmp_path / "none" / "best").exists(), "and none is the best"
    assert read_log(tmp_path / "none", "evaluation") == []


def test_what_cannot_be_is_refused(data: dict[str, Path], trained: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"task: got 'glue', expected one of classification, sst2"):
        evaluate("glue", "random:tiny", data["sst2"])
    untrained = FinetuningRecipe(TRAINING, RULES)
    with pytest.raises(InvalidInputError, match=r"development: got two files of one name"):
        finetune("sst2", untrained, "random:tiny", data["sst2"], tmp_path, development=[data["sst2"]] * 2)
    with pytest.raises(CheckpointError, match=r"got no classifier.weight, which text-classification needs"):
        evaluate("sst2", "random:tiny", data["sst2"])
    with pytest.raises(InvalidInputError, match=r"label: got 'stars 1', expected one of 'negative', 'positive'"):
        evaluate("classification", trained("sst2") / "best", data["classification"])
    with pytest.raises(InvalidInputError, match=r"doc_stride: got 40, expected less than max_length - max_question"):
        TaskRules(max_length=48, max_question_length=16, doc_stride=40)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[training]\nsteps = 1\n[model]\nhidden_size = 3\n")
    with pytest.raises(ConfigError, match=r"\[model\] hidden_size: unknown, expected one of hidden_dropout_prob"):
        FinetuningRecipe.from_toml(recipe)
    recipe.write_text("[training]\nsteps = 1\n[data]\n")
    with pytest.raises(ConfigError, match=r"got \[data\], expected \[model\], \[task\] and \[training\]"):
        FinetuningRecipe.from_toml(recipe)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent / "configs").glob("*.toml")), ids=lambda path: path.stem
)
def test_recipes_can_be_read(path: Path) -> None:
    from albert_fast.pretraining.run import PretrainingRecipe

    is_pretraining = path.stem.startswith(("albert", "mini"))
    recipe: Any = (PretrainingRecipe if is_pretraining else FinetuningRecipe).from_toml(path)
    assert recipe.training.rate(recipe.training.warmup_steps) == recipe.training.learning_rate
