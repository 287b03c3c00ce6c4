"""Models of albert_fast.nn as torch modules: copies, types, memory, dropout, optimizers; and inputs they refuse."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from nn_models import BASE, CLASSES, batch, ours, pair, results
from torch import nn

from albert_fast.errors import InvalidInputError
from albert_fast.nn import AlbertConfig, AlbertForMaskedLM, AlbertForSequenceClassification, AlbertModel
from albert_fast.training import LAYER_PARAMETERS, TrainingPolicy

torch.set_num_threads(1)


def assert_packed(model: Any) -> None:
    """The projections lie side by side, weights and biases, and everything else behind them."""
    for group in model.base_model.encoder.albert_layer_groups:
        for layer in group.albert_layers:
            parameters = {name: layer.get_parameter(name) for name in LAYER_PARAMETERS}
            ordered = sorted(parameters, key=lambda name: parameters[name].data_ptr())
            first = [f"attention.{part}.{kind}" for kind in ("weight", "bias") for part in ("query", "key", "value")]
            assert ordered[:6] == first
            for one, next_one in zip(ordered, ordered[1:], strict=False):
                end = parameters[one].data_ptr() + parameters[one].nbytes
                assert end == parameters[next_one].data_ptr()


def through_pickle(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


def through_torch(model: Any) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle, through_torch], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", CLASSES)
def test_copies(name: str, copied: Any) -> None:
    _, mine = pair(name, num_hidden_groups=2, inner_group_num=2)
    assert_packed(mine)
    other = copied(mine)
    assert_packed(other)
    assert other.config == mine.config
    assert len(list(other.parameters())) == len(list(mine.parameters()))  # tied ones still are
    inputs = batch(name)
    first, second = results(mine, inputs), results(other, inputs)
    assert all(torch.equal(first[key], second[key]) for key in first)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert all(parameter.any() for parameter in mine.parameters())


def test_a_pickle_is_as_large_as_the_parameters() -> None:
    model = AlbertModel(AlbertConfig(**BASE))
    size = sum(parameter.nbytes for parameter in model.parameters())
    for thing in (model, model.state_dict()):
        assert len(pickle.dumps(thing)) < 1.2 * size + 20_000


def test_types() -> None:
    _, mine = pair("AlbertForPreTraining")
    parameters = list(mine.parameters())
    assert mine.to(torch.float64) is mine
    assert mine.dtype == torch.float64
    assert_packed(mine)
    assert [id(p) for p in mine.parameters()] == [id(p) for p in parameters]
    assert mine.predictions.decoder.weight is mine.albert.embeddings.word_embeddings.weight
    assert mine.predictions.decoder.bias is mine.predictions.bias
    assert mine(**batch("AlbertForPreTraining")).loss.dtype == torch.float64
    mine.to("meta").to_empty(device="cpu")
    assert_packed(mine)


def test_shared_memory_stays_shared() -> None:
    _, mine = pair("AlbertModel")
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    mine.share_memory()
    assert all(parameter.is_shared() for parameter in mine.parameters())
    assert all(torch.equal(before[name], value) for name, value in mine.state_dict().items())


def test_optimizers_are_exchangeable() -> None:
    """A state of AdamW over transformers' model goes on over ours."""
    models = pair("AlbertForPreTraining")
    inputs = batch("AlbertForPreTraining")
    theirs, mine = (torch.optim.AdamW(model.parameters(), lr=1e-2) for model in models)
    models[0](**inputs).loss.backward()
    theirs.step()
    models[1].load_state_dict(models[0].state_dict())
    mine.load_state_dict(copy.deepcopy(theirs.state_dict()))
    for model, optimizer in zip(models, (theirs, mine), strict=True):
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()
    for name, parameter in models[0].named_parameters():
        if "key.bias" not in name:  # its gradient is zero but for rounding, which Adam makes steps of
            torch.testing.assert_close(models[1].get_parameter(name), parameter, atol=1e-4, rtol=1e-3)


def test_frozen_parts_get_no_gradients() -> None:
    _, mine = pair("AlbertForSequenceClassification")
    for parameter in mine.base_model.parameters():
        parameter.requires_grad = False
    mine(**batch("AlbertForSequenceClassification")).loss.backward()
    assert [n for n, p in mine.named_parameters() if p.grad is not None] == ["classifier.weight", "classifier.bias"]
    assert mine.num_parameters(only_trainable=True) == 48 * 2 + 2
    assert mine.num_parameters() - mine.num_parameters(exclude_embeddings=True) == 24 * (211 + 40 + 2)


DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")


@pytest.mark.parametrize("key", DROPOUTS)
def test_dropout_in_training_only(key: str) -> None:
    _, mine = pair("AlbertForSequenceClassification", **{key: 0.5})
    inputs = batch("AlbertForSequenceClassification")
    plain = pair("AlbertForSequenceClassification")[1](**inputs).logits
    assert torch.equal(mine.eval()(**inputs).logits, plain)
    mine.train()
    first, second = mine(**inputs).logits, mine(**inputs).logits
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    first = mine(**inputs).logits
    torch.manual_seed(3)
    assert torch.equal(mine(**inputs).logits, first)
    for module in mine.modules():  # how scripts switch dropout off
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert torch.equal(mine(**inputs).logits, plain)


def test_dropout_that_differs_between_layers_is_refused() -> None:
    _, mine = pair("AlbertModel", num_hidden_groups=2)
    mine.encoder.albert_layer_groups[0].albert_layers[0].attention.output_dropout.p = 0.5
    with pytest.raises(InvalidInputError, match=r"attention.output_dropout: got p = \[0.0, 0.5\]"):
        mine(**batch("AlbertModel"))


def test_policy() -> None:
    _, mine = pair("AlbertForMaskedLM")
    expected = results(mine, batch("AlbertForMaskedLM"))
    for policy in (TrainingPolicy(keep="all"), TrainingPolicy(keep=2, defer_bytes=0)):
        mine.zero_grad()
        mine.training_policy = policy
        assert mine.training_policy is mine.albert.training_policy is policy
        for key, value in results(mine, batch("AlbertForMaskedLM")).items():
            torch.testing.assert_close(value, expected[key], msg=key)


def test_autocast() -> None:
    _, mine = pair("AlbertForMaskedLM")
    inputs = batch("AlbertForMaskedLM")
    expected = mine(**inputs)
    with torch.autocast("cpu", torch.bfloat16):
        output = mine(**inputs)
    output.loss.backward()
    assert abs(output.loss - expected.loss) < 0.05
    assert (output.logits - expected.logits).abs().max() < 0.1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of Dynamo, about itself
def test_compiled() -> None:
    _, mine = pair("AlbertForMaskedLM")
    inputs = batch("AlbertForMaskedLM")
    expected = results(mine, inputs)
    mine.zero_grad()
    torch.compile(mine, backend="aot_eager")(**inputs).loss.backward()
    for name, parameter in mine.named_parameters():
        if parameter.ndim == 2:
            torch.testing.assert_close(parameter.grad, expected[f"gradient of {name}"], atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("size", [300, 100, 211])
@pytest.mark.parametrize("name", ["AlbertModel", "AlbertForMaskedLM"])
def test_resizing_the_vocabulary(name: str, size: int) -> None:
    _, mine = pair(name)
    before = mine.get_input_embeddings().weight.detach().clone()
    words = mine.resize_token_embeddings(size)
    kept = min(size, 211)
    assert words.weight.shape == (size, 24)
    assert torch.equal(words.weight[:kept], before[:kept])
    assert mine.config.vocab_size == size
    state = {key: value.clone() for key, value in mine.state_dict().items()}
    again = ours(name)(mine.config)
    again.load_state_dict(state)
    ids = torch.tensor([[size - 1, 5]])
    assert torch.equal(again.eval()(ids)[0], mine.eval()(ids)[0])
    if name == "AlbertForMaskedLM":
        assert mine(ids).logits.shape == (1, 2, size)
        assert mine.get_output_embeddings().weight is words.weight
        assert mine(ids, labels=ids).loss.isfinite()


def test_tying_again() -> None:
    _, mine = pair("AlbertForMaskedLM")
    mine.albert.set_input_embeddings(nn.Embedding(250, 24))
    assert mine.get_output_embeddings().weight is not mine.get_input_embeddings().weight
    mine.tie_weights()
    assert mine.get_output_embeddings().weight is mine.get_input_embeddings().weight


def test_replaced_and_hooked_layers_are_refused() -> None:
    class Adapter(nn.Linear):
        pass

    _, mine = pair("AlbertModel")
    attention = mine.encoder.albert_layer_groups[0].albert_layers[0].attention
    handle = attention.value.register_forward_hook(lambda *_: None)
    with pytest.raises(InvalidInputError, match=r"attention.value: has hooks"):
        mine(**batch("AlbertModel"))
    handle.remove()
    attention.query = Adapter(48, 48)
    with pytest.raises(InvalidInputError, match=r"attention.query: got a Adapter, expected torch's Linear"):
        mine(**batch("AlbertModel"))


IDS = torch.ones(2, 4, dtype=torch.long)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "input_ids and inputs_embeds: got neither"),
        ({"input_ids": IDS, "inputs_embeds": torch.ones(2, 4, 24)}, "got both"),
        (
            {"input_ids": IDS, "attention_mask": torch.ones(2, 1, 4, 4)},
            r"attention_mask: got \[2, 1, 4, 4\], expected \[",
        ),
        ({"input_ids": IDS, "attention_mask": torch.ones(2, 3)}, r"attention_mask: got \[2, 3\], expected \[2, 4\]"),
        ({"input_ids": IDS, "output_attentions": True}, "output_attentions: got True"),
        ({"input_ids": torch.ones(1, 41, dtype=torch.long)}, "got 41 tokens a row, expected at most 40"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_inputs(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        AlbertForSequenceClassification(AlbertConfig(**BASE))(**arguments)


def test_other_refusals() -> None:
    _, choices = pair("AlbertForMultipleChoice")
    with pytest.raises(InvalidInputError, match=r"got \[2, 4\], expected \[batch, choices, length\]"):
        choices(IDS)
    _, regression = pair("AlbertForSequenceClassification", num_labels=1)
    with pytest.raises(InvalidInputError, match=r"labels: got \[2, 3\], expected \[2, 1\]"):
        regression(IDS, labels=torch.ones(2, 3))
    with pytest.raises(InvalidInputError, match="num_labels: got 3, expected 2"):
        ours("AlbertForQuestionAnswering")(AlbertConfig(**BASE, num_labels=3))
    with pytest.raises(TypeError, match="head_mask"):
        AlbertForMaskedLM(AlbertConfig(**BASE))(IDS, head_mask=None)
