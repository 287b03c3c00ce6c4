"""Time of ``pip install .`` in a fresh virtual environment, and the size of what it installs."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from importlib.metadata import requires
from pathlib import Path

from bench.machine import ROOT
from bench.report import Table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--python", default=sys.executable, help="the interpreter to make the environment of")
    parser.add_argument("--pip-options", default="", help="e.g. '--no-index --find-links WHEELS'")


def run(options: argparse.Namespace) -> list[Table]:
    """Times of the steps, then sizes."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "venv"
        times = _install(environment, options.python, tuple(shlex.split(options.pip_options)))
        sizes = size_table(_installed_package(environment))
    return [times, sizes]


def _install(environment: Path, python: str, pip_options: tuple[str, ...]) -> Table:
    """The dependencies first, so that what is left of ``pip install .`` is our own part."""
    ours = environment / "bin" / "python"
    pip = (str(ours), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pip_options)
    steps = {
        "virtual environment": (python, "-m", "venv", str(environment)),
        "dependencies (numpy, sentencepiece, ..): download and install": (*pip, *_dependencies()),
        "the package: build environment, compilation, install": (*pip, str(ROOT)),
        "import albert_fast, first time": (str(ours), "-c", "import albert_fast"),
        "import albert_fast, again": (str(ours), "-c", "import albert_fast"),
    }
    table = Table("pip install . in a fresh virtual environment", ("step", "s"))
    for step, command in steps.items():
        print(f"bench: {step}", file=sys.stderr)
        table.add(step, _seconds(command))
    table.add("pip install . (dependencies and the package)", sum(float(row[1]) for row in table.rows[1:3]))
    return table


def _seconds(command: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd="/", check=True)
    return time.perf_counter() - start


def _dependencies() -> list[str]:
    """What the package requires without any extra."""
    return [requirement for requirement in requires("albert_fast") or () if "extra ==" not in requirement]


def _installed_package(environment: Path) -> Path:
    [package] = environment.glob("lib/python3*/site-packages/albert_fast")
    return package


def size_table(package: Path) -> Table:
    """Bytes of an installed package, by part."""
    files = [p for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    parts = {
        "C++ extension": [p for p in files if p.suffix == ".so"],
        "vocabulary": [p for p in files if p.suffix == ".model"],
        "Python": [p for p in files if p.suffix in (".py", ".pyi")],
    }
    table = Table("Size of the installed package", ("part", "files", "MB"))
    for part, members in parts.items():
        table.add(part, len(members), _megabytes(members))
    table.add("everything, without .pyc", len(files), _megabytes(files))
    return table


def _megabytes(files: list[Path]) -> float:
    return sum(p.stat().st_size for p in files) / 1e6
