"""Small random checkpoints of transformers' classes for pipelines, and how results are compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from nn_models import BASE, randomise

import albert_fast
from albert_fast.tokenizer import AlbertTokenizer

VOCABULARY = Path(albert_fast.__file__).parent / "data" / "spiece.model"
TEXTS = [
    "Hugging Face is a company based in New York.",
    "Wolfgang lives, they say, in Berlin!",
    "Yes.",
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness.",
]
TOLERANCE = 1e-4
Make = Callable[..., tuple[str, Any]]


def maker(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A function that gives a folder with a small random model of transformers' class, and that model."""
    made: dict[tuple[Any, ...], tuple[str, Any]] = {}

    def of(name: str, **settings: Any) -> tuple[str, Any]:
        key = (name, repr(sorted(settings.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp(name)
            size = AlbertTokenizer.from_pretrained("random:albert-base-v2").vocab_size
            changes = {"vocab_size": size, "max_position_embeddings": 128, **settings}
            model = getattr(transformers, name)(transformers.AlbertConfig(**{**BASE, **changes}))
            randomise(model, seed=1)
            with torch.no_grad():  # logits that tell classes apart
                for parameter_name, parameter in model.named_parameters():
                    if parameter_name.startswith(("classifier.weight", "qa_outputs.weight", "predictions.decoder")):
                        parameter.mul_(8)
            model.config.label2id = {label: i for i, label in model.config.id2label.items()}
            model.eval().save_pretrained(folder)
            shutil.copy(VOCABULARY, folder / "spiece.model")
            made[key] = (str(folder), getattr(transformers, name).from_pretrained(folder))
        return made[key]

    return of


def assert_equal(ours: Any, expected: Any, where: str = "result") -> None:
    """Equal structure, texts and integers; numbers within TOLERANCE."""
    if isinstance(expected, dict):
        assert ours.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_equal(ours[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(ours) == len(expected), where
        for i, value in enumerate(expected):
            assert_equal(ours[i], value, f"{where}[{i}]")
    elif isinstance(expected, (float, np.floating)):
        assert ours == pytest.approx(float(expected), abs=TOLERANCE), where
    else:
        assert ours == expected, where
