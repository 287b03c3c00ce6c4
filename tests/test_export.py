"""ONNX files: what onnxruntime computes with them against float64, and that every weight is there once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from checkpoints import SMALL, random_arrays, write_folder
from tolerance import assert_within_pytorch, rel_l2

import albert_fast
from albert_fast.export import OPSETS, to_onnx
from albert_fast.reference import Int8Reference, Reference
from albert_fast.sources import open_source

CONFIGS = {
    # as wide as it takes for errors to be those of many roundings; 6 iterations of 2 groups of 2 layers
    "groups": dataclasses.replace(SMALL, embedding_size=32, hidden_size=96, intermediate_size=160, num_hidden_layers=6),
    "erf": dataclasses.replace(SMALL, hidden_size=64, num_hidden_groups=1, inner_group_num=1, hidden_act="gelu"),
    "unmapped": dataclasses.replace(SMALL, embedding_size=32, hidden_size=32, has_embedding_mapping=False),
    "uneven": dataclasses.replace(SMALL, embedding_size=12, hidden_size=40, hidden_act="gelu_pytorch_tanh"),
}
TORCH = {"float32": torch.float32, "float16": torch.float16, "int8": torch.float64}
LENGTHS = (17, 1, 9, 24)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A checkpoint of each configuration, with weights large enough for attention to choose."""
    made = {}
    for name, config in CONFIGS.items():
        arrays = {key: array * (4 if array.ndim == 2 else 1) for key, array in random_arrays(config).items()}
        made[name] = tmp_path_factory.mktemp(name)
        write_folder(made[name], arrays, config)
    return made


def batch(seed=0, lengths=LENGTHS, vocabulary=61):
    """Padded on the right, with another token type in the second half."""
    rng, longest = np.random.default_rng(seed), max(lengths)
    mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int64)
    ids = rng.integers(5, vocabulary, mask.shape) * mask
    types = (np.arange(longest) >= longest // 2) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def session(path, threads=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path, inputs):
    """Outputs by name."""
    opened = session(path)
    return dict(zip([o.name for o in opened.get_outputs()], opened.run(None, inputs), strict=True))


def reference(folder, dtype):
    """What PyTorch computes in a dtype; for int8 the yardstick, 8 bits of x and W in float64."""
    with open_source(str(folder)) as source:
        return (Int8Reference if dtype == "int8" else Reference).from_source(source, TORCH[dtype])


def of_reference(made, inputs):
    output = made(*(torch.from_numpy(inputs[k]) for k in ("input_ids", "attention_mask", "token_type_ids")))
    return {
        "last_hidden_state": output.hidden_states[-1].double().numpy(),
        "pooler_output": output.pooler_output.double().numpy(),
        "logits": output.prediction_logits.double().numpy(),
    }


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_error_is_within_pytorchs(name, dtype, folders, tmp_path):
    files = [to_onnx(folders[name], tmp_path / f"{task}.onnx", task=task, dtype=dtype) for task in (None, "fill-mask")]
    exact = albert_fast.load(folders[name], dtype="float64")
    theirs = reference(folders[name], dtype)
    ours, pytorch, right = [], [], []
    for seed in range(5):
        inputs = batch(seed)
        kept = inputs["attention_mask"] == 1
        results = [run(path, inputs) for path in files]
        found = results[0] | results[1]
        output = exact(**inputs)
        expected = {
            "last_hidden_state": output.last_hidden_state,
            "pooler_output": output.pooler_output,
            "logits": exact.forward_pretraining(**inputs).prediction_logits,
        }
        yardstick = of_reference(theirs, inputs)
        for rows in (found, expected, yardstick):
            rows["logits"] = rows["logits"][kept]
        assert found.keys() == expected.keys()
        assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
        ours.append(found)
        pytorch.append(yardstick)
        right.append(expected)
    for key in right[0]:
        columns = ([each[key] for each in rows] for rows in (ours, pytorch, right))
        assert_within_pytorch(*columns, dtype, what=f"{name} {key}")


def test_every_weight_is_stored_once(tmp_path, folders):
    for folder in (folders["groups"], "mini"):
        path = to_onnx(folder, tmp_path / "m.onnx", task="fill-mask")
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
        large = [hashlib.sha256(a.tobytes()).digest() for a in constants.values() if a.nbytes > 256]
        assert max(Counter(large).values()) == 1
        with open_source(str(folder)) as source:
            used = [name for name in source.tensor_names if not name.startswith(("albert.pooler", "sop_classifier"))]
            values = sum(int(np.prod(source.shape(name))) for name in used)
        assert values == sum(a.size for a in constants.values() if a.dtype == np.float32 and a.ndim)
        if folder == "mini":
            assert path.stat().st_size <= 1.05 * 4 * values


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrow_files_are_small(dtype, tmp_path):
    sizes = {
        d: to_onnx("mini", tmp_path / "m.onnx", task="fill-mask", dtype=d).stat().st_size for d in ("float32", dtype)
    }
    assert sizes[dtype] <= {"float16": 0.55, "int8": 0.31}[dtype] * sizes["float32"]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", ["groups", "erf"])
def test_every_opset_gives_the_same(name, opset, folders, tmp_path):
    inputs = batch()
    path = to_onnx(folders[name], tmp_path / "m.onnx", opset=opset)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.ir_version <= onnx.helper.find_min_ir_version_for(proto.opset_import)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", opset)]
    expected = albert_fast.load(folders[name], dtype="float64")(**inputs)
    assert rel_l2(run(path, inputs)["last_hidden_state"], expected.last_hidden_state) < 2e-6


def test_any_batch_length_and_padding(folders, tmp_path):
    opened = session(to_onnx(folders["groups"], tmp_path / "m.onnx"))
    inputs = batch(lengths=(1, 7, 24))
    together, pooled = opened.run(None, inputs)
    for row, length in enumerate((1, 7, 24)):
        alone, alone_pooled = opened.run(None, {k: v[row : row + 1, :length] for k, v in inputs.items()})
        np.testing.assert_allclose(together[row, :length], alone[0], atol=2e-6)
        np.testing.assert_allclose(pooled[row], alone_pooled[0], atol=2e-6)
        assert not together[row, length:].any()


def test_masks_with_holes_and_rows_without_a_token(folders, tmp_path):
    path = to_onnx(folders["groups"], tmp_path / "m.onnx")
    mask = np.ones((4, 11), np.int64)
    mask[0, :3] = 0  # padding on the left
    mask[1, [2, 5, 6]] = 0
    mask[2] = 0
    mask[3] = 7  # anything but 0 is a token
    inputs = batch(lengths=(11,) * 4) | {"attention_mask": mask}
    found = run(path, inputs)
    expected = albert_fast.load(folders["groups"], dtype="float64")(**inputs | {"attention_mask": mask != 0})
    np.testing.assert_allclose(found["last_hidden_state"], expected.last_hidden_state, atol=5e-6)
    np.testing.assert_allclose(found["pooler_output"], expected.pooler_output, atol=5e-6)
    assert not found["last_hidden_state"][mask == 0].any()
    assert not found["pooler_output"][2].any()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_pooling_is_that_of_encode(pooling, normalize, folders, tmp_path):
    path = to_onnx(folders["groups"], tmp_path / "m.onnx", pooling=pooling, normalize=normalize)
    inputs = batch(lengths=(17, 3, 9, 0, 24))
    exact = albert_fast.load(folders["groups"], dtype="float64")
    kept = inputs["attention_mask"] == 1
    starts = np.cumsum([0, *kept.sum(axis=1)]).astype(np.int32)
    tokens, types = (inputs[k][kept].astype(np.int32) for k in ("input_ids", "token_type_ids"))
    expected = exact.encode_ragged(tokens, starts, token_types=types, pooling=pooling, normalize=normalize)
    found = run(path, inputs)
    assert found.keys() == {"sentence_embedding"}
    np.testing.assert_allclose(found["sentence_embedding"], expected, atol=5e-6)


def test_int8_is_nearer_than_the_stock_one_on_a_trained_model(tmp_path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain = to_onnx("mini", tmp_path / "f.onnx")
    mine = to_onnx("mini", tmp_path / "q.onnx", dtype="int8")
    stock = tmp_path / "stock.onnx"
    quantize_dynamic(plain, stock, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    texts = ["The king was in the garden.", "It was the best of times, it was the worst of times.", "Who is there?"]
    inputs = dict(albert_fast.load("mini").tokenizer(texts, padding=True, return_tensors="np"))
    inputs = {name: np.asarray(value, np.int64) for name, value in inputs.items()}
    exact = albert_fast.load("mini", dtype="float64")(**inputs).last_hidden_state
    kept = inputs["attention_mask"] == 1
    errors = {p.stem: rel_l2(run(p, inputs)["last_hidden_state"][kept], exact[kept]) for p in (mine, stock)}
    assert errors["q"] < 0.02
    assert errors["q"] < errors["stock"]
