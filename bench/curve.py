"""The loss of a small masked language model, trained by us and by transformers from the same weights and data."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from albert_fast import AlbertTokenizer
from bench import roofline
from bench.machine import ROOT, set_threads
from bench.report import Table
from bench.twins import preset, random_pretraining

COLUMNS = ("step", "ours", "transformers", "difference")
_MASK = 4
_BATCH, _LENGTH = 16, 48
_LEARNING_RATE = 1e-3
_SHOWN = 20  # rows of the table
ALLOWED = 1e-2
"""How far two losses may be apart at any step: rounding grows along a path of training, a wrong gradient leaves it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--text", type=Path, default=ROOT / "docs" / "architecture.md", help="what is learned")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the two curves: .svg or .png")
    parser.add_argument("--threads", type=int, help="all processors by default")


def run(options: argparse.Namespace) -> list[Table]:
    """Every so many steps a row; fails if the curves part."""
    set_threads(options.threads)
    if options.plot:
        roofline.check(options.plot)
    losses = train(options.text.read_text(), options.steps)
    table = Table(f"Masked-LM loss, {options.steps} steps of AdamW", COLUMNS)
    every = max(1, options.steps // _SHOWN)
    pairs = list(zip(*losses.values(), strict=True))
    for step in range(0, options.steps, every):
        table.add(step, *pairs[step], abs(pairs[step][0] - pairs[step][1]))
    apart = max(abs(ours - theirs) for ours, theirs in pairs)
    table.notes.append(
        f"{options.text.name}, {_BATCH} texts of {_LENGTH} tokens a step, 15% masked; a tiny ALBERT of 12 iterations;"
        f" learning rate {_LEARNING_RATE}. Largest difference of all steps: {apart:.1e}."
    )
    if not apart <= ALLOWED:
        table.failures.append(f"the curves are {apart:.1e} apart, expected at most {ALLOWED:.0e}")
    if options.plot:
        draw(options.plot, losses)
    return [table]


def train(text: str, steps: int) -> dict[str, list[float]]:
    """The loss at each step, of both."""
    from transformers import AlbertForMaskedLM as TheirModel

    from albert_fast.nn import AlbertForMaskedLM

    config = dataclasses.replace(preset("tiny"), num_hidden_layers=12)
    start = random_pretraining(config)
    theirs = TheirModel(start.config)
    theirs.load_state_dict(start.state_dict(), strict=False)
    ours = AlbertForMaskedLM(start.config)
    ours.load_state_dict(theirs.state_dict())
    ids = torch.tensor(AlbertTokenizer.from_pretrained("random:tiny")(text, add_special_tokens=False)["input_ids"])
    return {"ours": _losses(ours, ids, steps), "transformers": _losses(theirs, ids, steps)}


def _losses(model: Any, ids: Tensor, steps: int) -> list[float]:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=_LEARNING_RATE)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        first = torch.randint(len(ids) - _LENGTH, (_BATCH, 1), generator=generator)
        batch = ids[first + torch.arange(_LENGTH)]
        masked = torch.rand(batch.shape, generator=generator) < 0.15
        masked[0, 0] = True
        loss = model(input_ids=batch.masked_fill(masked, _MASK), labels=batch.masked_fill(~masked, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def draw(path: Path, losses: dict[str, list[float]]) -> None:
    """Both curves, one over the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for (name, values), style in zip(losses.items(), ("-", "--"), strict=True):
        axes.plot(values, style, label=name)
    axes.set(xlabel="step", ylabel="masked-LM loss")
    axes.legend()
    figure.savefig(path)
