"""The whole model, in each of its dtypes, against others: same weights, same input, same threads, taking turns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from albert_fast import _core, load
from albert_fast.numbers import rel_l2
from bench.cases import parse_choices, sequence_lengths
from bench.machine import Limits, measure_limits, set_threads
from bench.peers import NAMES, TorchPeer, build, versions
from bench.report import Table, percent
from bench.timing import Times, interleave, ratio
from bench.twins import flops, twin

if TYPE_CHECKING:
    from albert_fast import Model

CASES = "1x16,1x128,8x128,mixed,1x512"
COLUMNS = (
    "case",
    "tokens",
    "padded",
    "contestant",
    "seconds",
    "seconds / first",
    "tokens/s",
    "GFLOP/s",
    "of limit",
    "max difference",
    "relative difference",
)
REFERENCE = "transformers"
ALLOWED_DIFFERENCE = {"float32": 1e-4, "bfloat16": 0.03, "int16": 0.01, "int8": 0.15}
"""Relative L2 to transformers' float32 result, by dtype of our weights: above it something is broken, not rounded."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--model", default="random:albert-xxlarge-v2", help="anything that load() takes")
    parser.add_argument("--dtype", default="float32", help=f"comma separated: {', '.join(ALLOWED_DIFFERENCE)}")
    parser.add_argument("--cases", default=CASES, help="COUNTxLENGTH or mixed, comma separated")
    parser.add_argument("--against", default=REFERENCE, help=f"comma separated: {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="all processors by default")


def run(options: argparse.Namespace) -> list[Table]:
    """One row for each case and contestant."""
    cases = {case: sequence_lengths(case) for case in options.cases.split(",")}
    names = parse_choices("against", options.against, NAMES)
    dtypes = parse_choices("dtype", options.dtype, ALLOWED_DIFFERENCE)
    threads = set_threads(options.threads)
    ours = {dtype: load(options.model, device="cpu", dtype=dtype) for dtype in dtypes}
    exact = ours.get("float32") or load(options.model, device="cpu", dtype="float32")
    arena = Arena(ours, twin(exact), names, threads)
    limits = {
        d: measure_limits(_core.Ops("", d), threads) for d in dict.fromkeys(("float32", *dtypes)) if d != "bfloat16"
    }
    title = f"{options.model} ({', '.join(dtypes)}) against {', '.join(names)}, {threads} threads"
    table = Table(title, COLUMNS, notes=[limit.note() for limit in limits.values()])
    for case, lengths in cases.items():
        print(f"bench: {case}", file=sys.stderr)
        result = arena.measure(case, lengths, options.rounds)
        table.failures += result.failures()
        _add_rows(table, result, flops(exact.config, lengths), arena.limits(limits))
    table.notes += _notes(options.rounds)
    return [table]


def _notes(rounds: int) -> list[str]:
    return [
        f"transformers computes with sdpa in float32; {versions()}. Differences are those to transformers, of the"
        " tokens' hidden states, the relative one in L2. The limit is that of products in the contestant's dtype"
        " (of float32 where it multiplies floats); peers in int8 have their own instructions, and no share of it.",
        f"Medians of {rounds} rounds; the ratio is the median of the ratios of rounds. All are given the same padded"
        " ids and mask, `mixed` being 16 texts of 12 to 125 tokens. Tokens and operations count what is not padding.",
    ]


@dataclass
class Result:
    """One case: seconds of every round, and rows of the tokens [T, H], by contestant."""

    case: str
    lengths: tuple[int, ...]
    times: Times
    differences: dict[str, tuple[float, float]]  # to transformers: largest, relative in L2
    allowed: dict[str, float]  # relative difference of those whose is checked

    @property
    def tokens(self) -> int:
        """Without padding."""
        return sum(self.lengths)

    @property
    def padded(self) -> int:
        """With it."""
        return len(self.lengths) * max(self.lengths)

    def failures(self) -> list[str]:
        """Contestants that computed something else."""
        return [
            f"{self.case}: relative difference to transformers {relative:.1e} ({name})"
            for name, (_, relative) in self.differences.items()
            if name in self.allowed and not relative <= self.allowed[name]  # NaN fails, too
        ]


class Arena:
    """Our models, by dtype, and their peers, called the way a user calls them."""

    def __init__(self, ours: dict[str, Model], theirs: Any, names: tuple[str, ...], threads: int) -> None:
        self._vocab_size = next(iter(ours.values())).config.vocab_size
        self._threads = threads
        self._reference = TorchPeer(REFERENCE, theirs, exact=True)
        peers = build(names, theirs, threads)
        self._contestants: dict[str, Callable[[Any, Any], Any]] = {
            _name(dtype): partial(self._run, model) for dtype, model in ours.items()
        }
        self._contestants |= {peer.name: peer for peer in peers}
        exact = [peer.name for peer in peers if peer.exact]
        self._allowed = {_name(dtype): ALLOWED_DIFFERENCE[dtype] for dtype in ours}
        self._allowed |= dict.fromkeys(exact, ALLOWED_DIFFERENCE["float32"])
        self._dtypes = {_name(dtype): dtype for dtype in ours} | dict.fromkeys(exact, "float32")

    def _run(self, model: Model, ids: Any, mask: Any) -> Any:
        return model.forward(ids, mask, num_threads=self._threads)[0]

    def limits(self, of: dict[str, Limits]) -> dict[str, float]:
        """Operations a second that the machine could do, by contestant; of bfloat16 weights those of float32."""
        return {name: of.get(dtype, of["float32"]).flops for name, dtype in self._dtypes.items()}

    def measure(self, case: str, lengths: tuple[int, ...], rounds: int) -> Result:
        """Compare what all compute, then let them take turns."""
        ids, mask = _inputs(lengths, self._vocab_size)
        attended = mask.numpy() == 1
        expected = self._reference(ids, mask).numpy()[attended]
        differences = {}
        for name, contestant in self._contestants.items():
            rows = np.asarray(contestant(ids, mask))[attended]
            differences[name] = float(np.abs(rows - expected).max()), rel_l2(rows, expected)
        calls = {name: partial(contestant, ids, mask) for name, contestant in self._contestants.items()}
        return Result(case, lengths, interleave(calls, rounds), differences, self._allowed)


def _name(dtype: str) -> str:
    return f"albert_fast {dtype}"


def _add_rows(table: Table, result: Result, work: float, limits: dict[str, float]) -> None:
    first = next(iter(result.times))
    for name, samples in result.times.items():
        seconds = median(samples)
        share = percent(work / seconds / limits[name]) if name in limits else "-"
        table.add(
            result.case,
            result.tokens,
            result.padded,
            name,
            seconds,
            ratio(result.times, name, first),
            result.tokens / seconds,
            work / seconds / 1e9,
            share,
            *result.differences[name],
        )


def _inputs(lengths: tuple[int, ...], vocab_size: int) -> tuple[Any, Any]:
    """Random ids and the mask, [B, S] int64 as a tokenizer gives them."""
    import torch

    longest = max(lengths)
    ids = np.random.default_rng(0).integers(5, vocab_size, size=(len(lengths), longest))
    mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int64)
    return torch.from_numpy(ids * mask), torch.from_numpy(mask)
