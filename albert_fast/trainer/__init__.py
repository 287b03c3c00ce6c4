"""The loop of a training run: optimizers, schedule, checkpoints, logs. It knows no task."""

from __future__ import annotations

from albert_fast.trainer.loop import Place, Task, Trainer
from albert_fast.trainer.optimizers import Lamb, parameter_groups
from albert_fast.trainer.rules import TrainingRules
from albert_fast.trainer.settings import changed, from_table, read_recipe, read_toml

__all__ = [
    "Lamb",
    "Place",
    "Task",
    "Trainer",
    "TrainingRules",
    "changed",
    "from_table",
    "parameter_groups",
    "read_recipe",
    "read_toml",
]
