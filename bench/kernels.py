"""Every op alone, on the shapes of published models, against torch's own op and the limits of the machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from albert_fast import _core
from albert_fast.numbers import rel_l2
from bench.cases import TOKENS
from bench.machine import Limits, measure_limits, set_threads
from bench.report import Table, percent
from bench.timing import interleave, ratio

if TYPE_CHECKING:
    from bench.kernel_contests import Contest

MODELS = ("albert-xxlarge-v2", "albert-base-v2")
COLUMNS = ("op", "shape", "µs", "GFLOP/s", "GB/s", "bound", "of limit", "torch µs", "torch / ours")


@dataclass(frozen=True)
class Setting:
    """What all contests of a run share."""

    ops: _core.Ops
    threads: int
    limits: Limits
    rounds: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--isa", default="", help="instruction set; the best one by default")
    parser.add_argument("--threads", type=int, help="all processors by default")
    parser.add_argument("--filter", default="", help="only ops whose name and shape contain this")
    parser.add_argument("--models", default=",".join(MODELS), help="whose shapes, comma separated")
    parser.add_argument("--tokens", default=",".join(map(str, TOKENS)), help="rows T, comma separated")
    parser.add_argument("--rounds", type=int, default=7)


def run(options: argparse.Namespace) -> list[Table]:
    """One table for each model."""
    ops = _core.Ops(options.isa)
    threads = set_threads(options.threads)
    limits = measure_limits(ops, threads)
    setting = Setting(ops, threads, limits, options.rounds)
    tokens = tuple(map(int, options.tokens.split(",")))
    return [_model_table(setting, model, tokens, options.filter) for model in options.models.split(",")]


def _model_table(setting: Setting, model: str, tokens: tuple[int, ...], wanted: str) -> Table:
    from bench.kernel_contests import CONTESTS

    table = Table(f"Ops at the shapes of {model}, {setting.ops.name}, {setting.threads} threads", COLUMNS)
    for contests in CONTESTS:
        for contest in _filtered(contests, setting, model, tokens, wanted):
            _measure(table, setting, contest)
    table.notes.append(setting.limits.note(setting.threads))
    table.notes.append(
        "Each call takes other buffers than the last, twice the last level cache in all, so operands come"
        " from memory. Medians; torch / ours is the median of the ratios of rounds. torch's product is"
        " `addmm` into an output that is there, then `gelu` or an addition where our op has them inside."
    )
    return table


def _filtered(
    contests: Callable[..., Iterator[tuple[str, Callable[[], Contest]]]],
    setting: Setting,
    model: str,
    tokens: tuple[int, ...],
    wanted: str,
) -> Iterator[Contest]:
    for label, make in contests(setting.ops, setting.threads, model, tokens):
        if wanted in label:
            print(f"bench: {label}", file=sys.stderr)
            yield make()


def _measure(table: Table, setting: Setting, contest: Contest) -> None:
    """Check that both compute the same, then let them take turns."""
    from bench.kernel_contests import ALLOWED_DIFFERENCE

    calls = {"ours": contest.ours, "torch": contest.torch}
    for call in calls.values():
        for _ in range(contest.copies):
            call()
    difference = rel_l2(contest.our_result(), contest.torch_result())
    if not difference <= ALLOWED_DIFFERENCE:  # NaN fails, too
        table.failures.append(f"{contest.op} {contest.shape}: relative difference to torch {difference:.1e}")
    times = interleave(calls, setting.rounds)
    seconds = median(times["ours"])
    limits = setting.limits
    compute_bound = contest.flops / limits.flops > contest.nbytes / limits.bandwidth
    table.add(
        contest.op,
        contest.shape,
        1e6 * seconds,
        contest.flops / seconds / 1e9,
        contest.nbytes / seconds / 1e9,
        "FMA" if compute_bound else "memory",
        percent(limits.seconds(contest.flops, contest.nbytes) / seconds),
        1e6 * median(times["torch"]),
        ratio(times, "torch", "ours"),
    )
