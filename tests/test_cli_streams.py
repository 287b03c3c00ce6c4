"""Standard streams that are closed, full, or not UTF-8, and results that come as they are made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_tools import MODEL, run

import albert_fast
from albert_fast.cli.output import print_json
from albert_fast.cli.windows import in_windows
from albert_fast.errors import InvalidInputError

PROGRAM = f"{sys.executable} -m albert_fast"
SNOW = "ünïcödé ☃"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``$A`` is the program."""
    return subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "A": PROGRAM, **environment},
        capture_output=True,
        encoding="latin-1" if "PYTHONIOENCODING" in environment else "utf-8",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("$A tokenize - -m random:tiny 0<&-", 2, "error: input: standard input is closed"),
        ("$A question-answering --question a --context - 0<&-", 2, "error: input: standard input is closed"),
        ("printf '\\377' | $A question-answering --question a --context -", 2, "error: context: standard input is not"),
        ("echo a | $A tokenize - -m random:tiny >&-", 2, "error: output: standard output is closed"),
        ("$A info >&-", 2, "error: output: standard output is closed"),
        ("$A info >/dev/full", 2, "error: output: cannot write to standard output: No space left on device"),
        ("echo a | $A tokenize - -m random:tiny >/dev/full", 2, "No space left on device"),
        ("$A tokenize nothing.txt 2>&-", 2, ""),
    ],
)
def test_streams_that_cannot_be_used(command: str, code: int, message: str) -> None:
    done = shell(command)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stdout == ""


def test_encode_needs_no_standard_streams(tmp_path: Path) -> None:
    """No file of a job gets the number of a closed stream."""
    (tmp_path / "in.txt").write_text("a\nb\n")
    out = tmp_path / "out.npy"
    assert shell(f"$A encode {tmp_path}/in.txt {out} -m random:tiny 0<&- >&- 2>&-").returncode == 0
    assert run("encode", tmp_path / "in.txt", tmp_path / "whole.npy", *MODEL) == 0
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_any_encoding_of_standard_output(encoding: str) -> None:
    done = shell(f"echo '{SNOW}' | $A tokenize - --pieces -m random:tiny", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    tokenizer = albert_fast.AlbertTokenizer.from_pretrained("random:tiny")
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(SNOW)["input_ids"])
    assert json.loads(done.stdout.encode("latin-1").decode(encoding)) == pieces


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"f1": float("nan"), "all": [float("inf"), 1.5], "label": "\ud800 ☃"})
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=lambda name: pytest.fail(name)) == {
        "f1": None,
        "all": [None, 1.5],
        "label": "\ud800 ☃",
    }


def numbered(values: list[int]) -> list[tuple[str, int]]:
    return [(f"line {i}", value) for i, value in enumerate(values, start=1)]


def inverses(sizes: list[int]) -> Callable[[list[int]], list[float]]:
    def compute(window: list[int]) -> list[float]:
        sizes.append(len(window))
        for i, value in enumerate(window):
            if value == 0:
                raise InvalidInputError(f"inputs[{i}]: got 0")
        return [1 / value for value in window]

    return compute


def test_the_first_result_is_there_before_the_second_text_is_read() -> None:
    read = []

    def items():
        for name, value in numbered(list(range(1, 600))):
            read.append(value)
            yield name, value

    sizes: list[int] = []
    results = in_windows(items(), inverses(sizes))
    assert next(results) == 1
    assert read == [1]
    assert [1.0, *results] == [1 / i for i in range(1, 600)]
    assert sizes[:4] == [1, 2, 4, 8]
    assert max(sizes) <= 256


def test_a_bad_item_is_named_after_the_results_before_it() -> None:
    for bad in range(40):
        values = [*range(1, bad + 1), 0, 5, 6]
        results = in_windows(numbered(values), inverses([]))
        got = []
        with pytest.raises(InvalidInputError, match=rf"^line {bad + 1}: got 0$"):
            got.extend(iter_of(results, got))
        assert got == [1 / i for i in range(1, bad + 1)]


def iter_of(results, got):
    for result in results:
        got.append(result)
    return ()


def test_task_commands_and_tokenize_print_what_is_before_a_bad_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.txt"
    path.write_text("a [MASK]\n" * 5 + "no mask\n" + "a [MASK]\n")
    assert run("fill-mask", "--input", path, *MODEL) == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 5
    assert captured.err.splitlines()[-1].startswith(f"error: {path}, line 6: got no [MASK]")
    path.write_bytes(b"fine\n" * 5 + b"\xff\n")
    for command in (("tokenize", path), ("feature-extraction", "--input", path)):
        assert run(*command, *MODEL) == 2
        captured = capsys.readouterr()
        assert len(captured.out.splitlines()) == 5
        assert captured.err.splitlines()[-1].startswith(f"error: {path}, line 6: not UTF-8")


def test_task_commands_read_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("body\na [MASK]\n")
    assert run("fill-mask", "a [MASK]", *MODEL) == 0
    expected = capsys.readouterr().out
    assert run("fill-mask", "-i", tmp_path / "in.csv", "--text-field", "body", *MODEL) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("verb", [(), ("encode",), ("fill-mask",), ("evaluate",)])
def test_short_help(capsys: pytest.CaptureFixture[str], verb: tuple[str, ...], option: str) -> None:
    assert run(*verb, option) == 0
    assert "Usage: albert-fast" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"albert-fast {albert_fast.__version__}\n"


@pytest.mark.parametrize("verb", [("encode", "IN", "out.npy"), ("tokenize", "IN"), ("verify",), ("info",)])
def test_revision_reaches_the_hub(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    asked = []

    def refuse(repo: str, file: str, revision: str | None = None, **_: object) -> str:
        asked.append((repo, revision))
        raise OSError("no network here")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "IN").write_text("a\n")
    assert run(*verb, "--model", "someone/something", "--revision", "v2") == 2
    assert set(asked) == {("someone/something", "v2")}
    assert "at revision 'v2'" in capsys.readouterr().err
