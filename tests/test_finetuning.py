"""Fine-tuning and evaluation: every task is learned from its files, and measured as transformers' model on the same
weights measures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finetuning_data import write_all
from their_tasks import answers_of, decided

import albert_fast
from albert_fast.errors import CheckpointError, ConfigError, InvalidInputError
from albert_fast.finetuning import TASKS, FinetuningRecipe, TaskRules, evaluate, finetune
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


@pytest.mark.parametrize("task", sorted(set(TASKS) - {"classification"}))
def test_predictions_are_those_of_transformers(
    task: str, data: dict[str, Path], trained: Callable[[str], Path]
) -> None:
    """To the last one, of the same weights; the figures, too."""
    rules = dataclasses.replace(RULES, n_best=RULES.max_length)  # all spans
    predictions, figures = answers_of(task, trained(task) / "best", data[task], rules)
    report = evaluate(task, trained(task) / "best", data[task], rules=rules)
    assert decided(report, rules) == predictions
    assert {name: report.figures[name] for name in figures} == pytest.approx(figures, abs=1e-4)


def test_races_parts_have_figures_of_their_own(data: dict[str, Path], trained: Callable[[str], Path]) -> None:
    figures = evaluate("race", trained("race") / "best", data["race"]).figures
    assert figures["high_accuracy"] + figures["middle_accuracy"] == 2 * figures["accuracy"]


def test_a_run_depends_on_its_seed_alone(data: dict[str, Path], tmp_path: Path) -> None:
    """A new head, too, whatever was drawn before."""
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        recipe = FinetuningRecipe(TrainingRules(steps=1, batch_size=4, seed=seed), RULES)
        finetune("sst2", recipe, "random:tiny", data["sst2"], tmp_path / name, progress=False)
        weights.append((tmp_path / name / "final" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_what_is_saved_names_its_labels(trained: Callable[[str], Path]) -> None:
    """Both ways: transformers' zero-shot-classification looks for "entailment" in ``label2id``."""
    config = json.loads((trained("mnli") / "final" / "config.json").read_text())
    assert config["id2label"] == {"0": "contradiction", "1": "entailment", "2": "neutral"}
    assert config["label2id"] == {"contradiction": 0, "entailment": 1, "neutral": 2}


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
    untrained, tokenizer = FinetuningRecipe(TRAINING, RULES), AlbertTokenizer.from_pretrained("mini")
    with pytest.raises(InvalidInputError, match=r"development: got two files of one name"):
        finetune("sst2", untrained, "random:tiny", data["sst2"], tmp_path, development=[data["sst2"]] * 2)
    with pytest.raises(CheckpointError, match=r"got no classifier.weight, which text-classification needs"):
        evaluate("sst2", "random:tiny", data["sst2"])
    with pytest.raises(InvalidInputError, match=r"label: got 'stars 1', expected one of 'negative', 'positive'"):
        evaluate("classification", trained("sst2") / "best", data["classification"])
    with pytest.raises(
        InvalidInputError, match=r"doc_stride: got 29, expected less than 29, what max_length \(48\) leaves beside"
    ):
        TASKS["squad"](tokenizer, TaskRules(max_length=48, max_question_length=16, doc_stride=29))
    assert TASKS["sst2"](tokenizer, TaskRules(max_length=128)).rules.doc_stride == 128, "it concerns spans alone"
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
