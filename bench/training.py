"""A training step of the encoder, forward and backward, against transformers: speed, and memory beyond the weights and
their gradients."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from statistics import median
from typing import Any

from bench.machine import ROOT, measure_limits, set_threads
from bench.report import Table, percent
from bench.timing import interleave, ratio
from bench.training_step import CONTESTANTS, REFERENCE, TrainingStep
from bench.twins import flops, preset

CASES = "1x128,4x128"
SPEED_COLUMNS = ("case", "contestant", "seconds", "transformers / this", "this / first", "GFLOP/s", "of limit")
MEMORY_COLUMNS = ("case", "contestant", "MB beyond weights and gradients", "of transformers'")
BACKWARD_AND_FORWARD = 3
"""Products of a step over those of a forward pass: each has two gradients of its size."""
WITH_FROZEN_WEIGHTS = 2
"""The same where weights are frozen: what an adapter's own products are is little beside it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--model", default="albert-xxlarge-v2", help="a published size, or tiny")
    parser.add_argument("--cases", default=CASES, help="COUNTxLENGTH, comma separated")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS), help="comma separated; transformers always is")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="all processors by default")
    parser.add_argument("--lora", type=int, default=0, help="rank of PEFT's adapters on query and value; 0: train all")
    parser.add_argument("--no-memory", action="store_true", help="speed alone")


def run(options: argparse.Namespace) -> list[Table]:
    """A table of speed, everybody taking turns, and one of memory, each in a process of its own."""
    names = (*(name for name in options.contestants.split(",") if name != REFERENCE), REFERENCE)
    tables = [_speed(options, names)]
    return tables if options.no_memory else [*tables, _memory(options, names)]


def _speed(options: argparse.Namespace, names: tuple[str, ...]) -> Table:
    from albert_fast import _core

    threads = set_threads(options.threads)
    limits = measure_limits(_core.Ops(), threads)
    steps = {name: TrainingStep(name, options.model, options.lora) for name in names}
    what = f"LoRA of rank {options.lora} on query and value of {options.model}" if options.lora else options.model
    table = Table(f"Forward and backward, {what}, {threads} threads", SPEED_COLUMNS, notes=[limits.note()])
    for case in options.cases.split(","):
        print(f"bench: {case}", file=sys.stderr)
        calls: dict[str, Any] = {name: step.call(case) for name, step in steps.items()}
        times = interleave(calls, options.rounds)
        work = (WITH_FROZEN_WEIGHTS if options.lora else BACKWARD_AND_FORWARD) * flops(
            preset(options.model), TrainingStep.lengths(case)
        )
        for name, samples in times.items():
            seconds = median(samples)
            against = (ratio(times, REFERENCE, name), ratio(times, name, names[0]))
            table.add(case, name, seconds, *against, work / seconds / 1e9, percent(work / seconds / limits.flops))
    table.notes.append(
        f"Medians of {options.rounds} rounds. The loss is a random weighting of the last hidden states; gradients of"
        " all parameters are made anew. What is computed again under a policy that keeps less is not counted as work."
    )
    return table


def _memory(options: argparse.Namespace, names: tuple[str, ...]) -> Table:
    table = Table(f"Memory of a step, {options.model}", MEMORY_COLUMNS)
    for case in options.cases.split(","):
        rest = (case, str(options.threads or 0), str(options.lora))
        measured = {name: _child(name, options.model, *rest) for name in names}
        for name, extra in measured.items():
            table.add(case, name, extra / 1e6, extra / measured[REFERENCE])
    table.notes.append(
        "The highest RssAnon during a step, sampled every millisecond, less what the process had before it and less the"
        " bytes of the gradients. MB are 10^6 bytes."
    )
    return table


def _child(*arguments: str) -> float:
    print(f"bench: memory of {arguments[0]}, {arguments[2]}", file=sys.stderr)
    command = (sys.executable, "-m", "bench.training_step", *arguments)
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(result.stdout.splitlines()[-1]))
