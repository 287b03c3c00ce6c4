"""The whole model against transformers' AlbertModel: same weights, same input, same threads, taking turns."""

from __future__ import annotations

import argparse
import sys
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from albert_fast import _core, load
from albert_fast.numbers import rel_l2
from bench.cases import sequence_lengths
from bench.machine import Limits, measure_limits, set_threads
from bench.report import Table, percent
from bench.timing import interleave, ratio
from bench.twins import flops, twin

if TYPE_CHECKING:
    from albert_fast import Model

CASES = "1x16,1x128,8x128,mixed,1x512"
COLUMNS = (
    "case",
    "tokens",
    "padded",
    "ours s",
    "transformers s",
    "transformers / ours",
    "tokens/s",
    "transformers tokens/s",
    "GFLOP/s",
    "of limit",
    "max difference",
    "relative difference",
)
ALLOWED_DIFFERENCE = 1e-4
"""Relative L2 between two float32 results; how near each is to the truth, ``bench accuracy`` measures."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--model", default="random:albert-xxlarge-v2", help="anything that load() takes")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "int16", "int8"), default="float32", help="of our weights"
    )
    parser.add_argument("--cases", default=CASES, help="COUNTxLENGTH or mixed, comma separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="all processors by default")


def run(options: argparse.Namespace) -> list[Table]:
    """One row for each case."""
    cases = {case: sequence_lengths(case) for case in options.cases.split(",")}
    threads = set_threads(options.threads)
    ours = load(options.model, device="cpu", dtype=options.dtype)
    theirs = twin(ours)
    limits = measure_limits(_core.Ops(), threads)
    title = f"{options.model}, {options.dtype} weights, against transformers (sdpa, float32), {threads} threads"
    table = Table(title, COLUMNS, notes=[limits.note()])
    for case, lengths in cases.items():
        print(f"bench: {case}", file=sys.stderr)
        _measure(table, case, lengths, Contestants(ours, theirs, threads), limits, options.rounds)
    if options.dtype != "float32":
        table.notes.append("transformers computes in float32 with the same weights, rounded.")
    table.notes.append(
        f"Medians of {options.rounds} rounds; the ratio is the median of the ratios of rounds. Both are given"
        " the same padded ids and mask, `mixed` being 16 texts of 12 to 125 tokens. Tokens and operations"
        " count what is not padding. Differences are those of the tokens' hidden states, the relative one in L2."
    )
    return [table]


class Contestants:
    """Our model and its twin, called the way a user calls them."""

    def __init__(self, ours: Model, theirs: Any, threads: int) -> None:
        self.our_model, self.their_model, self.threads = ours, theirs, threads

    def ours(self, ids: Any, mask: Any) -> Any:
        """[B, S, H], a torch tensor."""
        return self.our_model.forward(ids, mask, num_threads=self.threads)[0]

    def theirs(self, ids: Any, mask: Any) -> Any:
        """[B, S, H], a torch tensor."""
        import torch

        with torch.inference_mode():
            return self.their_model(ids, attention_mask=mask).last_hidden_state


def _measure(table: Table, case: str, lengths: tuple[int, ...], two: Contestants, limits: Limits, rounds: int) -> None:
    ids, mask = _inputs(lengths, two.our_model.config.vocab_size)
    attended = mask.numpy() == 1
    our_rows, their_rows = (result.numpy()[attended] for result in (two.ours(ids, mask), two.theirs(ids, mask)))
    relative = rel_l2(our_rows, their_rows)
    if not relative <= ALLOWED_DIFFERENCE:  # NaN fails, too
        table.failures.append(f"{case}: relative difference to transformers {relative:.1e}")
    times = interleave({"ours": lambda: two.ours(ids, mask), "transformers": lambda: two.theirs(ids, mask)}, rounds)
    ours, theirs = median(times["ours"]), median(times["transformers"])
    work = flops(two.our_model.config, lengths)
    tokens = sum(lengths)
    table.add(
        case,
        tokens,
        len(lengths) * max(lengths),
        ours,
        theirs,
        ratio(times, "transformers", "ours"),
        tokens / ours,
        tokens / theirs,
        work / ours / 1e9,
        percent(work / ours / limits.flops),
        float(np.abs(our_rows - their_rows).max()),
        relative,
    )


def _inputs(lengths: tuple[int, ...], vocab_size: int) -> tuple[Any, Any]:
    """Random ids and the mask, [B, S] int64 as a tokenizer gives them."""
    import torch

    longest = max(lengths)
    ids = np.random.default_rng(0).integers(5, vocab_size, size=(len(lengths), longest))
    mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int64)
    return torch.from_numpy(ids * mask), torch.from_numpy(mask)
