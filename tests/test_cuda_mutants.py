"""Who tests the tester: every kernel of the CUDA backend with one barrier, wait, commit or shuffle taken out, or an
address put wrong, must be caught: by a complaint of the emulator, a failed launch, another result (in any bit, for the
kernels are deterministic), or bank conflicts that the kernel does not have.

``bar.warp.sync`` is left alone: the emulator runs the lanes of a warp as if it stood everywhere (its README says so).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import AttentionCase, LinearCase, LinearGradCase, RowsCase
from conftest import CudaDevice
from mutants import Mutant, mutants, only_kernel
from test_cuda_gradients import our_input_grad, our_weight_grad
from test_cuda_ops import our_attention, our_linear, poisoned, put, rounded
from test_ops import EPS

from albert_fast._core import Ops
from albert_fast.errors import DeviceError

SEEDS = range(3)


@dataclass(frozen=True)
class Subject:
    """A kernel and a small run of it; ``least`` mutants it has to have. ``kernel`` is part of its name, where the run
    launches others too, or could launch one of another tile."""

    dtype: str
    run: Callable[[Ops], np.ndarray[Any, Any]]
    least: int
    kernel: str = ""


def linear(tile: str, dtype: str, t: int, n: int, k: int) -> Subject:
    case = LinearCase(t, n, k, "gelu_new", residual=False)

    def run(ops: Ops) -> np.ndarray[Any, Any]:
        assert ops.describe_linear(t, n, k).startswith(tile), "the shape no longer chooses the tile it is here for"
        return our_linear(ops, case, rounded(case.inputs(0, "float32"), dtype), dtype)

    return Subject(dtype, run, least=20)


def attention(dtype: str, lengths: tuple[int, ...], head_dim: int, least: int) -> Subject:
    case = AttentionCase(lengths, 1, head_dim)
    return Subject(dtype, lambda ops: our_attention(ops, case, rounded(case.inputs(0, "float32"), dtype)), least)


def layer_norm(t: int, h: int, least: int) -> Subject:
    def run(ops: Ops) -> np.ndarray[Any, Any]:
        x, gamma, beta = (RowsCase(t, h).inputs(0, "float32")[name] for name in ("x", "gamma", "beta"))
        out = poisoned((t, h), ops.dtype)
        ops.layer_norm(put(x, "float32"), put(gamma, ops.dtype), put(beta, ops.dtype), EPS, out=out)
        return out.numpy()

    return Subject("bfloat16", run, least)


def embed(t: int, e: int, least: int) -> Subject:
    def run(ops: Ops) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng(0)
        tokens, positions, types = (rng.integers(0, n, t).astype(np.int32) for n in (50, 40, 2))
        arrays = (put(rng.standard_normal((n, e)), ops.dtype) for n in (50, 40, 2))
        out = poisoned((t, e), ops.dtype)
        gamma, beta = (put(rng.standard_normal(e), ops.dtype) for _ in range(2))
        ops.embed(tokens, positions, types, *arrays, gamma, beta, EPS, out=out)
        return out.numpy()

    return Subject("bfloat16", run, least)


def attention_grad(
    dtype: str, lengths: tuple[int, ...], head_dim: int, least: int, *, own_keys: bool, drops: bool = False
) -> Subject:
    """Gradients of any numbers: the kernels do not know whether out and lse belong to qkv."""
    case, tokens = AttentionCase(lengths, 1, head_dim), sum(lengths)

    def run(ops: Ops) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng(0)
        qkv, out, dout = (put(rng.standard_normal((tokens, n * head_dim)), ops.dtype) for n in (3, 1, 1))
        lse = put(6 + rng.random((tokens, 1)), "float32")
        dqkv = poisoned((tokens, 3 * head_dim), ops.dtype)
        dropout = (0.3, 1, 2) if drops else None
        ops.attention_grad(qkv, case.cu_seqlens, 1, out, lse, dout, dqkv=dqkv, dropout=dropout)
        return dqkv.numpy()

    return Subject(dtype, run, least, f"Lb{own_keys:d}ELb{drops:d}E")


def attention_dropout(dtype: str, lengths: tuple[int, ...], head_dim: int, least: int) -> Subject:
    case = AttentionCase(lengths, 1, head_dim)

    def run(ops: Ops) -> np.ndarray[Any, Any]:
        out = poisoned((sum(lengths), head_dim), ops.dtype)
        qkv = put(case.inputs(0, "float32")["qkv"], ops.dtype)
        ops.attention(qkv, case.cu_seqlens, 1, out=out, dropout=(0.3, 1, 2))
        return out.numpy()

    return Subject(dtype, run, least)


def layer_norm_grad(t: int, h: int, least: int) -> Subject:
    def run(ops: Ops) -> np.ndarray[Any, Any]:
        arrays = RowsCase(t, h).inputs(0, "float32")
        dx, dgamma, dbeta = poisoned((t, h), ops.dtype), poisoned((h,), "float32"), poisoned((h,), "float32")
        x, gamma, dy = put(arrays["x"], "float32"), put(arrays["gamma"], ops.dtype), put(arrays["x"][::-1], ops.dtype)
        ops.layer_norm_grad(x, gamma, EPS, dy, dx=dx, dgamma=dgamma, dbeta=dbeta)
        return np.concatenate([dx.numpy().ravel(), dgamma.numpy(), dbeta.numpy()])

    return Subject("bfloat16", run, least, "layer_norm_grad_kernel")


def embed_grad(t: int, e: int, least: int) -> Subject:
    def run(ops: Ops) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng(0)
        ids = (rng.integers(0, n, t).astype(np.int32) for n in (50, 40, 2))
        arrays = (put(rng.standard_normal(shape), ops.dtype) for shape in ((50, e), (40, e), (2, e), (e,)))
        dsum, dgamma, dbeta = poisoned((t, e), "float32"), poisoned((e,), "float32"), poisoned((e,), "float32")
        dy = put(rng.standard_normal((t, e)), ops.dtype)
        ops.embed_grad(*ids, *arrays, EPS, dy, dsum=dsum, dgamma=dgamma, dbeta=dbeta)
        return np.concatenate([dsum.numpy().ravel(), dgamma.numpy(), dbeta.numpy()])

    return Subject("bfloat16", run, least, "embed_grad_kernel")


def scatter_add(t: int, e: int, least: int) -> Subject:
    def run(ops: Ops) -> np.ndarray[Any, Any]:
        x, out = put(RowsCase(t, e).inputs(0, "float32")["x"], "float32"), put(np.ones((2, e)), "float32")
        starts, targets = np.array([0, t // 5, t], np.int32), np.array([1, 0], np.int32)
        ops.scatter_add(x, np.arange(t, dtype=np.int32)[::-1].copy(), starts, targets, out=out)
        return out.numpy()

    return Subject("bfloat16", run, least)


def cross_entropy(n: int, num_classes: int, least: int) -> Subject:
    def run(ops: Ops) -> np.ndarray[Any, Any]:
        logits = put(RowsCase(n, num_classes).inputs(0, "float32")["x"], "float32")
        losses, labels = poisoned((n,), "float32"), np.arange(n, dtype=np.int32)
        dlogits = poisoned((n, num_classes), ops.dtype)
        ops.cross_entropy(logits, labels, scale=1, losses=losses, dlogits=dlogits)
        return np.concatenate([losses.numpy(), dlogits.numpy().ravel()])

    return Subject("bfloat16", run, least)


def pool(t: int, h: int, least: int) -> Subject:
    def run(ops: Ops) -> np.ndarray[Any, Any]:
        out = poisoned((2, h), "float32")
        x = put(RowsCase(t, h).inputs(0, "float32")["x"], ops.dtype)
        ops.pool(x, np.array([0, t // 5, t], np.int32), "mean", out=out)
        return out.numpy()

    return Subject("bfloat16", run, least)


def l2_normalize(t: int, h: int, least: int) -> Subject:
    def run(ops: Ops) -> np.ndarray[Any, Any]:
        x = put(RowsCase(t, h).inputs(0, "float32")["x"], "float32")
        ops.l2_normalize(x)
        return x.numpy()

    return Subject("bfloat16", run, least)


def input_grad(tile: int, dtype: str, t: int, n: int, k: int) -> Subject:
    case = LinearGradCase(t, n, k)

    def run(ops: Ops) -> np.ndarray[Any, Any]:
        return our_input_grad(ops, rounded(case.inputs(0, "float32"), dtype), dtype)

    return Subject(dtype, run, 20, f"linear_input_grad_kernelI{MANGLED[dtype]}Li{tile}E")


def weight_grad(kernel: str, dtype: str, t: int, n: int, k: int, least: int = 20) -> Subject:
    case = LinearGradCase(t, n, k)

    def run(ops: Ops) -> np.ndarray[Any, Any]:
        dweight, dbias = our_weight_grad(ops, rounded(case.inputs(0, "float32"), dtype))
        return np.concatenate([dweight.ravel(), dbias])

    return Subject(dtype, run, least, kernel.format(MANGLED[dtype]))


MANGLED = {"bfloat16": "13__nv_bfloat16", "float16": "6__half", "float32": "f"}

# K so long that the ring of stages goes round and ends where it began, in the memory that the sums then leave through;
# and a little beyond a whole number of stages.
SUBJECTS = {
    "linear 16x32": linear("16 x 32 x 128,", "bfloat16", 17, 72, 128 * 8 + 8),
    "linear 32x32": linear("32 x 32 x 128,", "bfloat16", 100, 520, 128 * 4 + 8),
    "linear 64x32": linear("64 x 32 x 64,", "bfloat16", 64, 3080, 64 * 4 + 8),
    "linear 64x64": linear("64 x 64 x 64,", "bfloat16", 65, 2056, 64 * 4 + 8),
    "linear 128x128": linear("128 x 128 x 32,", "bfloat16", 65, 8200, 32 * 6 + 8),
    "linear 128x256": linear("128 x 256 x 32,", "float16", 129, 8200, 32 * 4 + 8),
    "linear float": linear("64 x 64 x 32,", "float32", 70, 72, 200),
    "linear_input_grad 128x128": input_grad(0, "bfloat16", 65, 32 * 6 + 8, 7048),
    "linear_input_grad 64x64": input_grad(1, "float16", 65, 64 * 4 + 8, 136),
    "linear_input_grad float": input_grad(0, "float32", 70, 200, 72),
    "linear_weight_grad 128x128": weight_grad("linear_weight_grad_kernelI{}Li0E", "bfloat16", 32 * 6 + 5, 136, 7048),
    "linear_weight_grad 64x64": weight_grad("linear_weight_grad_kernelI{}Li1E", "float16", 64 * 4 + 5, 136, 72),
    "linear_weight_grad float": weight_grad("linear_weight_grad_kernelI{}Li0E", "float32", 200, 72, 80),
    "column sums": weight_grad("column_sums_kernelI{}E", "bfloat16", 150, 72, 8, least=1),
    "attention 32": attention("bfloat16", (150, 70), 32, 10),
    "attention 64": attention("bfloat16", (150, 70), 64, 10),
    "attention 128": attention("float16", (150, 70), 128, 10),
    "attention float": attention("float32", (80, 33), 32, 6),
    "layer_norm of a warp": layer_norm(300, 136, 2),
    "layer_norm of a block": layer_norm(300, 4096, 2),
    "embed": embed(900, 128, 2),
    "pool": pool(700, 136, 2),
    "l2_normalize": l2_normalize(900, 520, 2),
    "attention dropout 64": attention_dropout("bfloat16", (150, 70), 64, 10),
    "attention_grad 32, keys": attention_grad("bfloat16", (150, 20), 32, 10, own_keys=True),
    "attention_grad 64, keys": attention_grad("bfloat16", (150, 20), 64, 10, own_keys=True),
    "attention_grad 128, keys": attention_grad("float16", (100, 20), 128, 10, own_keys=True),
    "attention_grad 64, queries": attention_grad("bfloat16", (150, 20), 64, 10, own_keys=False),
    "attention_grad 128, queries": attention_grad("float16", (100, 20), 128, 10, own_keys=False),
    "attention_grad float, keys": attention_grad("float32", (80, 33), 32, 6, own_keys=True),
    "attention_grad float, queries": attention_grad("float32", (80, 33), 32, 6, own_keys=False),
    "attention_grad dropout, keys": attention_grad("bfloat16", (150, 20), 64, 10, own_keys=True, drops=True),
    "attention_grad dropout, queries": attention_grad("bfloat16", (150, 20), 64, 10, own_keys=False, drops=True),
    "layer_norm_grad": layer_norm_grad(40, 1032, 2),
    "embed_grad": embed_grad(40, 1032, 2),
    "scatter_add": scatter_add(300, 136, 2),
    "cross_entropy": cross_entropy(3, 3000, 2),
}

EQUIVALENT: dict[tuple[str, str], str] = {}
"""Mutants that nothing can catch, by subject and what was done, with the reason."""


class Laboratory:
    """Runs mutants of the kernel that a subject launches."""

    def __init__(self, cuda: CudaDevice, subject: Subject) -> None:
        assert cuda.emulator is not None
        self.emulator = cuda.emulator
        self.subject = subject
        self.emulator.take_counters()
        self.expected = self._run()
        [launch] = self._launches()
        self.kernel = str(launch["kernel"])
        self.conflicts = self._conflicts(launch)
        self.ptx = only_kernel(self.emulator.kernel_ptx(self.kernel), self.kernel)

    def _run(self) -> np.ndarray[Any, Any]:
        """With ops of its own: after a reset of the device, what older ones have in its memory is gone."""
        return self.subject.run(Ops(device="cuda", dtype=self.subject.dtype))

    def _launches(self) -> list[dict[str, Any]]:
        """Of the subject's kernel, since the last time."""
        return [launch for launch in self.emulator.take_counters() if self.subject.kernel in launch["kernel"]]

    @staticmethod
    def _conflicts(launch: dict[str, Any]) -> int:
        return int(launch["shared_wavefronts"]) - int(launch["shared_wavefronts_ideal"])

    def is_caught(self, mutant: Mutant) -> bool:
        """By any of a few orders of warps and blocks."""
        self.emulator.replace_kernel(self.kernel, mutant.ptx)
        try:
            return any(self._fails(seed) for seed in SEEDS)
        finally:
            self.emulator.replace_kernel(self.kernel, None)

    def _fails(self, seed: int) -> bool:
        self.emulator.seed(seed)
        try:
            same = bool(np.array_equal(self._run(), self.expected))
        except DeviceError:
            same = False
        broken = self.emulator.take_report() != ""
        if broken:
            self.emulator.reset()  # a kernel's error stays with the device; what was allocated is gone already
            self.emulator.take_report()
            return True
        return not same or self._conflicts(self._launches()[-1]) > self.conflicts


@pytest.fixture
def laboratory(request: pytest.FixtureRequest, cuda: CudaDevice) -> Laboratory:
    if cuda.emulator is None:
        pytest.skip("mutants run on the emulator")
    return Laboratory(cuda, SUBJECTS[request.param])


@pytest.mark.parametrize("laboratory", SUBJECTS, indirect=True, ids=lambda name: name.replace(" ", "-"))
def test_every_mutant_is_caught(
    laboratory: Laboratory, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    name = next(name for name, subject in SUBJECTS.items() if subject is laboratory.subject)
    assert laboratory.is_caught(Mutant("no instruction at all", _emptied(laboratory.ptx)))
    assert not laboratory.is_caught(Mutant("the kernel itself", laboratory.ptx))
    tried = list(mutants(laboratory.ptx))
    survivors = {mutant.what for mutant in tried if not laboratory.is_caught(mutant)}
    record_property("mutants", f"{name}: {len(tried) - len(survivors)} of {len(tried)} caught")
    print(f"{name}: {len(tried) - len(survivors)} of {len(tried)} mutants caught")
    assert len(tried) >= laboratory.subject.least
    assert survivors == {what for subject, what in EQUIVALENT if subject == name}


def _emptied(ptx: str) -> str:
    """Returns at once."""
    return re.sub(r"^\{", "{\n\tret;", ptx, count=1, flags=re.MULTILINE)
