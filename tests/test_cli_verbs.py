"""albert-fast tokenize, verify and info, and what all verbs share."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cli_tools import COMMAND, MODEL, run

from albert_fast import _core
from albert_fast.model import load
from albert_fast.tokenizer import AlbertTokenizer

TEXTS = ["A first text.", "", "ünïcödé ☃, 1,234 and [MASK]"]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("".join(text + "\n" for text in TEXTS))
    return path


@pytest.fixture(scope="module")
def tokenizer():
    return AlbertTokenizer.from_pretrained("random:tiny")


def tokenized(capsys, *arguments):
    assert run("tokenize", *arguments, *MODEL) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_tokenize(capsys, source, tokenizer):
    ids = tokenizer(TEXTS)["input_ids"]
    assert tokenized(capsys, source) == ids
    assert tokenized(capsys, source, "--pieces") == [tokenizer.convert_ids_to_tokens(row) for row in ids]
    assert tokenized(capsys, source, "--no-special-tokens") == [row[1:-1] for row in ids]
    assert tokenized(capsys, source, "--max-length", 4) == [
        row if len(row) <= 4 else [*row[:3], row[-1]] for row in ids
    ]


def test_tokenize_pairs(capsys, tmp_path, tokenizer):
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"q": "who", "a": "nobody"}) + "\n")
    expected = [tokenizer("who", "nobody")["input_ids"]]
    assert tokenized(capsys, path, "--text-field", "q", "--pair-field", "a") == expected


def test_tokenize_into_a_pipe_that_closes(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("again and again\n" * 20_000)
    job = subprocess.Popen([*COMMAND, "tokenize", path, *MODEL], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert json.loads(job.stdout.readline())[0] == 2
    job.stdout.close()
    assert job.stderr.read() == b""
    job.stderr.close()
    assert job.wait(60) in (1, 2)


def test_tokenize_errors(capsys, source):
    assert run("tokenize", source, *MODEL, "--max-length", "-3") == 2
    assert capsys.readouterr().err.startswith("error: max_length: got -3")


def test_verify(capsys):
    assert run("verify", *MODEL) == 0
    out = capsys.readouterr().out
    assert "iteration 3" in out
    assert "passed" in out


def test_verify_that_fails_exits_1(capsys, monkeypatch):
    states = _core.EncoderState.hidden_states
    monkeypatch.setattr(_core.EncoderState, "hidden_states", lambda *a, **k: 1.001 * states(*a, **k))
    assert run("verify", *MODEL) == 1
    captured = capsys.readouterr()
    assert "TOO LARGE" in captured.out
    assert captured.err.splitlines()[-1] == "error: random:tiny: at least one stage is above its bound"


def facts(capsys, *arguments):
    assert run("info", *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    return {name: value.strip() for name, _, value in (line.partition("  ") for line in lines if line)}


def test_info_of_the_build(capsys):
    found = facts(capsys)
    assert found["instruction set"].startswith(_core.default_isa())
    assert found["threads"] == str(_core.default_num_threads())
    assert "model" not in found


def test_info_of_a_model(capsys):
    found = facts(capsys, *MODEL)
    model = load("random:tiny")
    assert found["model"] == "random:tiny (random weights)"
    assert found["parameters"] == f"{sum(array.size for array in model.state_dict().values()):,}"
    assert found["weight buffer"] == f"{model.weights.nbytes:,} bytes (packed float32)"
    assert found["heads"] == "pooler, mlm_head, sop_head"
    assert "threads" in found
    for name, value in model.config.to_dict().items() - {("model_type", "albert")}:
        assert found[name] == str(value)


def test_info_reads_no_weights(capsys):
    assert facts(capsys, "--model", "random:albert-xxlarge-v2")["parameters"] == "223,158,450"


@pytest.mark.parametrize("verb", ["encode", "tokenize", "verify", "info"])
def test_every_verb_names_a_model_that_is_not_there(capsys, source, tmp_path, verb):
    places = {"encode": (source, tmp_path / "out.npy"), "tokenize": (source,)}.get(verb, ())
    assert run(verb, *places, "--model", tmp_path / "nowhere") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert "nowhere" in lines[0]


@pytest.mark.parametrize("arguments", [(), ("frobnicate",), ("info", "--frob")])
def test_usage_errors(capsys, arguments):
    assert run(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")


@pytest.mark.parametrize("verb", [(), ("encode",), ("tokenize",), ("verify",), ("info",)])
def test_help(capsys, verb):
    assert run(*verb, "--help") == 0
    assert "Usage: albert-fast" in capsys.readouterr().out


def test_interrupts_and_memory(capsys, monkeypatch):
    def raising(error):
        def resolve(*_):
            raise error

        return resolve

    monkeypatch.setattr("albert_fast.cli.app.resolve_model", raising(KeyboardInterrupt()))
    assert run("verify", *MODEL) == 130
    assert capsys.readouterr().err.startswith("error: interrupted")
    monkeypatch.setattr("albert_fast.cli.app.resolve_model", raising(MemoryError()))
    assert run("verify", *MODEL) == 2
    assert capsys.readouterr().err == "error: not enough memory\n"


def test_help_needs_no_heavy_imports():
    script = """
import sys
from albert_fast.cli import main
main(["--help"])
print(sorted({"torch", "transformers", "pyarrow", "huggingface_hub", "sentencepiece"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
