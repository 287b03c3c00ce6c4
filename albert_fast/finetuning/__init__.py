"""Fine-tuning and evaluation: the tasks of ALBERT's model card, from their data files to their official figures."""

from __future__ import annotations

from albert_fast.finetuning.run import TASKS, FinetuningRecipe, evaluate, finetune
from albert_fast.finetuning.suite import CARD, Entry, evaluate_card
from albert_fast.finetuning.task import Report, TaskRules

__all__ = [
    "CARD",
    "TASKS",
    "Entry",
    "FinetuningRecipe",
    "Report",
    "TaskRules",
    "evaluate",
    "evaluate_card",
    "finetune",
]
