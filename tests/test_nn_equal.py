"""albert_fast.nn beside transformers: outputs, losses and all gradients, in float32 and float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nn_models import CLASSES, B, S, batch, gradients, pair, results
from tolerance import GRADIENT, assert_within_pytorch, rel_l2, roundoff

torch.set_num_threads(1)  # on shared cores, threads of models this small mostly wait for each other

SEEDS = range(3)
TWO_OF_TWO = {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}
SHAPES: dict[str, dict[str, Any]] = {
    "gelu_new": {},
    "gelu": {"hidden_act": "gelu"},
    "two groups of two": TWO_OF_TWO,
    "no padding id": {"pad_token_id": None},
}


def compare(name: str, change: dict[str, Any], **options: Any) -> None:
    """float32 against transformers in float64, within GRADIENT times the error of transformers in float32; and
    float64, where errors are as much smaller as the roundoff is."""
    found: dict[str, list[Any]] = {}
    for seed in SEEDS:
        inputs = batch(name, seed, **options)
        small = [results(model, inputs) for model in pair(name, seed, **change)]
        wide = [results(model, as_double(inputs)) for model in pair(name, seed, torch.float64, **change)]
        assert set(small[0]) == set(small[1]) == set(wide[1])
        for key, exact in wide[0].items():
            found.setdefault(key, []).append([r[key].numpy() for r in (*small, wide[1])] + [exact.numpy()])
    for key, rows in found.items():
        theirs, mine, mine_wide, exact = zip(*rows, strict=True)
        bound = assert_within_pytorch(mine, theirs, exact, "float32", GRADIENT, f"{name}: {key}")
        error = max(rel_l2(a, e) for a, e in zip(mine_wide, exact, strict=True))
        scale = roundoff("float64") / roundoff("float32")
        assert error <= (GRADIENT + 1) * scale * max(bound.pytorch, bound.floor), f"{name}: {key} in float64"


def as_double(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value.double() if value.is_floating_point() else value for key, value in inputs.items()}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["AlbertModel", "AlbertForPreTraining"])
def test_shapes(name: str, shape: str) -> None:
    compare(name, SHAPES[shape])


PADDED = [(name, padded) for name in CLASSES for padded in (False, True)]


@pytest.mark.parametrize(("name", "padded"), PADDED)
def test_classes(name: str, padded: bool) -> None:
    compare(name, {}, padded=padded)


SEQUENCE_LABELS = {
    "regression of one": ({"num_labels": 1}, torch.linspace(-1, 1, B)),
    "regression of one, in a column": ({"num_labels": 1}, torch.linspace(-1, 1, B)[:, None]),
    "regression of three": ({"num_labels": 3, "problem_type": "regression"}, torch.linspace(-1, 1, 3 * B).view(B, 3)),
    "one of four": ({"num_labels": 4}, torch.tensor([0, 3, 1, -100, 2])),
    "any of four": ({"num_labels": 4}, (torch.arange(4 * B).view(B, 4) % 3 == 0).float()),
}


@pytest.mark.parametrize("kind", SEQUENCE_LABELS)
def test_problem_types(kind: str) -> None:
    change, labels = SEQUENCE_LABELS[kind]
    compare("AlbertForSequenceClassification", change, labels=labels)
    theirs, mine = pair("AlbertForSequenceClassification", **change)
    for model in (theirs, mine):
        model(**batch("AlbertForSequenceClassification", labels=labels))
    assert mine.config.problem_type == theirs.config.problem_type


def test_hidden_states() -> None:
    theirs, mine = pair("AlbertModel", **TWO_OF_TWO)
    inputs = batch("AlbertModel")
    mask = inputs["attention_mask"].bool()
    expected = theirs(**inputs, output_hidden_states=True).hidden_states
    actual = mine(**inputs, output_hidden_states=True).hidden_states
    assert len(actual) == len(expected) >= 5
    for a, e in zip(actual, expected, strict=True):
        assert rel_l2(a[mask].detach(), e[mask].detach()) < 1e-5
    once = mine(**inputs)
    assert rel_l2(once[0].detach(), actual[-1].detach()) < 1e-6
    sum((state[mask] ** 3).sum() for state in actual).backward()
    sum((state[mask] ** 3).sum() for state in expected).backward()
    for key, gradient in gradients(theirs).items():
        assert rel_l2(gradients(mine)[key], gradient) < 1e-4, key


def test_inputs_embeds_and_positions() -> None:
    theirs, mine = pair("AlbertModel")
    inputs = {
        "inputs_embeds": torch.randn(B, S, 24),
        "position_ids": torch.arange(S).flip(0)[None],
        "attention_mask": batch("AlbertModel")["attention_mask"],
    }
    small = [results(model, inputs) for model in (theirs, mine)]
    for key, expected in small[0].items():
        assert rel_l2(small[1][key], expected) < 1e-4, key


def test_padding_answers_nothing_if_it_is_left_out() -> None:
    """The loss is over the tokens alone, and so is an argmax: an option, as transformers has logits at padding."""
    theirs, mine = pair("AlbertForQuestionAnswering")
    inputs = batch("AlbertForQuestionAnswering")
    mask = inputs["attention_mask"].bool()
    lengths = mask.sum(1)
    ends = {"start_positions": lengths // 2, "end_positions": lengths - 1}
    assert rel_l2(mine(**inputs | ends).loss.detach(), theirs(**inputs | ends).loss.detach()) < 1e-5
    mine.config.span_loss_excludes_padding = True
    output = mine(**inputs | ends)
    expected = theirs(**inputs)
    logits = [expected[key].masked_fill(~mask, -torch.inf) for key in ("start_logits", "end_logits")]
    loss = sum(torch.nn.functional.cross_entropy(x, y) for x, y in zip(logits, ends.values(), strict=True)) / 2
    assert torch.isfinite(output.start_logits).all()
    assert rel_l2(output.loss.detach(), loss.detach()) < 1e-5
    assert rel_l2(output.start_logits[mask].detach(), expected.start_logits[mask].detach()) < 1e-5
    assert (mine(**inputs).start_logits.argmax(-1) < lengths).all()
    output.loss.backward()
    loss.backward()
    for key, gradient in gradients(theirs).items():
        assert rel_l2(gradients(mine)[key], gradient) < 1e-4, key
    inputs = {
        key: torch.nn.functional.pad(value, (0, 4)) for key, value in inputs.items() if key in batch("AlbertModel")
    }
    assert rel_l2(mine(**inputs | ends).loss.detach(), loss.detach()) < 1e-5  # however far it is padded


def test_padding_in_one_thread_and_not_in_another() -> None:
    """While one thread is within a loss over padding, another, which asks for none, has zeros there; and the loss of
    the first is what it is alone."""
    from concurrent.futures import ThreadPoolExecutor

    _, mine = pair("AlbertForQuestionAnswering")
    inputs = batch("AlbertForQuestionAnswering")
    plain = {key: value for key, value in inputs.items() if not key.endswith("positions")}
    expected = mine(**inputs).loss
    seen = []
    with ThreadPoolExecutor(1) as pool:

        def other(*_: object) -> None:
            if not seen:
                seen.append(None)
                seen[0] = pool.submit(lambda: mine.albert(**plain).last_hidden_state).result()

        mine.albert.embeddings.register_forward_hook(other)
        loss = mine(**inputs).loss
        other_loss = pool.submit(lambda: mine(**inputs).loss).result()
    assert (seen[0][inputs["attention_mask"] == 0] == 0).all()
    torch.testing.assert_close((loss, other_loss), (expected, expected))


def test_padding_is_zeros() -> None:
    _, mine = pair("AlbertModel")
    inputs = batch("AlbertModel")
    hidden = mine(**inputs).last_hidden_state
    assert not hidden[inputs["attention_mask"] == 0].any()
    assert hidden[inputs["attention_mask"] == 1].any(-1).all()


@pytest.mark.parametrize("name", CLASSES)
def test_tuples(name: str) -> None:
    theirs, mine = pair(name)
    inputs = batch(name)
    expected = theirs(**inputs, return_dict=False)
    actual = mine(**inputs, return_dict=False)
    assert type(actual) is tuple
    assert [value.shape for value in actual] == [value.shape for value in expected]
    mine.config.return_dict = False
    assert type(mine(**inputs)) is tuple
    assert list(mine(**inputs, return_dict=True)) == list(theirs(**inputs, return_dict=True))
