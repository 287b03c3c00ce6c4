"""Our ONNX file beside those of torch's two exporters, in onnxruntime: size, memory, speed, and what int8 costs.

albert_fast DTYPE     albert_fast.export.to_onnx
dynamo                torch.onnx.export(dynamo=True), its transposed weights folded
torchscript           torch.onnx.export(dynamo=False), which optimum uses
dynamo-int8           the first through onnxruntime's quantize_dynamic, a scale for each column
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from albert_fast import AlbertTokenizer, load
from albert_fast.export import DTYPES, to_onnx
from albert_fast.numbers import rel_l2
from bench.cases import parse_choices, sequence_lengths
from bench.machine import set_threads
from bench.peers import Workshop, quiet, versions
from bench.report import Table, percent
from bench.timing import interleave, ratio
from bench.twins import twin

CASES = "1x16,1x128,8x128"
MOST_BYTES = 1.05
"""Of what the tensors are: above it something is stored twice."""
ALLOWED_DIFFERENCE = {"float32": 1e-4, "float16": 0.01, "int8": 0.15}
"""Relative L2 to transformers in float32: above it something is broken, not rounded."""
TEXTS = (
    "The man worked as a [MASK].",
    "The woman worked as a [MASK].",
    "The king was in the [MASK] and his people were with him.",
    "It was the best of [MASK], it was the worst of times.",
    "The United [MASK] of America.",
    "He went out of the [MASK] and said nothing.",
    "In the beginning was the [MASK], and the word was with God.",
    "To be or not to [MASK], that is the question.",
)
Inputs = dict[str, np.ndarray[Any, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--model", default="random:albert-base-v2", help="anything that load() takes")
    parser.add_argument("--trained", default="mini", help="the model whose int8 is looked at; has an MLM head")
    parser.add_argument("--dtype", default="float32,int8", help=f"comma separated: {', '.join(DTYPES)}")
    parser.add_argument("--cases", default=CASES, help="COUNTxLENGTH or mixed, comma separated")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, help="all processors by default")


def run(options: argparse.Namespace) -> list[Table]:
    """Files and their speed, then errors of int8."""
    cases = {case: sequence_lengths(case) for case in options.cases.split(",")}
    dtypes = parse_choices("dtype", options.dtype, DTYPES)
    threads = set_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        entries, stored, theirs = _entries(options.model, dtypes, folder)
        sizes = _sizes(options.model, entries, stored, threads)
        speeds = _speeds(entries, theirs, cases, options.rounds, threads)
        return [sizes, speeds, _errors(options.trained, folder, threads)]


@dataclass
class Entry:
    """A file, and whose it is."""

    name: str
    path: Path
    ours: str | None = None  # its dtype, if it is ours

    @property
    def nbytes(self) -> int:
        """With what lies beside it."""
        return sum(file.stat().st_size for file in self.path.parent.glob(self.path.name + "*"))

    def session(self, threads: int) -> Any:
        """Open in onnxruntime, with every optimisation."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])

    def inputs(self, ids: Any, mask: Any) -> Inputs:
        """Under the names that the file has for them."""
        if self.ours is None:
            return {"ids": ids, "mask": mask}
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def _entries(model: str, dtypes: tuple[str, ...], folder: Path) -> tuple[list[Entry], int, Any]:
    """All files of a model, the bytes its tensors are in float32, and transformers' model."""
    loaded = load(model, device="cpu", dtype="float32")
    entries = [
        Entry(f"albert_fast {dtype}", to_onnx(loaded, folder / f"ours_{dtype}.onnx", dtype=dtype), dtype)
        for dtype in dtypes
    ]
    theirs = twin(loaded)
    with quiet():
        workshop = Workshop(theirs, 1, folder)
        entries += [Entry("dynamo", workshop.graph), Entry("torchscript", workshop.traced_graph)]
        if "int8" in dtypes:
            entries.append(Entry("dynamo-int8", _quantized(workshop.graph, folder / "int8.onnx")))
    return entries, sum(4 * parameter.numel() for parameter in theirs.parameters()), theirs


def _quantized(plain: Path, path: Path) -> Path:
    """By onnxruntime. 7 bits: without VNNI a sum of two products of 8 saturates, and errors grow tenfold."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(plain, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    return path


def _sizes(model: str, entries: list[Entry], stored: int, threads: int) -> Table:
    columns = ("file", "MB", "of float32 tensors", "seconds to open", "memory after, MB", "at most, MB")
    table = Table(f"{model} as ONNX, {threads} threads", columns)
    for entry in entries:
        seconds, after, peak = _opening(entry, threads)
        table.add(entry.name, entry.nbytes / 1e6, percent(entry.nbytes / stored), seconds, after, peak)
        if entry.ours == "float32" and not entry.nbytes <= MOST_BYTES * stored:
            table.failures.append(f"{entry.name}: {entry.nbytes:,} bytes for tensors of {stored:,}")
    table.notes.append(
        f"{versions()}. Memory is what a process grows by when it opens the file and runs 16 tokens; a process each."
    )
    return table


_CHILD = """
import sys, time, numpy as np, onnxruntime
def grown(key): return int(next(x for x in open("/proc/self/status") if x.startswith(key)).split()[1]) / 1e3
path, threads, *names = sys.argv[1:]
before, started = grown("VmRSS"), time.perf_counter()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
options.log_severity_level = 3
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
seconds = time.perf_counter() - started
session.run(None, {name: np.ones((1, 16), np.int64) for name in names})
print(seconds, grown("VmRSS") - before, grown("VmHWM") - before)
"""


def _opening(entry: Entry, threads: int) -> tuple[float, float, float]:
    """Seconds, and megabytes after it and at most, in a process of its own."""
    names = entry.inputs(np.ones(1), np.ones(1))
    arguments = [sys.executable, "-c", _CHILD, str(entry.path), str(threads), *names]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    seconds, after, peak = map(float, done.stdout.split())
    return seconds, after, peak


def _speeds(entries: list[Entry], theirs: Any, cases: dict[str, tuple[int, ...]], rounds: int, threads: int) -> Table:
    columns = ("case", "file", "seconds", "seconds / best stock", "relative difference")
    table = Table("Speed in onnxruntime", columns)
    sessions = {entry.name: entry.session(threads) for entry in entries}
    for case, lengths in cases.items():
        print(f"bench: {case}", file=sys.stderr)
        ids, mask = _batch(lengths, theirs.config.vocab_size)
        expected = _transformers(theirs, ids, mask)
        calls = {e.name: _call(sessions[e.name], e.inputs(ids, mask)) for e in entries}
        differences = {name: rel_l2(call()[mask == 1], expected[mask == 1]) for name, call in calls.items()}
        times = interleave(calls, rounds)
        stock = min(("dynamo", "torchscript"), key=lambda name: median(times[name]))
        for entry in entries:
            name = entry.name
            table.add(case, name, median(times[name]), ratio(times, name, stock), differences[name])
            allowed = ALLOWED_DIFFERENCE.get(entry.ours or "int8", 0.0)
            if entry.ours and not differences[name] <= allowed:  # NaN fails, too
                table.failures.append(f"{case}: relative difference to transformers {differences[name]:.1e} ({name})")
    table.notes.append(
        f"Medians of {rounds} rounds, all taking turns; the ratio is the median of the ratios of rounds, to the"
        " faster of dynamo and torchscript. Differences are those of hidden states to transformers in float32."
    )
    return table


def _batch(lengths: tuple[int, ...], vocabulary: int) -> tuple[Any, Any]:
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    return np.random.default_rng(0).integers(5, vocabulary, size=mask.shape) * mask, mask


def _transformers(theirs: Any, ids: Any, mask: Any) -> Any:
    import torch

    with torch.inference_mode():
        return theirs(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state.numpy()


def _call(session: Any, inputs: Inputs) -> Callable[[], Any]:
    return partial(_first, session, [session.get_outputs()[0].name], inputs)


def _first(session: Any, names: list[str], inputs: Inputs) -> Any:
    return session.run(names, inputs)[0]


def _errors(model: str, folder: Path, threads: int) -> Table:
    """A trained model in each dtype, and through onnxruntime's own quantisation, against float64."""
    columns = ("file", "MB", "error of hidden states", "error of logits", "masks filled alike")
    table = Table(f"{model}: errors against float64, on {len(TEXTS)} sentences", columns)
    encoded = AlbertTokenizer.from_pretrained(model)(list(TEXTS), padding=True, return_tensors="np")
    inputs = {name: np.asarray(values, np.int64) for name, values in encoded.items()}
    kept = inputs["attention_mask"] == 1
    exact = load(model, device="cpu", dtype="float64")
    logits = exact.forward_pretraining(**inputs).prediction_logits
    hidden = exact.forward(**inputs).last_hidden_state  # type: ignore[union-attr]
    masks = inputs["input_ids"] == exact.tokenizer.mask_token_id
    files = {f"albert_fast {dtype}": (dtype, False) for dtype in DTYPES} | {"quantize_dynamic": ("float32", True)}
    for name, (dtype, quantize) in files.items():
        paths = [to_onnx(model, folder / f"{t}.onnx", task=t, dtype=dtype) for t in ("feature-extraction", "fill-mask")]
        if quantize:
            paths = [_quantized(path, path.with_suffix(".int8")) for path in paths]
        states, scores = (_call(Entry(name, path, dtype).session(threads), inputs)() for path in paths)
        alike = float(np.mean(scores[masks].argmax(-1) == logits[masks].argmax(-1)))
        size = paths[1].stat().st_size / 1e6
        table.add(name, size, rel_l2(states[kept], hidden[kept]), rel_l2(scores[kept], logits[kept]), percent(alike))
    table.notes.append("The size is that of the file with the MLM head; quantize_dynamic is given our float32 file.")
    return table
