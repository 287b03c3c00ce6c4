"""The package's front door: names that are loaded when used, with torch and without, and ``python -m albert_fast``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import albert_fast
import albert_fast.errors

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import inspect, pydoc
import albert_fast
assert hasattr(albert_fast, "accelerate") and not hasattr(albert_fast, "nothing") and not hasattr(albert_fast, "__x__")
assert "albert_fast" in pydoc.render_doc(albert_fast)
members = dict(inspect.getmembers(albert_fast))
assert set(albert_fast.__all__) | {"cuda", "errors", "nn", "training"} <= set(members)
names = {}
exec("from albert_fast import *", names)
assert set(albert_fast.__all__) <= set(names)
assert names["load"]("random:tiny").config.hidden_size == 32
inspect.getmembers(albert_fast.nn), inspect.getdoc(albert_fast.accelerate)
for use in (
    lambda: albert_fast.accelerate(None),
    lambda: names["restore"](None),
    lambda: albert_fast.verify("random:tiny"),
    lambda: albert_fast.nn.AlbertModel,
    lambda: albert_fast.training.cross_entropy,
    lambda: albert_fast.finetuning.finetune,
):
    try:
        use()
    except albert_fast.MissingDependencyError as error:
        assert "needs torch" in str(error) and "pip install" in str(error), error
    else:
        raise AssertionError("torch is not there")
"""


def python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_torch_every_name_is_there_and_says_so_when_used() -> None:
    python(WITHOUT_TORCH)


def test_without_transformers_the_same() -> None:
    script = WITHOUT_TORCH.replace('sys.modules["torch"]', 'sys.modules["transformers"]')
    for works in ("verify(", "training.", "accelerate(None)", 'names["restore"]'):
        script = "\n".join(
            line for line in script.splitlines() if not line.strip().startswith("lambda") or works not in line
        )
    assert script.count("lambda") == 2
    python(script)
    refused = "albert_fast.errors.MissingDependencyError: albert_fast.nn needs torch and transformers"
    use = 'import sys; sys.modules["transformers"] = None; import albert_fast; albert_fast.accelerate(None)'
    done = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, check=False)
    assert refused in done.stderr


@pytest.mark.parametrize("name", ["cuda.is_available", "errors.ConfigError", "nn.AlbertModel", "config.AlbertConfig"])
def test_submodules_need_no_import_of_their_own(name: str) -> None:
    assert f"{name.rpartition('.')[2]}" in python(f"import albert_fast; print(albert_fast.{name}, {name!r})")


def test_dir_names_what_there_is() -> None:
    assert set(albert_fast.__all__) | {"cuda", "errors", "nn"} <= set(dir(albert_fast))
    assert all(getattr(albert_fast, name) is not None for name in dir(albert_fast))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        albert_fast.nothing  # noqa: B018


def test_every_error_is_at_top_level() -> None:
    errors = {name for name, value in vars(albert_fast.errors).items() if isinstance(value, type)}
    assert errors == {name for name in albert_fast.__all__ if name.endswith("Error")}
    assert all(getattr(albert_fast, name) is getattr(albert_fast.errors, name) for name in errors)


def test_types_are_marked_as_such() -> None:
    assert (Path(albert_fast.__file__).parent / "py.typed").is_file()


def test_python_m_albert_fast() -> None:
    done = subprocess.run([sys.executable, "-m", "albert_fast", "info"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("albert_fast ")
