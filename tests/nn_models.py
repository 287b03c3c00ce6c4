"""Pairs of small models of one set of random weights, transformers' and ours, and batches for each class."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AlbertConfig as HfConfig

BASE: dict[str, Any] = {
    "vocab_size": 211,
    "embedding_size": 24,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 136,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout_prob": 0.0,
}
CLASSES = (
    "AlbertModel",
    "AlbertForPreTraining",
    "AlbertForMaskedLM",
    "AlbertForSequenceClassification",
    "AlbertForTokenClassification",
    "AlbertForQuestionAnswering",
    "AlbertForMultipleChoice",
)
B, S, CHOICES = 5, 19, 3
NAME = "AlbertForSequenceClassification"
"""What tests take that need any class."""


def ours(name: str) -> Any:
    """A class of ours by its name."""
    return getattr(importlib.import_module("albert_fast.nn"), name)


def randomise(model: nn.Module, seed: int) -> None:
    """Biases and LayerNorms are random too: zeros and ones would hide a wrong one."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            center = 1.0 if name.endswith("orm.weight") else 0.0
            parameter.copy_(center + 0.1 * torch.randn(parameter.shape, generator=rng))


def pair(name: str, seed: int = 0, dtype: torch.dtype = torch.float32, **change: Any) -> tuple[Any, Any]:
    """transformers' model and ours, in training mode, with equal weights."""
    config = HfConfig(**{**BASE, **change})
    theirs = getattr(transformers, name)(config)
    randomise(theirs, seed)
    mine = ours(name)(config)
    mine.load_state_dict(theirs.state_dict())
    return theirs.to(dtype).train(), mine.to(dtype).train()


def batch(name: str, seed: int = 0, *, padded: bool = True, **labels: Any) -> dict[str, Tensor]:
    """Inputs and labels of a class. Padding is on the right, and has no labels."""
    rng = torch.Generator().manual_seed(seed)
    rows = B * CHOICES if name == "AlbertForMultipleChoice" else B

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=rng)

    inputs = {"input_ids": integers(0, 211, rows, S), "token_type_ids": integers(0, 2, rows, S)}
    lengths = torch.cat([torch.tensor([S, 1]), integers(2, S + 1, rows - 2)])
    mask = (torch.arange(S) < lengths[:, None]).long()
    inputs["input_ids"][0, 1] = 0  # a token that is padding_idx, and attended
    if padded:
        inputs["attention_mask"] = mask
    if name == "AlbertForMultipleChoice":
        inputs = {key: value.view(B, CHOICES, S) for key, value in inputs.items()}
    return inputs | _labels(name, integers, mask if padded else torch.ones_like(mask)) | labels


def _labels(name: str, integers: Any, mask: Tensor) -> dict[str, Tensor]:
    chosen = (integers(0, 3, B, S) == 0) | (torch.arange(S) == 0)
    if name == "AlbertForQuestionAnswering":
        return {"start_positions": integers(0, S + 3, B), "end_positions": integers(0, S + 3, B)}
    if name in ("AlbertForPreTraining", "AlbertForMaskedLM"):
        labels = {"labels": torch.where(chosen & (mask == 1), integers(0, 211, B, S), -100)}
        return labels | ({"sentence_order_label": integers(0, 2, B)} if name == "AlbertForPreTraining" else {})
    if name == "AlbertForTokenClassification":
        return {"labels": torch.where(mask == 1, integers(0, 2, B, S), -100)}
    if name == "AlbertModel":
        return {}
    return {"labels": integers(0, CHOICES if name == "AlbertForMultipleChoice" else 2, B)}


def results(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The loss with every output where there is a token, and every gradient.

    What is small is measured together: of two numbers or three, PyTorch's error is small by luck now and then.
    """
    output = model(**inputs)
    mask = inputs.get("attention_mask")
    found = []
    for value in output.values():
        per_token = mask is not None and value.shape[:2] == mask.shape and mask.ndim == 2
        found.append(value[mask.bool()] if per_token else value)
    loss = output["loss"] if "loss" in output else sum((value * weights(value)).sum() for value in found)
    loss.backward()
    outputs = torch.cat([value.detach().flatten() for value in found])
    return {"outputs " + ", ".join(output): outputs} | gradients(model)


def weights(value: Tensor) -> Tensor:
    """Fixed numbers of a tensor's shape, to make a loss of an output."""
    return torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view(value.shape)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Of every matrix that has one, and of all vectors together (among them those of key.bias, which are zero but for
    rounding)."""
    found = {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    vectors = [name for name, gradient in found.items() if gradient.ndim == 1]
    joined = torch.cat([found.pop(name) for name in vectors])
    return found | {"gradients of " + ", ".join(vectors): joined}


def layer_of(model: Any) -> Any:
    """The one layer of a model with a head."""
    return model.albert.encoder.albert_layer_groups[0].albert_layers[0]


def assert_same_results(theirs: Any, mine: Any, name: str = NAME) -> None:
    """Outputs, losses and gradients of two models."""
    inputs = batch(name)
    expected, actual = results(theirs, inputs), results(mine, inputs)
    assert actual.keys() == expected.keys()
    for key, value in actual.items():
        torch.testing.assert_close(value, expected[key], atol=2e-5, rtol=1e-3, msg=key)


def assert_same_logits(theirs: Any, mine: Any) -> None:
    """Of two classifiers."""
    inputs = batch(NAME)
    torch.testing.assert_close(mine(**inputs).logits, theirs(**inputs).logits, atol=2e-5, rtol=1e-4)


def count_engine_calls(monkeypatch: Any) -> list[str]:
    """Who asks the engine, from now on."""
    from albert_fast.nn import modules

    calls: list[str] = []
    plain = modules.run_encoder

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(type(sys._getframe(1).f_locals["self"]).__name__)
        return plain(*args, **kwargs)

    monkeypatch.setattr(modules, "run_encoder", counted)
    return calls
