"""albert-fast encode: inputs, output formats, and one line for every error."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from cli_tools import COMMAND, MODEL, encode, leftovers, run, write_lines

import albert_fast.encoding

TEXTS = ["first text", "", "a third, somewhat longer text", "ünïcödé ☃"]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("".join(text + "\n" for text in TEXTS))
    return path


@pytest.fixture(scope="module")
def expected():
    return albert_fast.encoding.encode(TEXTS, "random:tiny")


@pytest.fixture(scope="module")
def expected_tokens():
    return albert_fast.encoding.encode(TEXTS, "random:tiny", pooling=None)


def set_stdin(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def error_of(capsys):
    """The one error on stderr, in its one last line; the loader may have warned of random weights before."""
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in lines[:-1]] == [False] * (len(lines) - 1)
    assert "Traceback" not in lines[0]
    assert lines[-1].startswith("error: ")
    return lines[-1]


def read_pooled(path):
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)["features"]
    if path.suffix == ".jsonl":
        return np.array([json.loads(line)["features"] for line in path.read_text().splitlines()], np.float32).reshape(
            -1, 32
        )
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    assert table.column_names == ["features"]
    return np.array(table["features"].to_pylist(), np.float32).reshape(-1, 32)


def read_tokens(path):
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        tensors = load_file(path)
        assert tensors["cu_seqlens"].dtype == np.int32
        return np.split(tensors["features"], tensors["cu_seqlens"][1:-1])
    if path.suffix == ".jsonl":
        return [np.array(json.loads(line)["features"], np.float32) for line in path.read_text().splitlines()]
    import pyarrow.parquet as pq

    return [np.array(row, np.float32) for row in pq.read_table(path)["features"].to_pylist()]


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".jsonl", ".parquet"])
def test_pooled_formats(tmp_path, source, expected, suffix, capsys):
    out = tmp_path / f"out{suffix}"
    assert encode(source, out) == 0
    np.testing.assert_array_equal(read_pooled(out), expected)
    assert leftovers(out) == []
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{out}: 4 texts" in captured.err


@pytest.mark.parametrize("suffix", [".safetensors", ".jsonl", ".parquet"])
def test_token_formats(tmp_path, source, expected_tokens, suffix):
    out = tmp_path / f"out{suffix}"
    assert encode(source, out, "--pooling", "none") == 0
    rows = read_tokens(out)
    assert len(rows) == len(TEXTS)
    for row, features in zip(rows, expected_tokens, strict=True):
        np.testing.assert_array_equal(row, features)
    assert leftovers(out) == []


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".jsonl", ".parquet"])
@pytest.mark.parametrize("pooling", ["mean", "none"])
def test_no_texts_make_an_empty_file(tmp_path, suffix, pooling):
    if suffix == ".npy" and pooling == "none":
        pytest.skip("not a format for ragged rows")
    (tmp_path / "in.txt").touch()
    out = tmp_path / f"out{suffix}"
    assert encode(tmp_path / "in.txt", out, "--pooling", pooling) == 0
    assert len(read_pooled(out)) == 0


def test_npy_is_what_numpy_writes(tmp_path, source, expected):
    assert encode(source, tmp_path / "out.npy") == 0
    np.save(tmp_path / "numpy.npy", expected)
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_safetensors_open_in_torch(tmp_path, source, expected_tokens):
    pytest.importorskip("torch")
    from safetensors.torch import load_file

    assert encode(source, tmp_path / "out.safetensors", "--pooling", "none") == 0
    tensors = load_file(tmp_path / "out.safetensors")
    np.testing.assert_array_equal(tensors["features"].numpy(), np.concatenate(expected_tokens))
    assert tensors["cu_seqlens"].tolist() == [0, *np.cumsum([len(f) for f in expected_tokens]).tolist()]


def test_options_reach_the_encoder(tmp_path, source):
    expected = albert_fast.encoding.encode(TEXTS, "random:tiny", pooling="cls", max_length=5, normalize=True)
    options = ("--pooling", "cls", "--max-length", 5, "--normalize", "--batch-tokens", 7, "--num-threads", 1)
    assert encode(source, tmp_path / "out.npy", *options) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_standard_input(tmp_path, monkeypatch, expected):
    set_stdin(monkeypatch, "\n".join(TEXTS).encode())
    assert encode("-", tmp_path / "out.npy") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


@pytest.mark.parametrize("name", ["windows.txt", "windows.jsonl"])
def test_line_ends_and_byte_order_mark(tmp_path, expected, name):
    path = tmp_path / name
    lines = TEXTS if name == "windows.txt" else [json.dumps({"text": text}) for text in TEXTS]
    path.write_bytes(b"\xef\xbb\xbf" + "".join(line + "\r\n" for line in lines).encode())
    assert encode(path, tmp_path / "out.npy") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


@pytest.mark.parametrize("from_stdin", [False, True])
def test_jsonl(tmp_path, monkeypatch, expected, from_stdin):
    data = "\n\n".join(json.dumps({"id": i, "body": text}) for i, text in enumerate(TEXTS)).encode()
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)
    set_stdin(monkeypatch, data)
    out = tmp_path / "out.npy"
    assert encode("-" if from_stdin else path, out, "--text-field", "body") == 0
    np.testing.assert_array_equal(np.load(out), expected)


def test_jsonl_pairs(tmp_path):
    pairs = [("a question", "its answer"), ("another", "")]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"text": a, "answer": b}) + "\n" for a, b in pairs))
    assert encode(path, tmp_path / "out.npy", "--pair-field", "answer") == 0
    expected = albert_fast.encoding.encode(pairs, "random:tiny")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.txt", b"fine\n\xff\xfe\n", "in.txt, line 2: not UTF-8: invalid start byte at byte 1"),
        ("in.jsonl", b'{"text": "a"}\n{"text": \n', "in.jsonl, line 2: not JSON"),
        ("in.jsonl", b"[1]\n", "in.jsonl, line 1: got list, expected a JSON object"),
        ("in.jsonl", b'{"body": "a", "id": 1}\n', "line 1: no field 'text', but 'body', 'id'"),
        ("in.jsonl", b'\n{"text": 5}\n', "line 2: field 'text' is int, expected a string"),
        ("in.jsonl", b"[" * 100_000 + b"\n", "line 1: not JSON"),
    ],
)
def test_bad_lines_are_named(tmp_path, capsys, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    assert encode(path, tmp_path / "out.npy") == 2
    assert message in error_of(capsys)
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{in}", "{dir}/out.bin"], "expected a name that ends in .npy, .safetensors, .jsonl or .parquet"),
        (["{in}", "{dir}/out.npy", "--pooling", "none"], "expected .safetensors, .jsonl or .parquet"),
        (["{in}", "{dir}/none/out.npy"], "there is no folder"),
        (["{in}", "{dir}/folder.npy"], "is a folder"),
        (["{dir}/none.txt", "{dir}/out.npy"], "cannot read '{dir}/none.txt': No such file or directory"),
        (["{dir}", "{dir}/out.npy"], "Is a directory"),
        (["{in}", "{dir}/out.npy", "--pooling", "middle"], "pooling: got 'middle'"),
        (["{in}", "{dir}/out.npy", "--max-length", "1"], "max_length: got 1"),
        (["{in}", "{dir}/out.npy", "--max-length", "9999"], "expected an integer in 2..512"),
        (["{in}", "{dir}/out.npy", "--max-length", "x"], "Invalid value for '--max-length'"),
        (["{in}", "{dir}/out.npy", "--batch-tokens", "0"], "batch_tokens: got 0"),
        (["{in}", "{dir}/out.npy", "--num-threads", "0"], "num_threads: got 0"),
        (["{in}", "{dir}/out.npy", "--model", "random:huge"], "huge"),
        (["{in}", "{dir}/out.npy", "--model", "{dir}/none"], "none"),
        (["{in}", "{dir}/out.npy", "--dtype", "int3"], "int3"),
        (["{in}", "{dir}/out.npy", "--device", "tpu"], "tpu"),
        (["{in}", "{dir}/out.npy", "--max-length", "4", "--no-truncation"], "texts[2]: got"),
        (["{in}"], "Missing argument"),
        (["{in}", "{dir}/out.npy", "--frob"], "No such option"),
    ],
)
def test_errors_are_one_line_and_exit_2(tmp_path, source, capsys, arguments, message):
    (tmp_path / "folder.npy").mkdir()
    filled = [argument.format(**{"in": source, "dir": tmp_path}) for argument in arguments]
    assert run("encode", *MODEL, *filled) == 2
    assert message.format(dir=tmp_path) in error_of(capsys)
    assert not (tmp_path / "out.npy").exists()


def test_an_output_is_replaced_only_when_asked(tmp_path, source, capsys):
    out = tmp_path / "out.npy"
    out.write_bytes(b"precious")
    assert encode(source, out) == 2
    assert "exists; --overwrite replaces it" in error_of(capsys)
    assert out.read_bytes() == b"precious"
    assert encode(source, out, "--overwrite") == 0
    assert np.load(out).shape == (4, 32)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path, source, capsys):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert encode(source, folder / "out.npy") == 2
    assert "Permission denied" in error_of(capsys)


def test_permission_errors_are_output_errors(tmp_path, source, capsys, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "ftruncate", refuse)
    assert encode(source, tmp_path / "out.npy") == 2
    assert "out.npy': Permission denied; the first 0 results are kept, but the folder" in error_of(capsys)


def test_parquet_without_pyarrow(tmp_path, source, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert encode(source, tmp_path / "out.parquet") == 2
    assert "pip install 'albert_fast[parquet]'" in error_of(capsys)


def test_parquet_row_groups_depend_on_the_rows_alone(tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    source = write_lines(tmp_path / "in.txt", 100)
    monkeypatch.setattr("albert_fast.cli.writers._ROW_GROUP_VALUES", 32 * 40)
    assert encode(source, tmp_path / "pooled.parquet") == 0
    metadata = pq.read_metadata(tmp_path / "pooled.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [40, 40, 20]
    monkeypatch.setattr("albert_fast.cli.writers._ROW_GROUP_VALUES", 32 * 8)
    assert encode(source, tmp_path / "tokens.parquet", "--pooling", "none") == 0
    metadata = pq.read_metadata(tmp_path / "tokens.parquet")
    assert min(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)) > 0
    lines = source.read_text().splitlines()
    expected = albert_fast.encoding.encode(lines, "random:tiny", pooling=None)
    for row, features in zip(read_tokens(tmp_path / "tokens.parquet"), expected, strict=True):
        np.testing.assert_array_equal(row, features)


def test_the_command_itself(tmp_path, source):
    done = subprocess.run([*COMMAND, "encode", source, tmp_path / "out.npy", *MODEL], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    done = subprocess.run([*COMMAND, "encode", "none.txt", "out.npy", *MODEL], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: input: cannot read 'none.txt': No such file or directory\n"


def test_progress_option(tmp_path, source, capsys):
    assert encode(source, tmp_path / "out.npy", "--progress") == 0
    assert "4text" in capsys.readouterr().err
