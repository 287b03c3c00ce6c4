"""Ours alone: how speed grows with threads, and whether a token costs the same in a batch of any size."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from statistics import median

from albert_fast import _core, load
from bench.cases import random_batch, sequence_lengths
from bench.report import Table
from bench.timing import interleave

CASES = "1x128,4x128,16x128,32x128"
COLUMNS = (
    "dtype",
    "case",
    "tokens",
    "threads",
    "seconds",
    "ms a token",
    "tokens/s over 1 thread's",
    "cost over first case's",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--model", default="random:albert-xxlarge-v2", help="anything that load() takes")
    parser.add_argument("--dtype", default="float32,int16,int8", help="comma separated")
    parser.add_argument(
        "--cases", default=CASES, help="COUNTxLENGTH or mixed, comma separated; the first by 1 thread, too"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="all processors by default")


def run(options: argparse.Namespace) -> list[Table]:
    """One row for each dtype and case, and one for a single thread."""
    threads = options.threads or _core.default_num_threads()
    table = Table(f"{options.model}, 1 and {threads} threads", COLUMNS)
    for dtype in options.dtype.split(","):
        _measure(table, options, dtype, threads)
    table.notes.append(
        f"Medians of {options.rounds} rounds in which all cases take turns: encoder only, texts of equal lengths."
        " Attention's share grows with a text's length, not with their number."
    )
    return [table]


def _measure(table: Table, options: argparse.Namespace, dtype: str, threads: int) -> None:
    model = load(options.model, device="cpu", dtype=dtype)
    cases = options.cases.split(",")
    batches = {case: random_batch(model.config.vocab_size, sequence_lengths(case)) for case in cases}
    runs = [(cases[0], 1), *((case, threads) for case in cases)]
    calls = {
        f"{case} {count}": partial(
            model.encode_ragged, batches[case].tokens, batches[case].cu_seqlens, num_threads=count
        )
        for case, count in runs
    }
    print(f"bench: {dtype}", file=sys.stderr)
    seconds = {name: median(samples) for name, samples in interleave(calls, options.rounds).items()}
    first = f"{cases[0]} {threads}"
    for case, count in runs:
        name, tokens = f"{case} {count}", batches[case].num_tokens
        cost = seconds[name] / tokens
        base = seconds[first] / batches[cases[0]].num_tokens
        speedup = seconds[f"{cases[0]} 1"] / batches[cases[0]].num_tokens / cost
        table.add(dtype, case, tokens, count, seconds[name], 1e3 * cost, speedup, cost / base)
