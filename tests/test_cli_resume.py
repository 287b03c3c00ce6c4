"""An encode job that is killed, at whatever moment, goes on and gives the bytes of one that was not."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_tools import COMMAND, MODEL, encode, kill_after, leftovers, rows_done, run, start, write_lines

import albert_fast.encoding
from albert_fast.cli import writers

FORMATS = [
    ("out.npy", "mean"),
    ("out.safetensors", "mean"),
    ("out.jsonl", "mean"),
    ("out.parquet", "mean"),
    ("out.safetensors", "none"),
    ("out.jsonl", "none"),
    ("out.parquet", "none"),
]
FORMATS_KILLED = [
    FORMATS[0],
    FORMATS[-1],
    *(pytest.param(*case, marks=pytest.mark.slow) for case in FORMATS[1:-1]),
]
SLOW = ("--batch-tokens", "32", "--num-threads", "1")  # many small batches, to be killed between them


def last_error(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")][-1]


@pytest.mark.parametrize(("name", "pooling"), FORMATS_KILLED)
def test_killed_twice_and_the_same_bytes(tmp_path, name, pooling):
    source = write_lines(tmp_path / "in.txt", 5000)
    out, whole = tmp_path / name, tmp_path / f"whole-{name}"
    assert encode(source, whole, "--pooling", pooling) == 0
    command = ("encode", source, out, *MODEL, "--pooling", pooling)
    first = kill_after(start(*command, *SLOW), out, 100)
    second = kill_after(start(*command, *SLOW), out, first)
    assert 100 < first < second < 5000
    done = start(*command)
    _, messages = done.communicate(timeout=60)
    assert done.returncode == 0
    assert f"5000 texts ({second} of them earlier)" in messages.decode()
    assert out.read_bytes() == whole.read_bytes()
    assert leftovers(out) == []


class Crash(BaseException):
    """Power off."""


class Crashing:
    """Lets ``steps`` calls that change the disk happen, and stops at the next, in the middle if it writes."""

    def __init__(self, monkeypatch, steps):
        self.steps = steps
        write = os.pwrite
        torn = lambda fd, data, at: write(fd, data[: len(data) // 2], at)  # noqa: E731
        monkeypatch.setattr(os, "pwrite", self.guard(write, torn))
        monkeypatch.setattr(os, "fsync", self.guard(lambda *_: None, lambda *_: None))
        for holder, name in ((os, "ftruncate"), (Path, "replace"), (Path, "unlink")):
            monkeypatch.setattr(holder, name, self.guard(getattr(holder, name), lambda *_: None))

    def guard(self, function, half):
        def guarded(*arguments, **options):
            if self.steps == 0:
                half(*arguments)
                raise Crash
            self.steps -= 1
            return function(*arguments, **options)

        return guarded


@pytest.mark.parametrize(("name", "pooling"), FORMATS)
def test_a_crash_before_any_step_on_the_disk(tmp_path, monkeypatch, name, pooling):
    source = write_lines(tmp_path / "in.txt", 70)
    options = ("--pooling", pooling)
    assert encode(source, tmp_path / f"whole-{name}", *options) == 0
    expected = (tmp_path / f"whole-{name}").read_bytes()
    for steps in range(200):
        out = tmp_path / str(steps) / name
        out.parent.mkdir()
        with monkeypatch.context() as patches:
            Crashing(patches, steps)
            try:
                assert encode(source, out, *options) == 0
                break
            except Crash:
                pass
        assert not out.exists() or out.read_bytes() == expected
        if not out.exists() or leftovers(out):
            assert encode(source, out, *options) == 0, f"crash before step {steps}"
        assert out.read_bytes() == expected, f"crash before step {steps}"
        assert leftovers(out) == []
    assert 20 < steps < 199


def half_done(tmp_path, name="out.npy", *options):
    """A job over 200 lines, stopped after the first window or two; returns input and output."""
    source = write_lines(tmp_path / "in.txt", 200)
    out = tmp_path / name
    with pytest.MonkeyPatch.context() as patches:
        Crashing(patches, 14)
        with pytest.raises(Crash):
            encode(source, out, *options)
    assert 0 < rows_done(out) < 200
    return source, out


def test_batch_options_may_change_on_the_way(tmp_path):
    source, out = half_done(tmp_path)
    assert encode(source, out, *SLOW) == 0
    expected = albert_fast.encoding.encode(source.read_text().split("\n")[:-1], "random:tiny")
    np.testing.assert_array_equal(np.load(out), expected)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--pooling", "cls"), "pooling was 'auto', is 'cls'"),
        (("--max-length", "9"), "max_length was None, is 9"),
        (("--normalize",), "normalize was False, is True"),
        (("--text-field", "text"), "input was 'text', is 'jsonl text None'"),
    ],
)
def test_another_job_on_the_same_output(tmp_path, capsys, option, message):
    source, out = half_done(tmp_path)
    if option[0] == "--text-field":
        source.write_text('{"text": "a"}\n' * 3)
    assert encode(source, out, *option) == 2
    error = last_error(capsys)
    assert "is half made by another job" in error
    assert message in error
    assert encode(source, out, *option, "--overwrite") == 0
    assert encode(source, tmp_path / "fresh.npy", *option) == 0
    assert out.read_bytes() == (tmp_path / "fresh.npy").read_bytes()


def test_other_weights_under_the_same_name(tmp_path, capsys, monkeypatch):
    source, out = half_done(tmp_path)
    ragged = albert_fast.model.Model.encode_ragged
    monkeypatch.setattr(
        albert_fast.model.Model,
        "encode_ragged",
        lambda self, *a, **k: ragged(self, *a, **k) * np.float32(1.0001),
    )
    assert encode(source, out) == 2
    assert "probe_sha256 was" in last_error(capsys)


def test_an_input_that_changed(tmp_path, capsys):
    source, out = half_done(tmp_path)
    lines = source.read_text().split("\n")
    source.write_text("\n".join(["another beginning", *lines[1:]]))
    assert encode(source, out) == 2
    assert re.search(r"the first \d+ texts of .*in.txt are not those of that job", last_error(capsys))
    source.write_text("\n".join(lines[:5]))
    assert encode(source, out) == 2
    assert "has only 5 texts" in last_error(capsys)
    assert encode(source, out, "--overwrite") == 0
    assert len(np.load(out)) == 5


def test_overwrite_goes_on_with_its_own_half(tmp_path, capsys):
    source, out = half_done(tmp_path)
    out.write_bytes(b"an older result")
    done = rows_done(out)
    assert encode(source, out, "--overwrite") == 0
    assert f"200 texts ({done} of them earlier)" in capsys.readouterr().err
    assert len(np.load(out)) == 200


def test_a_partial_file_without_its_journal(tmp_path, capsys):
    source, out = half_done(tmp_path)
    Path(f"{out}.progress.json").unlink()
    assert encode(source, out) == 2
    assert "is there without its journal" in last_error(capsys)
    assert encode(source, out, "--overwrite") == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"row": 1}', '{"fingerprint": {}, "rows": "x"}', "\0"])
def test_a_journal_that_is_none(tmp_path, capsys, content):
    source, out = half_done(tmp_path)
    Path(f"{out}.progress.json").write_text(content)
    assert encode(source, out) == 2
    assert "not a journal of albert-fast" in last_error(capsys)
    assert encode(source, out, "--overwrite") == 0
    assert len(np.load(out)) == 200


def test_a_partial_file_shorter_than_its_journal(tmp_path, capsys):
    source, out = half_done(tmp_path)
    os.truncate(f"{out}.partial", 130)
    assert encode(source, out) == 2
    assert "has 130 bytes, fewer than" in last_error(capsys)


def test_two_jobs_on_one_output(tmp_path, capsys):
    source, out = half_done(tmp_path)
    held = writers.PartialFile(Path(f"{out}.partial"))
    assert encode(source, out) == 2
    assert "another albert-fast is writing it" in last_error(capsys)
    held.close()


def stdin_job(out, *options):
    return start("encode", "-", out, *MODEL, *options, stdin=subprocess.PIPE)


def test_standard_input_goes_on_where_it_was(tmp_path):
    data = write_lines(tmp_path / "in.txt", 300).read_bytes()
    lines = data.splitlines(keepends=True)
    out = tmp_path / "out.npy"
    job = stdin_job(out)
    job.stdin.write(b"".join(lines[:150]))
    job.stdin.flush()
    done = kill_after(job, out, 90)
    assert 90 < done <= 150
    job = stdin_job(out)
    _, messages = job.communicate(data, timeout=60)
    assert (job.returncode, f"300 texts ({done} of them earlier)" in messages.decode()) == (0, True)
    assert encode(tmp_path / "in.txt", tmp_path / "whole.npy") == 0
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_another_standard_input_is_refused(tmp_path):
    lines = write_lines(tmp_path / "in.txt", 300).read_bytes().splitlines(keepends=True)
    out = tmp_path / "out.npy"
    job = stdin_job(out)
    job.stdin.write(b"".join(lines[:150]))
    job.stdin.flush()
    kill_after(job, out, 90)
    for options, message in ((), b"are not those of that job"), (("--overwrite",), b"cannot be read again"):
        job = stdin_job(out, *options)
        _, messages = job.communicate(b"".join(reversed(lines)), timeout=60)
        assert (job.returncode, message in messages) == (2, True), messages


def test_a_full_disk(tmp_path):
    source = write_lines(tmp_path / "in.txt", 1000)
    out = tmp_path / "out.npy"
    command = ("encode", str(source), str(out), *MODEL)
    script = f"""
import resource, sys
from albert_fast.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
sys.exit(main({command!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    error = done.stderr.splitlines()[-1]
    kept = rows_done(out)
    assert 0 < kept < 1000
    assert error.startswith("error: output: cannot write")
    assert f"the first {kept} results are kept, and the same command goes on from there" in error
    assert run(*command) == 0
    assert encode(source, tmp_path / "whole.npy") == 0
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def interrupted_after(process, seconds):
    """Seconds that the process still ran after SIGINT."""
    time.sleep(seconds)
    assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert messages.splitlines()[-1].startswith(b"error: interrupted")
    assert b"Traceback" not in messages
    return time.monotonic() - sent


def test_ctrl_c_keeps_what_is_done(tmp_path):
    source = write_lines(tmp_path / "in.txt", 6000)
    out = tmp_path / "out.npy"
    job = start("encode", source, out, *MODEL, *SLOW)
    while rows_done(out) < 100:
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.001)
    assert interrupted_after(job, 0) < 1
    assert 100 <= rows_done(out) < 6000
    assert encode(source, out) == 0
    assert encode(source, tmp_path / "whole.npy") == 0
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()


@pytest.mark.slow
def test_ctrl_c_stops_a_big_batch_within_a_second(tmp_path):
    """A batch of 64 texts of 512 tokens takes the base model tens of seconds."""
    source = tmp_path / "in.txt"
    source.write_text("again and " * 600 + "\n")
    source.write_text(source.read_text() * 64)
    out = tmp_path / "out.npy"
    job = start("encode", source, out, "--model", "random:albert-base-v2", "--batch-tokens", 2**16)
    while not Path(f"{out}.partial").exists():
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.01)
    assert interrupted_after(job, 1) < 1


@pytest.mark.slow
def test_200_000_lines_killed_twice(tmp_path, capsys):
    source = write_lines(tmp_path / "in.txt", 200_000)
    out, whole = tmp_path / "out.npy", tmp_path / "whole.npy"
    started = time.monotonic()
    subprocess.run([*COMMAND, "encode", source, whole, *MODEL], check=True, capture_output=True)
    seconds = time.monotonic() - started
    command = ("encode", source, out, *MODEL)
    first = kill_after(start(*command), out, 30_000)
    second = kill_after(start(*command), out, first + 30_000)
    assert run(*command) == 0
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (whole, out)]
    assert digests[0] == digests[1]
    assert np.load(out, mmap_mode="r").shape == (200_000, 32)
    with capsys.disabled():
        print(f"\n200000 lines in {seconds:.1f} s; killed at {first} and {second}; sha256 {digests[1][:16]}")
