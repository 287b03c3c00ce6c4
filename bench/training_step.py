"""One contestant's training step; run alone, it prints the bytes that a step takes beyond weights and gradients.

python -m bench.training_step CONTESTANT MODEL CASE THREADS LORA
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from typing import Any

import torch

from albert_fast.training import TrainingPolicy
from bench.cases import sequence_lengths
from bench.machine import set_threads
from bench.memory_child import Peak, anonymous
from bench.twins import preset, random_pretraining

REFERENCE = "transformers"
POLICIES = {
    "all": TrainingPolicy("all"),
    "all-not-deferred": TrainingPolicy("all", defer_bytes=0),
    "inputs": TrainingPolicy("inputs"),
    "inputs-not-deferred": TrainingPolicy("inputs", defer_bytes=0),
}
CONTESTANTS = ("all", "inputs")
"""Names of policies; the bench adds transformers, which keeps all."""


class TrainingStep:
    """A model in training mode and its random weights; with a rank ``lora``, PEFT's adapters on query and value learn
    alone."""

    def __init__(self, contestant: str, model: str, lora: int = 0) -> None:
        theirs = random_pretraining(preset(model)).albert.train()
        self._model: Any = theirs
        if contestant != REFERENCE:
            from albert_fast.nn import AlbertModel

            self._model = AlbertModel(theirs.config)
            self._model.load_state_dict(theirs.state_dict())
            self._model.train().training_policy = POLICIES[contestant]
        if lora:
            from peft import LoraConfig, get_peft_model

            settings = LoraConfig(r=lora, lora_alpha=2 * lora, lora_dropout=0.0, target_modules=["query", "value"])
            self._model = get_peft_model(self._model, settings).train()
        self._vocab_size = theirs.config.vocab_size
        self._hidden_size = theirs.config.hidden_size

    @staticmethod
    def lengths(case: str) -> tuple[int, ...]:
        """Of the case's texts, which are of one length."""
        return sequence_lengths(case)

    def call(self, case: str) -> Callable[[], None]:
        """A step of the case; gradients are dropped before it, as an optimizer's zero_grad does."""
        lengths = self.lengths(case)
        torch.manual_seed(0)
        ids = torch.randint(5, self._vocab_size, (len(lengths), max(lengths)))
        weight = torch.randn(*ids.shape, self._hidden_size)

        def step() -> None:
            self._model.zero_grad(set_to_none=True)
            (self._model(ids).last_hidden_state * weight).sum().backward()

        return step

    def gradient_bytes(self) -> int:
        """Of the last step."""
        return sum(p.grad.nbytes for p in self._model.parameters() if p.grad is not None)


def main(contestant: str, model: str, case: str, threads: str, lora: str) -> None:
    """Prints bytes."""
    set_threads(int(threads) or None)
    step = TrainingStep(contestant, model, int(lora))
    gc.collect()
    baseline = anonymous()
    with Peak() as peak:
        step.call(case)()
    print(json.dumps(peak.bytes - baseline - step.gradient_bytes()))


if __name__ == "__main__":
    main(*sys.argv[1:])
