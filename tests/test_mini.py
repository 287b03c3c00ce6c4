"""The model that comes with the package: it is there without a network, it is what its card says, and it is never taken
in place of another."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import albert_fast
from albert_fast.bundled import BUNDLED, bundled_folder
from albert_fast.errors import ModelNotFoundError
from albert_fast.nn import AlbertForPreTraining

ROOT = Path(__file__).resolve().parent.parent
CARD = BUNDLED["mini"] / "README.md"
PROMPTS = ("Hello I'm a [MASK] model.", "The man worked as a [MASK].", "The woman worked as a [MASK].")


def test_it_works_by_its_name_and_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    features = albert_fast.encode(["A text goes in."], model="mini")
    assert features.shape == (1, 256)
    assert np.isfinite(features).all()
    assert albert_fast.verify("mini").passed
    assert not albert_fast.load("mini").is_random
    by_name = AlbertForPreTraining.from_pretrained("mini")
    assert by_name.dtype == torch.float32
    theirs = transformers.AlbertForPreTraining.from_pretrained(BUNDLED["mini"], dtype=torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(by_name.parameters(), theirs.parameters(), strict=True))


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in BUNDLED["mini"].iterdir()) < 6_000_000


def test_predictions_are_those_of_its_card() -> None:
    card = CARD.read_text(encoding="utf-8")
    fill = albert_fast.pipeline("fill-mask", "mini")
    for prompt in PROMPTS:
        [row] = [line for line in card.splitlines() if line.startswith(f"| {prompt} |")]
        shown = re.findall(r"`([^`]+)` ([0-9.]+)", row)
        found = fill(prompt, top_k=5)
        assert [piece for piece, _ in shown] == [answer["token_str"] for answer in found]
        assert [float(score) for _, score in shown] == pytest.approx([a["score"] for a in found], abs=6e-4)


def test_the_quick_start_shows_what_it_answers() -> None:
    """The sentence in the README, by the command in the README."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [(prompt, answer)] = re.findall(r'albert-fast fill-mask "([^"]+)" --model mini --top-k 1 +# (.+)', readme)
    command = [sys.executable, "-m", "albert_fast.cli", "fill-mask", prompt, "--model", "mini", "--top-k", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0]["sequence"] == answer


def test_the_readme_shows_its_bias() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples" / "bias.py"], capture_output=True, text=True, check=True)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.split("## Bias")[1].split("```")[1].strip().splitlines()
    rows = re.compile(r"^ *([+-][0-9.]+)  (.+)$")
    found = {match[2]: float(match[1]) for line in done.stdout.splitlines() if (match := rows.match(line))}
    assert len(found) == 10
    assert {m[2]: float(m[1]) for line in shown if (m := rows.match(line))} == pytest.approx(found, abs=0.11)
    assert [line for line in shown if "[MASK]." in line] == [
        line for line in done.stdout.splitlines() if "[MASK]." in line
    ]


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert bundled_folder("mini") == BUNDLED["mini"]
    assert bundled_folder(Path("mini")) is None, "a path is a path"
    (tmp_path / "mini").mkdir()
    assert bundled_folder("mini") is None
    with pytest.raises(ModelNotFoundError, match=r"model mini: folder mini has no config.json"):
        albert_fast.load("mini")


def test_nothing_falls_back_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("minni", "albert/mini", "./mini"):
        with pytest.raises(ModelNotFoundError):
            albert_fast.load(name, local_files_only=True)
