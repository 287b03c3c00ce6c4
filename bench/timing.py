"""Interleaved timing: what is compared takes turns in the same minutes, on the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

Call = Callable[[], object]
Times = dict[str, list[float]]

# Worker threads of OpenMP go on spinning for some milliseconds after their work, and would take processors
# from whatever runs next.
SETTLE_SECONDS = 0.03
MIN_SAMPLE_SECONDS = 0.02
_MAX_CALLS = 4096


def interleave(calls: Mapping[str, Call], rounds: int) -> Times:
    """Seconds per call, one sample for each round and name.

    Short calls are repeated until a sample takes ``MIN_SAMPLE_SECONDS``, after one call that wakes up threads
    and does not count. The order is reversed in every other round, so that nobody always runs on a hotter
    machine. Calls must have been warmed up already as far as their data go.
    """
    counts = {name: _calls_per_sample(call) for name, call in calls.items()}

    def settled(name: str) -> float:
        time.sleep(SETTLE_SECONDS)
        return _sample(calls[name], counts[name])

    return take_turns({name: partial(settled, name) for name in calls}, rounds)


def take_turns(samplers: Mapping[str, Callable[[], float]], rounds: int) -> Times:
    """One sample of each in every round, the order of every other round reversed."""
    times: Times = {name: [] for name in samplers}
    for number in range(rounds):
        for name in list(samplers) if number % 2 == 0 else reversed(list(samplers)):
            times[name].append(samplers[name]())
    return times


def ratio(times: Times, slower: str, faster: str) -> float:
    """The median over rounds of time(slower) / time(faster), which a drifting clock does not touch."""
    return median(a / b for a, b in zip(times[slower], times[faster], strict=True))


def best_seconds(call: Call, samples: int) -> float:
    """The shortest time of a call: for limits, which nothing should be measured to exceed."""
    call()
    count = _calls_per_sample(call)
    return min(_sample(call, count) for _ in range(samples))


def _calls_per_sample(call: Call) -> int:
    seconds = _sample(call, 1)
    return max(1, min(_MAX_CALLS, round(MIN_SAMPLE_SECONDS / max(seconds, 1e-7))))


def _sample(call: Call, count: int) -> float:
    if count > 1:
        call()
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count
