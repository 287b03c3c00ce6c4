"""Models of albert_fast.nn under torch.func, torch.compile, tracers, and gradients of gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nn_models import NAME, batch, pair
from torch import nn

torch.set_num_threads(1)

pytestmark = [  # what torch, transformers and peft say of each other
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_functional_call_and_its_gradients() -> None:
    theirs, mine = pair(NAME)
    inputs = batch(NAME)
    found = []
    for model in (theirs, mine):
        parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

        def loss(parameters: Any, model: Any = model) -> Any:
            return torch.func.functional_call(model, parameters, (), dict(inputs)).loss

        found.append((loss(parameters), torch.func.grad(loss)(parameters)))
    torch.testing.assert_close(found[1][0], found[0][0])
    for name, expected in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], expected, atol=1e-5, rtol=1e-3, msg=name)


def test_functional_gradients_of_gradients() -> None:
    embedded, found = torch.randn(1, 4, 24), []
    for model in pair("AlbertModel", attn_implementation="eager"):
        value = lambda x, model=model: model(inputs_embeds=x).last_hidden_state[0, 0].square().sum()  # noqa: E731
        penalty = lambda x, value=value: torch.func.grad(value)(x).square().sum()  # noqa: E731
        found.append(torch.func.grad(penalty)(embedded))
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-3)


def test_vmap_and_forward_mode() -> None:
    theirs, mine = pair("AlbertModel", attn_implementation="eager")
    embedded = torch.randn(3, 1, 7, 24)
    tangent = torch.randn(1, 7, 24)
    found = []
    for model in (theirs, mine):
        model.eval()
        run = lambda x, model=model: model(inputs_embeds=x).last_hidden_state  # noqa: E731
        each = torch.func.vmap(run)(embedded)
        _, derivative = torch.func.jvp(run, (embedded[0],), (tangent,))
        found.append((each, derivative))
    for actual, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1][0][0], mine(inputs_embeds=embedded[0]).last_hidden_state, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["AlbertModel", "AlbertForMaskedLM"])
def test_penalties_on_gradients(name: str) -> None:
    found = []
    for model in pair(name, dtype=torch.float64, attn_implementation="eager"):
        inputs = batch(name)
        embedded = model.get_input_embeddings()(inputs.pop("input_ids")).detach().requires_grad_()
        output = model(**inputs, inputs_embeds=embedded)
        value = output[0].sum() if output[0].ndim == 0 else (output[0][inputs["attention_mask"].bool()] ** 2).sum()
        [first] = torch.autograd.grad(value, embedded, create_graph=True)
        (value + first.square().sum()).backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    for key, expected in found[0].items():
        torch.testing.assert_close(found[1][key], expected, atol=1e-8, rtol=1e-6, msg=key)


@pytest.mark.filterwarnings("ignore")  # those of the tracers, about themselves and transformers
@pytest.mark.parametrize("how", ["export", "trace"])
def test_tracing(how: str) -> None:
    theirs, mine = pair("AlbertModel")
    ids, mask = batch("AlbertModel")["input_ids"], batch("AlbertModel")["attention_mask"]
    expected = theirs.eval()(ids, attention_mask=mask)
    if how == "export":
        traced = torch.export.export(mine.eval(), (ids,), kwargs={"attention_mask": mask}).module()
        actual = traced(ids, attention_mask=mask).last_hidden_state
        left = traced(ids, attention_mask=mask.flip(-1)).last_hidden_state  # nothing of the engine's is in the graph
        torch.testing.assert_close(left, theirs(ids, attention_mask=mask.flip(-1))[0], atol=1e-5, rtol=1e-5)
    else:

        class Tuple(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = mine.eval()

            def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
                return self.model(ids, mask, return_dict=False)

        traced = torch.jit.trace(Tuple(), (ids, mask))
        actual = traced(ids, mask)[0]
    torch.testing.assert_close(actual, expected.last_hidden_state, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of Dynamo, about itself
@pytest.mark.parametrize("name", ["AlbertForPreTraining", NAME, "AlbertForQuestionAnswering"])
def test_compiled_as_one_graph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, mine = pair(name)
    inputs = batch(name)
    for train in (True, False):
        torch._dynamo.reset()
        found = []
        for model in (theirs, mine):
            model.train(train).zero_grad()
            run = torch.compile(model, fullgraph=True, backend="aot_eager") if model is mine else model
            output = run(**inputs)
            output.loss.backward()
            found.append([output.loss, *(p.grad for p in model.parameters() if p.ndim == 2)])
        for actual, expected in zip(found[1], found[0], strict=True):
            torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-3)
    torch._dynamo.reset()
    compiled = torch.compile(mine, fullgraph=True, backend="aot_eager")
    left = inputs["attention_mask"].flip(-1).clone()
    if name == NAME:
        with pytest.raises(RuntimeError, match="begins with padding; a compiled model takes"):
            compiled(input_ids=inputs["input_ids"], attention_mask=left)
