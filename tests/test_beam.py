"""ALBERT's head for SQuAD 2.0 beside transformers' modules of XLNet, whose head it is, on transformers' ALBERT; in
float64, so that only the order of sums differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from beam_twin import BeamTwin
from nn_models import BASE, batch, randomise
from pipeline_models import VOCABULARY
from safetensors.numpy import load_file, save_file
from torch import Tensor
from transformers.models.xlnet import modeling_xlnet as xlnet

import albert_fast
from albert_fast.errors import CheckpointError, ConfigError, InvalidInputError
from albert_fast.nn import AlbertForBeamQuestionAnswering
from albert_fast.pipelines.beam import BeamHead

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(scope="module")
def models() -> tuple[BeamTwin, AlbertForBeamQuestionAnswering]:
    config = transformers.AlbertConfig(**BASE)
    theirs = BeamTwin(config)
    randomise(theirs, seed=3)
    ours = AlbertForBeamQuestionAnswering(config)
    missing = ours.load_state_dict(theirs.state_dict())
    assert not missing.missing_keys
    assert not missing.unexpected_keys
    return theirs.double().train(), ours.double().train()


def inputs_and_mask() -> tuple[dict[str, Tensor], Tensor]:
    """A padded batch, and where no answer may be: padding, and a question of three tokens."""
    inputs = {k: v for k, v in batch("AlbertModel").items() if k in ("input_ids", "token_type_ids", "attention_mask")}
    p_mask = (inputs["attention_mask"] == 0).double()
    p_mask[:, 1:4] = 1
    return inputs, p_mask


def test_loss_and_gradients(models: tuple[BeamTwin, Any]) -> None:
    theirs, ours = models
    inputs, p_mask = inputs_and_mask()
    starts, ends, none = torch.tensor([5, 0, 0, 0, 0]), torch.tensor([9, 0, 0, 0, 0]), torch.tensor([0, 1, 1, 1, 1])
    expected = theirs.loss(inputs, p_mask, starts, ends, none, torch.zeros_like(starts))
    theirs.zero_grad()
    expected.backward()
    for mask in (p_mask, p_mask.long(), -100 * p_mask):
        ours.zero_grad()
        output = ours(**inputs, start_positions=starts, end_positions=ends[:, None], is_impossible=none, p_mask=mask)
        assert list(output) == ["loss"]
        output.loss.backward()
        torch.testing.assert_close(output.loss, expected, **CLOSE)
        for (name, parameter), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, other.grad, msg=lambda m, n=name: f"{n}: {m}", **CLOSE)
    without = ours(**inputs, start_positions=starts, end_positions=ends, p_mask=p_mask).loss
    assert without < expected, "the class has a loss of its own"


def test_cls_index(models: tuple[BeamTwin, Any]) -> None:
    """The state beside the start's, in training and without labels; nothing else."""
    theirs, ours = models
    inputs, p_mask = inputs_and_mask()
    starts, none, cls = torch.tensor([5, 0, 0, 0, 0]), torch.tensor([0, 1, 1, 1, 1]), torch.tensor([3, 0, 1, 0, 0])
    expected = theirs.loss(inputs, p_mask, starts, starts, none, cls)
    theirs.zero_grad()
    expected.backward()
    labels = {"start_positions": starts, "end_positions": starts, "is_impossible": none}
    loss = ours(**inputs, **labels, p_mask=p_mask, cls_index=cls[:, None]).loss
    ours.zero_grad()
    loss.backward()
    torch.testing.assert_close(loss, expected, **CLOSE)
    for (name, parameter), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, msg=lambda m, n=name: f"{n}: {m}", **CLOSE)
    with torch.no_grad():
        at_zero, elsewhere = ours(**inputs, p_mask=p_mask), ours(**inputs, p_mask=p_mask, cls_index=cls)
    assert ((at_zero.cls_logits == elsewhere.cls_logits) == (cls == 0)).all()
    assert torch.equal(at_zero.end_top_index, elsewhere.end_top_index)


def test_answers_that_were_cut_off_are_ignored(models: tuple[BeamTwin, Any]) -> None:
    _, ours = models
    inputs, p_mask = inputs_and_mask()
    two = {name: tensor[[0, 0]] for name, tensor in inputs.items()}
    length = two["input_ids"].shape[1]
    starts, ends = torch.tensor([5, length + 7]), torch.tensor([9, length])
    both = ours(**two, start_positions=starts, end_positions=ends, p_mask=p_mask[[0, 0]]).loss
    alone = ours(
        **{name: tensor[:1] for name, tensor in two.items()},
        start_positions=starts[:1],
        end_positions=ends[:1],
        p_mask=p_mask[:1],
    ).loss
    torch.testing.assert_close(both, alone, **CLOSE)


@torch.no_grad()
def test_padding_counts_as_masked(models: tuple[BeamTwin, Any]) -> None:
    _, ours = models
    inputs, _ = inputs_and_mask()
    padding = inputs["attention_mask"] == 0
    zeros = torch.zeros(5, dtype=torch.long)
    for labels in ({}, {"start_positions": zeros, "end_positions": zeros, "is_impossible": zeros + 1}):
        expected = ours(**inputs, **labels, p_mask=padding)
        for p_mask in (None, torch.zeros_like(padding)):
            output = ours(**inputs, **labels, p_mask=p_mask)
            for name, value in output.items():
                torch.testing.assert_close(value, expected[name], msg=name, **CLOSE)


@torch.no_grad()
def test_the_beam(models: tuple[BeamTwin, Any]) -> None:
    """Row by row, start by start, from transformers' modules; in transformers' order, the best end of every start
    first."""
    theirs, ours = models
    inputs, p_mask = inputs_and_mask()
    output = ours(**inputs, p_mask=p_mask)
    hidden = theirs.albert(**inputs).last_hidden_state
    assert output.end_top_index.shape == output.end_top_log_probs.shape == (5, 5 * 5)
    plain = ours(**inputs, p_mask=p_mask, return_dict=False)
    for value, (name, other) in zip(plain, output.items(), strict=True):
        torch.testing.assert_close(value, other, msg=name, **CLOSE)
    assert list(output) == [
        field
        for field in xlnet.XLNetForQuestionAnsweringOutput.__dataclass_fields__
        if field.startswith(("start", "end", "cls"))
    ]
    for row in range(5):
        one, mask = hidden[row : row + 1], p_mask[row : row + 1]
        allowed = int((mask == 0).sum())
        starts, ends, logit = theirs.beam(one, mask, min(5, allowed))
        torch.testing.assert_close(output.start_top_log_probs[row, :allowed], starts.values, **CLOSE)
        assert output.start_top_index[row, :allowed].tolist() == starts.indices.tolist()
        for i, of_start in enumerate(ends):
            torch.testing.assert_close(output.end_top_log_probs[row, i::5][:allowed], of_start.values, **CLOSE)
            assert output.end_top_index[row, i::5][:allowed].tolist() == of_start.indices.tolist()
        torch.testing.assert_close(output.cls_logits[row : row + 1], logit, **CLOSE)


def saved_in(folder: Path, **change: Any) -> AlbertForBeamQuestionAnswering:
    """A random model, in files that the engine loads."""
    size = albert_fast.AlbertTokenizer.from_pretrained("random:tiny").vocab_size
    model = AlbertForBeamQuestionAnswering(
        transformers.AlbertConfig(**{**BASE, "vocab_size": size, "layer_norm_eps": 1e-3, **change})
    )
    randomise(model, seed=4)
    model.save_pretrained(folder)
    shutil.copy(VOCABULARY, folder / "spiece.model")
    return model


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved = saved_in(tmp_path, start_n_top=3)
    again, info = AlbertForBeamQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), again.parameters(), strict=True))
    assert (again.start_n_top, again.end_n_top) == (3, 5)
    kept = json.loads((tmp_path / "config.json").read_text())
    assert (kept["start_n_top"], kept["end_n_top"]) == (3, 5)
    assert AlbertForBeamQuestionAnswering.from_pretrained(tmp_path, end_n_top=2).end_n_top == 2


@torch.no_grad()
@pytest.mark.parametrize("length", [20, 2])
def test_a_saved_model_answers_the_same_with_and_without_torch(tmp_path: Path, length: int) -> None:
    """With few tokens there are fewer starts and ends than the configuration keeps."""
    saved_in(tmp_path, start_n_top=3, end_n_top=4)
    again = AlbertForBeamQuestionAnswering.from_pretrained(tmp_path)
    model = albert_fast.load(tmp_path)
    head = BeamHead.of(model, "test")
    ids = torch.randint(5, model.config.vocab_size, (1, length), generator=torch.Generator().manual_seed(0))
    allowed = np.arange(length) % 5 != 2
    expected = again(input_ids=ids, p_mask=torch.tensor(~allowed)[None])
    beam = head(model(input_ids=ids).last_hidden_state[0].numpy(), allowed)
    assert beam.start_index.tolist() == expected.start_top_index[0].tolist()
    n, m = min(3, length), min(4, length)
    assert (beam.start_index.shape, beam.end_index.shape) == ((n,), (n, m))
    assert beam.end_index.tolist() == expected.end_top_index.view(m, n).T.tolist()
    np.testing.assert_allclose(beam.start_log_probs, expected.start_top_log_probs[0], atol=1e-5)
    np.testing.assert_allclose(beam.end_log_probs, expected.end_top_log_probs.view(m, n).T, atol=1e-5)
    assert beam.cls_logit == pytest.approx(float(expected.cls_logits[0]), abs=1e-5)


def test_arguments_that_cannot_be_are_refused(models: tuple[BeamTwin, Any]) -> None:
    _, ours = models
    inputs, p_mask = inputs_and_mask()
    one, five = torch.zeros(1, dtype=torch.long), torch.zeros(5, dtype=torch.long)
    positions = {"start_positions": five, "end_positions": five}
    with pytest.raises(InvalidInputError, match=r"p_mask: got \[5, 18\], expected \[5, 19\], as the hidden states"):
        ours(**inputs, p_mask=p_mask[:, 1:])
    with pytest.raises(InvalidInputError, match=r"cls_index: got \[1\], expected \[5\], a number for each text"):
        ours(**inputs, cls_index=one)
    for outside in (-1, 19):
        places = rf"cls_index: got \[{outside}, {outside}.*\], expected places from 0 to 18"
        with pytest.raises(InvalidInputError, match=places):
            ours(**inputs, cls_index=five + outside)
    for name in ("start_positions", "end_positions", "is_impossible"):
        with pytest.raises(InvalidInputError, match=rf"{name}: got \[1\], expected \[5\], a number for each text"):
            ours(**inputs, **{**positions, name: one})
    for count in (0, "5", True):
        with pytest.raises(
            InvalidInputError, match=rf"config.start_n_top: got {count!r}, expected an integer of at least 1"
        ):
            AlbertForBeamQuestionAnswering(transformers.AlbertConfig(**BASE, start_n_top=count))


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"got no start_logits.dense.weight, which squad-beam needs"):
        BeamHead.of(albert_fast.load("random:tiny"), "squad-beam")
    saved_in(tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    for name, shape, expected in (
        ("start_logits.dense.weight", [2, 48], r"\[1, 48\]"),
        ("end_logits.dense_0.weight", [48, 48], r"\[48, 96\]"),
        ("end_logits.LayerNorm.bias", [47], r"\[48\]"),
        ("answer_class.dense_0.bias", [47], r"\[48\]"),
    ):
        save_file({**whole, name: np.zeros(shape, np.float32)}, tmp_path / "model.safetensors")
        got = rf"got {name} of shape \[{', '.join(map(str, shape))}\], expected {expected}"
        with pytest.raises(CheckpointError, match=got):
            BeamHead.of(albert_fast.load(tmp_path), "squad-beam")
    save_file(whole, tmp_path / "model.safetensors")
    head = BeamHead.of(albert_fast.load(tmp_path), "squad-beam")
    for allowed, got in ((np.ones(3, bool), r"bool \[3\]"), (np.ones(4, np.int64), r"int64 \[4\]")):
        with pytest.raises(InvalidInputError, match=rf"allowed: got {got}, expected bool \[4\], one for each token"):
            head(np.zeros((4, 48), np.float32), allowed)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "end_n_top": 0}))
    with pytest.raises(ConfigError, match=r"end_n_top: got 0, expected an integer of at least 1"):
        BeamHead.of(albert_fast.load(tmp_path), "squad-beam")
