"""What a training run is made of: LAMB, schedules, recipes, batches made ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from nn_models import BASE
from torch import nn

from albert_fast.errors import ConfigError, InvalidInputError, ModelNotFoundError
from albert_fast.nn import AlbertConfig, AlbertForPreTraining
from albert_fast.trainer import Lamb, TrainingRules, from_table, parameter_groups, read_toml
from albert_fast.trainer.prefetch import prefetch

# ---- LAMB --------------------------------------------------------------------------------------------

BETAS, EPS, DECAY, RATE = (0.8, 0.95), 1e-6, 0.1, 0.05


def lamb(value: np.ndarray, gradients: list[np.ndarray], *, decay: float, adapt: bool) -> np.ndarray:
    """You et al. 2020, algorithm 2, without correction of the moments."""
    x = value.astype(np.float64)
    m, v = np.zeros_like(x), np.zeros_like(x)
    for g in gradients:
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g**2
        r = m / (np.sqrt(v) + EPS) + decay * x
        length, step = np.sqrt((x**2).sum()), np.sqrt((r**2).sum())
        trust = length / step if adapt and length > 0 and step > 0 else 1.0
        x = x - RATE * trust * r
    return x


def random_arrays(shape: tuple[int, ...], count: int, seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).standard_normal((count, *shape)))


def step_with(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], gradients: list[np.ndarray]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.from_numpy(gradient).to(parameter.dtype)
    optimizer.step()


def lamb_of(adapted: list[nn.Parameter], plain: list[nn.Parameter]) -> Lamb:
    groups = [{"params": adapted, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0, "adapt": False}]
    return Lamb(groups, lr=RATE, betas=BETAS, eps=EPS)


def test_lamb_is_its_formula() -> None:
    """A matrix and a zero tensor that adapt, a vector that does not, for six steps."""
    starts = [random_arrays((5, 7), 1, 0)[0], np.zeros((3, 4)), random_arrays((9,), 1, 1)[0]]
    gradients = [random_arrays(start.shape, 6, seed) for seed, start in enumerate(starts, 2)]
    parameters = [nn.Parameter(torch.tensor(start, dtype=torch.float64)) for start in starts]
    optimizer = lamb_of(parameters[:2], parameters[2:])
    for step in range(6):
        step_with(optimizer, parameters, [rows[step] for rows in gradients])
        for i, (decay, adapt) in enumerate([(DECAY, True), (DECAY, True), (0.0, False)]):
            expected = lamb(starts[i], gradients[i][: step + 1], decay=decay, adapt=adapt)
            np.testing.assert_allclose(parameters[i].detach().numpy(), expected, rtol=1e-12, atol=1e-14)


def test_a_tensor_without_a_gradient_stays() -> None:
    kept = nn.Parameter(torch.ones(3))
    moved = nn.Parameter(torch.ones(3))
    moved.grad = torch.ones(3)
    assert Lamb([kept, moved], lr=RATE).step(lambda: "the closure's") == "the closure's"
    assert torch.equal(kept, torch.ones(3))
    assert not torch.equal(moved, torch.ones(3))


def test_lamb_goes_on_from_its_state() -> None:
    gradients = random_arrays((4, 3), 6, 0)
    whole, halves = (nn.Parameter(torch.full((4, 3), 0.5)) for _ in range(2))
    optimizer = Lamb([whole], lr=RATE)
    for gradient in gradients:
        step_with(optimizer, [whole], [gradient])
    first = Lamb([halves], lr=RATE)
    for gradient in gradients[:3]:
        step_with(first, [halves], [gradient])
    second = Lamb([halves], lr=99.0)
    second.load_state_dict(first.state_dict())
    for gradient in gradients[3:]:
        step_with(second, [halves], [gradient])
    assert torch.equal(whole, halves)


@pytest.mark.parametrize(
    "settings", [{"lr": -1.0}, {"eps": -1.0}, {"weight_decay": -0.1}, {"betas": (0.9, 1.0)}, {"betas": (-0.1, 0.9)}]
)
def test_lamb_refuses(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"lr, betas, eps, weight_decay: got .*expected numbers"):
        Lamb([nn.Parameter(torch.ones(1))], **settings)


@pytest.mark.parametrize("is_lamb", [True, False])
def test_every_trained_parameter_is_in_one_group(is_lamb: bool) -> None:
    model = AlbertForPreTraining(AlbertConfig(**BASE))
    frozen = model.albert.embeddings.position_embeddings.weight
    frozen.requires_grad_(False)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, plain = parameter_groups(model, 0.3, lamb=is_lamb)
    found = [names[id(parameter)] for group in (decayed, plain) for parameter in group["params"]]
    assert sorted(found) == sorted(set(names.values()) - {names[id(frozen)]})
    assert len(set(found)) == len(found)
    words = [n for n in found if n.endswith(("word_embeddings.weight", "decoder.weight"))]
    assert len(words) == 1, "the decoder's is that of the embeddings"
    plain_names = {names[id(parameter)] for parameter in plain["params"]}
    assert plain_names == {n for n in found if n.endswith("bias") or "LayerNorm" in n or "layer_norm" in n}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert (decayed.get("adapt", True), plain.get("adapt", True)) == (True, not is_lamb)


# ---- rules -------------------------------------------------------------------------------------------


def test_the_rate_rises_and_falls_in_straight_lines() -> None:
    rules = TrainingRules(steps=10, warmup_steps=4, learning_rate=8.0)
    assert [rules.rate(step) for step in range(11)] == pytest.approx(
        [2, 4, 6, 8, 8, *(8 * k / 6 for k in range(5, -1, -1))]
    )
    at_once = TrainingRules(steps=4, learning_rate=8.0)
    assert [at_once.rate(step) for step in range(5)] == pytest.approx([8, 6, 4, 2, 0])
    to_a_quarter = TrainingRules(steps=4, learning_rate=8.0, final_fraction=0.25)
    assert [to_a_quarter.rate(step) for step in range(5)] == pytest.approx([8, 6.5, 5, 3.5, 2])
    only_rises = TrainingRules(steps=2, learning_rate=8.0, warmup_steps=2)
    assert [only_rises.rate(step) for step in range(2)] == pytest.approx([4, 8])


def test_rules_make_their_optimizer() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    settings = {"steps": 1, "betas": (0.5, 0.6), "epsilon": 1e-3, "weight_decay": 0.2, "learning_rate": 0.7}
    for name, kind in (("adamw", torch.optim.AdamW), ("lamb", Lamb)):
        optimizer = TrainingRules(optimizer=name, **settings).make_optimizer(model)
        assert type(optimizer) is kind
        assert [len(group["params"]) for group in optimizer.param_groups] == [1, 3]
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.2, 0.0]
        for group in optimizer.param_groups:
            assert (group["lr"], group["betas"], group["eps"]) == (0.7, (0.5, 0.6), 1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(
            ({name: 0}, f"{name}: got 0, expected at least 1")
            for name in ("steps", "batch_size", "accumulate", "log_every", "evaluate_every", "save_every", "keep")
        ),
        ({"optimizer": "sgd"}, "optimizer: got 'sgd', expected one of adamw, lamb"),
        ({"warmup_steps": 6}, "warmup_steps: got 6, expected 0 to 5"),
        ({"warmup_steps": -1}, "warmup_steps: got -1"),
        ({"learning_rate": 0.0}, "learning_rate: got 0.0, expected more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate: got nan"),
        ({"max_grad_norm": -1.0}, "max_grad_norm: got -1.0"),
        ({"epsilon": 0.0}, "epsilon: got 0.0"),
        ({"weight_decay": -0.1}, "weight_decay, final_fraction: got -0.1"),
        ({"final_fraction": 1.5}, "final_fraction: got 0.01 and 1.5"),
        ({"betas": (0.9, 1.0)}, r"betas: got \(0.9, 1.0\)"),
        ({"betas": (0.9,)}, r"betas: got \(0.9,\)"),
        ({"seed": -1}, "seed: got -1"),
        ({"seed": 2**32}, "seed: got 4294967296"),
        ({"activations": "some"}, "activations: got 'some', expected 'all' or 'inputs'"),
        ({"autocast": "int8"}, "autocast: got 'int8'"),
    ],
)
def test_rules_refuse(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        TrainingRules(**{"steps": 5, **settings})


# ---- recipes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    count: int
    rate: float = 0.5
    name: str | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    kind: Literal["all", "inputs"] = "all"

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InvalidInputError(f"count: got {self.count}, expected at least 0")


def test_a_table_is_a_dataclass() -> None:
    made = from_table(Recipe, {"count": 3, "rate": 1, "name": "x", "betas": [0, 0.5], "kind": "inputs"}, "recipe")
    assert made == Recipe(3, 1.0, "x", (0.0, 0.5), "inputs")
    assert type(made.rate) is type(made.betas[0]) is float
    assert from_table(Recipe, {"count": 3}, "recipe") == Recipe(3)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"count": 1, "cuont": 2}, r"^\[recipe\] cuont: unknown, expected one of count, rate, name, betas, kind"),
        ({"rate": 1.0}, r"^\[recipe\] count: missing"),
        ({"count": 1.5}, r"^\[recipe\] count: got 1.5, expected int"),
        ({"count": True}, r"^\[recipe\] count: got True, expected int"),
        ({"count": 1, "rate": True}, r"^\[recipe\] rate: got True, expected float"),
        ({"count": 1, "rate": "1"}, r"^\[recipe\] rate: got '1', expected float"),
        ({"count": 1, "name": 3}, r"^\[recipe\] name: got 3, expected str or None"),
        ({"count": 1, "betas": [0.1]}, r"^\[recipe\] betas: got \[0.1\], expected tuple\[float, float\]"),
        ({"count": 1, "betas": [0.1, "a"]}, r"^\[recipe\] betas: got 'a', expected float"),
        ({"count": 1, "betas": 0.1}, r"^\[recipe\] betas: got 0.1, expected tuple\[float, float\]"),
        ({"count": 1, "kind": "none"}, r"^\[recipe\] kind: got 'none', expected all or inputs"),
        ({"count": -1}, r"^\[recipe\] count: got -1, expected at least 0"),
    ],
)
def test_a_table_that_is_none_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_table(Recipe, table, "recipe")


def test_recipe_files(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[training]\nsteps = 3\nbetas = [0.9, 0.98]\n")
    assert read_toml(path) == {"training": {"steps": 3, "betas": [0.9, 0.98]}}
    assert from_table(TrainingRules, read_toml(path)["training"], "training").betas == (0.9, 0.98)
    with pytest.raises(ModelNotFoundError, match=r"config: cannot read .*nowhere\.toml"):
        read_toml(tmp_path / "nowhere.toml")
    for text in (b"steps 3\n", b"a = '\xe9'\n"):
        path.write_bytes(text)
        with pytest.raises(ConfigError, match=r"config: .*recipe\.toml is not TOML"):
            read_toml(path)
    path.write_text("steps = 3\n[training]\n")
    with pytest.raises(ConfigError, match="config: got steps = 3 outside of tables"):
        read_toml(path)


# ---- batches made ahead ------------------------------------------------------------------------------


def threads() -> int:
    return sum(thread.name == "albert_fast prefetch" for thread in threading.enumerate())


def test_batches_come_in_order_and_end() -> None:
    assert list(prefetch(iter(range(100)), 3)) == list(range(100))
    assert list(prefetch(iter(()))) == []
    assert threads() == 0


def test_an_error_comes_in_its_place() -> None:
    def source() -> Iterator[int]:
        yield from range(7)
        raise InvalidInputError("the eighth")

    items = prefetch(source(), 2)
    assert [next(items) for _ in range(7)] == list(range(7))
    with pytest.raises(InvalidInputError, match="the eighth"):
        next(items)
    assert threads() == 0


def test_closing_ends_the_thread() -> None:
    made = []

    def source() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield made[-1]

    items = prefetch(source(), 3)
    assert [next(items) for _ in range(5)] == list(range(5))
    deadline = time.monotonic() + 10
    while len(made) < 9 and time.monotonic() < deadline:  # 5 taken, 3 in the queue, 1 that waits
        time.sleep(0.01)
    assert threads() == 1
    items.close()
    assert threads() == 0
    assert len(made) == 9
