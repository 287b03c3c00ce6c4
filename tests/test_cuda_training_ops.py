"""The ops of training on CUDA: gradients beside PyTorch's own error against float64, the same bits every time. On a GPU,
or where there is none on the PTX emulator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import CudaDevice
from op_checks import ACTIVATIONS, distance
from test_cuda_ops import DTYPES, Arrays, poisoned, put, rounded
from tolerance import GRADIENT

from albert_fast._core import Ops
from albert_fast.numbers import error_bound

SEEDS = range(3)

Tensors = dict[str, torch.Tensor]


@pytest.fixture(params=DTYPES)
def ops(request: pytest.FixtureRequest, cuda: CudaDevice) -> Ops:
    return Ops(device="cuda", dtype=request.param)


def drawn(seed: int, dtype: str, **shapes: tuple[int, ...]) -> Arrays:
    """Standard normal numbers of ``dtype``, in float32."""
    rng = np.random.default_rng([seed, *(n for shape in shapes.values() for n in shape)])
    return rounded({name: rng.standard_normal(shape) for name, shape in shapes.items()}, dtype)


def check_gradients(
    cuda: CudaDevice,
    dtype: str,
    inputs: Callable[[int], Arrays],
    ours: Callable[[Arrays], Arrays],
    theirs: Callable[[Tensors], Tensors],
) -> None:
    """Each result: its worst error over the seeds is at most GRADIENT times PyTorch's at that dtype, and no bit of it
    depends on the order of warps and blocks. ``theirs`` is also the truth, on float64."""
    errors: dict[str, tuple[list[float], list[float]]] = {}
    for seed in SEEDS:
        arrays = inputs(seed)
        cuda.seed(seed)
        mine = ours(arrays)
        cuda.seed(seed + 100)
        for name, again in ours(arrays).items():
            np.testing.assert_array_equal(again, mine[name], f"{name}: another order of warps, other bits")
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        torchs = theirs({name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()})
        truth = theirs({name: tensor.double() for name, tensor in tensors.items()})
        assert mine.keys() == truth.keys()
        for name, expected in truth.items():
            own, pytorch = errors.setdefault(name, ([], []))
            wide = expected.detach().numpy().astype(np.longdouble)
            own.append(distance(mine[name], wide))
            pytorch.append(distance(torchs[name].detach().double().numpy(), wide))
    for name, (own, pytorch) in errors.items():
        bound = error_bound(own, pytorch, dtype, GRADIENT)
        assert bound.ok, f"{name} in {dtype}: {bound}"


# Elementwise

SHAPES = ((1, 8), (3, 24), (9, 520), (1, 16384))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_activate_and_its_gradient(cuda: CudaDevice, ops: Ops, shape: tuple[int, int], activation: str) -> None:
    def inputs(seed: int) -> Arrays:
        arrays = drawn(seed, ops.dtype, x=shape, dy=shape)
        return rounded({**arrays, "x": 3 * arrays["x"]}, ops.dtype)

    def ours(arrays: Arrays) -> Arrays:
        x, dy = put(arrays["x"], ops.dtype), put(arrays["dy"], ops.dtype)
        y, dx, again = (poisoned(shape, ops.dtype) for _ in range(3))
        ops.activate(x, activation, out=y)
        ops.activate_grad(x, dy, activation, dx=dx, y=again)
        np.testing.assert_array_equal(again.numpy(), y.numpy())
        alone = poisoned(shape, ops.dtype)
        ops.activate_grad(x, dy, activation, dx=alone)
        np.testing.assert_array_equal(alone.numpy(), dx.numpy(), "without y")
        ops.activate_grad(x, dy, activation, dx=x, y=dy)
        np.testing.assert_array_equal(x.numpy(), dx.numpy(), "dx in the place of x")
        np.testing.assert_array_equal(dy.numpy(), y.numpy(), "y in the place of dy")
        in_place = put(arrays["x"], ops.dtype)
        ops.activate(in_place, activation, out=in_place)
        np.testing.assert_array_equal(in_place.numpy(), y.numpy(), "in place")
        return {"y": y.numpy(), "dx": dx.numpy()}

    def theirs(t: Tensors) -> Tensors:
        x = t["x"].clone().requires_grad_()
        y = ACTIVATIONS[activation](x)
        return {"y": y, "dx": torch.autograd.grad(y, x, t["dy"])[0]}

    check_gradients(cuda, ops.dtype, inputs, ours, theirs)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "none"])
def test_gradients_of_activations_far_out(ops: Ops, activation: str) -> None:
    """0 or 1 where the curve is flat or straight, however large x is; and NaN stays NaN."""
    x = np.array([[-6e4, -300, -31, -29, 29, 31, 300, 6e4]], np.float32)
    dx, y = poisoned(x.shape, ops.dtype), poisoned(x.shape, ops.dtype)
    ops.activate_grad(put(x, ops.dtype), put(np.ones_like(x), ops.dtype), activation, dx=dx, y=y)
    slope = 0 if activation == "tanh" else 1
    np.testing.assert_allclose(dx.numpy(), np.where(x < 0, 0, slope), rtol=0, atol=1e-30)
    stored = put(x, ops.dtype).numpy()
    np.testing.assert_array_equal(y.numpy(), np.sign(x) if activation == "tanh" else np.where(x < 0, 0, stored))
    ops.activate_grad(poisoned(x.shape, ops.dtype), put(x, ops.dtype), activation, dx=dx, y=y)
    assert np.isnan(dx.numpy()).all()
    assert np.isnan(y.numpy()).all()
