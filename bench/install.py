"""Time of ``pip install .`` in a fresh virtual environment, of its compilation by part, and the size of the result."""

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
    """Times of the steps, seconds of compilers, then sizes."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "venv"
        build = Path(folder) / "build"  # empty, unlike the one the checkout may have
        times = _install(environment, build, options.python, tuple(shlex.split(options.pip_options)))
        log = build / ".ninja_log"  # make writes none
        compilation = [compilation_table(log.read_text())] if log.exists() else []
        sizes = size_table(_installed_package(environment))
    return [times, *compilation, sizes]


def _install(environment: Path, build: Path, python: str, pip_options: tuple[str, ...]) -> Table:
    """The dependencies first, so that what is left of ``pip install .`` is our own part."""
    ours = environment / "bin" / "python"
    pip = (str(ours), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pip_options)
    package = (*pip, f"-Cbuild-dir={build}", str(ROOT))
    steps = {
        "virtual environment": (python, "-m", "venv", str(environment)),
        "dependencies (numpy, sentencepiece, ..): download and install": (*pip, *_dependencies()),
        "the package: build environment, compilation, install": package,
        "the package again": (*package, "--force-reinstall", "--no-deps"),
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


def compilation_table(ninja_log: str) -> Table:
    """Seconds of compilers and linkers, which work side by side, by target."""
    parts: dict[str, list[float]] = {}
    for line in ninja_log.splitlines()[1:]:
        start, end, _, output, _ = line.split("\t")
        _, compiled, target = output.partition("CMakeFiles/")
        part = target.partition(".dir/")[0] if compiled and output.endswith(".o") else "libraries"
        parts.setdefault(part, []).append((int(end) - int(start)) / 1e3)
    table = Table("Compilation, by target", ("target", "files", "s"))
    for part, seconds in sorted(parts.items(), key=lambda item: -sum(item[1])):
        table.add(part, len(seconds), sum(seconds))
    return table


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
