"""Fine-tuning and evaluation from files to a folder and figures."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from albert_fast.errors import ConfigError, InvalidInputError
from albert_fast.finetuning.choice import RaceTask
from albert_fast.finetuning.classification import ClassificationTask, MnliTask, Sst2Task
from albert_fast.finetuning.spans import BeamSquadTask, SquadTask
from albert_fast.finetuning.tagging import ConllTask
from albert_fast.finetuning.task import FinetuningTask, Objective, Report, TaskRules
from albert_fast.model import Model, load
from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.trainer import Trainer, TrainingRules, changed, from_table, read_recipe

PathLike = str | os.PathLike[str]

TASKS: Final[dict[str, type[FinetuningTask[Any]]]] = {
    "classification": ClassificationTask,
    "sst2": Sst2Task,
    "mnli": MnliTask,
    "squad": SquadTask,
    "squad-beam": BeamSquadTask,
    "race": RaceTask,
    "conll": ConllTask,
}
_log = logging.getLogger("albert_fast")
_DROPOUTS: Final = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")


@dataclass(frozen=True)
class FinetuningRecipe:
    """``[task]`` and ``[training]``: the fields of ``TaskRules`` and ``TrainingRules``; ``[model]``: dropouts."""

    training: TrainingRules
    task: TaskRules = field(default_factory=TaskRules)
    model: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.model) - set(_DROPOUTS))
        if unknown:
            raise ConfigError(f"[model] {unknown[0]}: unknown, expected one of {', '.join(_DROPOUTS)}")

    @classmethod
    def from_toml(cls, path: PathLike, **training: Any) -> FinetuningRecipe:
        """A recipe file, with other values in its ``[training]``. Raises ``ConfigError``, ``ModelNotFoundError``."""
        tables = read_recipe(path, ("model", "task", "training"))
        return cls(
            training=from_table(TrainingRules, changed(tables["training"], training), "training"),
            task=from_table(TaskRules, tables["task"], "task"),
            model=tables["model"],
        )


def finetune(
    task: str,
    recipe: FinetuningRecipe,
    model: PathLike,
    train: PathLike,
    output: PathLike,
    *,
    development: Iterable[PathLike] = (),
    device: str = "cpu",
    progress: bool | None = None,
) -> dict[str, float]:
    """Train a model for a task. Call it again after the process was stopped, and the run goes on.

    Args:
        task: one of ``TASKS``.
        recipe: settings.
        model: what ``from_pretrained`` takes; heads that it lacks are new.
        train: the task's data file (RACE: folder).
        output: the run's folder: ``best/`` (of the development figures), ``final/``, ``checkpoints/``, ``log.jsonl``.
        development: files that are evaluated now and then.
        device: of torch.
        progress: show a bar; None: on a terminal.

    Returns:
        The figures of the last evaluation; nothing without development files.

    Raises what ``Trainer``, ``from_pretrained`` and the task's reader raise.
    """
    tokenizer = AlbertTokenizer.from_pretrained(model)
    kind = _task(task, tokenizer, recipe.task)
    examples = kind.read(train)
    dev_files = [Path(path) for path in development]
    if len({path.stem for path in dev_files}) < len(dev_files):
        raise InvalidInputError(f"development: got two files of one name, expected names that differ: {dev_files}")
    development_sets = {path.stem: kind.read(path) for path in dev_files}
    names = _labels(kind, examples, development_sets)
    label2id = {name: i for i, name in enumerate(names or ())}
    changes: dict[str, Any] = dict(recipe.model)
    if names is not None:
        changes |= {"id2label": dict(enumerate(names)), "label2id": label2id}
    torch.manual_seed(recipe.training.seed)  # of a new head
    network = kind.model_class.from_pretrained(model, dtype="float32", **changes)
    for name, value in kind.settings.items():
        setattr(network.config, name, value)
    objective = Objective(
        kind,
        kind.features(examples, label2id),
        development_sets,
        recipe.training.seed,
    )
    about = {
        "task": {"name": task, **dataclasses.asdict(recipe.task)},
        "model": {"name": os.fspath(model), **recipe.model},
        "data": {
            "train": os.fspath(train),
            "examples": len(examples),
            "development": [os.fspath(p) for p in dev_files],
        },
    }
    trainer = Trainer(
        network.to(device), objective, recipe.training, Path(output), save_beside=tokenizer.save_pretrained, about=about
    )
    return trainer.run(progress)


def evaluate(
    task: str,
    model: PathLike | Model,
    data: PathLike,
    *,
    rules: TaskRules | None = None,
    labels: Sequence[str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> Report:
    """How good a fine-tuned model is at a task.

    Args:
        task: one of ``TASKS``.
        model: as ``load`` takes it, or a loaded model.
        data: the task's data file (RACE: folder).
        rules: settings of the task.
        labels: what the data calls the model's classes, in the order of their ids; by default what the model calls
            them, whatever its capitals. Many published checkpoints say LABEL_0, LABEL_1, ..
        device, dtype: as ``load`` takes them: what ``"int8"`` costs on a task of yours is one call away.

    Returns:
        ``figures`` by name and ``predictions``.

    Raises what ``load`` and the task's reader raise; ``CheckpointError`` if the model lacks the task's head.
    """
    loaded = model if isinstance(model, Model) else load(model, device=device, dtype=dtype)
    kind = _task(task, loaded.tokenizer, rules or TaskRules(), labels)
    return kind.measure(loaded, kind.read(data))


def _task(
    name: str, tokenizer: AlbertTokenizer, rules: TaskRules, labels: Sequence[str] | None = None
) -> FinetuningTask[Any]:
    if name not in TASKS:
        raise InvalidInputError(f"task: got {name!r}, expected one of {', '.join(TASKS)}")
    return TASKS[name](tokenizer, rules, labels)


def _labels(
    kind: FinetuningTask[Any], examples: Sequence[Any], development: Mapping[str, Sequence[Any]]
) -> list[str] | None:
    """The classes of all files, those of the training file first to be missed by none of the others.

    Raises ``InvalidInputError`` for a single class, which would be taken for a regression.
    """
    trained = kind.labels(examples)
    names = kind.labels([*examples, *(example for several in development.values() for example in several)])
    if trained is None or names is None:
        return None
    if only := sorted(set(names) - set(trained)):
        _log.warning("labels of development files that no example to train on has: %s", ", ".join(map(repr, only)))
    if len(names) < 2:
        raise InvalidInputError(f"label: got the class {names[0]!r} alone, expected at least two to tell apart")
    return names
