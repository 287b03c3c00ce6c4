"""The encoder's gradients: gradcheck in float64 through our own kernels, and float32 within three times PyTorch's own
error, for every policy; with the same bits on any number of threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from tolerance import GRADIENT, assert_within_pytorch
from torch import Tensor
from torch_encoder import random_parameters

from albert_fast import _core
from albert_fast.errors import ConfigError, InvalidInputError
from albert_fast.training import LAYER_PARAMETERS, EncoderSpec, TrainingPolicy, run_encoder
from albert_fast.training.encoder import AlbertEncoderFunction
from albert_fast.training.engine import Rows, engine_of, resolve_policy
from albert_fast.training.plain import plain_encoder

POLICIES = [TrainingPolicy(keep, defer) for keep in ("all", "inputs", 2, 5) for defer in (0, 1 << 30)]
LAYERS = {"one set": (0,) * 3, "two groups": (0, 0, 1, 1, 1), "inner groups": (0, 1, 0, 1)}


def spec_of(layers: tuple[int, ...], heads: int = 2, act: str = "gelu_new", **dropout: float) -> EncoderSpec:
    return EncoderSpec(heads, layers, act, 1e-12, **dropout)


def gradients(outputs: Tensor, inputs: Sequence[Tensor], weight: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad((outputs * weight).sum(), inputs))


def ragged_mask(lengths: Sequence[int]) -> Tensor:
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Thousands of calls on a few numbers each: handing them out to threads would take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("act", ["gelu_new", "gelu"])
@pytest.mark.parametrize("policy", POLICIES[:4], ids=str)
def test_gradcheck(policy: TrainingPolicy, act: str) -> None:
    spec = spec_of(LAYERS["one set"], act=act)
    parameters = random_parameters(4, 6, 1, torch.float64)
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = ragged_mask([3, 2])
    assert torch.autograd.gradcheck(
        lambda x, *p: run_encoder(x, mask, p, spec, policy), (x, *parameters), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_float32_is_as_exact_as_torch(policy: TrainingPolicy, layers: tuple[int, ...]) -> None:
    spec = spec_of(layers, heads=3)
    lengths = [17, 5, 0, 40]
    mask = ragged_mask(lengths)
    mine, pytorch, exact = [], [], []
    for seed in range(5):
        torch.manual_seed(seed)
        parameters = random_parameters(48, 80, max(layers) + 1, seed=seed)
        x, weight = torch.randn(4, 40, 48, requires_grad=True), torch.randn(4, 40, 48)
        inputs = [x, *parameters]
        mine.append(gradients(run_encoder(x, mask, parameters, spec, policy), inputs, weight))
        pytorch.append(
            gradients(plain_encoder(x[[0, 1, 3]], mask[[0, 1, 3]], parameters, spec), inputs, weight[[0, 1, 3]])
        )
        wide = [t.detach().double().requires_grad_() for t in inputs]
        reference = plain_encoder(wide[0][[0, 1, 3]], mask[[0, 1, 3]], wide[1:], spec)
        exact.append(gradients(reference, wide, weight[[0, 1, 3]].double()))
    for i, name in enumerate(("hidden_states", *LAYER_PARAMETERS * (max(layers) + 1))):
        if name == "attention.key.bias":  # softmax does not see it: its gradient is zero but for rounding
            continue
        of = [[run[i].numpy() for run in runs] for runs in (mine, pytorch, exact)]
        assert_within_pytorch(*of, "float32", GRADIENT, name)


def test_bits_depend_on_the_batch_alone() -> None:
    """Not on threads or on what is kept; the output not on where query, key and value lie, either."""
    spec = spec_of((0,) * 4)
    parameters = random_parameters(32, 64, 1)
    x, weight = torch.randn(3, 9, 32, requires_grad=True), torch.randn(3, 9, 32)
    mask = ragged_mask([9, 4, 7])

    def run(policy: TrainingPolicy, given: Sequence[Tensor] = parameters, x: Tensor = x) -> list[Tensor]:
        y = run_encoder(x, mask, given, spec, policy)
        return [y.detach(), *gradients(y, [x, *given], weight)]

    def same(ours: list[Tensor], others: list[Tensor], count: int = 18) -> bool:
        return all(map(torch.equal, ours[:count], others[:count]))

    threads = torch.get_num_threads()
    expected = run(TrainingPolicy("all", 0))
    deferred = run(TrainingPolicy("all", 1 << 30))
    for keep, count in product(("all", "inputs"), (1, 3)):
        torch.set_num_threads(count)
        assert same(run(TrainingPolicy(keep, 0)), expected), (keep, count)
        assert same(run(TrainingPolicy(keep, 1 << 30)), deferred), (keep, count)
    torch.set_num_threads(threads)
    assert same(deferred, expected, 2), "activation gradients know nothing of deferral"
    assert same(run(TrainingPolicy(3, 0)), expected, 2)
    assert same(run(TrainingPolicy(3, 1 << 30)), deferred)
    assert same(run(TrainingPolicy("all", 0), adjacent(parameters)), expected, 1)


def adjacent(parameters: Sequence[Tensor]) -> list[Tensor]:
    """The same numbers with query, key and value side by side, as albert_fast.nn keeps them."""
    weights = torch.stack([parameters[i].detach() for i in (0, 2, 4)])
    biases = torch.stack([parameters[i].detach() for i in (1, 3, 5)])
    moved = [part for pair in zip(weights, biases, strict=True) for part in pair]
    return [t.requires_grad_() for t in (*moved, *(p.detach() for p in parameters[6:]))]


def test_adjacent_projections_have_the_same_gradients() -> None:
    spec = spec_of((0, 0))
    apart = random_parameters(32, 64, 1, torch.float64)
    x, weight = torch.randn(2, 7, 32, dtype=torch.float64), torch.randn(2, 7, 32, dtype=torch.float64)
    expected = gradients(run_encoder(x, None, apart, spec), apart, weight)
    together = adjacent(apart)
    for ours, other in zip(gradients(run_encoder(x, None, together, spec), together, weight), expected, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-12, atol=1e-13)


def test_a_parameter_changed_in_place_is_seen_by_the_next_call() -> None:
    spec = spec_of((0, 0))
    parameters = random_parameters(32, 64, 1)
    x = torch.randn(1, 5, 32)
    before = run_encoder(x, None, parameters, spec)
    with torch.no_grad():
        parameters[10].mul_(1.5)
    after = run_encoder(x, None, parameters, spec)
    torch.testing.assert_close(after, plain_encoder(x, None, parameters, spec), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before, after, atol=1e-3)


def test_a_parameter_changed_between_forward_and_backward_is_refused() -> None:
    parameters = random_parameters(32, 64, 1)
    y = run_encoder(torch.randn(1, 5, 32), None, parameters, spec_of((0,)))
    with torch.no_grad():
        parameters[10].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_backward_twice_over_one_graph() -> None:
    parameters = random_parameters(32, 64, 1)
    x, weight = torch.randn(1, 5, 32, requires_grad=True), torch.randn(1, 5, 32)
    for policy in POLICIES:
        loss = (run_encoder(x, None, parameters, spec_of((0, 0, 0)), policy) * weight).sum()
        first = torch.autograd.grad(loss, parameters, retain_graph=True)
        assert all(map(torch.equal, torch.autograd.grad(loss, parameters), first))


def test_an_empty_batch_has_gradients_of_zero() -> None:
    parameters = random_parameters(32, 64, 1)
    x = torch.randn(2, 3, 32, requires_grad=True)
    y = run_encoder(x, torch.zeros(2, 3), parameters, spec_of((0, 0)))
    assert not y.any()
    for gradient in gradients(y, [x, *parameters], torch.ones(2, 3, 32)):
        assert not gradient.any()


@pytest.mark.usefixtures("one_thread")
def test_a_budget_chooses_the_fastest_that_fits() -> None:
    spec = spec_of((0,) * 4)
    parameters = random_parameters(32, 64, 1)
    x, weight = torch.randn(3, 9, 32, requires_grad=True), torch.randn(3, 9, 32)
    mask = ragged_mask([9, 4, 7])
    rows = Rows(x, mask)
    everything, inputs = engine_of(spec, parameters, 0), engine_of(spec, parameters, 1)
    num_threads = torch.get_num_threads()

    def chosen(memory_bytes: int) -> tuple[object, int]:
        policy = TrainingPolicy("auto", memory_bytes=memory_bytes)
        found = resolve_policy(policy, spec, parameters, rows.cu_seqlens)
        return found.keep, found.defer_bytes // engine_of(spec, parameters, found.keep_every).chunk_layer_bytes(20)

    bounds = {
        (keep, chunk): engine.step_bytes(rows.cu_seqlens, chunk, num_threads=num_threads)
        for keep, engine in (("all", everything), ("inputs", inputs))
        for chunk in (4, 1)
    }
    assert bounds["all", 4] > bounds["all", 1] > bounds["inputs", 1]
    assert chosen(1 << 30) == chosen(bounds["all", 4]) == ("all", 4)
    assert chosen(bounds["all", 4] - 1) == ("all", 3)
    assert chosen(bounds["all", 1]) == ("all", 1)
    assert chosen(bounds["all", 1] - 1)[0] == "inputs"
    least = bounds["inputs", 1]
    assert chosen(least) == ("inputs", 1)

    def run(policy: TrainingPolicy) -> list[Tensor]:
        return gradients(run_encoder(x, mask, parameters, spec, policy), [x, *parameters], weight)

    tight = run(TrainingPolicy("auto", memory_bytes=least))
    assert all(map(torch.equal, tight, run(TrainingPolicy("inputs", 0))))
    with pytest.raises(InvalidInputError, match=f"memory_bytes: got {least - 1}, expected at least {least} for 20 tok"):
        run(TrainingPolicy("auto", memory_bytes=least - 1))


def test_dropout_is_seeded_and_differentiated() -> None:
    """Finite differences in float64: the mask of the backward pass is that of the forward pass."""
    seed = 3
    parameters = random_parameters(4, 6, 1, torch.float64)
    x = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    spec = spec_of((0, 0), hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)

    def run(x: Tensor, *given: Tensor) -> Tensor:
        torch.manual_seed(seed)
        return run_encoder(x, None, given, spec)

    for keep in ("all", "inputs"):
        policy = TrainingPolicy(keep)

        def kept(x: Tensor, *given: Tensor, policy: TrainingPolicy = policy) -> Tensor:
            torch.manual_seed(seed)
            return run_encoder(x, None, given, spec, policy)

        assert torch.autograd.gradcheck(kept, (x, *parameters), atol=1e-6, rtol=1e-5)
    same = run(x, *parameters)
    assert torch.equal(same, run(x, *parameters))
    torch.manual_seed(seed + 1)
    assert not torch.allclose(same, run_encoder(x, None, parameters, spec))
    assert not torch.allclose(same, run_encoder(x, None, parameters, spec_of((0, 0))))


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_of_gradients(frozen: bool) -> None:
    """A penalty on gradients has the gradients of plain torch, in whatever else there is too."""
    parameters = [p.double().detach().requires_grad_(not frozen) for p in random_parameters(32, 64, 1)]
    x = torch.randn(2, 5, 32, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    spec = spec_of((0, 0))
    found = []
    for function in (run_encoder, plain_encoder):
        y = function(x, mask, parameters, spec)
        [first] = torch.autograd.grad((y**3).sum(), x, create_graph=True)
        wanted = [x] if frozen else [x, *parameters]
        found.append(torch.autograd.grad(y.sum() + first.square().sum(), wanted))
    for actual, expected in zip(*found, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-9)


def test_gradients_of_gradients_with_dropout_are_refused() -> None:
    """Only the kernels know what was dropped; a penalty on gradients must not vanish silently."""
    parameters = random_parameters(32, 64, 1)
    x = torch.randn(1, 5, 32, requires_grad=True)
    y = run_encoder(x, None, parameters, dataclasses.replace(spec_of((0,)), hidden_dropout_prob=0.1))
    [first] = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(InvalidInputError, match="differentiate a second time, expected create_graph=False"):
        (y.sum() + first.square().sum()).backward()


def test_functional_gradients_and_vmap() -> None:
    parameters = random_parameters(32, 64, 1)
    x, weight = torch.randn(2, 5, 32), torch.randn(2, 5, 32)
    spec = spec_of((0, 0))

    def loss(given: tuple[Tensor, ...]) -> Tensor:
        return (run_encoder(x, None, given, spec) * weight).sum()

    functional = torch.func.grad(loss)(tuple(p.detach() for p in parameters))
    expected = gradients(run_encoder(x, None, parameters, spec), parameters, weight)
    assert all(map(torch.equal, functional, expected))
    with pytest.raises(InvalidInputError, match="vmap"):
        torch.func.vmap(lambda x: run_encoder(x[None], None, parameters, spec))(x)


def test_autocast_and_narrow_parameters_compute_in_float32() -> None:
    parameters = random_parameters(32, 64, 1)
    x = torch.randn(2, 5, 32)
    expected = run_encoder(x, None, parameters, spec_of((0,)))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(run_encoder(x, None, parameters, spec_of((0,))), expected)
    narrow = [p.detach().bfloat16().requires_grad_() for p in parameters]
    y = run_encoder(x.bfloat16(), None, narrow, spec_of((0,)))
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.bfloat16 for p in narrow)


def call(**changed: Any) -> Tensor:
    given: dict[str, Any] = {
        "hidden_states": torch.randn(2, 3, 32),
        "attention_mask": None,
        "parameters": random_parameters(32, 64, 1),
        "spec": spec_of((0,)),
    }
    return run_encoder(**{**given, **changed})


def test_bad_arguments() -> None:
    parameters = random_parameters(32, 64, 1)
    with pytest.raises(InvalidInputError, match=r"hidden_states: got shape \[3, 32\], expected \[B, S, H\]"):
        call(hidden_states=torch.randn(3, 32))
    with pytest.raises(InvalidInputError, match=r"attention_mask: got shape \[2, 4\], expected \[2, 3\]"):
        call(attention_mask=torch.ones(2, 4))
    with pytest.raises(InvalidInputError, match="parameters: got 15 tensors, expected 16"):
        call(parameters=parameters[:15])
    with pytest.raises(InvalidInputError, match=r"parameters\[4\]"):
        call(parameters=[*parameters[:4], torch.randn(32, 31), *parameters[5:]])
    with pytest.raises(InvalidInputError, match="layers: got none of parameter set 0"):
        call(parameters=parameters * 2, spec=spec_of((1,)))
    with pytest.raises(ConfigError, match="num_attention_heads: got 5, expected a divisor of 32"):
        call(spec=spec_of((0,), heads=5))
    with pytest.raises(InvalidInputError, match="hidden_act: got 'relu'"):
        spec_of((0,), act="relu")
    with pytest.raises(InvalidInputError, match=r"hidden_dropout_prob: got 1\.0"):
        spec_of((0,), hidden_dropout_prob=1.0)
    for keep in ("most", 0, True):
        with pytest.raises(InvalidInputError, match="keep: got"):
            TrainingPolicy(keep)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="defer_bytes: got -1"):
        TrainingPolicy(defer_bytes=-1)
    with pytest.raises(InvalidInputError, match="memory_bytes: got None with keep='auto'"):
        TrainingPolicy("auto")
    with pytest.raises(InvalidInputError, match="memory_bytes: got 5 with keep='all'"):
        TrainingPolicy("all", memory_bytes=5)


def test_the_function_alone() -> None:
    """What the README shows: apply, with everything said."""
    parameters = random_parameters(32, 64, 1)
    x = torch.randn(2, 5, 32, requires_grad=True)
    y, saved = AlbertEncoderFunction.apply(x, None, 0, spec_of((0, 0)), TrainingPolicy("all"), *parameters)
    assert torch.equal(y, run_encoder(x, None, parameters, spec_of((0, 0))))
    assert not saved.requires_grad


@pytest.mark.parametrize("part", ["attention.key", "attention.dense", "ffn", "ffn_output", "LayerNorm", None])
@pytest.mark.parametrize("keep", ["all", "inputs"])
def test_frozen_parameters_cost_no_product(part: str | None, keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of what is left are the same bits, and of the products only those that are needed run."""
    spec, policy = spec_of((0, 1, 0)), TrainingPolicy(keep)
    parameters = random_parameters(32, 64, 2)
    x, weight = torch.randn(2, 5, 32, requires_grad=True), torch.randn(2, 5, 32)
    expected = gradients(run_encoder(x, None, parameters, spec, policy), [x, *parameters], weight)
    asked = []
    plain = _core.EncoderTraining.backward

    def backward(*args: Any, **options: Any) -> None:
        asked.append(options["products"])
        plain(*args, **options)

    monkeypatch.setattr(_core.EncoderTraining, "backward", backward)
    names = LAYER_PARAMETERS * 2
    for name, parameter in zip(names, parameters, strict=True):
        parameter.requires_grad_(part is not None and part in name)
    left = [x, *(parameter for parameter in parameters if parameter.requires_grad)]
    found = gradients(run_encoder(x, None, parameters, spec, policy), left, weight)
    same = [expected[0], *(g for g, p in zip(expected[1:], parameters, strict=True) if p.requires_grad)]
    assert all(map(torch.equal, found, same))
    wanted = {"attention.key": ["projections"], "attention.dense": ["dense"], "ffn_output": ["ffn_output"]}
    assert asked == [wanted.get(str(part), ["ffn", "ffn_output"] if part == "ffn" else [])]


def test_a_product_that_is_none() -> None:
    parameters, empty = random_parameters(32, 64, 1), np.zeros((0, 32), np.float32)
    arrays = [p.detach().numpy() for p in parameters]
    rest = {"dx": empty, "gradients": [np.zeros(engine_of(spec_of((0,)), parameters, 0).gradient_size, np.float32)]}
    with pytest.raises(InvalidInputError, match="products: got 'query', expected 'projections', 'dense'"):
        engine_of(spec_of((0,)), parameters, 0).backward(
            empty, np.zeros(1, np.int32), arrays, np.zeros(0, np.float32), products=["query"], **rest
        )
