"""The embeddings and the masked-LM loss beside torch's own: values, gradients, determinism, what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from tolerance import GRADIENT, assert_within_pytorch
from torch import Tensor
from torch.nn import functional as F

from albert_fast.errors import InvalidInputError
from albert_fast.training import embed, masked_lm_loss

EPS = 1e-12


def torch_embed(ids: Sequence[Tensor], word: Tensor, position: Tensor, token_type: Tensor, *norm: Tensor) -> Tensor:
    rows = F.embedding(ids[0], word) + F.embedding(ids[2], token_type) + F.embedding(ids[1], position)
    return F.layer_norm(rows, norm[0].shape, *norm, EPS)


def embed_inputs(seed: int, e: int, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(n, e, generator=generator, dtype=dtype) for n in (50, 40, 2)]
    tensors += [torch.randn(e, generator=generator, dtype=dtype) for _ in range(2)]
    ids = [torch.randint(n, (3, 37), generator=generator) for n in (50, 40, 2)]
    return ids, [t.requires_grad_() for t in tensors]


def run(function: Callable[..., Tensor], tensors: Sequence[Tensor], weight: Tensor) -> list[np.ndarray]:
    y = function(*tensors)
    return [y.detach().numpy(), *(g.numpy() for g in torch.autograd.grad((y * weight).sum(), tensors))]


def compare(runs: Sequence[tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]], names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        assert_within_pytorch(*([run[j][i] for run in runs] for j in range(3)), "float32", GRADIENT, name)


@pytest.mark.parametrize("e", [16, 33, 128])
def test_embed(e: int) -> None:
    runs = []
    for seed in range(5):
        ids, tensors = embed_inputs(seed, e)
        weight = torch.randn(3, 37, e)
        wide = [t.detach().double().requires_grad_() for t in tensors]
        runs.append(
            (
                run(lambda *t, ids=ids: embed(*ids, *t, EPS), tensors, weight),
                run(lambda *t, ids=ids: torch_embed(ids, *t), tensors, weight),
                run(lambda *t, ids=ids: torch_embed(ids, *t), wide, weight.double()),
            )
        )
    compare(runs, ("out", "word", "position", "token_type", "gamma", "beta"))


def test_embed_gradcheck() -> None:
    ids, tensors = embed_inputs(0, 3, torch.float64)
    ids = [part[:, :4] for part in ids]
    assert torch.autograd.gradcheck(lambda *t: embed(*ids, *t, EPS), tensors)


def test_embed_has_the_same_bits_on_any_number_of_threads() -> None:
    ids, tensors = embed_inputs(0, 64)
    weight = torch.randn(3, 37, 64)
    threads = torch.get_num_threads()
    results = []
    for count in (1, 3):
        torch.set_num_threads(count)
        results.append(run(lambda *t: embed(*ids, *t, EPS), tensors, weight))
    torch.set_num_threads(threads)
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)


def loss_inputs(seed: int, n: int, e: int, v: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((n, e), (v, e), (v,))
    tensors = [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]
    labels = torch.randint(v, (n,), generator=generator)
    labels[torch.rand(n, generator=generator) < 0.3] = -100
    labels[0] = v - 1
    return labels, tensors


def torch_loss(labels: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight, bias), labels)


@pytest.mark.parametrize(("n", "v"), [(1, 7), (255, 100), (257, 1003), (600, 31)])
def test_masked_lm_loss(n: int, v: int) -> None:
    """Numbers of rows beside those of a block of logits."""
    runs = []
    weight = torch.tensor(1.7)
    for seed in range(5):
        labels, tensors = loss_inputs(seed, n, 20, v)
        wide = [t.detach().double().requires_grad_() for t in tensors]
        runs.append(
            (
                run(lambda h, w, b, y=labels: masked_lm_loss(h, y, w, b), tensors, weight),
                run(lambda h, w, b, y=labels: torch_loss(y, h, w, b), tensors, weight),
                run(lambda h, w, b, y=labels: torch_loss(y, h, w, b), wide, weight.double()),
            )
        )
    compare(runs, ("loss", "hidden", "weight", "bias"))


def test_masked_lm_loss_gradcheck() -> None:
    labels, tensors = loss_inputs(0, 5, 3, 4, torch.float64)
    assert torch.autograd.gradcheck(lambda h, w, b: masked_lm_loss(h, labels, w, b), tensors)


def test_masked_lm_loss_of_no_label_is_nan_as_torch_has_it() -> None:
    labels, tensors = loss_inputs(0, 5, 3, 4)
    labels[:] = -100
    assert masked_lm_loss(tensors[0], labels, *tensors[1:]).isnan()
    assert torch_loss(labels, *tensors).isnan()


def test_bad_arguments() -> None:
    labels, tensors = loss_inputs(0, 5, 3, 4)
    with pytest.raises(InvalidInputError, match=r"labels: got 4, expected -100 or 0\.\.3"):
        masked_lm_loss(tensors[0], torch.full((5,), 4), *tensors[1:])
    with pytest.raises(InvalidInputError, match="labels: got -1, expected"):
        masked_lm_loss(tensors[0], torch.full((5,), -1), *tensors[1:])
    with pytest.raises(InvalidInputError, match=r"labels: got shapes \[5, 3\] of hidden and \[4\]"):
        masked_lm_loss(tensors[0], labels[:4], *tensors[1:])
    ids, tables = embed_inputs(0, 8)
    with pytest.raises(InvalidInputError, match="tokens: got 99 at index 0"):
        embed(torch.full_like(ids[0], 99), *ids[1:], *tables, EPS)
    with pytest.raises(InvalidInputError, match="got shapes"):
        embed(ids[0][:1], *ids[1:], *tables, EPS)


def test_numbers_that_are_no_ids() -> None:
    ids, tensors = embed_inputs(0, 16)
    for place, name in enumerate(("input_ids", "position_ids", "token_type_ids")):
        given = [row.float() if i == place else row for i, row in enumerate(ids)]
        with pytest.raises(InvalidInputError, match=f"{name}: got torch.float32, expected integers"):
            embed(*given, *tensors, EPS)
    with pytest.raises(InvalidInputError, match=r"labels: got torch.float64, expected integers"):
        masked_lm_loss(torch.randn(2, 16), torch.ones(2).double(), torch.randn(50, 16), torch.randn(50))


@pytest.mark.parametrize("name", ["embed", "masked_lm_loss"])
def test_gradients_of_gradients(name: str) -> None:
    ids, tensors = embed_inputs(0, 16, torch.float64)
    if name == "embed":
        ours, theirs = lambda *t: embed(*ids, *t, EPS).sin().sum(), lambda *t: torch_embed(ids, *t).sin().sum()
    else:
        labels = torch.tensor([3, -100, 0, 49])
        tensors = [torch.randn(4, 16), torch.randn(50, 16), torch.randn(50)]
        tensors = [tensor.double().requires_grad_() for tensor in tensors]
        ours = lambda *t: masked_lm_loss(t[0], labels, *t[1:])  # noqa: E731
        theirs = lambda x, weight, bias: F.cross_entropy(F.linear(x, weight, bias), labels)  # noqa: E731
    found = []
    for function in (ours, theirs):
        first = torch.autograd.grad(function(*tensors), tensors, create_graph=True)
        found.append(torch.autograd.grad(sum(gradient.square().sum() for gradient in first), tensors))
    for actual, expected in zip(*found, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
