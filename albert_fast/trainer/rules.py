"""How a run trains: everything but its model and its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from albert_fast.errors import InvalidInputError
from albert_fast.trainer.optimizers import Lamb, parameter_groups

_OPTIMIZERS = ("adamw", "lamb")


@dataclass(frozen=True)
class TrainingRules:
    """``steps`` of ``accumulate`` batches of ``batch_size`` examples. The learning rate rises in a straight line to
    ``learning_rate`` in ``warmup_steps`` and falls in one to ``learning_rate * final_fraction`` at the end.

    ``activations``: what is kept for the backward pass (``TrainingPolicy.keep``): ``"all"`` is faster, ``"inputs"``
    takes less memory. ``autocast``: the dtype of matrix products (``"bfloat16"``), None for the
    parameters' own. ``log``, ``evaluate`` and ``save`` come every so many steps, and after the last one; ``keep`` is
    how many checkpoints stay.
    """

    steps: int
    batch_size: int = 32
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-4
    warmup_steps: int = 0
    final_fraction: float = 0.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-6
    max_grad_norm: float = 1.0
    seed: int = 0
    activations: Literal["all", "inputs"] = "inputs"
    autocast: str | None = None
    log_every: int = 10
    evaluate_every: int = 1000
    save_every: int = 1000
    keep: int = 2

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "log_every", "evaluate_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: got {getattr(self, name)}, expected at least 1")
        if self.optimizer not in _OPTIMIZERS:
            raise InvalidInputError(f"optimizer: got {self.optimizer!r}, expected one of {', '.join(_OPTIMIZERS)}")
        if not 0 <= self.warmup_steps <= self.steps:
            raise InvalidInputError(f"warmup_steps: got {self.warmup_steps}, expected 0 to {self.steps}, the steps")
        for name in ("learning_rate", "max_grad_norm", "epsilon"):
            if not getattr(self, name) > 0:
                raise InvalidInputError(f"{name}: got {getattr(self, name)}, expected more than 0")
        if not (self.weight_decay >= 0 and 0 <= self.final_fraction <= 1):
            raise InvalidInputError(
                f"weight_decay, final_fraction: got {self.weight_decay} and {self.final_fraction}, expected numbers"
                " that are not negative, and a fraction up to 1"
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InvalidInputError(f"betas: got {self.betas}, expected two numbers from 0 to below 1")
        if not 0 <= self.seed < 2**32:
            raise InvalidInputError(f"seed: got {self.seed}, expected 0 to {2**32 - 1}")
        if self.activations not in ("all", "inputs"):
            raise InvalidInputError(f"activations: got {self.activations!r}, expected 'all' or 'inputs'")
        if self.autocast not in (None, "bfloat16"):
            raise InvalidInputError(f"autocast: got {self.autocast!r}, expected 'bfloat16' or nothing")

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ...; of the step alone, so that a run that goes on needs no memory of it."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        left = (self.steps - step) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * left)

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """For the parameters of a model that are trained."""
        is_lamb = self.optimizer == "lamb"
        groups = parameter_groups(model, self.weight_decay, lamb=is_lamb)
        options: dict[str, Any] = {"lr": self.learning_rate, "betas": self.betas, "eps": self.epsilon}
        return Lamb(groups, **options) if is_lamb else torch.optim.AdamW(groups, **options)
