"""The gradient of every parameter, ours and transformers' in float32, against float64."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import sys
from typing import Any

import torch
from torch import Tensor

from albert_fast.numbers import error_bound, rel_l2
from bench.machine import set_threads
from bench.report import Table
from bench.twins import GROUPS, preset, random_pretraining

CASES = f"albert-xxlarge-v2:2,albert-base-v2:12,{GROUPS}:12,tiny:12"
COLUMNS = (
    "model",
    "iterations",
    "parameters",
    "ours, median",
    "transformers, median",
    "ours / transformers, worst",
    "of",
)
FACTOR = 3.0
_LENGTHS = (11, 5)
_UNSEEN = "attention.key.bias"
"""Softmax does not change if all scores of a query do: the exact gradient is 0, and has no relative error."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--cases", default=CASES, help="MODEL:ITERATIONS, comma separated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="all processors by default")


def run(options: argparse.Namespace) -> list[Table]:
    """A row for each case; fails where a parameter's error is above three times transformers'."""
    set_threads(options.threads)
    table = Table("Errors of gradients against float64", COLUMNS)
    for case in options.cases.split(","):
        print(f"bench: {case}", file=sys.stderr)
        name, _, iterations = case.partition(":")
        _add(table, name, int(iterations), options.seeds)
    table.notes.append(
        f"AlbertForPreTraining, random weights, texts of {_LENGTHS} tokens in one padded batch, masked-LM and"
        f" sentence-order loss. Relative L2 for each parameter, the worst of {options.seeds} seeds; a ratio takes"
        f" transformers' error to be one roundoff at least. Not {_UNSEEN}, whose gradient is 0."
    )
    return [table]


def _add(table: Table, name: str, iterations: int, seeds: int) -> None:
    config = dataclasses.replace(preset(name), num_hidden_layers=iterations)
    errors: dict[str, tuple[list[float], list[float]]] = {}
    for seed in range(seeds):
        theirs = random_pretraining(config, seed).train()
        for parameter, pair in _errors(theirs, seed).items():
            for errors_of, error in zip(errors.setdefault(parameter, ([], [])), pair, strict=True):
                errors_of.append(error)
    bounds = {parameter: error_bound(*pair, "float32", FACTOR) for parameter, pair in errors.items()}
    worst = max(bounds, key=lambda parameter: bounds[parameter].ratio)
    medians = (
        torch.tensor([getattr(b, kind) for b in bounds.values()]).median().item() for kind in ("ours", "pytorch")
    )
    table.add(name, iterations, len(bounds), *medians, bounds[worst].ratio, worst)
    table.failures += [f"{name}: {parameter}: {bound}" for parameter, bound in bounds.items() if not bound.ok]


def _errors(theirs: Any, seed: int) -> dict[str, tuple[float, float]]:
    """Ours and transformers', by parameter."""
    from albert_fast.nn import AlbertForPreTraining

    batch = _batch(theirs.config.vocab_size, seed)
    ours = AlbertForPreTraining(theirs.config)
    ours.load_state_dict(theirs.state_dict())
    made = _gradients(ours.train(), batch)
    del ours
    pytorch = _gradients(theirs, batch)
    exact = _gradients(theirs.double(), batch)
    gc.collect()
    return {
        name: (rel_l2(made[name], exact[name]), rel_l2(pytorch[name], exact[name]))
        for name in exact
        if not name.endswith(_UNSEEN)
    }


def _gradients(model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.zero_grad(set_to_none=True)
    model(**batch).loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def _batch(vocab_size: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    longest = max(_LENGTHS)
    ids = torch.randint(5, vocab_size, (len(_LENGTHS), longest), generator=generator)
    mask = (torch.arange(longest) < torch.tensor(_LENGTHS)[:, None]).long()
    labels = torch.where((torch.rand(ids.shape, generator=generator) < 0.3) & (mask == 1), ids, -100)
    labels[0, 0] = ids[0, 0]
    order = torch.randint(2, (len(_LENGTHS),), generator=generator)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "sentence_order_label": order}
