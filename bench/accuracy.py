"""Our error and transformers' float32 error against float64, on real text.

A model with random weights is saved by transformers. Texts go through our tokenizer; then transformers in
float32, transformers in float64 and we, loading the saved files, compute every output.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from albert_fast import AlbertTokenizer, load
from albert_fast.numbers import error_bound, rel_l2
from bench.machine import set_threads
from bench.report import Table
from bench.twins import GROUPS, preset, random_pretraining

MODELS = f"albert-base-v2,albert-large-v2,albert-xlarge-v2,albert-xxlarge-v2,{GROUPS}"
OUTPUTS = ("hidden states", "pooler", "MLM logits", "SOP logits")
COLUMNS = (
    "model",
    "output",
    "ours, max",
    "transformers, max",
    "ours, relative",
    "transformers, relative",
    "ours / transformers",
    "to each other, max",
    "to each other, relative",
)
FACTOR = 2.0
_CHARACTERS_PER_TOKEN = 10  # more than any text has, so that truncation decides the length

Array = np.ndarray[Any, Any]
Outputs = list[dict[str, Array]]  # for each text, by name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--models", default=MODELS, help="comma separated")
    parser.add_argument("--vocabulary", type=Path, help="a spiece.model; our own by default")
    parser.add_argument("--text", type=Path, help="a text file; a few sentences of ours by default")
    parser.add_argument("--lengths", default="16,32,64,128,512", help="tokens of each text, comma separated")
    parser.add_argument("--threads", type=int, help="all processors by default")


def run(options: argparse.Namespace) -> list[Table]:
    """Four rows for each model."""
    threads = set_threads(options.threads)
    lengths = tuple(map(int, options.lengths.split(",")))
    texts = _texts(options.text, lengths)
    table = Table("Error against float64", COLUMNS)
    for name in options.models.split(","):
        print(f"bench: {name}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            _measure(table, name, texts, lengths, _Place(Path(folder), options.vocabulary), threads)
        gc.collect()
    vocabulary = "the vocabulary given" if options.vocabulary else "our own vocabulary"
    table.notes.append(
        f"Texts of {', '.join(map(str, lengths))} tokens, through {vocabulary}; the worst of them counts."
        " Weights are transformers' own random ones, biases and LayerNorm weights moved off 0 and 1."
        " max: largest absolute error; relative: L2."
    )
    return [table]


class _Place:
    """A folder with a model and its tokenizer."""

    def __init__(self, folder: Path, vocabulary: Path | None) -> None:
        self.folder = folder
        if vocabulary is not None:
            shutil.copyfile(vocabulary, folder / "spiece.model")

    def tokenizer(self) -> Any:
        has_own = (self.folder / "spiece.model").exists()
        return AlbertTokenizer.from_pretrained(self.folder if has_own else "random:tiny")


def _texts(path: Path | None, lengths: tuple[int, ...]) -> list[str]:
    """Consecutive pieces of the text, each long enough to be cut to its length."""
    from albert_fast.verification import SENTENCES

    parts = (text if isinstance(text, str) else " ".join(text) for text in SENTENCES)
    whole = path.read_text("utf-8") if path else " ".join(parts)
    needed = _CHARACTERS_PER_TOKEN * sum(lengths)
    whole = (whole + " ") * (1 + needed // max(1, len(whole)))
    starts = np.cumsum([0, *lengths]) * _CHARACTERS_PER_TOKEN
    return [whole[a:b] for a, b in pairwise(starts)]


def _measure(table: Table, name: str, texts: list[str], lengths: tuple[int, ...], place: _Place, threads: int) -> None:
    tokenizer = place.tokenizer()
    ids = [
        tokenizer(text, truncation=True, max_length=length)["input_ids"]
        for text, length in zip(texts, lengths, strict=True)
    ]
    theirs = random_pretraining(preset(name))
    theirs.save_pretrained(place.folder)
    single = _transformers_outputs(theirs, ids)
    exact = _transformers_outputs(theirs.double(), ids)
    del theirs
    gc.collect()
    ours = _our_outputs(place.folder, ids, threads)
    for output in OUTPUTS:
        _compare(table, name, output, *([text[output] for text in texts_of] for texts_of in (ours, single, exact)))


def _compare(table: Table, name: str, output: str, ours: list[Array], single: list[Array], exact: list[Array]) -> None:
    bound = error_bound(_relative(ours, exact), _relative(single, exact), "float32", FACTOR)
    if not bound.ok:
        table.failures.append(f"{name}, {output}: error {bound.ratio:.2f} times transformers', above {FACTOR}")
    table.add(
        name,
        output,
        _largest(ours, exact),
        _largest(single, exact),
        max(_relative(ours, exact)),
        max(_relative(single, exact)),
        bound.ratio,
        _largest(ours, single),
        max(_relative(ours, single)),
    )


def _relative(some: list[Array], others: list[Array]) -> list[float]:
    return [rel_l2(a, b) for a, b in zip(some, others, strict=True)]


def _largest(some: list[Array], others: list[Array]) -> float:
    return max(float(np.abs(a - b.astype(np.float64)).max()) for a, b in zip(some, others, strict=True))


def _our_outputs(folder: Path, ids: list[list[int]], threads: int) -> Outputs:
    model = load(folder)
    results = []
    for text in ids:
        states = model.forward([text], num_threads=threads)
        heads = model.forward_pretraining([text], num_threads=threads)
        values = (states[0], states[1], heads[0], heads[1])
        results.append(dict(zip(OUTPUTS, values, strict=True)))
    return results


def _transformers_outputs(model: Any, ids: list[list[int]]) -> Outputs:
    import torch

    results = []
    for text in ids:
        batch = torch.tensor([text])
        with torch.inference_mode():
            states = model.albert(batch)
            heads = model(batch)
        values = (*states[:2], heads.prediction_logits, heads.sop_logits)
        results.append({name: value.numpy() for name, value in zip(OUTPUTS, values, strict=True)})
    return results
