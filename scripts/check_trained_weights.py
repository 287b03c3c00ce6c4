"""Runs trained weights through the engine: a BERT is an ALBERT whose groups are its layers.

    python scripts/check_trained_weights.py FOLDER      # a BertModel saved by transformers, e.g. all-MiniLM-L6-v2

Trained ALBERT weights are not always at hand, and random ones lack what training makes: outlier features, attention
that peaks, LayerNorm weights far from 1. ``albert_fast.load`` takes a BERT as an ALBERT whose groups are its layers
(albert_fast/sources/bert.py), so the same texts must give what transformers' ``BertModel``
gives. Exits with 1 unless our error against float64 is at most twice transformers' own in float32; that of int16
weights and activations at most that of transformers in bfloat16, and of int8 at most that of torch's dynamic int8.
"""

from __future__ import annotations

import copy
import sys
import warnings
from typing import Any

import torch
from transformers import AutoTokenizer, BertModel

import albert_fast
from albert_fast.numbers import ErrorBound, error_bound, rel_l2

TEXTS = (
    "A text goes in, its features come out.",
    "The quick brown fox jumps over the lazy dog, and nobody asks the dog.",
    "In 1905, papers on Brownian motion, the photoelectric effect and relativity appeared within months.",
    "No.",
    "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer. " * 8,
)
DTYPES = ("float32", "bfloat16", "int16", "int8")


def contestants(folder: str) -> dict[str, Any]:
    """Models by name: ours in each dtype of the CPU, and what torch makes of the same weights."""
    bert, half = (BertModel.from_pretrained(folder, dtype=t).eval() for t in (torch.float32, torch.bfloat16))
    models = {"transformers float32": bert, "transformers bfloat16": half}
    quantize: Any = torch.ao.quantization.quantize_dynamic
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this way of quantising will go
        models["torch dynamic int8"] = quantize(copy.deepcopy(bert), {torch.nn.Linear}, dtype=torch.qint8)
    return models | {dtype: albert_fast.load(folder, device="cpu", dtype=dtype) for dtype in DTYPES}


def measure(folder: str) -> dict[str, list[list[float]]]:
    """Relative L2 errors against float64 by contestant: of each text, those of the hidden states and the pooler."""
    exact = BertModel.from_pretrained(folder, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    models = contestants(folder)
    errors: dict[str, list[list[float]]] = {name: [] for name in models}
    for text in TEXTS:
        inputs = dict(tokenizer(text, return_tensors="pt", truncation=True, max_length=512))
        truth = run(exact, inputs)
        for name, model in models.items():
            results = zip(run(model, inputs), truth, strict=True)
            errors[name].append([rel_l2(actual, expected) for actual, expected in results])
    return errors


def run(model: Any, inputs: Any) -> list[Any]:
    """Hidden states [1, S, H] and the pooler's output [1, H]."""
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    return [state.double().numpy() for state in (*output.hidden_states, output.pooler_output)]


def compare(errors: dict[str, list[list[float]]]) -> list[tuple[str, ErrorBound]]:
    """float32, ours and transformers', the worst of all texts, by stage."""
    ours, theirs = (zip(*errors[name], strict=True) for name in ("float32", "transformers float32"))
    names = [*(f"hidden state {i}" for i in range(len(errors["float32"][0]) - 1)), "pooler"]
    return [(name, error_bound(a, b, "float32")) for name, a, b in zip(names, ours, theirs, strict=True)]


def main() -> None:
    """Prints the table."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    errors = measure(sys.argv[1])
    rows = compare(errors)
    print("| stage | ours | transformers float32 | ratio |\n| --- | ---: | ---: | ---: |")
    for name, bound in rows:
        print(f"| {name} | {bound.ours:.2e} | {bound.pytorch:.2e} | {bound.ratio:.2f} |")
    worst = {name: [max(stage) for stage in zip(*of, strict=True)][-2:] for name, of in errors.items()}
    print("\n| contestant | last hidden state | pooler |\n| --- | ---: | ---: |")
    for name, (state, pooler) in worst.items():
        print(f"| {name} | {state:.2e} | {pooler:.2e} |")
    if not all(bound.ok for _, bound in rows):
        sys.exit("an error is above twice transformers' own")
    for ours, theirs in {"int16": "transformers bfloat16", "int8": "torch dynamic int8"}.items():
        if not worst[ours][0] <= worst[theirs][0]:
            sys.exit(f"the error of {ours} is above that of {theirs}")


if __name__ == "__main__":
    main()
