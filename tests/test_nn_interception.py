"""What keeps the engine from running: each way of looking into a model, beside transformers' class treated the same.

Outputs and gradients must be transformers', the reason must be told, and where the engine may go on it must.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nn_models import BASE, NAME, assert_same_results, batch, count_engine_calls, layer_of, pair
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

from albert_fast.nn import why_not
from albert_fast.nn.versions import RECORDS_BY_HOOKS

torch.set_num_threads(1)


class Doubled(nn.Linear):
    """A layer that is more than its class says."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Halved(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


def replace(parent: Any, name: str, kind: type[nn.Linear]) -> None:
    old = getattr(parent, name)
    new = kind(old.in_features, old.out_features)
    new.load_state_dict(old.state_dict())
    setattr(parent, name, new)


def zero_output(module: nn.Module, args: Any, output: Any) -> Any:
    if isinstance(output, tuple):
        return tuple(None if part is None else part * 0 for part in output)
    return output * 0


def patch(module: Any) -> None:
    plain = module.forward
    module.forward = lambda *args, **kwargs: zero_output(module, args, plain(*args, **kwargs))


def bigger_embeddings(model: Any) -> None:
    class Shifted(nn.Embedding):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return super().forward(ids) + 0.1

    model.albert.embeddings.word_embeddings.__class__ = Shifted


def other_attention(model: Any) -> None:
    kind = type(layer_of(model).attention)

    class Scaled(kind):  # type: ignore[misc, valid-type]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return tuple(None if part is None else part * 0.5 for part in super().forward(*args, **kwargs))

    layer_of(model).attention.__class__ = Scaled


def change_heads(attention: Any) -> None:
    """Twice as many of half the size, in the words of either version."""
    attention.num_attention_heads, attention.attention_head_size = 6, 8
    attention.scaling = 0.5


class Wrapped(nn.Module):
    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return zero_output(self, args, self.inner(*args, **kwargs))


def wrap(parent: Any, name: str) -> None:
    setattr(parent, name, Wrapped(getattr(parent, name)))


# What is done to a model, and what why_not says of it.
INTERCEPTED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "hook on a projection": (
        lambda m: layer_of(m).attention.value.register_forward_hook(zero_output),
        "attention.value has hooks",
    ),
    "pre-hook on a projection": (
        lambda m: layer_of(m).ffn.register_forward_pre_hook(lambda _, args: (args[0] * 0.5,)),
        "ffn has hooks",
    ),
    "backward hook": (
        lambda m: layer_of(m).ffn.register_full_backward_hook(lambda _, given, __: tuple(g * 0.5 for g in given)),
        "ffn has hooks",
    ),
    "hook on attention": (
        lambda m: layer_of(m).attention.register_forward_hook(zero_output),
        "attention has hooks",
    ),
    "hook on a dropout": (
        lambda m: layer_of(m).attention.output_dropout.register_forward_hook(zero_output),
        "attention.output_dropout has hooks",
    ),
    "hook on the activation": (
        lambda m: layer_of(m).activation.register_forward_hook(zero_output),
        "activation has hooks",
    ),
    "hook on a layer": (
        lambda m: layer_of(m).register_forward_hook(zero_output),
        "AlbertLayer has hooks",
    ),
    "hook on a group": (
        lambda m: m.albert.encoder.albert_layer_groups[0].register_forward_hook(zero_output),
        "albert_layer_groups.0 has hooks",
    ),
    "patched forward": (lambda m: patch(layer_of(m).ffn_output), "ffn_output has a forward of its own"),
    "patched layer": (lambda m: patch(layer_of(m)), "AlbertLayer has a forward of its own"),
    "patched chunk": (
        lambda m: setattr(layer_of(m), "ff_chunk", lambda x: x * 0.5),
        "the code of transformers or of torch has been changed",
    ),
    "replaced layer": (
        lambda m: replace(layer_of(m).attention, "query", Doubled),
        "attention.query is a Doubled, not torch's Linear",
    ),
    "replaced attention": (other_attention, "attention is a Scaled"),
    "replaced activation": (lambda m: setattr(layer_of(m), "activation", nn.SiLU()), "activation is a SiLU"),
    "replaced dropout": (
        lambda m: setattr(layer_of(m).attention, "output_dropout", nn.Identity()),
        "attention.output_dropout is a Identity",
    ),
    "other epsilon": (
        lambda m: setattr(layer_of(m).attention.LayerNorm, "eps", 0.1),
        "layer_norm_eps differs between layers: [1e-12, 0.1]",
    ),
    "other size of heads": (
        lambda m: change_heads(layer_of(m).attention),
        "attention has another size of heads, or another scaling",
    ),
    "no bias": (lambda m: setattr(layer_of(m).ffn, "bias", None), "ffn has no bias"),
    "wrapped group": (
        lambda m: wrap(m.albert.encoder.albert_layer_groups, "0"),
        "albert_layer_groups.0 is a Wrapped",
    ),
    "hook on word embeddings": (
        lambda m: m.get_input_embeddings().register_forward_hook(lambda _, __, output: output * 0.5),
        "word_embeddings has hooks",
    ),
    "class of embeddings": (bigger_embeddings, "word_embeddings is more than a table"),
    "norm of embeddings": (
        lambda m: m.albert.embeddings.LayerNorm.register_forward_hook(zero_output),
        "LayerNorm has hooks",
    ),
}
# What the engine may run as it is: hooks around it, and weights that are made of others.
TRANSPARENT: dict[str, Callable[[Any], Any]] = {
    "hook on the encoder": lambda m: m.albert.encoder.register_forward_hook(lambda _, __, output: None),
    "hook on the embeddings": lambda m: m.albert.embeddings.register_forward_hook(lambda _, __, output: output * 0.5),
    "hook on the mapping": lambda m: m.albert.encoder.embedding_hidden_mapping_in.register_forward_hook(
        lambda _, __, output: output * 0.5
    ),
    "replaced mapping": lambda m: replace(m.albert.encoder, "embedding_hidden_mapping_in", Doubled),
    "hook on the pooler": lambda m: m.albert.pooler.register_forward_hook(lambda _, __, output: output * 0.5),
    "pruning": lambda m: prune.l1_unstructured(layer_of(m).ffn, "weight", amount=0.5),
    "old weight norm": lambda m: weight_norm(layer_of(m).attention.dense),
    "weight norm": lambda m: parametrizations.weight_norm(layer_of(m).attention.dense),
    "parametrization": lambda m: parametrize.register_parametrization(layer_of(m).ffn_output, "weight", Halved()),
    "torch's GELU": lambda m: setattr(layer_of(m), "activation", nn.GELU(approximate="tanh")),
    "exact GELU": lambda m: setattr(layer_of(m), "activation", nn.GELU()),
}
pytestmark = [  # what torch says of its own old ways
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("kind", INTERCEPTED)
def test_intercepted(kind: str, warned: pytest.LogCaptureFixture) -> None:
    change, reason = INTERCEPTED[kind]
    models = pair(NAME)
    assert why_not(models[1]) is None
    plain = models[1](**batch(NAME)).logits
    for model in models:
        change(model)
    assert why_not(models[1]) == reason
    for _ in range(2):
        assert_same_results(*models)
    if "backward" not in kind and "replaced dropout" not in kind:
        assert not torch.allclose(models[1](**batch(NAME)).logits, plain), "the change is seen"
    assert [record.message.partition("same result: ")[2] for record in warned.records] == [reason]


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_transparent(kind: str, warned: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    models = pair(NAME)
    for model in models:
        TRANSPARENT[kind](model)
    assert why_not(models[1]) is None
    calls = count_engine_calls(monkeypatch)
    assert_same_results(*models)
    assert calls == ["AlbertTransformer"]
    assert not warned.records


def test_layers_go_on_where_only_their_borders_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, mine = pair(NAME)
    for model in (theirs, mine):
        layer_of(model).register_forward_hook(lambda _, __, output: None)
    calls = count_engine_calls(monkeypatch)
    assert_same_results(theirs, mine)
    assert calls == ["AlbertLayer"] * BASE["num_hidden_layers"]
    calls.clear()
    mine(**batch(NAME), output_hidden_states=True)
    assert calls == ["AlbertLayer"] * BASE["num_hidden_layers"]


def test_a_hook_that_is_gone() -> None:
    _, mine = pair(NAME)
    handle = layer_of(mine).ffn.register_forward_hook(zero_output)
    assert why_not(mine) == "ffn has hooks"
    handle.remove()
    assert why_not(mine) is None
    mine(**batch(NAME), output_attentions=True)  # transformers leaves its recorders behind
    assert why_not(mine) is None


@pytest.mark.parametrize("where", ["dropout", "attention", "layers"])
def test_dropout_of_parts(where: str) -> None:
    """Modes of single modules are honoured, and where layers differ, transformers' code runs."""
    _, mine = pair(NAME, num_hidden_groups=2)
    mine.eval()
    inputs = batch(NAME)
    attention = layer_of(mine).attention
    attention.output_dropout.p = attention.attention_dropout.p = 0.5
    assert torch.equal(mine(**inputs).logits, mine(**inputs).logits)
    part = {"dropout": attention.output_dropout, "attention": attention, "layers": mine.albert.encoder}[where]
    part.train()
    assert (why_not(mine) or "").startswith("hidden_dropout_prob differs between layers: [0.0, 0.5]")
    assert not torch.equal(mine(**inputs).logits, mine(**inputs).logits)


def test_changed_code_of_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.albert import modeling_albert

    theirs, mine = pair(NAME)
    plain = modeling_albert.AlbertLayer.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return zero_output(self, args, plain(self, *args, **kwargs))

    monkeypatch.setattr(modeling_albert.AlbertLayer, "forward", forward)
    assert why_not(mine) == "the code of transformers or of torch has been changed"
    assert_same_results(theirs, mine)


@pytest.mark.parametrize("kind", [nn.Linear, nn.LayerNorm, nn.Dropout])
def test_changed_code_of_torch(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, mine = pair(NAME)
    plain = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: 1.5 * plain(self, x))
    assert why_not(mine) == "the code of transformers or of torch has been changed"
    assert_same_results(theirs, mine)


@pytest.mark.parametrize("name", ["scaled_dot_product_attention", "linear"])
def test_changed_functions_of_torch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As libraries of other attention kernels do it."""
    theirs, mine = pair(NAME)
    plain = getattr(nn.functional, name)
    monkeypatch.setattr(nn.functional, name, lambda *args, **kwargs: 1.5 * plain(*args, **kwargs))
    assert why_not(mine) == "torch's code has been changed"
    assert_same_results(theirs, mine)


@pytest.mark.skipif(not RECORDS_BY_HOOKS, reason="an attribute since transformers 5")
def test_causal_attention() -> None:
    theirs, mine = pair(NAME)
    inputs = batch(NAME, padded=False)
    plain = theirs(**inputs).logits
    for model in (theirs, mine):
        layer_of(model).attention.is_causal = True
    assert why_not(mine) == "attention is causal"
    assert not torch.allclose(theirs(**inputs).logits, plain)
    torch.testing.assert_close(mine(**inputs).logits, theirs(**inputs).logits, atol=2e-5, rtol=1e-4)


def test_fake_tensors() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    _, mine = pair(NAME)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert why_not(mine) == "tensors are fake"
        if RECORDS_BY_HOOKS:  # before, transformers made decisions by the values of a mask
            assert mine(input_ids=batch(NAME)["input_ids"]).logits.shape == (5, 2)


@pytest.mark.skipif(RECORDS_BY_HOOKS, reason="transformers 5 has no head_mask and no pruned heads")
def test_head_masks_and_pruned_heads() -> None:
    theirs, mine = pair(NAME)
    inputs = batch(NAME)
    mask = torch.tensor([1.0, 0.0, 0.5])
    for model in (theirs, mine):
        model.set_attn_implementation("eager")
    expected = theirs(**inputs, head_mask=mask).logits
    torch.testing.assert_close(mine(**inputs, head_mask=mask).logits, expected)
    for model in (theirs, mine):
        model.prune_heads({0: [1]})
    assert why_not(mine) == "attention has pruned heads"
    assert_same_results(theirs, mine)


def test_neftune() -> None:
    """What Trainer does for ``neftune_noise_alpha``."""
    _, mine = pair(NAME)
    inputs = batch(NAME)
    embeddings = mine.get_input_embeddings()
    plain = mine(**inputs).logits
    handle = embeddings.register_forward_hook(lambda _, __, output: output + torch.rand_like(output))
    assert not torch.allclose(mine(**inputs).logits, plain)
    handle.remove()
    assert torch.equal(mine(**inputs).logits, plain)
