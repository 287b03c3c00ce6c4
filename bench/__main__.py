"""``python -m bench COMMAND``: Markdown tables on standard output, and with ``--json`` every number."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from pathlib import Path

from albert_fast.errors import AlbertFastError
from bench.machine import describe

COMMANDS = {
    "kernels": "every op against torch's, and against the limits of the machine",
    "model": "the whole model against transformers and other runtimes: speed and difference",
    "onnx": "our ONNX file beside those of torch's exporters: size, memory, speed, and the error of int8",
    "gradients": "the error of every gradient, and transformers', against float64",
    "curve": "the loss of a small model over some steps, beside transformers'",
    "training": "a training step against transformers: speed and memory",
    "scaling": "ours with 1 and more threads, and in batches of all sizes",
    "strassen": "one level of Strassen-Winograd around our product",
    "tasks": "every task and pipeline beside transformers' on the same weights: figures and predictions",
    "accuracy": "our error and transformers' error against float64",
    "memory": "memory while loading and encoding",
    "install": "time of pip install, size of the package",
    "resume": "the command line killed twice in a long job",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 1 when something that must hold did not, 2 when it cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in COMMANDS.items():
        module = importlib.import_module(f"bench.{name}")
        command = commands.add_parser(name, help=text, description=module.__doc__)
        module.add_arguments(command)
        command.add_argument("--json", type=Path, help="also write every number to this file")
        command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    logging.getLogger("albert_fast").setLevel(logging.ERROR)  # random weights are what is asked for here
    machine = describe()
    try:
        tables = options.run(options)
    except AlbertFastError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print("\n\n".join([machine, *(table.markdown() for table in tables)]))
    if options.json:
        record = {"command": options.command, "machine": machine, "tables": [t.record() for t in tables]}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if any(table.failures for table in tables) else 0


if __name__ == "__main__":
    sys.exit(main())
