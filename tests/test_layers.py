"""The folder tree is the architecture: who may include or import whom, how long a file may be, what an import costs.

Every rule is a function from (path, text) to complaints, run over the tree and over made-up files that break it.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A C++ file of the layer on the left may include headers of its own and of those on the right.
CPP_LAYERS = {
    "bindings": {"engine", "cpu", "cuda", "kernels"},
    "engine": {"kernels"},
    "cpu": {"kernels"},
    "cuda": {"kernels"},
    "kernels": set(),
}
PYBIND11_LAYER = "bindings"

# Modules of albert_fast, lowest first; those of one rank do not know each other. Lazy imports count.
PYTHON_LADDER = (
    {"_core", "errors", "numbers", "outputs"},
    {"arguments"},
    {"batching", "bundled", "config", "cuda", "disk"},
    {"destination", "layout", "placement"},
    {"sources"},
    {"checkpoint", "sentence", "tokenizer", "training"},
    {"model", "nn", "reference"},
    {"acceleration", "encoding", "trainer", "verification"},
    {"pipelines", "pretraining"},
    {"finetuning"},
    {"export"},
    {"cli"},
    {"__init__", "__main__"},
)
TORCH_AT_TOP = (
    "albert_fast/acceleration.py",
    "albert_fast/finetuning/",
    "albert_fast/nn/",
    "albert_fast/pretraining/run.py",
    "albert_fast/pretraining/task.py",
    "albert_fast/reference.py",
    "albert_fast/sentence/plugin.py",
    "albert_fast/trainer/",
    "albert_fast/training/",
)  # files, and folders
TRANSFORMERS_AT_TOP = ("albert_fast/nn/",)
HEAVY = {"torch", "transformers", "huggingface_hub", "sentencepiece", "tokenizers", "pyarrow", "tqdm", "tensorflow"}

LONGEST_FILE = 400
IMPORT_SECONDS = 0.3


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    """Path and text of every source file below the folders."""
    suffixes = {".py", ".pyi", ".cpp", ".h", ".cu", ".cuh", ".txt", ".cmake", ".sh"}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def cpp_layer(path: str) -> str:
    parts = path.split("/")
    return "cuda" if parts[0] == "cuda" else parts[1]


def included_layer(name: str) -> str | None:
    """The layer of a quoted include, which is a path below csrc/ or below cuda/."""
    if (ROOT / "csrc" / name).is_file():
        return name.split("/")[0]
    return "cuda" if (ROOT / "cuda" / name).is_file() else None


def include_complaints(path: str, text: str) -> list[str]:
    layer = cpp_layer(path)
    complaints = []
    for opening, name in re.findall(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"]+)", text, re.MULTILINE):
        if re.match(r"torch/|ATen/|c10/", name):
            complaints.append(f"{path} includes {name}: the C++ core knows no torch")
        elif re.match(r"pybind11/|Python\.h|numpy/", name):
            if layer != PYBIND11_LAYER:
                complaints.append(f"{path} includes {name}: pybind11 belongs in csrc/{PYBIND11_LAYER}")
        elif opening == '"':
            target = included_layer(name)
            if target is None:
                complaints.append(f"{path} includes {name}, which is neither below csrc/ nor below cuda/")
            elif target != layer and target not in CPP_LAYERS[layer]:
                complaints.append(f"{path} includes {name}: {layer} must not know {target}")
        elif included_layer(name) is not None:
            complaints.append(f"{path} includes <{name}>, expected quotes for a header of our own")
    return complaints


def namespace_complaints(path: str, text: str) -> list[str]:
    return [f"{path}: using namespace std"] if re.search(r"\busing\s+namespace\s+std\s*;", text) else []


def length_complaints(path: str, text: str) -> list[str]:
    lines = len(text.splitlines())
    return [f"{path} has {lines} lines, expected at most {LONGEST_FILE}"] if lines > LONGEST_FILE else []


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(tree: ast.AST, package: list[str], *, lazy: bool) -> Iterator[str]:
    """Absolute names of what is imported when the module runs; with ``lazy``, in its functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif is_type_checking(node):
            continue
        elif lazy or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imports(node, package, lazy=lazy)


def rank(module: str) -> int:
    return next(i for i, modules in enumerate(PYTHON_LADDER) if module in modules)


def python_complaints(path: str, text: str) -> list[str]:
    parts = path.removesuffix(".pyi").removesuffix(".py").split("/")
    package, own = parts[:-1], parts[1]
    if not any(own in modules for modules in PYTHON_LADDER):
        return [f"{path}: {own} has no place in PYTHON_LADDER"]
    tree = ast.parse(text)
    complaints = []
    for name in imports(tree, package, lazy=False):
        heavy = name.split(".")[0]
        allowed = {"torch": TORCH_AT_TOP, "transformers": TRANSFORMERS_AT_TOP}.get(heavy, ())
        if heavy in HEAVY and not path.startswith(allowed):
            complaints.append(f"{path} imports {heavy} at module level, expected inside the function that needs it")
    for name in imports(tree, package, lazy=True):
        other = name.split(".")[1] if "." in name else ""
        if not name.startswith("albert_fast.") or other in {own, "__version__"}:
            continue
        if not any(other in modules for modules in PYTHON_LADDER):
            complaints.append(f"{path} imports {name}: {other} has no place in PYTHON_LADDER")
        elif rank(other) >= rank(own):
            complaints.append(f"{path} imports {name}: {own} must not know {other}")
    return complaints


RULES = {
    "includes": (include_complaints, ("csrc", "cuda")),
    "namespaces": (namespace_complaints, ("csrc", "cuda", "tests/cpp")),
    "imports": (python_complaints, ("albert_fast",)),
    "lengths": (length_complaints, ("csrc", "cuda", "albert_fast", "tests", "bench")),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_tree_keeps_the_rule(rule: str) -> None:
    check, folders = RULES[rule]
    files = list(sources(*folders))
    assert files
    assert [complaint for path, text in files for complaint in check(path, text)] == []


@pytest.mark.parametrize(
    ("rule", "path", "text", "complaint"),
    [
        ("includes", "csrc/cpu/x.cpp", '#include "engine/batch.h"\n', "cpu must not know engine"),
        ("includes", "csrc/engine/x.h", '#include "cpu/table.h"\n', "engine must not know cpu"),
        ("includes", "csrc/engine/x.h", '#  include "runtime/device.h"\n', "engine must not know cuda"),
        ("includes", "cuda/x.cu", '#include "cpu/primitives/math.h"\n', "cuda must not know cpu"),
        ("includes", "csrc/kernels/x.h", '#include "engine/config.h"\n', "kernels must not know engine"),
        ("includes", "csrc/cpu/x.cpp", '#include "bindings/arrays.h"\n', "cpu must not know bindings"),
        ("includes", "csrc/cpu/x.cpp", "#include <cpu/table.h>\n", "expected quotes"),
        ("includes", "csrc/cpu/x.cpp", '#include "table.h"\n', "neither below csrc/ nor below cuda/"),
        ("includes", "csrc/engine/x.cpp", "#include <pybind11/pybind11.h>\n", "belongs in csrc/bindings"),
        ("includes", "csrc/bindings/x.cpp", "#include <torch/extension.h>\n", "knows no torch"),
        ("namespaces", "csrc/cpu/x.cpp", "using  namespace std;\n", "using namespace std"),
        ("imports", "albert_fast/model.py", "import torch\n", "imports torch at module level"),
        ("imports", "albert_fast/model.py", "try:\n    from torch import nn\nexcept ImportError:\n    pass\n", "torch"),
        ("imports", "albert_fast/model.py", "class A:\n    import transformers.models\n", "imports transformers"),
        ("imports", "albert_fast/sources/hub.py", "from albert_fast.model import load\n", "must not know model"),
        ("imports", "albert_fast/sources/hub.py", "from ..cli.app import main\n", "must not know cli"),
        ("imports", "albert_fast/sources/hub.py", "from .. import encoding\n", "must not know encoding"),
        ("imports", "albert_fast/config.py", "def f():\n    import albert_fast.model\n", "must not know model"),
        ("imports", "albert_fast/config.py", "from . import batching\n", "must not know batching"),
        ("imports", "albert_fast/surprise.py", "", "no place in PYTHON_LADDER"),
        ("imports", "albert_fast/trainer/loop.py", "import transformers\n", "imports transformers"),
        ("imports", "albert_fast/training/__init__.py", "from albert_fast.nn import model\n", "must not know nn"),
        ("lengths", "csrc/cpu/x.cpp", "\n" * 401, "401 lines"),
    ],
)
def test_a_file_that_breaks_the_rule_is_named(rule: str, path: str, text: str, complaint: str) -> None:
    complaints = RULES[rule][0](path, text)
    assert len(complaints) == 1
    assert path in complaints[0]
    assert complaint in complaints[0]


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        ("includes", "csrc/bindings/x.cpp", '#include <pybind11/stl.h>\n#include "cpu/table.h"\n#include <vector>\n'),
        ("includes", "csrc/cpu/x.cpp", '#include "kernels/ops.h"\n#include "cpu/variant.h"\n'),
        ("imports", "albert_fast/model.py", "def f():\n    import torch\n"),
        ("imports", "albert_fast/model.py", "if TYPE_CHECKING:\n    import torch\n    from .cli import main\n"),
        ("imports", "albert_fast/reference.py", "import torch\nfrom albert_fast.config import AlbertConfig\n"),
        ("imports", "albert_fast/nn/model.py", "import torch\nfrom albert_fast.training import embed\n"),
        ("lengths", "csrc/cpu/x.cpp", "\n" * 400),
    ],
)
def test_a_file_that_keeps_the_rule_is_not_named(rule: str, path: str, text: str) -> None:
    assert RULES[rule][0](path, text) == []


def test_importing_the_package_is_quick_and_brings_nothing_heavy() -> None:
    heavy = sorted(HEAVY | {"numpy", "albert_fast._core"})
    code = f"import albert_fast, sys; print(*(name for name in {heavy!r} if name in sys.modules))"
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        seconds.append(time.perf_counter() - begin)
        assert done.stdout.split() == []
    assert statistics.median(seconds) < IMPORT_SECONDS
