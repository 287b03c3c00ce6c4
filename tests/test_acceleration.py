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
from albert_fast.acceleration import accelerate, restore
from albert_fast.errors import InvalidTypeError
from albert_fast.nn import AlbertModel, why_not
from albert_fast.nn.modules import AlbertTransformer
from albert_fast.nn.versions import RECORDS_BY_HOOKS
from albert_fast.training import TrainingPolicy

torch.set_num_threads(1)


def model(name: str = "AlbertForSequenceClassification", seed: int = 0, **change: Any) -> Any:
    return pair(name, seed, **change)[0]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_results_and_gradients_are_transformers_own(name: str, padded: bool, attention: str) -> None:
    found: dict[str, list[Any]] = {}
    for seed in range(3):
        inputs = batch(name, seed, padded=padded)
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
    encoder = hf.albert.encoder
    before = {name: id(parameter) for name, parameter in hf.named_parameters()}
    classes = {name: type(module) for name, module in hf.named_modules()}
    assert albert_fast.accelerate(hf) is hf
    assert isinstance(encoder, AlbertTransformer)
    assert isinstance(hf, transformers.AlbertForSequenceClassification)
    assert why_not(hf) is None
    assert {name: id(parameter) for name, parameter in hf.named_parameters()} == before
    assert list(hf.state_dict()) == list(model().state_dict())
    accelerate(hf, policy=TrainingPolicy(keep="all"))
    assert hf.albert.encoder is encoder
    assert encoder.policy.keep == "all"
    assert accelerate(hf).albert.encoder.policy.keep == "all"
    assert albert_fast.restore(hf) is hf
    assert {name: type(module) for name, module in hf.named_modules()} == classes
    assert {name: id(parameter) for name, parameter in restore(hf).named_parameters()} == before


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


def test_hidden_states_and_attentions() -> None:
    """Hidden states come layer by layer from the engine, attentions from transformers' own layers."""
    inputs = batch("AlbertModel")
    tokens = inputs["attention_mask"].bool()
    expected, actual = model("AlbertModel"), model("AlbertModel")
    if RECORDS_BY_HOOKS:  # as if no model of ours had been made yet
        from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY

        _CAN_RECORD_REGISTRY.pop(str(AlbertModel), None)
    accelerate(actual)
    for hf in (expected, actual):
        hf.set_attn_implementation("eager")
    first, second = (hf(**inputs, output_hidden_states=True) for hf in (expected, actual))
    assert list(first) == list(second)
    assert len(second.hidden_states) == 4
    for a, e in zip(second.hidden_states, first.hidden_states, strict=True):
        torch.testing.assert_close(a[tokens], e[tokens], atol=1e-5, rtol=1e-5)
    first, second = (hf(**inputs, output_attentions=True) for hf in (expected, actual))
    assert list(first) == list(second)
    for a, e in zip(second.attentions, first.attentions, strict=True):
        torch.testing.assert_close(a, e, atol=1e-6, rtol=1e-5)
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
        assert isinstance(hf.albert.encoder, AlbertTransformer)
        torch.testing.assert_close(other(**inputs).logits, expected)
    hf.double()
    assert hf(**inputs).logits.dtype == torch.float64


def test_inside_a_module_of_yours() -> None:
    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = model("AlbertModel"), model("AlbertModel", 1)

    mine = accelerate(Mine())
    assert isinstance(mine.left.encoder, AlbertTransformer)
    assert isinstance(mine.right.encoder, AlbertTransformer)


def test_masks() -> None:
    """Of padding, with holes, on the left, of all of a row: each gives what transformers gives."""
    for name in ("AlbertForTokenClassification", "AlbertForSequenceClassification"):
        hf, plain = accelerate(model(name)).eval(), model(name).eval()
        ids = batch(name)["input_ids"]
        masks = {"holes": torch.ones(B, S, dtype=torch.long)} | {k: torch.ones(B, S) for k in ("left", "none", "bool")}
        masks["holes"][:, 3:5] = 0
        masks["left"][1, :4] = 0
        masks["none"][2] = 0
        masks["bool"] = masks["holes"].bool()
        for attention in ("sdpa", "eager"):
            for one in (hf, plain):
                one.set_attn_implementation(attention)
            for kind, mask in masks.items():
                expected, actual = plain(ids, attention_mask=mask).logits, hf(ids, attention_mask=mask).logits
                where = mask.bool() if actual.ndim == 3 else slice(None)
                torch.testing.assert_close(actual[where], expected[where], atol=1e-5, rtol=1e-5, msg=f"{name}: {kind}")


@pytest.mark.skipif(not RECORDS_BY_HOOKS, reason="transformers takes masks of four dimensions since 5")
def test_masks_that_differ_between_queries() -> None:
    hf, plain = accelerate(model("AlbertForTokenClassification")), model("AlbertForTokenClassification")
    ids = batch("AlbertForTokenClassification")["input_ids"]
    lower = torch.ones(B, 1, S, S, dtype=torch.bool).tril()
    weighted = torch.full((B, 1, S, S), 0.5).tril()
    for mask in (lower, weighted):
        torch.testing.assert_close(hf(ids, attention_mask=mask).logits, plain(ids, attention_mask=mask).logits)


def test_what_the_engine_does_not_know_runs_all_the_same(warned: pytest.LogCaptureFixture) -> None:
    relu = {"hidden_act": "relu"}
    hf, plain = accelerate(model("AlbertForMaskedLM", **relu)), model("AlbertForMaskedLM", **relu)
    assert why_not(hf) == "activation is a ReLU"
    inputs = batch("AlbertForMaskedLM")
    for _ in range(2):
        torch.testing.assert_close(hf(**inputs).loss, plain(**inputs).loss)
    told = "transformers' own code runs instead of the engine, with the same result: activation is a ReLU"
    assert [record.message for record in warned.records] == [f"AlbertTransformer: {told}"]


def test_no_model_at_all() -> None:
    for wrong in (nn.Linear(2, 2), 3, transformers.BertConfig()):
        for function in (accelerate, restore):
            with pytest.raises(InvalidTypeError, match=r"^model: got"):
                function(wrong)


def test_a_class_of_yours_keeps_its_code() -> None:
    class Mine(transformers.AlbertForSequenceClassification):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return super().forward(*args, **kwargs).logits * 2

    torch.manual_seed(0)
    mine = Mine(transformers.AlbertConfig(**BASE))
    inputs = batch("AlbertForSequenceClassification")
    expected = mine(**inputs)
    assert type(accelerate(mine)) is Mine
    assert isinstance(mine.albert.encoder, AlbertTransformer)
    torch.testing.assert_close(mine(**inputs), expected, atol=1e-5, rtol=1e-5)
