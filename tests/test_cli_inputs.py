"""What an input may be: the suffix decides, and nothing is read as something it is not."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from cli_tools import encode, run

import albert_fast
from albert_fast.cli.inputs import TextInput

TEXTS = ["first, text", 'say "so"', "", "ünïcödé ☃", "two\nlines"]
RECORDS = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]


def write_table(path: Path, delimiter: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "text"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(RECORDS)
    return path


def write(folder: Path, name: str) -> Path:
    path = folder / name
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return write_table(path, "," if suffix == ".csv" else "\t")
    if suffix == ".parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.Table.from_pylist(RECORDS), path)
        return path
    whole = json.dumps(RECORDS, indent=1) if name.startswith("array") else "\n".join(map(json.dumps, RECORDS))
    path.write_text(whole)
    return path


def texts(path: Path, *fields: str) -> list[object]:
    with TextInput(str(path), *fields) as source:
        return list(source)


NAMES = ["a.jsonl", "a.JSONL", "a.ndjson", "array.json", "lines.json", "a.csv", "a.CSV", "a.tsv", "a.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_a_suffix_says_what_it_is(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    assert texts(path) == TEXTS
    assert encode(path, tmp_path / "out.npy") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), albert_fast.encode(TEXTS, "random:tiny"))


@pytest.mark.parametrize("name", NAMES)
def test_going_on_in_the_middle(tmp_path: Path, name: str) -> None:
    """What is skipped gives the same texts and the same digest as what was read."""
    path = str(write(tmp_path, name))
    with TextInput(path) as read, TextInput(path) as skipped:
        first = iter(read)
        for _ in range(3):
            next(first)
        assert skipped.skip(3)
        assert read.digest() == skipped.digest()
        assert list(first) == list(skipped) == TEXTS[3:]
        assert read.digest() == skipped.digest()
        assert not skipped.skip(6)


def test_fields(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffq,a\nwho,me\n\nwhat,that\n")
    assert texts(tmp_path / "a.csv", "q") == ["who", "what"]
    assert texts(tmp_path / "a.csv", "q", "a") == [("who", "me"), ("what", "that")]
    (tmp_path / "a.json").write_text('["who", {"text": "what"}]')
    assert texts(tmp_path / "a.json") == ["who", "what"]
    (tmp_path / "a.jsonl").write_text('"who"\n{"text": "what"}\n')
    assert texts(tmp_path / "a.jsonl") == ["who", "what"]
    (tmp_path / "empty.csv").touch()
    assert texts(tmp_path / "empty.csv") == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,body\n1,x\n", "line 2: no field 'text', but 'id', 'body'; --text-field"),
        ("a.csv", b"text,id\nfine,1\none, two,2\n", "a.csv, line 3: got 3 columns, expected 2 as in the header"),
        ("a.csv", b'text\n"open\n', "a.csv, line 2: not CSV: unexpected end of data"),
        ("a.tsv", b'text\n"a" b\n', "a.tsv, line 2: not TSV: "),
        ("a.csv", b"text,text\na,b\n", "two columns are called 'text'"),
        ("a.csv", b"text\nfine\n\xff\n", "a.csv, line 3: not UTF-8"),
        ("a.json", b'[{"text": "a"}', "a.json: not JSON: "),
        ("a.json", b'{\n "text": "a"}', "a.json, line 1: not JSON: "),
        ("a.json", b'{\n "text": "a"}', "expected an array, or an object a line"),
        ("a.json", b'["a", 5]', "a.json, item 2: got int, expected a JSON object"),
        ("a.parquet", b"text", "a.parquet: not a Parquet file"),
        ("a.txt.gz", b"", "which is not text; decompress it"),
        ("a.XLSX", b"", "which is not text; save it as .csv"),
    ],
)
def test_what_is_not_what_its_name_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert encode(tmp_path / name, tmp_path / "out.npy") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert not (tmp_path / "out.npy").exists()


def test_parquet_without_pyarrow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "a.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    assert run("tokenize", path, "--model", "random:tiny") == 2
    assert "pip install 'albert_fast[parquet]', or write the texts as .jsonl" in capsys.readouterr().err
