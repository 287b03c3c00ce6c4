"""The loop of a training run, which can die anywhere and goes on to the same bits."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_tools import run, start
from nn_models import BASE
from pretraining_runs import records, weights, write_recipe, write_text
from torch import Tensor

from albert_fast.errors import CheckpointError, InvalidInputError
from albert_fast.nn import AlbertConfig, AlbertForPreTraining
from albert_fast.trainer import Place, Trainer, TrainingRules
from albert_fast.trainer.logs import read_log

pytestmark = pytest.mark.usefixtures("one_thread")

# ---- the loop ----------------------------------------------------------------------------------------


class Toy:
    """Example i is random ids of one length with three labels; figures are made up."""

    best_by = "loss"

    def __init__(self, *figures: float, weight: float = 1.0) -> None:
        self.figures, self.weight = iter(figures), weight
        self.models: list[dict[str, Tensor]] = []

    def batches(self, place: Place, batch_size: int) -> Iterator[tuple[Place, dict[str, Tensor]]]:
        index = place.done
        while True:
            rows = [self._example(i) for i in range(index, index + batch_size)]
            index += batch_size
            yield Place(0, index), {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _example(self, i: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(i)
        ids = torch.randint(0, 211, (12,), generator=rng)
        labels = torch.full((12,), -100)
        labels[torch.randperm(12, generator=rng)[:3]] = ids[:3]
        order = torch.randint(0, 2, (), generator=rng)
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": labels,
            "sentence_order_label": order,
        }

    def losses(self, model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = model(**batch).loss * self.weight
        return {"loss": loss, "half": loss.detach() / 2}

    def evaluate(self, model: Any) -> dict[str, float]:
        assert not model.training
        self.models.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"loss": next(self.figures, 0.0), "other": 1.0}


def model() -> Any:
    torch.manual_seed(0)
    return AlbertForPreTraining(AlbertConfig(**BASE))


def saved(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = AlbertForPreTraining.from_pretrained(folder).state_dict()
    return state


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_two_batches_of_four_are_one_of_eight(tmp_path: Path) -> None:
    made = []
    for accumulate in (1, 2):
        trained = model()
        rules = TrainingRules(
            steps=5, batch_size=8 // accumulate, accumulate=accumulate, learning_rate=1e-3, log_every=1
        )
        Trainer(trained, Toy(), rules, tmp_path / str(accumulate)).run(False)
        made.append((trained.state_dict(), read_log(tmp_path / str(accumulate), "train")))
    (whole, one), (parts, two) = made
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-5, msg=name)
    assert [record["step"] for record in one] == [1, 2, 3, 4, 5]
    for a, b in zip(one, two, strict=True):
        for key in ("loss", "half", "gradient_norm", "learning_rate", "tokens"):
            assert b[key] == pytest.approx(a[key], rel=1e-4), key
        assert a["tokens"] == 96
        assert a["half"] == pytest.approx(a["loss"] / 2)


def test_steps_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    """Gradients clipped to their norm, AdamW, the rate of the step."""
    trained, plain, task = model(), model(), Toy()
    rules = TrainingRules(steps=3, batch_size=4, learning_rate=1e-2, max_grad_norm=0.5, weight_decay=0.0, log_every=2)
    Trainer(trained, task, rules, tmp_path).run(False)
    optimizer = torch.optim.AdamW(plain.parameters(), betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0)
    norms, source = [], task.batches(Place(0, 0), 4)
    plain.train()
    for rate in (1e-2, 2e-2 / 3, 1e-2 / 3):
        optimizer.zero_grad()
        plain(**next(source)[1]).loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)))
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor, rtol=1e-5, atol=1e-6, msg=name)
    logged = [record["gradient_norm"] for record in read_log(tmp_path, "train")]
    assert logged == pytest.approx([(norms[0] + norms[1]) / 2, norms[2]], rel=1e-4)


def test_best_is_of_the_best_evaluation(tmp_path: Path) -> None:
    task, beside = Toy(3.0, 1.0, math.nan, 2.0), lambda folder: (folder / "beside").write_text("here")
    rules = TrainingRules(steps=7, batch_size=2, evaluate_every=2, save_every=3, keep=1)
    trained = model()
    figures = Trainer(trained, task, rules, tmp_path, save_beside=beside).run(False)
    assert figures == {"loss": 2.0, "other": 1.0}
    assert [record["step"] for record in read_log(tmp_path, "evaluation")] == [2, 4, 6, 7]
    assert_same(saved(tmp_path / "best"), task.models[1])
    assert_same(saved(tmp_path / "final"), task.models[3])
    assert_same(saved(tmp_path / "final"), trained.state_dict())
    assert_same(saved(tmp_path / "final"), saved(tmp_path / "checkpoints" / "step-00000007"))
    assert all((tmp_path / name / "beside").read_text() == "here" for name in ("best", "final"))
    again = Trainer(model(), Toy(5.0), rules, tmp_path)
    assert again.resumed_at == 7
    assert again.run(False) == {"loss": 5.0, "other": 1.0}, "a run that is over is evaluated"
    assert_same(saved(tmp_path / "final"), task.models[3])


def test_most_is_best_behind_a_minus(tmp_path: Path) -> None:
    task = Toy(3.0, 5.0, 4.0)
    task.best_by = "-loss"
    Trainer(model(), task, TrainingRules(steps=3, batch_size=2, evaluate_every=1), tmp_path).run(False)
    assert_same(saved(tmp_path / "best"), task.models[1])


def test_a_resumed_run_remembers_its_best(tmp_path: Path) -> None:
    def figures() -> Iterator[float]:
        yield from (2.0, 1.0)
        raise KeyboardInterrupt

    task, rules = Toy(), TrainingRules(steps=3, batch_size=2, evaluate_every=1, save_every=1)
    task.figures = figures()
    with pytest.raises(KeyboardInterrupt):
        Trainer(model(), task, rules, tmp_path).run(False)
    resumed = Trainer(model(), Toy(1.5), rules, tmp_path)
    assert resumed.resumed_at == 2
    assert resumed.run(False) == {"loss": 1.5, "other": 1.0}
    assert_same(saved(tmp_path / "best"), task.models[1])


def test_other_settings_are_refused(tmp_path: Path) -> None:
    rules, about = TrainingRules(steps=2, batch_size=2), {"data": {"train": ["a.txt", 3]}}
    Trainer(model(), Toy(), rules, tmp_path, about=about)
    Trainer(model(), Toy(), rules, tmp_path, about=about)
    with pytest.raises(InvalidInputError, match=r"has a run with training steps: 2, not 3; expected the same settings"):
        Trainer(model(), Toy(), TrainingRules(steps=3, batch_size=2), tmp_path, about=about)
    with pytest.raises(InvalidInputError, match=r"has a run with data train: \['a\.txt', 3\], not \['b\.txt', 3\]"):
        Trainer(model(), Toy(), rules, tmp_path, about={"data": {"train": ["b.txt", 3]}})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("settings.json", b'{"training": ', r"settings\.json: cannot be read .*expected the settings of the run"),
        ("settings.json", b"[]", r"settings\.json: got \[\], expected the settings of the run"),
        ("checkpoints/step-00000002/progress.json", b'{"step": 2}', r"progress\.json is damaged: KeyError\('place'\)"),
        ("checkpoints/step-00000002/progress.json", b"[2]", r"step-00000002: cannot be read .*remove it to go on"),
        ("checkpoints/step-00000002/model.safetensors", None, r"step-00000002: cannot be read .*remove it to go on"),
        ("checkpoints/step-00000002/model.safetensors", b"\0", r"step-00000002: cannot be read .*remove it to go on"),
    ],
)
def test_a_damaged_run_is_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    rules = TrainingRules(steps=2, batch_size=2, save_every=1)
    Trainer(model(), Toy(), rules, tmp_path).run(False)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    trained = model()
    with pytest.raises(CheckpointError, match=message):
        Trainer(trained, Toy(), rules, tmp_path)
    assert_same(trained.state_dict(), model().state_dict())


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_is_an_error(tmp_path: Path, weight: float) -> None:
    trained = model()
    trainer = Trainer(trained, Toy(weight=weight), TrainingRules(steps=2, batch_size=2), tmp_path)
    with pytest.raises(InvalidInputError, match=r"the gradient of step 0 is (nan|inf); .*lower learning_rate"):
        trainer.run(False)
    assert_same(trained.state_dict(), model().state_dict())
    assert not (tmp_path / "checkpoints").exists()


# ---- runs that die -----------------------------------------------------------------------------------


def command(folder: Path, output: str, *, steps: int) -> tuple[object, ...]:
    """Steps, checkpoints, evaluations and records do not come together."""
    train, heldout = write_text(folder / "train.txt", 12), write_text(folder / "heldout.txt", 4, seed=1)
    recipe = write_recipe(folder / f"{steps}.toml", steps=steps)
    text = ("--train", train, "--heldout", heldout, "--vocabulary", "random:tiny")
    return ("pretrain", folder / output, "--config", recipe, *text, "--num-threads", 1, "--no-progress")


def assert_same_run(folder: Path, whole: Path) -> None:
    assert weights(folder) == weights(whole)
    assert records(folder) == records(whole)
    left = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if "tfevents" not in path.name}
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if "tfevents" not in path.name} == left


def test_a_run_killed_at_any_time_gives_the_same_bytes(tmp_path: Path) -> None:
    assert run(*command(tmp_path, "whole", steps=60)) == 0
    killed = command(tmp_path, "killed", steps=60)
    process = start(*killed, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("killed/checkpoints/step-0000001?")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode == -9, "the run was over before it was killed"
    assert not (tmp_path / "killed" / "final").exists()
    assert run(*killed) == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    losses = [record["loss"] for record in records(tmp_path / "whole") if record["kind"] == "train"]
    assert len(losses) == 15
    assert run(*killed) == 0, "a run that is over stays as it is"
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


DYING = """
import os, sys, torch
calls = 0

def die(state, file):
    global calls
    calls += 1
    if calls == 2:
        file.write(b"half of it")
        file.flush()
        os._exit(7)
    save(state, file)

save, torch.save = torch.save, die
from albert_fast.cli import main
sys.exit(main())
"""


def test_a_run_that_dies_in_a_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    assert run(*command(tmp_path, "whole", steps=12)) == 0
    dying = command(tmp_path, "dying", steps=12)
    done = subprocess.run([sys.executable, "-c", DYING, *map(str, dying)], capture_output=True, timeout=60)
    assert done.returncode == 7, done.stderr
    assert sorted(path.name for path in (tmp_path / "dying" / "checkpoints").iterdir()) == [
        "step-00000005",
        "step-00000010.partial",
    ]
    assert run(*dying) == 0
    assert_same_run(tmp_path / "dying", tmp_path / "whole")


class Crash(BaseException):
    """Power off."""


def test_a_run_that_dies_between_changes_of_the_disk_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the n-th rename or sync, for some n: of corpus, settings, checkpoints, the best and the final model."""
    assert run(*command(tmp_path, "whole", steps=8)) == 0
    dying, left = command(tmp_path, "dying", steps=8), math.inf

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash
            return function(*arguments, **options)

        return call

    for holder, name in ((Path, "rename"), (Path, "replace"), (os, "replace"), (os, "fsync")):
        monkeypatch.setattr(holder, name, guarded(getattr(holder, name)))
    deaths = 0
    for place in (5, 9, 13, 17, 21, 25, 29, 33, 37, 41):  # each run goes on where the last one died
        left = place
        try:
            assert run(*dying) == 0
        except Crash:
            deaths += 1
    left = math.inf
    assert run(*dying) == 0
    assert deaths > 6
    assert_same_run(tmp_path / "dying", tmp_path / "whole")
