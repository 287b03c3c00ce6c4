"""Small pretraining runs: a text, a recipe, what they left."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

MODEL: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
TRAINING: dict[str, Any] = {
    "batch_size": 4,
    "accumulate": 2,
    "optimizer": "lamb",
    "learning_rate": 0.01,
    "warmup_steps": 3,
    "log_every": 4,
    "evaluate_every": 6,
    "save_every": 5,
}
WORDS = ("one", "layer", "runs", "again", "until", "the", "text", "is", "read", "twelve", "times")


def write_text(path: Path, documents: int, seed: int = 0) -> Path:
    """Documents of a few short sentences."""
    rng = random.Random(seed)
    sentences = [[" ".join(rng.choices(WORDS, k=rng.randrange(3, 9))) for _ in range(9)] for _ in range(documents)]
    path.write_text("\n\n".join("\n".join(document) for document in sentences) + "\n")
    return path


def write_recipe(path: Path, **training: Any) -> Path:
    """MODEL and TRAINING as a file, with other values in the latter."""
    tables = {"model": MODEL, "segments": {"max_seq_length": 40}, "training": {**TRAINING, **training}}
    lines = [f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in t.items()) for name, t in tables.items()]
    path.write_text("\n".join(lines))
    return path


def weights(folder: Path, *names: str) -> dict[str, bytes]:
    """The weights' files of a run's models."""
    return {name: (folder / name / "model.safetensors").read_bytes() for name in names or ("best", "final")}


def records(folder: Path) -> list[dict[str, Any]]:
    """A run's log without times."""
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [{key: value for key, value in record.items() if key != "tokens_per_second"} for record in lines]
