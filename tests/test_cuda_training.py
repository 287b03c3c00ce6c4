"""The encoder forwards and backwards on CUDA, from the binding down: gradients within three times the error PyTorch
makes in the same dtype, for every policy."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CudaDevice
from test_cuda_ops import poisoned, put
from tolerance import GRADIENT, assert_within_pytorch
from torch import Tensor
from torch_encoder import random_parameters

from albert_fast._core import EncoderTraining
from albert_fast.errors import ConfigError
from albert_fast.training import LAYER_PARAMETERS, EncoderSpec
from albert_fast.training.plain import plain_encoder

HIDDEN, INTERMEDIATE, HEADS = 64, 136, 2
LENGTHS = (17, 0, 33)
LAYERS = (0, 0, 1)
SPEC = EncoderSpec(HEADS, LAYERS, "gelu_new", 1e-12)


def engine(dtype: str, keep_every: int, **changed: Any) -> EncoderTraining:
    given = {
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_attention_heads": HEADS,
        "activation": SPEC.hidden_act,
        "layer_norm_eps": SPEC.layer_norm_eps,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
    }
    return EncoderTraining(**{**given, **changed}, layers=LAYERS, keep_every=keep_every, dtype=dtype, device="cuda")


def ours(engine: EncoderTraining, dtype: str, x: Tensor, dy: Tensor, parameters: list[Tensor], chunk: int) -> Any:
    """The output and the gradients of x and of every parameter, in float32."""
    cu_seqlens = np.array([0, *accumulate(LENGTHS)], np.int32)
    on_device = [put(p.detach().float().numpy(), dtype) for p in parameters]
    rows = (len(x), HIDDEN)
    y, dx = poisoned(rows, dtype), poisoned(rows, dtype)
    saved = poisoned((engine.saved_size(len(x)),), dtype)
    gradients = [poisoned((engine.gradient_size,), "float32") for _ in range(max(LAYERS) + 1)]
    given = cu_seqlens, on_device
    engine.forward(put(x.detach().float().numpy(), dtype), *given, out=y, saved=saved)
    engine.backward(put(dy.float().numpy(), dtype), *given, saved, chunk=chunk, dx=dx, gradients=gradients)
    flat = [gradient.numpy() for gradient in gradients]
    offsets = engine.gradient_offsets
    parts = []
    for i, parameter in enumerate(parameters):
        begin = offsets[i % len(offsets)]
        parts.append(flat[i // len(offsets)][begin : begin + parameter.numel()].reshape(parameter.shape))
    return [y.numpy(), dx.numpy(), *parts]


def theirs(x: Tensor, dy: Tensor, parameters: list[Tensor]) -> list[np.ndarray[Any, Any]]:
    """Torch's, sequence by sequence, in the tensors' dtype."""
    leaves = [x, *parameters]
    parts = [plain_encoder(part[None], None, parameters, SPEC)[0] for part in x.split([n for n in LENGTHS if n])]
    y = torch.cat(parts)
    return [t.detach().double().numpy() for t in (y, *torch.autograd.grad((y * dy).sum(), leaves))]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize(("keep_every", "chunk"), [(0, 1), (0, 3), (1, 1), (2, 3)])
def test_gradients(cuda: CudaDevice, dtype: str, keep_every: int, chunk: int) -> None:
    runs: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    of = engine(dtype, keep_every)
    for seed in range(3):
        cuda.seed(seed)
        torch.manual_seed(seed)
        stored = getattr(torch, dtype)
        parameters = [p.detach().to(stored) for p in random_parameters(HIDDEN, INTERMEDIATE, 2, seed=seed)]
        x, dy = torch.randn(sum(LENGTHS), HIDDEN).to(stored), torch.randn(sum(LENGTHS), HIDDEN).to(stored)
        runs[0].append(ours(of, dtype, x, dy, parameters, chunk))
        for run, kind in zip(runs[1:], (stored, torch.float64), strict=True):
            leaves = [t.detach().to(kind).requires_grad_() for t in (x, *parameters)]
            run.append(theirs(leaves[0], dy.to(kind), leaves[1:]))
    for i, name in enumerate(("out", "hidden_states", *LAYER_PARAMETERS * 2)):
        if name != "attention.key.bias":  # softmax does not see it: its gradient is zero but for rounding
            assert_within_pytorch(*([run[i] for run in kind] for kind in runs), dtype, GRADIENT, name)


def test_dropout_is_the_same_forwards_backwards_and_again(cuda: CudaDevice) -> None:
    """What runs again drops the same, so keeping everything and keeping inputs agree in every bit."""
    parameters = [p.detach() for p in random_parameters(HIDDEN, INTERMEDIATE, 2)]
    x, dy = torch.randn(sum(LENGTHS), HIDDEN), torch.randn(sum(LENGTHS), HIDDEN)
    dropout = {"hidden_dropout": 0.2, "attention_dropout": 0.1}
    results = [ours(engine("float32", every, **dropout), "float32", x, dy, parameters, 1) for every in (0, 1)]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
    undropped = ours(engine("float32", 0), "float32", x, dy, parameters, 1)
    assert not np.allclose(results[0][0], undropped[0])


def test_widths_the_kernels_do_not_take_are_refused(cuda: CudaDevice) -> None:
    with pytest.raises(ConfigError, match="intermediate_size: got 100, expected a multiple of 8"):
        engine("bfloat16", 0, intermediate_size=100)
    with pytest.raises(ConfigError, match="num_attention_heads: got heads of 16 numbers"):
        engine("bfloat16", 0, num_attention_heads=4)
