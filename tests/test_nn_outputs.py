"""Outputs of albert_fast.nn: ways to reach a field, and logits that wait until they are read."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import pytest
import torch
from nn_models import batch, pair
from tolerance import rel_l2
from transformers.modeling_outputs import MaskedLMOutput

from albert_fast.errors import InvalidInputError
from albert_fast.nn import pretraining
from albert_fast.nn.outputs import LazyMaskedLMOutput

torch.set_num_threads(1)

PRETRAINING = {"AlbertForMaskedLM": "logits", "AlbertForPreTraining": "prediction_logits"}


class Counter:
    """How often the decoder of a model ran, and on how many rows."""

    def __init__(self, model: Any) -> None:
        self.rows: list[int] = []
        plain = type(model.predictions).forward

        def forward(head: Any, hidden: torch.Tensor) -> torch.Tensor:
            self.rows.append(hidden.numel() // 48)
            return plain(head, hidden)

        model.predictions.__class__ = type("Counted", (type(model.predictions),), {"forward": forward})


@pytest.mark.parametrize("name", PRETRAINING)
def test_a_training_step_makes_no_logits(name: str) -> None:
    theirs, mine = pair(name)
    inputs = batch(name)
    counter = Counter(mine)
    output = mine(**inputs)
    output.loss.backward()
    assert output[0] is output["loss"] is output.loss
    assert "loss=" in repr(output)
    assert list(output) == list(theirs(**inputs))
    assert counter.rows == []
    logits = output[PRETRAINING[name]]
    assert counter.rows == [inputs["input_ids"].numel()]
    assert logits is output[1] is getattr(output, PRETRAINING[name]) is output.to_tuple()[1]
    assert len(counter.rows) == 1
    mask = inputs["attention_mask"].bool()
    assert rel_l2(logits[mask].detach(), theirs(**inputs)[1][mask].detach()) < 1e-5


def test_the_loss_is_made_of_the_labelled_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    _, mine = pair("AlbertForMaskedLM")
    inputs = batch("AlbertForMaskedLM")
    rows = []
    plain = pretraining.masked_lm_loss
    monkeypatch.setattr(
        pretraining, "masked_lm_loss", lambda hidden, *rest: rows.append(len(hidden)) or plain(hidden, *rest)
    )
    mine(**inputs)
    assert rows == [int((inputs["labels"] != -100).sum())]


@pytest.mark.parametrize("name", PRETRAINING)
@pytest.mark.parametrize(
    "read",
    [
        dict,
        lambda output: {**output},
        lambda output: dict(output.items()),
        lambda output: dict(zip(output, output.values(), strict=True)),
        lambda output: dict(zip(output.keys(), output.to_tuple(), strict=True)),
        lambda output: dict(zip(output, output[:], strict=True)),
        lambda output: output.copy(),
        lambda output: type(output)(output),
    ],
)
def test_nothing_lazy_gets_out(name: str, read: Any) -> None:
    _, mine = pair(name)
    with torch.no_grad():
        found = read(mine(**batch(name)))
        again = pickle.loads(pickle.dumps(mine(**batch(name))))
    assert all(isinstance(value, torch.Tensor) for value in found.values())
    assert list(found) == list(again)
    assert all(torch.equal(found[key], again[key]) for key in found)


def test_lazy_logits_have_gradients_where_the_forward_pass_recorded_them() -> None:
    theirs, mine = pair("AlbertForMaskedLM")
    inputs = batch("AlbertForMaskedLM")
    mask = inputs["attention_mask"].bool()
    output = mine(**inputs)
    with torch.no_grad():
        logits = output.logits
    (output.loss + (logits[mask] ** 2).mean()).backward()
    expected = theirs(**inputs)
    (expected.loss + (expected.logits[mask] ** 2).mean()).backward()
    for name, parameter in theirs.named_parameters():
        assert rel_l2(mine.get_parameter(name).grad, parameter.grad) < 1e-3 or "key.bias" in name, name
    with torch.no_grad():
        output = mine(**inputs)
    assert not output.logits.requires_grad


def test_logits_read_after_a_step_come_with_a_warning() -> None:
    _, mine = pair("AlbertForMaskedLM")
    optimizer = torch.optim.SGD(mine.parameters(), lr=0.1)
    output = mine(**batch("AlbertForMaskedLM"))
    output.loss.backward()
    optimizer.step()
    with pytest.warns(UserWarning, match="read them before optimizer"):
        _ = output.logits
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _ = output.logits  # kept


def test_without_labels_or_as_a_tuple_logits_are_there_at_once() -> None:
    _, mine = pair("AlbertForMaskedLM")
    counter = Counter(mine)
    inputs = batch("AlbertForMaskedLM")
    labels = inputs.pop("labels")
    assert mine(**inputs).loss is None
    assert len(counter.rows) == 1
    mine(**inputs, labels=labels, return_dict=False)
    assert len(counter.rows) == 2


def test_one_kind_of_label_makes_no_loss() -> None:
    _, mine = pair("AlbertForPreTraining")
    for key in ("labels", "sentence_order_label"):
        inputs = batch("AlbertForPreTraining")
        del inputs[key]
        assert mine(**inputs).loss is None


def test_fields() -> None:
    output = LazyMaskedLMOutput(logits=torch.ones(2))
    assert output.loss is None
    assert "loss" not in output
    assert output.get("loss", 3) == 3
    assert list(output.keys()) == ["logits"]
    assert output[0] is output[-1] is output["logits"]
    assert isinstance(output, MaskedLMOutput)
    output["loss"] = torch.zeros(())
    assert output["loss"] is output.loss
    with pytest.raises(KeyError):
        _ = output["hidden_states"]
    with pytest.raises(IndexError):
        _ = output[5]
    leaves, _ = torch.utils._pytree.tree_flatten(output)  # as DDP finds the tensors of an output
    assert len(leaves) == 2


def test_labels_of_another_shape() -> None:
    _, mine = pair("AlbertForMaskedLM")
    inputs = batch("AlbertForMaskedLM")
    inputs["labels"] = inputs["labels"].flatten()
    with pytest.raises(InvalidInputError, match=r"labels: got \[95\], expected \[5, 19\]"):
        mine(**inputs)
