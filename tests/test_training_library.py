"""torch.ops.albert_fast.encoder: what torch.library and torch.compile ask of an operator."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch_encoder import random_parameters

from albert_fast.training import EncoderSpec, TrainingPolicy, embed, masked_lm_loss, run_encoder
from albert_fast.training.library import encoder

SPEC = EncoderSpec(2, (0, 0, 0), "gelu_new", 1e-12)
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def inputs(seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(seed)
    return torch.randn(2, 4, 32, requires_grad=True), random_parameters(32, 64, 1, seed=seed)


@pytest.mark.parametrize("keep_every", [0, 1, 2])
@pytest.mark.parametrize("mask", [None, MASK], ids=["all tokens", "padding"])
def test_opcheck(keep_every: int, mask: Tensor | None) -> None:
    x, parameters = inputs()
    arguments = (x, mask, torch.zeros(1, dtype=torch.int64), parameters, SPEC.json, keep_every, 1 << 20)
    results = torch.library.opcheck(encoder, arguments)
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("policy", [TrainingPolicy("all"), TrainingPolicy("inputs", 0)], ids=str)
def test_compiled_without_a_graph_break(policy: TrainingPolicy) -> None:
    """One graph, of the same bits as without."""

    def step(x: Tensor, mask: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        return run_encoder(2 * x, mask, parameters, SPEC, policy).square().sum()

    x, parameters = inputs()
    leaves = [x, *parameters]
    expected = torch.autograd.grad(step(x, MASK, parameters), leaves)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    ours = torch.autograd.grad(compiled(x, MASK, parameters), leaves)
    assert all(map(torch.equal, ours, expected))


def test_dropout_in_a_compiled_graph_follows_torch_s_seed() -> None:
    spec = EncoderSpec(2, (0, 0), "gelu_new", 1e-12, hidden_dropout_prob=0.3)
    x, parameters = inputs()
    compiled = torch.compile(lambda x: run_encoder(x, None, parameters, spec), fullgraph=True, backend="aot_eager")

    def run(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return compiled(x).detach()

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_embeddings_and_loss_in_a_compiled_graph() -> None:
    ids = torch.tensor([[3, 1, 2]])
    tables = [torch.randn(n, 8, requires_grad=True) for n in (5, 4, 2)]
    norm = [torch.randn(8, requires_grad=True) for _ in range(2)]
    weight, bias, labels = torch.randn(5, 8), torch.randn(5), torch.tensor([1, -100, 4])

    def step(ids: Tensor) -> Tensor:
        rows = embed(ids, torch.arange(3)[None], torch.zeros_like(ids), *tables, *norm, 1e-12)
        return masked_lm_loss(rows[0], labels, weight, bias)

    torch.testing.assert_close(torch.compile(step, fullgraph=True, backend="aot_eager")(ids), step(ids))
