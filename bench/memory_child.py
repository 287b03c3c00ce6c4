"""What ``bench memory`` runs in a process of its own: prints one line of JSON.

python -m bench.memory_child prepare MODEL FOLDER
python -m bench.memory_child measure "LIBRARY [DTYPE]" FOLDER WORK THREADS
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.cases import random_batch, sequence_lengths

_SAMPLE_SECONDS = 0.001
_TINY_LENGTHS = (16,) * 4

Runner = Callable[[tuple[int, ...]], object]


class Peak:
    """The highest anonymous memory of this process while the context lasts."""

    def __enter__(self) -> Peak:
        self.bytes = anonymous()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self.bytes = max(self.bytes, anonymous())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.bytes = max(self.bytes, anonymous())


def anonymous() -> int:
    """RssAnon in bytes."""
    return _kilobytes("/proc/self/status", "RssAnon")


def anonymous_now() -> int:
    """The same from smaps_rollup, which the kernel counts page by page."""
    return _kilobytes("/proc/self/smaps_rollup", "Anonymous")


def file_backed() -> int:
    """RssFile in bytes: pages of mapped files that this process holds."""
    return _kilobytes("/proc/self/status", "RssFile")


def _kilobytes(path: str, field: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"{path} has no {field}; memory is measured on Linux only")


def load_ours(model: str | Path, threads: int, dtype: str) -> tuple[Runner, int]:
    """A function that runs a batch, and the bytes of the weights."""
    from albert_fast import load

    ours = load(model, device="cpu", dtype=dtype)

    def run(lengths: tuple[int, ...]) -> object:
        batch = random_batch(ours.config.vocab_size, lengths)
        return ours.encode_ragged(batch.tokens, batch.cu_seqlens, num_threads=threads or None)

    return run, ours.weights.nbytes


def load_transformers(model: str | Path, threads: int, dtype: str) -> tuple[Runner, int]:
    """The same for transformers' ``AlbertModel``; sequences are of equal lengths, so nothing is padded."""
    import torch
    from transformers import AlbertModel

    from bench.machine import set_threads
    from bench.twins import preset, random_pretraining

    set_threads(threads or None)
    if dtype != "float32":
        raise ValueError(f"transformers in {dtype} is not among the contestants")
    theirs: Any
    if isinstance(model, Path):
        theirs = AlbertModel.from_pretrained(model, attn_implementation="sdpa").eval()
    else:
        theirs = random_pretraining(preset(model.removeprefix("random:"))).albert

    def run(lengths: tuple[int, ...]) -> object:
        ids = np.random.default_rng(0).integers(5, theirs.config.vocab_size, (len(lengths), max(lengths)))
        with torch.inference_mode():
            return theirs(torch.from_numpy(ids)).last_hidden_state

    return run, sum(p.nbytes for p in theirs.parameters())


LOADERS = {"albert_fast": load_ours, "transformers": load_transformers}


def measure(library: str, folder: Path, work: str, threads: int) -> dict[str, Any]:
    """Load, and run the work if it is more than that; bytes and seconds."""
    name, _, dtype = library.partition(" ")
    loader = partial(LOADERS[name], threads=threads, dtype=dtype or "float32")
    loader("random:tiny")[0](_TINY_LENGTHS)
    gc.collect()
    baseline, file_baseline = anonymous(), file_backed()
    with Peak() as peak:
        started = time.perf_counter()
        run, weights = loader(folder)
        loaded = time.perf_counter()
        result = run(sequence_lengths(work)) if work != "load" else None
        finished = time.perf_counter()
    del result
    gc.collect()
    return {
        "baseline": baseline,
        "peak": peak.bytes,
        "after": anonymous_now(),
        "file": file_backed() - file_baseline,
        "weights": weights,
        "mapped": str(folder) in Path("/proc/self/maps").read_text(),
        "load_seconds": loaded - started,
        "work_seconds": finished - loaded,
    }


def main(command: str, *arguments: str) -> None:
    """One of the two commands above."""
    logging.getLogger("albert_fast").setLevel(logging.ERROR)
    if command == "prepare":
        from bench.twins import save_checkpoint

        save_checkpoint(arguments[0], Path(arguments[1]))
    else:
        library, folder, work, threads = arguments
        print(json.dumps(measure(library, Path(folder), work, int(threads))))


if __name__ == "__main__":
    main(*sys.argv[1:])
