"""ALBERT's head for SQuAD 2.0 beside transformers' modules of XLNet, whose head it is, on transformers' ALBERT; in
float64, so that only the order of sums differs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from nn_models import BASE, batch, randomise
from pipeline_models import VOCABULARY
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.xlnet import modeling_xlnet as xlnet

import albert_fast
from albert_fast.errors import CheckpointError, InvalidInputError
from albert_fast.nn import AlbertForBeamQuestionAnswering
from albert_fast.pipelines.beam import BeamHead

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


class Theirs(nn.Module):
    """Encoder and head by transformers; padding is p_mask, as in XLNet's data."""

    def __init__(self, config: transformers.AlbertConfig) -> None:
        super().__init__()
        self.albert = transformers.AlbertModel(config, add_pooling_layer=False)
        self.start_logits = xlnet.XLNetPoolerStartLogits(config)
        self.end_logits = xlnet.XLNetPoolerEndLogits(config)
        self.answer_class = xlnet.XLNetPoolerAnswerClass(config)

    def loss(self, inputs: dict[str, Tensor], p_mask: Tensor, starts: Tensor, ends: Tensor, none: Tensor) -> Tensor:
        hidden = self.albert(**inputs).last_hidden_state
        start_logits = self.start_logits(hidden, p_mask=p_mask)
        end_logits = self.end_logits(hidden, start_positions=starts, p_mask=p_mask)
        logits = self.answer_class(hidden, start_positions=starts, cls_index=torch.zeros_like(starts))
        spans = (F.cross_entropy(start_logits, starts) + F.cross_entropy(end_logits, ends)) / 2
        return spans + 0.5 * F.binary_cross_entropy_with_logits(logits, none.double())


@pytest.fixture(scope="module")
def models() -> tuple[Theirs, AlbertForBeamQuestionAnswering]:
    config = transformers.AlbertConfig(**BASE)
    theirs = Theirs(config)
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


def test_loss_and_gradients(models: tuple[Theirs, Any]) -> None:
    theirs, ours = models
    inputs, p_mask = inputs_and_mask()
    starts, ends, none = torch.tensor([5, 0, 0, 0, 0]), torch.tensor([9, 0, 0, 0, 0]), torch.tensor([0, 1, 1, 1, 1])
    expected = theirs.loss(inputs, p_mask, starts, ends, none)
    expected.backward()
    for mask in (p_mask, p_mask.long(), -100 * p_mask):
        ours.zero_grad()
        output = ours(**inputs, start_positions=starts, end_positions=ends[:, None], is_impossible=none, p_mask=mask)
        output.loss.backward()
        torch.testing.assert_close(output.loss, expected, **CLOSE)
        for (name, parameter), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, other.grad, msg=lambda m, n=name: f"{n}: {m}", **CLOSE)
    without = ours(**inputs, start_positions=starts, end_positions=ends, p_mask=p_mask).loss
    assert without < expected, "the class has a loss of its own"


def test_answers_that_were_cut_off_are_ignored(models: tuple[Theirs, Any]) -> None:
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
def test_the_beam(models: tuple[Theirs, Any]) -> None:
    """Row by row, start by start, from transformers' modules."""
    theirs, ours = models
    inputs, p_mask = inputs_and_mask()
    output = ours(**inputs, p_mask=p_mask)
    hidden = theirs.albert(**inputs).last_hidden_state
    assert output.end_top_index.shape == (5, 5, 5)
    assert "loss" not in output
    for row in range(5):
        one, mask = hidden[row : row + 1], p_mask[row : row + 1]
        log_probs = theirs.start_logits(one, p_mask=mask)[0].log_softmax(-1)
        allowed = int((mask == 0).sum())
        best = log_probs.topk(min(5, allowed))
        torch.testing.assert_close(output.start_top_log_probs[row, :allowed], best.values, **CLOSE)
        assert output.start_top_index[row, :allowed].tolist() == best.indices.tolist()
        for i, start in enumerate(best.indices):
            ends = theirs.end_logits(one, start_positions=start[None], p_mask=mask)[0].log_softmax(-1)
            expected = ends.topk(min(5, allowed))
            torch.testing.assert_close(output.end_top_log_probs[row, i, :allowed], expected.values, **CLOSE)
            assert output.end_top_index[row, i, :allowed].tolist() == expected.indices.tolist()
        summary = (log_probs.exp()[:, None] * one[0]).sum(0)[None]
        logit = theirs.answer_class(one, start_states=summary, cls_index=torch.zeros(1, dtype=torch.long))
        torch.testing.assert_close(output.cls_logits[row : row + 1], logit, **CLOSE)


@torch.no_grad()
def test_a_saved_model_answers_the_same_with_and_without_torch(tmp_path: Path) -> None:
    size = albert_fast.AlbertTokenizer.from_pretrained("random:tiny").vocab_size
    settings = {**BASE, "vocab_size": size, "start_n_top": 3, "end_n_top": 4, "layer_norm_eps": 1e-3}
    saved = AlbertForBeamQuestionAnswering(settings)
    randomise(saved, seed=4)
    saved.save_pretrained(tmp_path)
    shutil.copy(VOCABULARY, tmp_path / "spiece.model")
    again = AlbertForBeamQuestionAnswering.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), again.parameters(), strict=True))
    model = albert_fast.load(tmp_path)
    head = BeamHead.of(model, "test")
    ids = torch.randint(5, size, (1, 20), generator=torch.Generator().manual_seed(0))
    allowed = np.arange(20) % 5 != 1
    expected = again(input_ids=ids, p_mask=torch.tensor(~allowed)[None])
    beam = head(model(input_ids=ids).last_hidden_state[0].numpy(), allowed)
    assert beam.start_index.tolist() == expected.start_top_index[0].tolist()
    assert beam.end_index.tolist() == expected.end_top_index[0].tolist()
    np.testing.assert_allclose(beam.start_log_probs, expected.start_top_log_probs[0], atol=1e-5)
    np.testing.assert_allclose(beam.end_log_probs, expected.end_top_log_probs[0], atol=1e-5)
    assert beam.cls_logit == pytest.approx(float(expected.cls_logits[0]), abs=1e-5)
    assert (beam.start_index.shape, beam.end_index.shape) == ((3,), (3, 4))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"config.start_n_top: got 0, expected an integer of at least 1"):
        AlbertForBeamQuestionAnswering({**BASE, "start_n_top": 0})
    with pytest.raises(CheckpointError, match=r"got no end_logits.LayerNorm.weight, which squad-beam needs"):
        BeamHead.of(albert_fast.load("random:tiny"), "squad-beam")
