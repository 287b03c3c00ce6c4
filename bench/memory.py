"""Anonymous memory while loading a safetensors file and while encoding, each in a process of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile

from bench.machine import ROOT
from bench.report import Table

WORKS = "load,1x512,8x512"
CONTESTANTS = "albert_fast,transformers"
COLUMNS = (
    "library",
    "work",
    "weights MB",
    "peak MB",
    "peak / weights",
    "after MB",
    "of files, after MB",
    "file mapped",
    "load s",
    "work s",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--model", default="albert-xxlarge-v2", help="a published size, or tiny")
    parser.add_argument("--contestants", default=CONTESTANTS, help="a library and a dtype each, comma separated")
    parser.add_argument("--works", default=WORKS, help="load or COUNTxLENGTH, comma separated")
    parser.add_argument("--threads", type=int, help="all processors by default")


def run(options: argparse.Namespace) -> list[Table]:
    """One row for each library and work."""
    table = Table(f"Anonymous memory, {options.model} from model.safetensors", COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        _child("prepare", options.model, folder)
        for work in options.works.split(","):
            for library in options.contestants.split(","):
                print(f"bench: {library} {work}", file=sys.stderr)
                arguments = (library, folder, work, str(options.threads or 0))
                _add(table, library, work, json.loads(_child("measure", *arguments)))
    table.notes.append(
        "RssAnon of /proc/self/status, sampled every millisecond by a thread, above what the process had when"
        " the library was imported and had run a tiny model. `load` ends when the model is there; the other"
        " works load and then run that batch, and their peak is that of both. after: `Anonymous` of"
        " smaps_rollup at the end, above the same baseline; of files: RssFile, likewise (transformers keeps"
        " its weights in the pages of the file). MB are 10^6 bytes."
    )
    return [table]


def _child(*arguments: str) -> str:
    command = (sys.executable, "-m", "bench.memory_child", *arguments)
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout.splitlines()[-1] if result.stdout else ""


def _add(table: Table, library: str, work: str, measured: dict[str, float]) -> None:
    above = measured["peak"] - measured["baseline"]
    table.add(
        library,
        work,
        measured["weights"] / 1e6,
        above / 1e6,
        above / measured["weights"],
        (measured["after"] - measured["baseline"]) / 1e6,
        measured["file"] / 1e6,
        "yes" if measured["mapped"] else "no",
        measured["load_seconds"],
        measured["work_seconds"],
    )
