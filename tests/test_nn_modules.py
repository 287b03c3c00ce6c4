"""Models of albert_fast.nn as torch modules: copies, types, memory, dropout, optimizers, habits of scripts."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from nn_models import BASE, CLASSES, batch, ours, pair, results
from torch import nn

from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.nn import AlbertConfig, AlbertForSequenceClassification, AlbertModel, AlbertPreTrainedModel
from albert_fast.nn.versions import RECORDS_BY_HOOKS
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
    _, mine = pair(name, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2)
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


def test_loaded_parameters_share_a_buffer(tmp_path: Path) -> None:
    _, mine = pair("AlbertForMaskedLM", num_hidden_groups=2)
    mine.save_pretrained(tmp_path)
    assert_packed(type(mine).from_pretrained(tmp_path))
    assert_packed(type(mine).from_pretrained(mine))


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


def test_constructors_of_old_scripts(tmp_path: Path) -> None:
    """``init_weights()`` was how they ended, before ``post_init()``."""

    class Mine(AlbertPreTrainedModel):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.albert = AlbertModel(config)
            self.scores = nn.Linear(config.hidden_size, 3)
            self.init_weights()

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.scores(self.albert(input_ids)[1])

    mine = Mine(AlbertConfig(**BASE))
    ids = torch.randint(5, 211, (2, 7))
    mine(ids).sum().backward()
    assert_packed(mine)
    mine.save_pretrained(tmp_path)
    assert torch.equal(Mine.from_pretrained(tmp_path)(ids), mine.eval()(ids))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # about the method's new name
def test_gradient_checkpointing_is_accepted() -> None:
    """The engine computes again in any case; where transformers' code runs, it is what was asked for."""
    for change in ({}, {"hidden_act": "relu"}):
        theirs, mine = pair("AlbertForSequenceClassification", **change)
        inputs = batch("AlbertForSequenceClassification")
        mine.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        expected = results(theirs, inputs)
        for key, value in results(mine, inputs).items():
            torch.testing.assert_close(value, expected[key], atol=1e-4, rtol=1e-3, msg=key)
        mine.gradient_checkpointing_disable()
        assert not mine.is_gradient_checkpointing


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Passing `gradient_checkpointing`:UserWarning")
def test_a_configuration_that_asks_for_checkpointing() -> None:
    """As those that were saved before 4.11 did."""
    config = AlbertConfig(**BASE, gradient_checkpointing=True)
    model = AlbertForSequenceClassification(config).train()
    assert model.is_gradient_checkpointing
    assert_packed(model)
    model(**batch("AlbertForSequenceClassification")).loss.backward()


def test_more_tokens_than_positions() -> None:
    told = "got 41 tokens a row, expected at most 40" if RECORDS_BY_HOOKS else "must match the existing size"
    with pytest.raises((InvalidInputError, RuntimeError), match=told):  # 4.57 stumbles over its token types first
        AlbertForSequenceClassification(AlbertConfig(**BASE))(torch.ones(1, 41, dtype=torch.long))


def test_a_policy_that_is_none() -> None:
    _, mine = pair("AlbertModel")
    with pytest.raises(InvalidTypeError, match="training_policy: got float"):
        mine.training_policy = 0.5
    mine.training_policy = "all"
    assert mine.encoder.policy == TrainingPolicy("all")
