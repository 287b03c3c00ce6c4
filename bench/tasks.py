"""Every task of fine-tuning and every pipeline on one set of weights: our figures beside those of transformers.

A small model learns each task from a sample in its own file format. What it saves is then measured twice on another
sample: by our ``evaluate``, and by transformers' model of the task with the plainest decoding. Both must give the same
figure and the same prediction for every example; pipelines the same texts and tokens, and scores that are near.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albert_fast.bundled import BUNDLED
from albert_fast.finetuning import FinetuningRecipe, TaskRules, evaluate, finetune
from albert_fast.trainer import TrainingRules
from bench.cases import parse_choices
from bench.machine import set_threads
from bench.report import Table
from bench.task_data import write
from bench.task_pipelines import ALLOWED, PIPELINES, compare

COLUMNS = ("task", "trained on", "measured on", "figure", "ours", "transformers", "predictions that differ")
PIPELINE_COLUMNS = ("pipeline", "weights of", "examples", "largest difference of a number", "others that differ")
RULES = TaskRules(max_length=64, doc_stride=16, max_question_length=16, max_answer_length=6, n_best=64)
"""Windows that some contexts are longer than, and all starts and ends of one, as transformers' side has them."""
_SAME = 1e-9  # of figures: sums of the same numbers, perhaps in another order


@dataclass(frozen=True)
class Sample:
    """A task, its files, the figures that are compared, and how it is trained."""

    task: str
    data: str  # of bench.task_data
    train: str
    measured: tuple[str, ...]
    figures: tuple[str, ...]
    steps: int
    learning_rate: float = 1e-3


SAMPLES = {
    "sst2": Sample("sst2", "sst2", "train.tsv", ("dev.tsv",), ("accuracy",), 160),
    "mnli": Sample("mnli", "mnli", "train.tsv", ("dev_matched.tsv", "dev_mismatched.tsv"), ("accuracy",), 120),
    "squad1": Sample("squad", "squad1", "train.json", ("dev.json",), ("exact_match", "f1"), 80),
    "squad2": Sample("squad", "squad2", "train.json", ("dev.json",), ("exact", "f1"), 80),
    "squad-beam": Sample("squad-beam", "squad2", "train.json", ("dev.json",), ("exact", "f1"), 80),
    "race": Sample("race", "race", "train", ("dev",), ("accuracy",), 30),
    "conll": Sample("conll", "conll", "train.txt", ("dev.txt",), ("f1", "accuracy"), 60),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    names = ",".join((*SAMPLES, *PIPELINES))
    parser.add_argument("--tasks", default=names, help="tasks and pipelines, comma separated")
    parser.add_argument("--model", default="mini", help="what is trained")
    parser.add_argument("--examples", type=int, default=200, help="measured in each; twice as many are trained on")
    parser.add_argument("--steps", type=int, help="of training; for each task its own by default")
    parser.add_argument("--threads", type=int, help="all processors by default")


def run(options: argparse.Namespace) -> list[Table]:
    """A row for each task, set of data and figure; then one for each pipeline."""
    names = parse_choices("--tasks", options.tasks, (*SAMPLES, *PIPELINES))
    set_threads(options.threads)
    tasks = Table(f"Tasks of fine-tuning, from {options.model}", COLUMNS)
    pipelines = Table("Pipelines", PIPELINE_COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), options)
        for name in names:
            print(f"bench: {name}", file=sys.stderr)
            add = _add_task if name in SAMPLES else _add_pipeline
            add(tasks if name in SAMPLES else pipelines, name, lab)
    tasks.notes.append(
        "Trained by `finetune`; measured by `evaluate` in float32, and by transformers' model of the saved weights in"
        " torch, example by example. Labels and answers follow a rule, but for a tenth."
    )
    pipelines.notes.append(
        f"Numbers may differ by {ALLOWED:.0e}. Others: texts, tokens, labels, places, lengths of lists."
    )
    return [table for table in (tasks, pipelines) if table.rows]


class Lab:
    """A folder with the samples' files and models, each made when it is first asked for."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self._folder = folder
        self.options = options

    def data(self, name: str, file: str) -> Path:
        """A file of a sample."""
        sample, count = SAMPLES[name], self.options.examples
        path = self._folder / sample.data / file
        return path if path.exists() else write(sample.data, path, 2 * count if file == sample.train else count)

    def model(self, name: str) -> Path:
        """The folder of a sample's trained model, or of ``mini``."""
        if name not in SAMPLES:
            return BUNDLED[name]
        sample, output = SAMPLES[name], self._folder / name / "run"
        if not (output / "final").exists():
            steps = self.options.steps or sample.steps
            training = TrainingRules(steps, 16, learning_rate=sample.learning_rate, warmup_steps=min(10, steps))
            recipe = FinetuningRecipe(training, RULES)
            train = self.data(name, sample.train)
            finetune(sample.task, recipe, self.options.model, train, output, progress=False)
        return output / "final"


def _add_task(table: Table, name: str, lab: Lab) -> None:
    from their_tasks import answers_of, decided  # of tests/, where bench.cases looks too

    sample, model = SAMPLES[name], lab.model(name)
    for file in sample.measured:
        data = lab.data(name, file)
        report = evaluate(sample.task, model, data, rules=RULES, device="cpu", dtype="float32")
        predictions, figures = answers_of(sample.task, model, data, RULES)
        ours = _listed(decided(report, RULES))
        differ = sum(a != b for a, b in zip(ours, _listed(predictions), strict=True))
        row = f"{name}, {data.stem}" if len(sample.measured) > 1 else name
        if differ:
            table.failures.append(f"{row}: {differ} of {len(ours)} predictions are not those of transformers")
        for figure in sample.figures:
            pair = report.figures[figure], figures[figure]
            table.add(row, 2 * lab.options.examples, lab.options.examples, figure, *pair, differ)
            if not abs(pair[0] - pair[1]) <= _SAME:
                table.failures.append(f"{row}: {figure} is {pair[0]}, {pair[1]} by transformers")


def _listed(predictions: list[Any]) -> list[Any]:
    """One for each example: answers come as a dictionary of all."""
    return list(predictions[0].items()) if isinstance(predictions[0], dict) else predictions


def _add_pipeline(table: Table, task: str, lab: Lab) -> None:
    source = PIPELINES[task]
    data = lab.data(source.sample, SAMPLES[source.sample].measured[0])
    found = compare(task, lab.model(source.model), data)
    table.add(task, source.model, found.examples, found.largest, found.others)
    if found.others or not found.largest <= ALLOWED:
        table.failures.append(f"{task}: {found.others} texts or tokens differ, numbers by {found.largest:.1e}")
