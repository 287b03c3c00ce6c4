"""Model.forward and forward_pretraining: transformers' numbers, names and shapes; and what is refused."""

from __future__ import annotations

import dataclasses
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import random_arrays, write_folder
from tolerance import assert_within_pytorch
from transformers import AlbertConfig as HfConfig
from transformers import AlbertForPreTraining

from albert_fast import load
from albert_fast.config import AlbertConfig
from albert_fast.errors import DeviceError, InvalidInputError, InvalidTypeError
from albert_fast.model import Model
from albert_fast.numbers import rel_l2

torch.set_num_threads(1)  # on shared cores, threads of models this small mostly wait for each other

BASE: dict[str, Any] = {
    "vocab_size": 211,
    "embedding_size": 24,
    "hidden_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 280,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
SHAPES = {
    "gelu_new": {"hidden_act": "gelu_new"},
    "gelu": {"hidden_act": "gelu"},
    "two_groups_of_two": {"num_hidden_groups": 2, "inner_group_num": 2},
    "three_groups_of_four_layers": {"num_hidden_groups": 3, "num_hidden_layers": 4},
    "head_128": {"hidden_size": 256, "num_attention_heads": 2},
    "head_64_e_equals_h": {"embedding_size": 128, "hidden_size": 128, "num_attention_heads": 2},
    "one_head_of_odd_size": {"hidden_size": 33, "num_attention_heads": 1},
}


def hf_model(seed: int, **change: Any) -> AlbertForPreTraining:
    """A transformers model whose biases and LayerNorms are random too: zeros would hide a wrong one."""
    torch.manual_seed(seed)
    model = AlbertForPreTraining(HfConfig(**{**BASE, **change})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(1.0 if name.endswith("orm.weight") else 0.0, 0.1)
            else:
                parameter.normal_(0.0, 0.08)
    return model


def batch(seed: int) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 211, (16, 70), generator=rng)
    lengths = torch.cat([torch.tensor([70, 1]), torch.randint(1, 71, (14,), generator=rng)])
    types = torch.randint(0, 2, ids.shape, generator=rng)
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(70) < lengths[:, None]).long(),
        "token_type_ids": types,
    }


def attended(output: Any, mask: torch.Tensor, states_per_iteration: int = 1) -> list[np.ndarray[Any, Any]]:
    """Every result where the mask is 1, as NumPy. transformers gives a state for every inner layer, we one for every
    iteration."""
    rows = [state[mask.bool()] for state in output.hidden_states[::states_per_iteration]]
    return [t.detach().numpy() for t in (*rows, output.prediction_logits[mask.bool()], output.sop_logits)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_transformers(shape: str) -> None:
    results: list[list[list[np.ndarray[Any, Any]]]] = [[], [], []]
    for seed in range(5):
        theirs = hf_model(seed, **SHAPES[shape])
        ours = load(theirs)
        inputs = batch(seed)
        mask = inputs["attention_mask"]
        mine = ours.forward_pretraining(**inputs, output_hidden_states=True)
        results[0].append(attended(mine, mask))
        inner = theirs.config.inner_group_num
        with torch.no_grad():
            results[1].append(attended(theirs(**inputs, output_hidden_states=True), mask, inner))
            results[2].append(attended(theirs.double()(**inputs, output_hidden_states=True), mask, inner))
        assert not mine.prediction_logits[~mask.bool()].any(), "rows of padding are zeros"
    for stage, (ours_, torch_, exact_) in enumerate(zip(*(zip(*r, strict=True) for r in results), strict=True)):
        assert_within_pytorch(ours_, torch_, exact_, "float32", what=f"{shape}, stage {stage}")


def test_names_shapes_and_tuples(tiny: Model) -> None:
    ids = np.arange(12).reshape(2, 6)
    output = tiny(ids, output_hidden_states=True)
    assert output.last_hidden_state.shape == (2, 6, 32)
    assert output.pooler_output.shape == (2, 32)
    assert len(output.hidden_states) == 4
    assert isinstance(output, tuple)
    assert output[0] is output.last_hidden_state is output["last_hidden_state"]
    assert list(output.keys()) == ["last_hidden_state", "pooler_output", "hidden_states"]
    assert output[2][-1] is output[0]
    plain = tiny.forward(ids, return_dict=False)
    assert type(plain) is tuple
    assert len(plain) == 2
    assert tiny(ids).hidden_states is None
    with pytest.raises(AttributeError):
        output.attentions  # noqa: B018, the access is the test
    copied = pickle.loads(pickle.dumps(output))
    np.testing.assert_array_equal(copied.pooler_output, output.pooler_output)


def test_arguments_that_scripts_pass_without_a_value(tiny: Model) -> None:
    ids = torch.arange(6).reshape(1, 6)
    expected = tiny(ids).last_hidden_state
    for mask in (torch.ones(1, 6, dtype=torch.bfloat16), torch.ones(1, 6, dtype=torch.float16), None):
        output = tiny(
            ids, mask, output_attentions=False, output_hidden_states=None, inputs_embeds=None, return_dict=None
        )
        assert torch.equal(output.last_hidden_state, expected)
    assert tiny.forward_pretraining(ids, output_attentions=None, return_dict=None).sop_logits.shape == (1, 2)
    for name, value in (("output_attentions", True), ("inputs_embeds", torch.ones(1, 6, 16))):
        for function in (tiny.forward, tiny.forward_pretraining):
            with pytest.raises(InvalidInputError, match=f"{name}: got .*, expected it to be left out"):
                function(ids, **{name: value})


def test_torch_in_torch_out_without_a_copy(tiny: Model) -> None:
    ids = torch.arange(6).reshape(1, 6)
    output = tiny(ids)
    assert isinstance(output.last_hidden_state, torch.Tensor)
    assert isinstance(output.pooler_output, torch.Tensor)
    np.testing.assert_array_equal(output.last_hidden_state.numpy(), tiny(ids.numpy()).last_hidden_state)
    np.testing.assert_array_equal(tiny(ids.tolist()).last_hidden_state, tiny(ids.numpy()).last_hidden_state)


def test_selected_positions_are_those_of_all(tiny: Model) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 100, (3, 20))
    mask = np.arange(20) < np.array([20, 7, 0])[:, None]
    chosen = mask & (rng.random(mask.shape) < 0.3)
    every = tiny.forward_pretraining(ids, mask)
    some = tiny.forward_pretraining(ids, mask, mlm_mask=chosen)
    assert 0 < chosen.sum() < mask.sum()
    np.testing.assert_array_equal(some.prediction_logits, every.prediction_logits[chosen])
    chosen[1, 9] = True
    with pytest.raises(InvalidInputError, match="mlm_mask: got True at row 1, column 9"):
        tiny.forward_pretraining(ids, mask, mlm_mask=chosen)
    with pytest.raises(InvalidInputError, match="mlm_mask: got int64"):
        tiny.forward_pretraining(ids, mask, mlm_mask=chosen.astype(np.int64))


def test_masked_first_token_and_empty_rows(tiny: Model) -> None:
    """The pooler reads the first attended token; a row without any is zeros everywhere."""
    ids = np.array([[9, 10, 11, 12], [9, 10, 11, 12]])
    mask = np.array([[0, 1, 1, 0], [0, 0, 0, 0]])
    output = tiny(ids, mask)
    alone = tiny(ids[:1, 1:3], position_ids=np.array([[1, 2]]))
    np.testing.assert_array_equal(output.pooler_output[0], alone.pooler_output[0])
    assert not output.pooler_output[1].any()
    assert not output.last_hidden_state[1].any()
    assert not tiny.forward_pretraining(ids, mask).sop_logits[1].any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[5, 99999]],), InvalidInputError, "input_ids"),
        (([[5, -3]],), InvalidInputError, "input_ids"),
        (([5, 6],), InvalidInputError, "input_ids"),
        ((np.zeros((1, 513), np.int64),), InvalidInputError, "input_ids.*512"),
        (([[0.5, 1.0]],), InvalidTypeError, "input_ids"),
        (("text",), (InvalidTypeError, InvalidInputError), "input_ids"),
        (([[5, 6]], [[1]]), InvalidInputError, "attention_mask"),
        (([[5, 6]], [[1, 2]]), InvalidInputError, "attention_mask"),
        (([[5, 6]], None, [[0, 2]]), InvalidInputError, "token_type_ids"),
        (([[5, 6]], None, None, [[0, 512]]), InvalidInputError, "position_ids"),
    ],
)
def test_bad_input_is_named(tiny: Model, arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        tiny(*arguments)


def test_missing_heads_are_named() -> None:
    model = load(hf_model(0).albert)
    assert (model.has_pooler, model.has_mlm_head, model.has_sop_head) == (True, False, False)
    with pytest.raises(InvalidInputError, match=r"lacks .*mlm False"):
        model.forward_pretraining([[5, 6]])
    with pytest.raises(InvalidInputError, match="no MLM head"):
        model.encoder.start(*(np.array(ints, np.int32) for ints in ([5], [0, 1]))).mlm_logits(np.zeros(1, np.int32))
    without_pooler = load(type(hf_model(0).albert)(HfConfig(**BASE), add_pooling_layer=False))
    assert without_pooler([[5, 6]]).pooler_output is None


def test_load_options_are_checked() -> None:
    with pytest.raises(InvalidInputError, match="dtype: got 'int4'"):
        load("random:tiny", dtype="int4")
    with pytest.raises(InvalidInputError, match="device: got 'tpu'"):
        load("random:tiny", device="tpu")
    with pytest.raises(DeviceError, match="device: got 'cuda'"):
        load("random:tiny", device="cuda")


def test_random_weights_say_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "albert_fast"):
        model = load("random:tiny")
    assert "random" in caplog.text
    assert model.is_random
    assert "random weights" in repr(model)


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_weights_are_the_only_rounding(shape: str) -> None:
    """On the CPU: the bits of a float32 model whose packed matrices were rounded before, heads included."""
    live = hf_model(3, **SHAPES[shape])
    model = load(live, device="cpu", dtype="bfloat16")
    assert (model.dtype, model.activations_dtype, model.features_dtype) == ("bfloat16", "float32", "float32")
    with torch.no_grad():
        for name, parameter in live.named_parameters():
            if parameter.ndim == 2 and "embeddings" not in name:
                parameter.copy_(parameter.bfloat16())
    rounded = load(live, device="cpu")
    state = model.state_dict()
    for name, tensor in rounded.state_dict().items():
        np.testing.assert_array_equal(state[name], tensor, name)
    inputs = batch(5)
    ours, expected = (m.forward_pretraining(**inputs) for m in (model, rounded))
    for name in ("prediction_logits", "sop_logits"):
        assert torch.equal(getattr(ours, name), getattr(expected, name)), name
    assert torch.equal(model.forward(**inputs).last_hidden_state, rounded.forward(**inputs).last_hidden_state)
    assert model.weights.nbytes < 0.8 * rounded.weights.nbytes


@pytest.mark.parametrize(("dtype", "size", "error"), [("int16", 0.6, 1e-3), ("int8", 0.4, 0.05)])
def test_integer_weights(dtype: str, size: float, error: float) -> None:
    """On the CPU: smaller, a little off, and saved as what they are multiplied as."""
    live = hf_model(3, hidden_size=192, intermediate_size=384)
    model, exact = load(live, device="cpu", dtype=dtype), load(live, device="cpu")
    assert (model.dtype, model.activations_dtype, model.features_dtype) == (dtype, "float32", "float32")
    matrices = [sum(slot.nbytes for slot in m.weights.layout.slots if slot.form == "packed") for m in (model, exact)]
    assert matrices[0] < size * matrices[1]
    inputs = batch(5)
    got, expected = (m.forward(**inputs).last_hidden_state.numpy() for m in (model, exact))
    assert 0 < rel_l2(got, expected) < error
    state, name = model.state_dict(), "albert.embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(state[name], exact.state_dict()[name])  # looked up, not multiplied by


@pytest.mark.parametrize("dtype", ["float16", "int4"])
def test_dtypes_the_cpu_has_no_kernels_for(dtype: str) -> None:
    with pytest.raises(InvalidInputError, match=f"dtype: got '{dtype}'"):
        load("random:tiny", device="cpu", dtype=dtype)


def test_float64_model_agrees_with_float32(tiny: Model) -> None:
    ids = np.arange(40).reshape(2, 20)
    exact = load("random:tiny", dtype="float64")(ids)
    assert exact.last_hidden_state.dtype == np.float64
    np.testing.assert_allclose(tiny(ids).last_hidden_state, exact.last_hidden_state, atol=2e-5)


def test_state_dict_comes_back_out_of_the_buffer() -> None:
    theirs = hf_model(0)
    state = load(theirs).state_dict()
    expected = {
        name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("predictions.decoder")
    }
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(state[name], tensor.numpy(), err_msg=name)


def test_tokenizer_of_a_live_model(tmp_path: Path, tiny: Model) -> None:
    model = load(hf_model(0))
    with pytest.raises(InvalidInputError, match="tokenizer"):
        _ = model.tokenizer
    assert load(hf_model(0), tokenizer=tiny.tokenizer).tokenizer is tiny.tokenizer
    tiny.tokenizer.save_pretrained(tmp_path)
    hf_model(0).save_pretrained(tmp_path)
    assert load(tmp_path).tokenizer.tokenize("hello") == tiny.tokenizer.tokenize("hello")
    assert load(tmp_path / "model.safetensors").tokenizer.tokenize("hello") == tiny.tokenizer.tokenize("hello")


@pytest.mark.parametrize(("rows", "says"), [(20984, None), (21100, None), (30000, "of another model"), (9, "refused")])
def test_a_tokenizer_of_another_size_is_told(
    tmp_path: Path, warned: pytest.LogCaptureFixture, tiny: Model, rows: int, says: str | None
) -> None:
    config = dataclasses.replace(AlbertConfig.preset("tiny"), vocab_size=rows)
    write_folder(tmp_path, random_arrays(config), config)
    tiny.tokenizer.save_pretrained(tmp_path)
    assert len(load(tmp_path).tokenizer) == 20984
    assert (says in warned.text) if says else (warned.text == "")
