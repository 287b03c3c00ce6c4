"""The heads of tasks in ONNX files beside transformers', arguments that cannot be used, and what becomes of files."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
import torch
import transformers
from checkpoints import SMALL, random_arrays, write_folder
from cli_tools import run as command
from nn_models import BASE, randomise
from test_export import batch, run
from tolerance import assert_within_pytorch

import albert_fast
from albert_fast import errors
from albert_fast.export import to_onnx

CLASSES = {
    "fill-mask": "AlbertForMaskedLM",
    "text-classification": "AlbertForSequenceClassification",
    "token-classification": "AlbertForTokenClassification",
    "question-answering": "AlbertForQuestionAnswering",
    "multiple-choice": "AlbertForMultipleChoice",
}
LABELS = {0: "düster", 1: "light", 2: "neither"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """By task: a folder, and transformers' model of it."""
    made = {}
    for task, name in CLASSES.items():
        settings = {"id2label": LABELS} if task in ("text-classification", "token-classification") else {}
        model = getattr(transformers, name)(transformers.AlbertConfig(**{**BASE, **settings}))
        randomise(model, seed=1)
        folder = tmp_path_factory.mktemp(task)
        model.eval().save_pretrained(folder)
        made[task] = folder, model
    return made


def task_batch(task, seed=0):
    inputs = batch(seed, lengths=(21, 1, 9, 40, 33, 2), vocabulary=211)
    return {k: v.reshape(2, 3, -1) for k, v in inputs.items()} if task == "multiple-choice" else inputs


@torch.no_grad()
def answers(model, inputs):
    output = model(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    return {name: value.double().numpy() for name, value in output.items()}


@pytest.mark.parametrize("task", CLASSES)
def test_a_task_is_transformers(task, models, tmp_path):
    folder, model = models[task]
    path = to_onnx(folder, tmp_path / "m.onnx", task=task)
    seeds = [task_batch(task, seed) for seed in range(5)]
    ours, theirs = [run(path, inputs) for inputs in seeds], [answers(model, inputs) for inputs in seeds]
    exact = [answers(model.double(), inputs) for inputs in seeds]
    model.float()
    assert list(ours[0]) == list(exact[0])
    for name, value in exact[0].items():
        per_token = value.shape[:2] == seeds[0]["input_ids"].shape and task != "multiple-choice"
        keep = [inputs["attention_mask"] == 1 if per_token else ... for inputs in seeds]
        columns = ([each[name][k] for each, k in zip(rows, keep, strict=True)] for rows in (ours, theirs, exact))
        assert_within_pytorch(*columns, "float32", what=f"{task} {name}")


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("task", CLASSES)
def test_a_task_in_a_narrow_dtype(task, dtype, models, tmp_path):
    folder, model = models[task]
    inputs = task_batch(task)
    found = run(to_onnx(folder, tmp_path / "m.onnx", task=task, dtype=dtype), inputs)
    for name, value in answers(model, inputs).items():
        kept = inputs["attention_mask"] == 1 if value.shape[:2] == inputs["input_ids"].shape else ...
        wanted = value[kept] if task != "multiple-choice" else value
        got = found[name][kept] if task != "multiple-choice" else found[name]
        assert np.abs(got - wanted).max() < {"float16": 0.01, "int8": 0.2}[dtype] * np.abs(wanted).max()


def test_sentence_order_is_that_of_the_pipeline(tmp_path):
    model = albert_fast.load("mini", dtype="float64")
    encoded = model.tokenizer(["It was night."], ["He went home."], return_tensors="np")
    inputs = {name: np.asarray(value, np.int64) for name, value in encoded.items()}
    found = run(to_onnx(model, tmp_path / "m.onnx", task="sentence-order"), inputs)["logits"]
    np.testing.assert_allclose(found, model.forward_pretraining(**encoded).sop_logits, atol=1e-5)


def test_logits_of_padding_are_those_of_zeros(models, tmp_path):
    folder, model = models["token-classification"]
    inputs = task_batch("token-classification")
    found = run(to_onnx(folder, tmp_path / "m.onnx", task="ner"), inputs)["logits"]
    bias = model.classifier.bias.detach().numpy()
    assert np.abs(found[inputs["attention_mask"] == 0] - bias).max() < 1e-6


def test_metadata(models, tmp_path):
    path = to_onnx(models["text-classification"][0], tmp_path / "m.onnx", task="sentiment-analysis", dtype="int8")
    proto = onnx.load(path)
    known = {entry.key: entry.value for entry in proto.metadata_props}
    assert {int(k): v for k, v in json.loads(known.pop("id2label")).items()} == LABELS
    assert known == {
        "model": str(models["text-classification"][0]),
        "albert_fast_version": albert_fast.__version__,
        "task": "text-classification",
        "dtype": "int8",
        "pooling": "none",
        "normalize": "false",
        "max_position_embeddings": "40",
    }
    assert (proto.producer_name, proto.producer_version) == ("albert_fast", albert_fast.__version__)
    inputs = [(i.name, [d.dim_param for d in i.type.tensor_type.shape.dim]) for i in proto.graph.input]
    sizes = ["batch_size", "sequence_length"]
    assert inputs == [(name, sizes) for name in ("input_ids", "attention_mask", "token_type_ids")]


def test_a_live_model_is_its_folder(models, tmp_path):
    folder, live = models["token-classification"]
    files = [
        to_onnx(m, tmp_path / f"{i}.onnx", task="ner") for i, m in enumerate((live, folder, albert_fast.load(live)))
    ]
    first, *others = (onnx.load(path).graph.SerializeToString() for path in files)
    assert others == [first, first]
    assert [entry.value for entry in onnx.load(files[0]).metadata_props if entry.key == "id2label"] == [
        json.dumps({str(k): v for k, v in LABELS.items()}, ensure_ascii=False)
    ]


def test_external_data(models, tmp_path):
    folder, _ = models["fill-mask"]
    inputs = task_batch("fill-mask")
    expected = run(to_onnx(folder, tmp_path / "inline.onnx", task="fill-mask"), inputs)["logits"]
    for _ in range(2):  # a second export replaces the first, and adds nothing to its data
        path = to_onnx(folder, tmp_path / "m.onnx", task="fill-mask", external_data=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inline.onnx", "m.onnx", "m.onnx.data"]
    assert (
        path.stat().st_size + (tmp_path / "m.onnx.data").stat().st_size
        < 1.2 * (tmp_path / "inline.onnx").stat().st_size
    )
    np.testing.assert_array_equal(run(path, inputs)["logits"], expected)


def test_external_data_begins_where_protobuf_ends(models, tmp_path, monkeypatch):
    monkeypatch.setattr("albert_fast.export.writer._MOST_INLINE", 1000)
    to_onnx(models["fill-mask"][0], tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx.data").is_file()


def test_a_file_that_fails_leaves_the_old_one(models, tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")

    def refuse(*arguments, **options):
        raise onnx.checker.ValidationError("no")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(onnx.checker.ValidationError):
        to_onnx(models["fill-mask"][0], path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"task": "translation"}, errors.InvalidInputError, "task: got 'translation', expected one of feature-ex"),
        ({"pooling": "max"}, errors.InvalidInputError, "pooling: got 'max'"),
        (
            {"pooling": "mean", "task": "fill-mask"},
            errors.InvalidInputError,
            "pooling: got 'mean' with task 'fill-mask'",
        ),
        ({"normalize": True}, errors.InvalidInputError, "normalize: got True without pooling"),
        ({"normalize": "yes"}, errors.InvalidTypeError, "normalize: got 'yes'"),
        (
            {"dtype": "bfloat16"},
            errors.InvalidInputError,
            "dtype: got 'bfloat16', expected one of float32, float16, int8",
        ),
        ({"opset": 16}, errors.InvalidInputError, "opset: got 16, expected 17 to 23"),
        ({"opset": "20"}, errors.InvalidTypeError, "opset: got '20'"),
        ({"external_data": 1}, errors.InvalidTypeError, "external_data: got 1"),
        ({"task": "ner"}, errors.CheckpointError, "got no classifier.weight, which token-classification needs"),
        ({"task": "multiple-choice"}, errors.CheckpointError, "got no classifier.weight"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, error, message, tmp_path):
    with pytest.raises(error, match=message):
        to_onnx("mini", tmp_path / "m.onnx", **arguments)
    assert not list(tmp_path.iterdir())


def test_models_that_lack_something(models, tmp_path):
    folder, _ = models["token-classification"]
    for arguments, message in (
        ({"pooling": "pooler"}, "has no pooler"),
        ({"task": "fill-mask"}, "has no MLM head"),
        ({"task": "text-classification"}, "has no pooler"),
    ):
        with pytest.raises(errors.InvalidInputError, match=message):
            to_onnx(folder, tmp_path / "m.onnx", **arguments)
    with pytest.raises(errors.CheckpointError, match=r"expected \[2, 48\] and \[2\] for question-answering"):
        to_onnx(_with(folder, tmp_path, "qa_outputs", 3), tmp_path / "m.onnx", task="question-answering")
    (folder / "config.json").write_text(
        json.dumps({**json.loads((folder / "config.json").read_text()), "id2label": {0: "x"}})
    )
    with pytest.raises(errors.ConfigError, match=r"id2label: got labels \[0\], expected 0 to 2"):
        to_onnx(folder, tmp_path / "m.onnx", task="ner")


def _with(folder, tmp_path, name, rows):
    from safetensors.numpy import load_file

    arrays = load_file(folder / "model.safetensors")
    arrays |= {f"{name}.weight": np.ones((rows, 48), np.float32), f"{name}.bias": np.ones(rows, np.float32)}
    write_folder(tmp_path / "changed", arrays, albert_fast.AlbertConfig.from_json_file(folder / "config.json"))
    return tmp_path / "changed"


def test_numbers_that_cannot_be_stored(tmp_path):
    arrays = random_arrays()
    name = "albert.embeddings.word_embeddings.weight"
    arrays[name][3, 1] = 1e5
    write_folder(tmp_path / "large", arrays)
    with pytest.raises(errors.CheckpointError, match=rf"{name} has 1e\+05, which float16 cannot hold"):
        to_onnx(tmp_path / "large", tmp_path / "m.onnx", dtype="float16")
    arrays[name][3, 1] = np.nan
    write_folder(tmp_path / "nan", arrays)
    with pytest.raises(errors.CheckpointError, match=f"{name} has values that are not finite"):
        to_onnx(tmp_path / "nan", tmp_path / "m.onnx")


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(errors.OutputError, match=r"m\.onnx: No such file or directory"):
        to_onnx("mini", tmp_path / "nowhere" / "m.onnx")
    with pytest.raises(errors.InvalidInputError, match=r"path: got .*, expected that of a file, not of a folder"):
        to_onnx("mini", tmp_path)
    with pytest.raises(errors.InvalidTypeError, match="path: got int"):
        to_onnx("mini", 7)


def test_without_onnx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(errors.MissingDependencyError, match=r"pip install 'albert_fast\[onnx\]'"):
        to_onnx("mini", tmp_path / "m.onnx")


def test_random_weights_are_said_to_be(tmp_path, warned):
    to_onnx("random:tiny", tmp_path / "m.onnx")
    assert "random:tiny: weights are random, results mean nothing" in warned.text


def test_command(tmp_path, capsys):
    path = tmp_path / "m.onnx"
    assert command("export", path, "--model", "mini", "--pooling", "cls", "--normalize", "--opset", 18) == 0
    assert capsys.readouterr().err == f"{path}: {path.stat().st_size / 1e6:,.1f} MB\n"
    inputs = batch(vocabulary=8000)
    expected = run(to_onnx("mini", tmp_path / "n.onnx", pooling="cls", normalize=True, opset=18), inputs)
    np.testing.assert_array_equal(run(path, inputs)["sentence_embedding"], expected["sentence_embedding"])
    assert command("export", path, "--model", "mini", "--task", "ner") == 2
    assert capsys.readouterr().err.startswith("error: model mini: got no classifier.weight")


def test_command_of_external_data(tmp_path):
    assert command("export", tmp_path / "m.onnx", "--model", "random:tiny", "--external-data") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]


def test_positions_end_where_the_model_does(tmp_path):
    write_folder(tmp_path / "m")
    path = to_onnx(tmp_path / "m", tmp_path / "m.onnx")
    with pytest.raises(Exception, match=r"embeddings/position.* 24 by 25"):
        run(path, batch(lengths=(SMALL.max_position_embeddings + 1,)))
