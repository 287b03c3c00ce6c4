"""Batch invariance, depths side by side, threads, forks: what the engine promises, bit for bit."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import random_arrays, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_fast import _core, load
from albert_fast.checkpoint import fill, heads
from albert_fast.config import AlbertConfig
from albert_fast.errors import CheckpointError, ConfigError, DeviceError, InvalidInputError
from albert_fast.layout import Heads, weight_layout
from albert_fast.model import Model
from albert_fast.sources import open_source

# Wide enough for several panels and tiles, an FFN with more than one block of k, and a remainder in each.
WIDE = dataclasses.replace(
    AlbertConfig.preset("tiny"),
    embedding_size=20,
    hidden_size=132,
    num_attention_heads=3,
    intermediate_size=600,
)
GROUPED = dataclasses.replace(WIDE, num_hidden_layers=12, num_hidden_groups=2, inner_group_num=2)
LENGTHS = (1, 2, 17, 5, 64, 65, 33, 130)

Ragged = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


@pytest.fixture(scope="module", params=["wide", "grouped"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    _write(path, WIDE if request.param == "wide" else GROUPED)
    return path


def _write(path: Path, config: AlbertConfig) -> None:
    write_folder(path, random_arrays(config), config)


@pytest.fixture(
    scope="module",
    params=[(isa, dtype) for isa in _core.available_isas() for dtype in ("float32", "bfloat16", "int16", "int8")],
    ids="-".join,
)
def encoder(request: pytest.FixtureRequest, folder: Path) -> _core.Encoder:
    isa, dtype = request.param
    with open_source(folder) as source:
        weights = _core.WeightBuffer(weight_layout(source.config, heads(source), dtype), isa)
        fill(weights, source)
    return _core.Encoder(weights)


def sequence(length: int, seed: int) -> Ragged:
    rng = np.random.default_rng([length, seed])
    tokens, types = rng.integers(0, 100, length), rng.integers(0, 2, length)
    return _ints(tokens), _ints([0, length]), _ints(np.arange(length)), _ints(types)


def batch_of(parts: list[Ragged]) -> Ragged:
    cu_seqlens = np.cumsum([0, *(len(part[0]) for part in parts)])
    columns = [np.concatenate([part[i] for part in parts]) for i in (0, 2, 3)]
    return columns[0], _ints(cu_seqlens), columns[1], columns[2]


def every_state(encoder: _core.Encoder, part: Ragged) -> list[Any]:
    """[T, H] after the mapping and after each iteration."""
    state = encoder.start(*part)
    states = [state.hidden_states()]
    while state.advance():
        states.append(state.hidden_states())
    return states


def _ints(values: Any) -> np.ndarray[Any, Any]:
    return np.asarray(values, np.int32)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("pooling", [None, "mean", "cls", "pooler"])
def test_a_text_does_not_know_its_batch(encoder: _core.Encoder, pooling: str | None, threads: int) -> None:
    parts = [sequence(length, 0) for length in LENGTHS]
    alone = [encoder.encode(*part, pooling=pooling, num_threads=1) for part in parts]
    for order in (range(len(parts)), range(len(parts) - 1, -1, -1)):
        batch = batch_of([parts[i] for i in order])
        together = encoder.encode(*batch, pooling=pooling, num_threads=threads)
        np.testing.assert_array_equal(together, np.concatenate([alone[i] for i in order]))


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 80), min_size=1, max_size=6),
    threads=st.integers(1, 3),
    holes=st.floats(0, 0.7),
    seed=st.integers(0, 99),
)
def test_padding_does_not_show(tiny: Model, lengths: list[int], threads: int, holes: float, seed: int) -> None:
    """Any mask, any width: each row equals its attended tokens alone, at the positions they stood at."""
    rng = np.random.default_rng(seed)
    width = max(lengths) + int(rng.integers(1, 5))
    ids = rng.integers(0, 100, (len(lengths), width))
    mask = (np.arange(width) < np.array(lengths)[:, None]) & (rng.random(ids.shape) >= holes)
    output = tiny.forward(ids, mask, num_threads=threads)
    for row in range(len(lengths)):
        columns = np.flatnonzero(mask[row])
        expected = np.zeros((width, tiny.config.hidden_size), np.float32)
        if len(columns):
            alone = tiny.encode_ragged(_ints(ids[row, columns]), _ints([0, len(columns)]), positions=_ints(columns))
            expected[columns] = alone
        np.testing.assert_array_equal(output.last_hidden_state[row], expected)


def test_depths_side_by_side(encoder: _core.Encoder) -> None:
    """Sequences at depths 0, a middle and the last but one advance together, each as it would alone."""
    layers = 12 if _is_grouped(encoder) else 3
    depths = [0, layers // 2 - 1, layers - 1]
    parts = [sequence(length, 7) for length in (17, 64, 5)]
    states = []
    for part, depth in zip(parts, depths, strict=True):
        state = encoder.start(*part)
        for _ in range(depth):
            assert state.advance()
        states.append(state)
    joined = encoder.join(states)
    assert joined.depths == depths
    expected = [every_state(encoder, part) for part in parts]
    for step in range(layers + 1):
        reached = [min(depth + step, layers) for depth in depths]
        assert joined.depths == reached
        rows = np.concatenate([expected[i][depth] for i, depth in enumerate(reached)])
        np.testing.assert_array_equal(joined.hidden_states(), rows)
        assert joined.advance() == (min(reached) < layers)


def _is_grouped(encoder: _core.Encoder) -> bool:
    return len(every_state(encoder, sequence(1, 0))) == GROUPED.num_hidden_layers + 1


def test_depths_0_5_and_11_of_a_twelve_iteration_model(tmp_path: Path) -> None:
    config = dataclasses.replace(WIDE, num_hidden_layers=12)
    _write(tmp_path, config)
    encoder = load(tmp_path).encoder
    parts = [sequence(length, 3) for length in (20, 33, 9)]
    states = [encoder.start(*part) for part in parts]
    for state, depth in zip(states, (0, 5, 11), strict=True):
        for _ in range(depth):
            state.advance()
    joined = encoder.join(states)
    while joined.advance():
        pass
    np.testing.assert_array_equal(joined.hidden_states(), np.concatenate([encoder.encode(*part) for part in parts]))


def test_many_threads_share_a_model(tiny: Model) -> None:
    parts = [sequence(length, 1) for length in LENGTHS]
    expected = [tiny.encoder.encode(*part) for part in parts]
    wrong: list[int] = []

    def work(first: int) -> None:
        for i in range(40):
            index = (first + i) % len(parts)
            if not np.array_equal(tiny.encoder.encode(*parts[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_child_of_fork_can_encode(tiny: Model) -> None:
    part = sequence(50, 0)
    expected = tiny.encoder.encode(*part, num_threads=2)
    child = os.fork()
    if child == 0:
        same = np.array_equal(tiny.encoder.encode(*part, num_threads=2), expected)
        os._exit(0 if same else 1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == 0
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hung")
    np.testing.assert_array_equal(tiny.encoder.encode(*part, num_threads=2), expected)


def test_interrupted_state_is_refused() -> None:
    """Ctrl-C in the middle of an iteration: KeyboardInterrupt soon, and the half-done batch is not used again."""
    model = load("random:albert-base-v2")
    rng = np.random.default_rng(0)
    count = 40 * 512
    batch = _ints(rng.integers(5, 100, count)), _ints(np.arange(0, count + 1, 512))
    state = model.encoder.start(*batch)
    timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, the loop is what gets interrupted
        while True:
            state.advance()
    assert time.monotonic() - begin < 1.3
    with pytest.raises(InvalidInputError, match="interrupted"):
        state.hidden_states()
    assert np.isfinite(model.encoder.encode(batch[0][:512], batch[1][:2])).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": [5, 7, 100000]}, "tokens: got 100000 at index 2"),
        ({"tokens": [5, -1, 3]}, "tokens: got -1 at index 1"),
        ({"positions": [0, 1, 512]}, "positions: got 512 at index 2"),
        ({"token_types": [0, 2, 0]}, "token_types: got 2 at index 1"),
        ({"cu_seqlens": [0, 2]}, "cu_seqlens: got 0 .. 2"),
        ({"cu_seqlens": [1, 3]}, "cu_seqlens: got 1 .. 3"),
        ({"cu_seqlens": [0, 4, 3]}, "cu_seqlens: got 3 at index 2"),
        ({"cu_seqlens": []}, "cu_seqlens: got no entries"),
        ({"token_types": [0, 0]}, "token_types: got int32 \\[2\\]"),
    ],
)
def test_bad_batches_are_named(tiny: Model, change: dict[str, Any], message: str) -> None:
    good = {"tokens": [5, 6, 7], "cu_seqlens": [0, 3], "positions": [0, 1, 2], "token_types": [0, 0, 0]}
    arrays = {name: _ints(values) for name, values in {**good, **change}.items()}
    with pytest.raises(InvalidInputError, match=message):
        tiny.encode_ragged(**arrays)


def test_bad_arrays_and_options_are_named(tiny: Model) -> None:
    tokens, cu_seqlens = _ints([5, 6]), _ints([0, 2])
    with pytest.raises(InvalidInputError, match=r"tokens: got int64 \[2\]"):
        tiny.encode_ragged(tokens.astype(np.int64), cu_seqlens)
    with pytest.raises(InvalidInputError, match="not C-contiguous"):
        tiny.encode_ragged(_ints([5, 0, 6, 0])[::2], cu_seqlens)
    with pytest.raises(InvalidInputError, match="num_threads: got 0"):
        tiny.encode_ragged(tokens, cu_seqlens, num_threads=0)
    with pytest.raises(InvalidInputError, match="pooling: got 'max'"):
        tiny.encode_ragged(tokens, cu_seqlens, pooling="max")


def test_empty_batches(tiny: Model) -> None:
    nothing = tiny.encode_ragged(_ints([]), _ints([0]), pooling="mean")
    assert nothing.shape == (0, 32)
    for pooling in ("mean", "cls"):
        rows = tiny.encode_ragged(_ints([5]), _ints([0, 0, 1, 1]), pooling=pooling)
        assert not rows[[0, 2]].any()
        assert rows[1].any()


def test_weights_must_be_complete_finite_and_known(tiny: Model) -> None:
    weights = _core.WeightBuffer(weight_layout(tiny.config, Heads(False, False, False)))
    with pytest.raises(CheckpointError, match="tensors missing"):
        _core.Encoder(weights)
    name = "albert.embeddings.LayerNorm.weight"
    bad = np.ones((16, 1), np.float32)
    bad[7] = np.inf
    with pytest.raises(CheckpointError, match=name):
        weights.write(name, 0, bad)
    with pytest.raises(InvalidInputError, match="rows"):
        weights.write(name, 1, np.ones((16, 1), np.float32))
    with pytest.raises(InvalidInputError, match="nonsense"):
        weights.write("nonsense", 0, bad)
    with pytest.raises(ConfigError, match="hidden_size: got 33"):
        _config(hidden_size=33)


def _config(**change: Any) -> _core.ModelConfig:
    names = (
        "vocab_size",
        "embedding_size",
        "hidden_size",
        "num_hidden_layers",
        "num_hidden_groups",
        "inner_group_num",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
    )
    return _core.ModelConfig(**{**dict.fromkeys(names, 2), "hidden_act": "gelu", "layer_norm_eps": 1e-12, **change})


def test_instruction_set_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALBERT_FAST_CPU_ISA", "portable")
    assert load("random:tiny").weights.ops == "cpu/portable"
    monkeypatch.setenv("ALBERT_FAST_CPU_ISA", "sse9")
    with pytest.raises(DeviceError, match=r"sse9.*portable"):
        load("random:tiny")


def test_affinity_is_respected() -> None:
    cpus = os.sched_getaffinity(0)
    before = _core.default_num_threads()
    assert 1 <= before <= len(cpus)
    try:
        os.sched_setaffinity(0, {min(cpus)})
        assert _core.default_num_threads() == 1
    finally:
        os.sched_setaffinity(0, cpus)
    assert _core.default_num_threads() == before


@pytest.mark.parametrize(("said", "threads"), [("1", "1"), ("1,2", "1"), ("nonsense", None), ("4096", None)])
def test_omp_num_threads_is_respected(said: str, threads: str | None) -> None:
    """It can only lower the number, which is what it is when nothing is said."""
    script = "from albert_fast import _core; print(_core.default_num_threads())"
    unset = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}

    def count(environment: dict[str, str]) -> str:
        command = [sys.executable, "-c", script]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert count({**unset, "OMP_NUM_THREADS": said}) == (threads or count(unset))
