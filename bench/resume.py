"""``albert-fast encode`` on many lines, killed twice at random moments: the output must be the same bytes."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.report import Table

COLUMNS = ("run", "s", "rows at the start", "rows at the end", "ended by")
_POLL_SECONDS = 0.005
_LONGEST_DELAY_SECONDS = 0.3  # between the row that a kill waits for and the kill


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--model", default="random:tiny")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--format", default="npy", choices=("npy", "safetensors", "jsonl", "parquet"))
    parser.add_argument("--text", type=Path, help="lines to repeat; drawn from our own vocabulary by default")
    parser.add_argument("--seed", type=int, default=0, help="of the text and of the moments of the kills")


def run(options: argparse.Namespace) -> list[Table]:
    """One row for each process."""
    title = f"{options.lines:,} lines, {options.model}, killed {options.kills} times"
    table = Table(title, COLUMNS)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "lines.txt"
        write_lines(source, options.lines, rng, options.text)
        whole, killed = (folder / f"{job}.{options.format}" for job in ("whole", "killed"))
        _add(table, "uninterrupted", Job(source, whole, options.model), None)
        for row in kill_rows(options.lines, options.kills, rng):
            delay = rng.uniform(0, _LONGEST_DELAY_SECONDS)
            _add(table, "killed", Job(source, killed, options.model), (row, delay))
        _add(table, "finished", Job(source, killed, options.model), None)
        _compare(table, whole, killed)
    return [table]


def write_lines(path: Path, count: int, rng: random.Random, text: Path | None = None) -> None:
    """``count`` numbered lines of 0 to 30 words, or the lines of ``text`` over and over."""
    if text:
        lines: Iterator[str] = itertools.islice(itertools.cycle(text.read_text("utf-8").splitlines()), count)
    else:
        words = _words()
        lines = (f"{i} " + " ".join(rng.choices(words, k=rng.randrange(31))) for i in range(count))
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _words() -> list[str]:
    """The whole words of our own vocabulary."""
    from albert_fast import AlbertTokenizer

    tokenizer = AlbertTokenizer.from_pretrained("random:tiny")
    pieces = tokenizer.convert_ids_to_tokens(list(range(tokenizer.vocab_size)))
    return [piece[1:] for piece in pieces if piece.startswith("▁") and piece[1:].isalpha()]


def kill_rows(lines: int, kills: int, rng: random.Random) -> list[int]:
    """For each kill a random row, ascending, all within the first four fifths."""
    span = 0.8 * lines / max(1, kills)
    return [int(span * number + rng.uniform(0.05, 0.95) * span) for number in range(kills)]


class Job:
    """The command line, encoding ``source`` into ``out``."""

    def __init__(self, source: Path, out: Path, model: str) -> None:
        self.out = out
        self.command = (sys.executable, "-m", "albert_fast.cli", "encode", str(source), str(out), "-m", model)

    def rows(self) -> int:
        """Rows that the journal says are done; 0 without one."""
        try:
            return int(json.loads(Path(f"{self.out}.progress.json").read_text())["rows"])
        except FileNotFoundError:
            return 0

    def run(self, kill: tuple[int, float] | None) -> int:
        """Run to the end, or kill -9 some seconds after some row; returns the exit status."""
        process = subprocess.Popen(self.command, stderr=subprocess.PIPE)
        if kill is not None:
            row, delay = kill
            while self.rows() < row and process.poll() is None:
                time.sleep(_POLL_SECONDS)
            time.sleep(delay)
            process.kill()
        _, errors = process.communicate()
        if process.returncode not in (0, -9):
            raise RuntimeError(f"{' '.join(self.command)}: {errors.decode()}")
        return process.returncode


def _add(table: Table, name: str, job: Job, kill: tuple[int, float] | None) -> None:
    print(f"bench: {name}", file=sys.stderr)
    before = job.rows()
    start = time.perf_counter()
    status = job.run(kill)
    seconds = time.perf_counter() - start
    if kill is not None and status == 0:
        table.failures.append("a job was over before it was killed; more --lines are needed")
    done = "all" if status == 0 else f"{job.rows():,}"
    table.add(name, seconds, before, done, "itself" if status == 0 else "kill -9")


def _compare(table: Table, whole: Path, killed: Path) -> None:
    expected, got = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (whole, killed))
    left = sorted(path.name for path in killed.parent.glob(f"{killed.name}.*"))
    if got != expected:
        table.failures.append(f"the output differs: sha256 {got}, uninterrupted {expected}")
    if left:
        table.failures.append(f"files left behind: {', '.join(left)}")
    size = whole.stat().st_size / 1e6
    same = "the same bytes" if got == expected else "different bytes"
    table.notes.append(f"Both outputs: {size:.1f} MB, {same}, sha256 {expected[:16]}.. A restart repeats what")
    table.notes[-1] += " was not committed: rows at the start are those in the journal."
