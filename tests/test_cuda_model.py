"""Whole models on CUDA, from the Python call to the tensor-core instruction: beside float64, beside the CPU backend,
and bit for bit beside themselves in another batch."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import random_arrays, write_folder
from conftest import CudaDevice

import albert_fast
from albert_fast import _core, load, verify
from albert_fast.checkpoint import fill, heads
from albert_fast.config import AlbertConfig
from albert_fast.cuda import DeviceArray
from albert_fast.errors import ConfigError
from albert_fast.layout import weight_layout
from albert_fast.model import Model
from albert_fast.sources.random_weights import random_source

BASE = dataclasses.replace(AlbertConfig.preset("tiny"), embedding_size=40, max_position_embeddings=512)
CONFIGS = {
    # 2 groups of 2 inner layers, both kinds of GELU, every head size, widths that divide no tile.
    "groups, heads of 64": dataclasses.replace(
        BASE,
        hidden_size=128,
        num_attention_heads=2,
        intermediate_size=264,
        num_hidden_layers=4,
        num_hidden_groups=2,
        inner_group_num=2,
        hidden_act="gelu",
    ),
    "heads of 128": dataclasses.replace(
        BASE, hidden_size=256, num_attention_heads=2, intermediate_size=520, num_hidden_layers=2, hidden_act="gelu_new"
    ),
    "heads of 32": dataclasses.replace(
        BASE, hidden_size=96, num_attention_heads=3, intermediate_size=200, num_hidden_layers=3, hidden_act="gelu_new"
    ),
}
DTYPES = ("bfloat16", "float16", "float32")
LENGTHS = (1, 17, 64, 70, 2)


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("model"), CONFIGS[request.param])


def write(path: Path, config: AlbertConfig) -> Path:
    write_folder(path, random_arrays(config), config)
    return path


@pytest.fixture
def one_folder(tmp_path: Path) -> Path:
    return write(tmp_path, CONFIGS["groups, heads of 64"])


def ragged(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> dict[str, Any]:
    """A batch whose texts depend on their own length and the seed alone."""
    generators = [np.random.default_rng([length, seed]) for length in lengths]
    tokens, types = (
        np.concatenate([rng.integers(0, most, n).astype(np.int32) for rng, n in zip(generators, lengths, strict=True)])
        for most in (100, 2)
    )
    return {"tokens": tokens, "cu_seqlens": np.cumsum([0, *lengths]).astype(np.int32), "token_types": types}


@pytest.mark.parametrize("dtype", DTYPES)
def test_verify_passes_on_cuda(cuda: CudaDevice, folder: Path, dtype: str) -> None:
    """Every stage: at most twice the error that PyTorch makes in the same dtype, against float64."""
    model = load(folder, device="cuda", dtype=dtype)
    assert (model.device, model.dtype, model.features_dtype) == ("cuda", dtype, "float32")
    report = verify(model)
    assert report.passed, str(report)
    assert {"pooler", "mlm logits", "sop logits"} <= {stage.name for stage in report.stages}


def test_verify_fails_for_wrong_weights_on_the_device(cuda: CudaDevice, one_folder: Path) -> None:
    model = load(one_folder, device="cuda", dtype="bfloat16")
    name = "albert.encoder.albert_layer_groups.1.albert_layers.1.ffn.bias"
    model.weights.write(name, 0, 1.5 * model.weights.read(name)[:, None] + 0.1)
    model.weights.finish()
    assert not verify(model, raise_on_failure=False).passed


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_come_back(cuda: CudaDevice, one_folder: Path, dtype: str) -> None:
    """The one buffer holds each tensor rounded once, and nothing else."""
    expected = load(one_folder, device="cpu").state_dict()
    roundoff = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    for name, tensor in load(one_folder, device="cuda", dtype=dtype).state_dict().items():
        np.testing.assert_allclose(tensor, expected[name], rtol=roundoff, atol=2.0**-25, err_msg=name)


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler", None])
def test_features_are_those_of_the_cpu(cuda: CudaDevice, one_folder: Path, pooling: str | None) -> None:
    """In fp32 the two backends differ by rounding alone: some hundred roundoffs after 8 layers."""
    batch = ragged()
    ours = load(one_folder, device="cuda", dtype="float32").encode_ragged(**batch, pooling=pooling, normalize=True)
    cpu = load(one_folder, device="cpu").encode_ragged(**batch, pooling=pooling, normalize=True)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, cpu, atol=300 * 2.0**-24)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pooling", ["mean", None])
def test_a_text_does_not_know_its_batch(cuda: CudaDevice, one_folder: Path, dtype: str, pooling: str | None) -> None:
    """Bit for bit, whatever the batch, its order, and the order in which warps and blocks run."""
    model = load(one_folder, device="cuda", dtype=dtype)
    alone = [model.encode_ragged(**ragged((length,)), pooling=pooling) for length in LENGTHS]
    for seed, order in enumerate((range(len(LENGTHS) - 1, -1, -1), (3, 0, 4, 4, 1))):
        cuda.seed(seed)
        together = model.encode_ragged(**ragged(tuple(LENGTHS[i] for i in order)), pooling=pooling)
        np.testing.assert_array_equal(together, np.concatenate([alone[i] for i in order]))


def test_depths_side_by_side(cuda: CudaDevice, one_folder: Path) -> None:
    """Sequences at depths 0, 1 and 3 (of 4, in 2 groups) advance together, each as it would alone."""
    model = load(one_folder, device="cuda", dtype="bfloat16")
    lengths, depths = (17, 64, 5), (0, 1, 3)
    states = []
    for length, depth in zip(lengths, depths, strict=True):
        state = model.encoder.start(**ragged((length,)))
        for _ in range(depth):
            assert state.advance()
        states.append(state)
    joined = model.encoder.join(states)
    assert joined.depths == list(depths)
    while joined.advance():
        pass
    expected = [model.encode_ragged(**ragged((length,))) for length in lengths]
    np.testing.assert_array_equal(joined.hidden_states(), np.concatenate(expected))


def test_encode_texts(cuda: CudaDevice, tmp_path: Path) -> None:
    """The call of the README, with the tokenizer, on the device."""
    config = dataclasses.replace(CONFIGS["heads of 32"], vocab_size=AlbertConfig.preset("tiny").vocab_size)
    folder = write(tmp_path, config)
    texts = ["A text goes in.", ("its features", "come out"), "", "One layer, again and again. " * 8]
    tokenizer = load("random:tiny", device="cpu").tokenizer
    model = load(folder, device="cuda", dtype="float16", tokenizer=tokenizer)
    features = albert_fast.encode(texts, model)
    assert features.shape == (4, 96)
    cpu = albert_fast.encode(texts, load(folder, device="cpu", tokenizer=tokenizer))
    assert np.linalg.norm(features - cpu) / np.linalg.norm(cpu) < 32 * 2.0**-11
    for text, row in zip(albert_fast.encode_iter(texts, model, pooling=None), features, strict=True):
        np.testing.assert_allclose(text.mean(axis=0), row, atol=1e-5)


def test_auto_is_the_device_that_is_there(cuda: CudaDevice, one_folder: Path) -> None:
    model = load(one_folder)
    assert (model.device, model.dtype, model.weights.ops) == ("cuda", "bfloat16", "cuda")
    assert load(one_folder, dtype="float64").device == "cpu"
    assert {slot.form for slot in model.weights.layout.slots} == {"plain"}


def test_auto_takes_the_cpu_for_what_no_kernel_takes(cuda: CudaDevice, caplog: pytest.LogCaptureFixture) -> None:
    """random:tiny has heads of 16: README's commands work with a GPU, too."""
    logging.getLogger("albert_fast").setLevel(logging.WARNING)
    model = load("random:tiny")
    assert (model.device, model.dtype) == ("cpu", "float32")
    assert "heads of 16" in caplog.text
    with pytest.raises(ConfigError, match="heads of 16"):
        load("random:tiny", device="cuda")


def test_forward_and_heads(cuda: CudaDevice, one_folder: Path) -> None:
    """Padded in, padded out; masks with holes, an empty row, logits at chosen places."""
    gpu, cpu = load(one_folder, device="cuda", dtype="float32"), load(one_folder, device="cpu")
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(0, 100, (3, 20)), rng.random((3, 20)) < 0.7
    mask[1], mask[0, 0] = False, True
    close = {"rtol": 0, "atol": 2.0**-13}
    ours, theirs = (m.forward(ids, mask, output_hidden_states=True) for m in (gpu, cpu))
    for a, b in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        np.testing.assert_allclose(a, b, **close)
        assert not a[~mask].any()
    np.testing.assert_allclose(ours.pooler_output, theirs.pooler_output, **close)
    chosen = mask & (rng.random((3, 20)) < 0.3)
    for mlm_mask in (None, chosen):
        ours, theirs = (m.forward_pretraining(ids, mask, mlm_mask=mlm_mask) for m in (gpu, cpu))
        np.testing.assert_allclose(ours.prediction_logits, theirs.prediction_logits, **close)
        np.testing.assert_allclose(ours.sop_logits, theirs.sop_logits, **close)
        assert not ours.sop_logits[1].any()


def test_results_stay_on_the_device(cuda: CudaDevice, one_folder: Path) -> None:
    """Into memory of the caller's, without waiting; hidden states as stored, features in float32."""
    model = load(one_folder, device="cuda", dtype="bfloat16")
    batch = ragged()
    features = DeviceArray((len(LENGTHS), 128))
    assert model.encode_ragged(**batch, pooling="mean", out=features) is features
    np.testing.assert_array_equal(features.numpy(), model.encode_ragged(**batch, pooling="mean"))
    state = model.encoder.start(**batch)
    while state.advance():
        pass
    hidden = DeviceArray((sum(LENGTHS), 128), "bfloat16")
    state.hidden_states(out=hidden)
    np.testing.assert_array_equal(hidden.numpy(), state.hidden_states())


def test_one_buffer_serves_all_iterations(cuda: CudaDevice, one_folder: Path) -> None:
    """Device memory: the weights once, and a workspace that a second call of the same size reuses."""
    if cuda.emulator is None:
        pytest.skip("counts the emulator's launches")
    model = load(one_folder, device="cuda", dtype="bfloat16")
    batch = ragged()
    first = model.encode_ragged(**batch)
    cuda.emulator.limit_memory(0)  # from here on, nothing can be allocated
    try:
        np.testing.assert_array_equal(model.encode_ragged(**batch), first)
    finally:
        cuda.emulator.limit_memory(16 << 30)


@pytest.mark.slow
def test_one_full_width_iteration_of_xxlarge(cuda: CudaDevice) -> None:
    """16 tokens through one iteration of the real sizes in bfloat16, beside the CPU's on the same rounded weights."""
    config = dataclasses.replace(
        AlbertConfig.preset("albert-xxlarge-v2"), num_hidden_layers=1, vocab_size=1000, max_position_embeddings=64
    )
    model = random_model(config, "cuda", "bfloat16")
    cpu = random_model(config, "cpu", "float32")
    batch = ragged((16,))
    ours, theirs = model.encode_ragged(**batch), cpu.encode_ragged(**batch)
    # Weights rounded to 8 bits and activations at half a dozen places: each at most 2^-9 relative, some cancel.
    assert np.linalg.norm(ours - theirs) / np.linalg.norm(theirs) < 4 * 2.0**-8
    np.testing.assert_array_equal(ours[:5], model.encode_ragged(**batch)[:5])


def random_model(config: AlbertConfig, device: str, dtype: str) -> Model:
    """Weights of any size without a file, drawn as random:NAME draws them."""
    source = random_source("one iteration of xxlarge", config)
    weights = _core.WeightBuffer(weight_layout(config, heads(source), dtype, device), device=device)
    fill(weights, source)
    return Model("random", source, weights, None, {}, "decoder")
