"""What an encode job writes to, and what it leaves alone: other jobs' files, its input, links."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from cli_tools import MODEL, encode, rows_done, run, start, write_lines
from test_cli_resume import Crash, Crashing, half_done, last_error

import albert_fast.encoding
from albert_fast import _core
from albert_fast.cli import writers
from albert_fast.errors import OutputError


def test_a_second_job_is_refused_before_it_writes_anything(tmp_path, capsys):
    """Killed after that, the first one loses nothing."""
    source, out = half_done(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    held = writers.PartialFile(Path(f"{out}.partial"))
    for options in ((), ("--overwrite",), ("--overwrite", "--max-length", "64"), ("--overwrite", "--pooling", "cls")):
        assert encode(source, out, *options) == 2
        assert "another albert-fast is writing it" in last_error(capsys)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    held.close()
    assert encode(source, out) == 0
    assert encode(source, tmp_path / "whole.npy") == 0
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_lock_that_comes_with_the_others_last_step(tmp_path, monkeypatch):
    """Between opening and locking the file got its final name: it is not ours to write to."""
    path, done = tmp_path / "out.npy.partial", tmp_path / "out.npy"
    path.write_bytes(b"done")
    flock = writers.fcntl.flock

    def finished(*arguments):
        path.rename(done)
        flock(*arguments)

    monkeypatch.setattr(writers.fcntl, "flock", finished)
    with pytest.raises(OutputError, match="another albert-fast has just finished it"):
        writers.PartialFile(path)
    assert done.read_bytes() == b"done"


@pytest.mark.parametrize("link", [None, "symbolic", "hard"])
@pytest.mark.parametrize("name", ["same.jsonl", "same.jsonl.partial"])
def test_the_input_is_never_replaced(tmp_path, capsys, link, name):
    out = tmp_path / "same.jsonl"
    source = tmp_path / name
    source.write_text('{"text": "a"}\n')
    if link:
        other = tmp_path / "other.jsonl"
        other.symlink_to(source) if link == "symbolic" else other.hardlink_to(source)
        source = other
    assert encode(source, out, "--overwrite", "--text-field", "text") == 2
    assert "would take the place of its own input" in last_error(capsys)
    assert source.read_text() == '{"text": "a"}\n'
    with source.open() as stdin:
        job = start("encode", "-", out, "--overwrite", "--text-field", "text", *MODEL, stdin=stdin)
        assert b"own input standard input" in job.communicate(timeout=60)[1]
    assert source.read_text() == '{"text": "a"}\n'


def test_an_output_that_is_a_link_stays_one(tmp_path):
    source = write_lines(tmp_path / "in.txt", 20)
    (tmp_path / "elsewhere").mkdir()
    out, target = tmp_path / "out.npy", tmp_path / "elsewhere" / "features"
    out.symlink_to(target)
    for options in ((), ("--overwrite",)):
        assert encode(source, out, *options) == 0
        assert out.is_symlink()
        assert np.load(target).shape == (20, 32)
        assert [path.name for path in target.parent.iterdir()] == ["features"]


def test_one_model_by_many_names_goes_on(tmp_path, monkeypatch):
    """``mini``'s folder, with a slash, relative, and through a link."""
    folder = Path(albert_fast.encoding.__file__).parent / "data" / "mini"
    (tmp_path / "sm").symlink_to(folder)
    source = write_lines(tmp_path / "in.txt", 120)
    monkeypatch.chdir(tmp_path)
    with pytest.MonkeyPatch.context() as patches:
        Crashing(patches, 14)
        with pytest.raises(Crash):
            run("encode", source, "out.npy", "--model", "sm")
    done = rows_done(Path("out.npy"))
    assert 0 < done < 120
    for name in ("sm/", "./sm", str(folder), f"../{tmp_path.name}/sm"):
        job = start("encode", source, "out.npy", "--model", name, "--max-length", "9")
        message = job.communicate(timeout=60)[1]
        assert b"(max_length was None, is 9, probe_sha256" in message
        assert b"model was" not in message
    assert run("encode", source, "out.npy", "--model", "./sm/") == 0
    assert np.load("out.npy").shape == (120, 256)


def test_another_instruction_set_is_named(tmp_path, monkeypatch, capsys):
    usual = _core.default_isa()
    if usual == "portable":
        pytest.skip("this machine has no other")
    source, out = half_done(tmp_path)
    monkeypatch.setenv("ALBERT_FAST_CPU_ISA", "portable")
    monkeypatch.setattr(albert_fast.encoding, "_last_model", albert_fast.encoding._LastModel())
    assert encode(source, out) == 2
    assert f"kernels was 'cpu/{usual}', is 'cpu/portable'" in last_error(capsys)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_advice_on_a_disk_that_is_read_only(tmp_path, monkeypatch, capsys, code):
    source = write_lines(tmp_path / "in.txt", 5)
    opened = os.open

    def refuse(path, flags, *rest, **options):
        if flags & os.O_CREAT and str(path).endswith(".partial"):
            raise OSError(code, os.strerror(code))
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert encode(source, tmp_path / "out.npy") == 2
    error = last_error(capsys)
    assert os.strerror(code) in error
    assert f"the folder '{tmp_path}' must be one that can be written to" in error
    assert "goes on from there" not in error


def test_json_rows_have_no_nan(tmp_path):
    rows = np.array([[1.5, np.nan, -np.inf, np.inf, 1e-30]], np.float32)
    for ragged, features in ((False, rows), (True, [rows])):
        writer = writers.JsonlWriter(tmp_path / f"{ragged}.jsonl", 5, ragged)
        writer.begin({})
        writer.append(features)
        written = writer.finish(1).read_text()
        writer.close()
        found = json.loads(written, parse_constant=lambda name: pytest.fail(name))["features"]
        assert (found[0] if ragged else found)[:4] == [1.5, None, None, None]
