"""Runs trained weights through the engine: a BERT is an ALBERT whose groups are its layers.

    python scripts/check_trained_weights.py FOLDER      # a BertModel saved by transformers, e.g. all-MiniLM-L6-v2

Trained ALBERT weights are not always at hand, and random ones lack what training makes: outlier features, attention
that peaks, LayerNorm weights far from 1. With ``num_hidden_groups`` = ``num_hidden_layers``, E = H and an identity for
the E -> H mapping, ALBERT computes exactly what BERT does; so the same texts must give what transformers' ``BertModel``
gives. Exits with 1 unless our error against float64 is at most twice transformers' own in float32.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
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
LAYER_NAMES = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.dense",
    "attention.output.LayerNorm": "attention.LayerNorm",
    "intermediate.dense": "ffn",
    "output.dense": "ffn_output",
    "output.LayerNorm": "full_layer_layer_norm",
}


def as_albert(bert: BertModel, folder: Path) -> None:
    """Writes the BERT as an ALBERT checkpoint."""
    config = bert.config
    state = {name: tensor.float().numpy() for name, tensor in bert.state_dict().items() if "position_ids" not in name}
    tensors = {f"albert.{name}": array for name, array in state.items() if name.startswith("embeddings.")}
    for layer in range(config.num_hidden_layers):
        target = f"albert.encoder.albert_layer_groups.{layer}.albert_layers.0"
        for old, new in LAYER_NAMES.items():
            for kind in ("weight", "bias"):
                tensors[f"{target}.{new}.{kind}"] = state[f"encoder.layer.{layer}.{old}.{kind}"]
    tensors["albert.encoder.embedding_hidden_mapping_in.weight"] = np.eye(config.hidden_size, dtype=np.float32)
    tensors["albert.encoder.embedding_hidden_mapping_in.bias"] = np.zeros(config.hidden_size, np.float32)
    tensors["albert.pooler.weight"] = state["pooler.dense.weight"]
    tensors["albert.pooler.bias"] = state["pooler.dense.bias"]
    same = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act")
    more = ("max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id")
    numbers = {name: getattr(config, name) for name in (*same, *more)}
    groups = {"num_hidden_groups": config.num_hidden_layers, "embedding_size": config.hidden_size}
    (folder / "config.json").write_text(json.dumps({"model_type": "albert", **numbers, **groups}))
    save_file(tensors, folder / "model.safetensors")


def compare(folder: str) -> list[tuple[str, ErrorBound]]:
    """Error of every hidden state and of the pooler, ours and transformers', the worst of all texts."""
    bert = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    exact = BertModel.from_pretrained(folder, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as place:
        as_albert(bert, Path(place))
        ours = albert_fast.load(place)

    def run(model: Any, inputs: Any) -> list[Any]:
        with torch.no_grad():
            output = model(**inputs, output_hidden_states=True)
        return [*output.hidden_states, output.pooler_output]

    errors: list[list[tuple[float, float]]] = []
    for text in TEXTS:
        inputs = dict(tokenizer(text, return_tensors="pt", truncation=True, max_length=512))
        results = zip(run(ours, inputs), run(bert, inputs), run(exact, inputs), strict=True)
        errors.append([(rel_l2(mine, truth), rel_l2(theirs, truth)) for mine, theirs, truth in results])
    names = [*(f"hidden state {i}" for i in range(len(errors[0]) - 1)), "pooler"]
    return [
        (name, error_bound([e[0] for e in stage], [e[1] for e in stage], "float32"))
        for name, stage in zip(names, zip(*errors, strict=True), strict=True)
    ]


def main() -> None:
    """Prints the table."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows = compare(sys.argv[1])
    print("| stage | ours | transformers float32 | ratio |\n| --- | ---: | ---: | ---: |")
    for name, bound in rows:
        print(f"| {name} | {bound.ours:.2e} | {bound.pytorch:.2e} | {bound.ratio:.2f} |")
    if not all(bound.ok for _, bound in rows):
        sys.exit("an error is above twice transformers' own")


if __name__ == "__main__":
    main()
