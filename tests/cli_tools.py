"""Running albert-fast in this process and in its own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from albert_fast.cli import main

MODEL = ("--model", "random:tiny")
COMMAND = (sys.executable, "-m", "albert_fast.cli")
SUFFIXES = (".partial", ".lengths.partial", ".final.partial", ".progress.json")


def write_lines(path: Path, count: int) -> Path:
    """A text file of ``count`` lines of mixed lengths, some empty."""
    rng = random.Random(0)
    words = ("one", "layer", "runs", "again", "until", "the", "text", "is", "read", "twelve", "times")
    lines = (f"{i} " + " ".join(rng.choices(words, k=rng.randrange(24))) for i in range(count))
    path.write_text("".join(line + "\n" if i % 50 else "\n" for i, line in enumerate(lines)))
    return path


def run(*arguments: object) -> int:
    """The exit code of the command line, in this process."""
    return main([str(argument) for argument in arguments])


def encode(*arguments: object) -> int:
    """``albert-fast encode`` with the tiny model, in this process."""
    return run("encode", *arguments, *MODEL)


def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
    """``albert-fast`` as a process of its own, which Ctrl-C reaches even if these tests run in the background."""
    script = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from albert_fast.cli import main
sys.exit(main())
"""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **options)


def rows_done(out: Path) -> int:
    """What the journal of ``out`` says; 0 without one."""
    try:
        return json.loads(Path(f"{out}.progress.json").read_text())["rows"]
    except FileNotFoundError:
        return 0


def kill_after(process: subprocess.Popen[bytes], out: Path, rows: int) -> int:
    """Kill -9 once more than ``rows`` rows are committed; returns how many were by then."""
    deadline = time.monotonic() + 60
    while rows_done(out) <= rows:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode == -9, "the job was over before it was killed"
    return rows_done(out)


def leftovers(out: Path) -> list[str]:
    """Files beside ``out`` that a finished job must not leave."""
    return [path.name for path in out.parent.iterdir() if path.name.startswith(f"{out.name}.")]
