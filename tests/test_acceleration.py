"""accelerate and restore: a live transformers model before, with and after our encoder."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from nn_models import BASE, CLASSES, B, S, batch, pair, results
from tolerance import GRADIENT, assert_within_pytorch
from torch import nn

import albert_fast
from albert_fast.acceleration import AcceleratedEncoder, accelerate, restore
from albert_fast.errors import ConfigError, InvalidInputError, InvalidTypeError
from albert_fast.training import TrainingPolicy

torch.set_num_threads(1)


def model(name: str = "AlbertForSequenceClassification", seed: int = 0, **change: Any) -> Any:
    return pair(name, seed, **change)[0]


def encoder_of(hf: Any) -> nn.Module:
    return getattr(hf, "albert", hf).encoder


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_results_and_gradients_are_transformers_own(name: str, padded: bool, attention: str) -> None:
    found: dict[str, list[Any]] = {}
    for seed in range(3):
        # Where there is padding, heads over tokens see zeros: only what lies on tokens can be compared.
        inputs = batch(name, seed, padded=padded and name != "AlbertForQuestionAnswering")
        runs = []
        for change in ("accelerate", "none", "exact"):
            hf = model(name, seed, num_hidden_groups=2)
            hf.set_attn_implementation(attention)
            hf = accelerate(hf) if change == "accelerate" else hf.double() if change == "exact" else hf
            runs.append(results(hf, inputs))
        for key, exact in runs[2].items():
            found.setdefault(key, []).append([runs[0][key].numpy(), runs[1][key].numpy(), exact.numpy()])
    for key, rows in found.items():
        assert_within_pytorch(*zip(*rows, strict=True), "float32", GRADIENT, f"{name}: {key}")  # type: ignore[arg-type]


def test_parameters_stay_the_same_objects() -> None:
    hf = model()
    original = hf.albert.encoder
    before = {name: id(parameter) for name, parameter in hf.named_parameters()}
    assert albert_fast.accelerate(hf) is hf
    assert isinstance(hf.albert.encoder, AcceleratedEncoder)
    assert {name: id(parameter) for name, parameter in hf.named_parameters()} == before
    assert list(hf.state_dict()) == list(model().state_dict())
    accelerated = hf.albert.encoder
    assert accelerate(hf).albert.encoder is accelerated
    accelerate(hf, policy=TrainingPolicy(keep="all"))
    assert hf.albert.encoder is accelerated
    assert accelerated.policy.keep == "all"
    hf.eval()
    assert albert_fast.restore(hf) is hf
    assert hf.albert.encoder is original
    assert not original.training
    assert restore(hf).albert.encoder is original
    assert {name: id(parameter) for name, parameter in hf.named_parameters()} == before


def test_an_optimizer_goes_on() -> None:
    """Steps before, during and after acceleration are those of a model that was never touched."""
    inputs = batch("AlbertForSequenceClassification")
    ends = []
    for touched in (True, False):
        hf = model()
        optimizer = torch.optim.SGD(hf.parameters(), lr=0.05, momentum=0.9)
        for step in range(6):
            if touched and step == 2:
                accelerate(hf)
            if touched and step == 4:
                restore(hf)
            optimizer.zero_grad()
            hf(**inputs).loss.backward()
            optimizer.step()
        ends.append({name: parameter.detach() for name, parameter in hf.named_parameters()})
    for name, expected in ends[1].items():
        torch.testing.assert_close(ends[0][name], expected, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("key", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_in_training_only(key: str) -> None:
    hf = accelerate(model("AlbertForTokenClassification", **{key: 0.5}))
    inputs = batch("AlbertForTokenClassification")
    plain = accelerate(model("AlbertForTokenClassification"))(**inputs).logits
    assert not torch.equal(hf(**inputs).logits, hf(**inputs).logits)
    assert torch.equal(hf.eval()(**inputs).logits, plain)


def test_hidden_states_and_attentions_are_recorded_by_transformers() -> None:
    inputs = batch("AlbertModel")
    for options in ({"output_hidden_states": True}, {"output_attentions": True}):
        expected, actual = model("AlbertModel"), accelerate(model("AlbertModel"))
        for hf in (expected, actual):
            hf.set_attn_implementation("eager")
        first, second = expected(**inputs, **options), actual(**inputs, **options)
        assert list(first) == list(second)
        for a, e in zip(second[-1], first[-1], strict=True):
            assert torch.equal(a, e)
        assert actual(**inputs).hidden_states is None
        actual.config.output_hidden_states = True
        assert len(actual(**inputs).hidden_states) == 4


def test_files_and_copies(tmp_path: Path) -> None:
    hf = accelerate(model())
    hf.save_pretrained(tmp_path)
    again = transformers.AlbertForSequenceClassification.from_pretrained(tmp_path)
    inputs = batch("AlbertForSequenceClassification")
    expected = hf(**inputs).logits
    torch.testing.assert_close(again(**inputs).logits, expected)
    for other in (copy.deepcopy(hf), pickle.loads(pickle.dumps(hf))):
        assert torch.equal(other(**inputs).logits, expected)
        restore(other)
        assert isinstance(hf.albert.encoder, AcceleratedEncoder)
        torch.testing.assert_close(other(**inputs).logits, expected)
    hf.double()
    assert hf(**inputs).logits.dtype == torch.float64


def test_inside_a_module_of_yours() -> None:
    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = model("AlbertModel"), model("AlbertModel", 1)

    mine = accelerate(Mine())
    assert isinstance(mine.left.encoder, AcceleratedEncoder)
    assert isinstance(mine.right.encoder, AcceleratedEncoder)


def test_masks() -> None:
    hf = model("AlbertForTokenClassification")
    ids = batch("AlbertForTokenClassification")["input_ids"]
    lower = torch.ones(B, 1, S, S, dtype=torch.bool).tril()
    additive = torch.zeros(B, 1, S, S).masked_fill(~lower, torch.finfo(torch.float32).min)
    holes = torch.ones(B, S, dtype=torch.long)
    holes[:, 3:5] = 0
    for attention in ("sdpa", "eager"):
        hf.set_attn_implementation(attention)
        expected = restore(hf)(ids, attention_mask=holes).logits[holes == 1]
        torch.testing.assert_close(accelerate(hf)(ids, attention_mask=holes).logits[holes == 1], expected)
        for mask in (lower, additive, torch.full((B, 1, S, S), 0.5)):
            with pytest.raises(InvalidInputError, match="differ between queries or heads, or are not a mask"):
                hf(ids, attention_mask=mask)


def test_padding_on_the_left() -> None:
    mask = torch.ones(B, S, dtype=torch.long)
    mask[1, :4] = 0
    ids = batch("AlbertForTokenClassification")["input_ids"]
    accelerate(model("AlbertForTokenClassification"))(ids, attention_mask=mask)
    with pytest.raises(InvalidInputError, match="begins with padding"):
        accelerate(model())(ids, attention_mask=mask)


class Wide(nn.Linear):
    pass


def test_refusals() -> None:
    for wrong in (nn.Linear(2, 2), 3, pair("AlbertModel")[1]):
        for function in (accelerate, restore):
            with pytest.raises(InvalidTypeError, match=r"^model: got"):
                function(wrong)
    relu = transformers.AlbertForMaskedLM(transformers.AlbertConfig(**BASE, hidden_act="relu"))
    with pytest.raises(ConfigError, match="hidden_act"):
        accelerate(relu)
    adapted = model()
    adapted.albert.encoder.albert_layer_groups[0].albert_layers[0].attention.query = Wide(48, 48)
    with pytest.raises(InvalidInputError, match=r"attention.query: got a Wide"):
        accelerate(adapted)
    for hf in (relu, adapted):
        assert not isinstance(encoder_of(hf), AcceleratedEncoder)
    other = accelerate(model())
    other.config._attn_implementation = "of_mine"
    with pytest.raises(InvalidInputError, match="attn_implementation: got 'of_mine'"):
        other(**batch("AlbertForSequenceClassification"))
