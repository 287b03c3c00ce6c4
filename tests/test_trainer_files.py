"""What a training run leaves: folders that are there whole or not at all, checkpoints, logs."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from albert_fast.errors import CheckpointError, OutputError
from albert_fast.trainer import Lamb
from albert_fast.trainer.checkpoints import Checkpoints, write_folder
from albert_fast.trainer.logs import Log, read_log

# ---- folders and checkpoints -------------------------------------------------------------------------


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def writer(**texts: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text)

    return write


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", writer(a="ab", b="ab"))
    write_folder(tmp_path / "model", writer(b="bc", c="bc"))
    assert files(tmp_path / "model") == {"b": "bc", "c": "bc"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "nothing is left beside it"


def test_a_write_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", writer(a="old"))

    def fail(folder: Path) -> None:
        (folder / "a").write_text("new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"output: cannot write .*model \(No space left on device\)"):
        write_folder(tmp_path / "model", fail)
    assert files(tmp_path / "model") == {"a": "old"}
    write_folder(tmp_path / "model", writer(b="next"))
    assert files(tmp_path / "model") == {"b": "next"}, "what was half there does not come back"


def stepped(value: float) -> torch.optim.Optimizer:
    parameter = nn.Parameter(torch.full((3,), float(value)))
    optimizer = Lamb([parameter])
    parameter.grad = torch.full((3,), float(value))
    optimizer.step()
    return optimizer


def test_checkpoints_that_are_too_many_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.newest() is None
    for step in (8, 9, 10, 100):
        checkpoints.save(step, stepped(step), {"step": step}, writer(model=""))
    (tmp_path / "step-00000200.partial").mkdir()
    (tmp_path / "step-00000300.old").mkdir()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == "") == ["step-00000010", "step-00000100"]
    newest = checkpoints.newest()
    assert newest == tmp_path / "step-00000100"
    optimizer = stepped(1)
    assert checkpoints.restore(newest, optimizer) == {"step": 100}
    [state] = optimizer.state_dict()["state"].values()
    assert torch.equal(state["exp_avg"], stepped(100).state_dict()["state"][0]["exp_avg"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("optimizer.pt", b""),
        ("optimizer.pt", b"not a checkpoint at all"),
        ("optimizer.pt", None),
        ("progress.json", b'{"step": 1'),
        ("progress.json", b"\xff"),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(3, stepped(1), {"step": 3}, writer(model=""))
    path = tmp_path / "step-00000003" / name
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(
        CheckpointError, match=r"step-00000003: cannot be read .*remove it to go on from the one before"
    ):
        checkpoints.restore(path.parent, stepped(1))


def test_a_checkpoint_of_other_parameters_is_named(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(3, stepped(1), {"step": 3}, writer(model=""))
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.restore(tmp_path / "step-00000003", Lamb([nn.Parameter(torch.ones(2)) for _ in range(2)]))


# ---- logs --------------------------------------------------------------------------------------------


def write_log(folder: Path) -> None:
    log = Log(folder, 0)
    for step in (1, 2, 3):
        log.write("train", step, {"loss": step / 3})
    log.write("evaluation", 3, {"accuracy": 0.5})
    log.close()


def test_a_log_goes_on_behind_the_checkpoint(tmp_path: Path) -> None:
    write_log(tmp_path)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"kind": "train", "step": 2, "lo')  # killed here
    log = Log(tmp_path, 2)
    log.write("train", 3, {"loss": 9.0})
    log.close()
    assert read_log(tmp_path, "train") == [
        {"kind": "train", "step": step, "loss": loss} for step, loss in ((1, 1 / 3), (2, 2 / 3), (3, 9.0))
    ]
    assert read_log(tmp_path, "evaluation") == [], "it is of a step that is made again"


def test_the_log_of_a_run_that_was_killed_can_be_read(tmp_path: Path) -> None:
    """While it writes, too; opening it drops the same half line."""
    write_log(tmp_path)
    whole = read_log(tmp_path, "train")
    path = tmp_path / "log.jsonl"
    content = path.read_bytes()
    for half in (b'{"kind": "train", "step": 4, "lo', b'{"kind": "train", "step": 4}', b'{"kind": "\xc3'):
        path.write_bytes(content + half)
        assert read_log(tmp_path, "train") == whole
        assert path.read_bytes() == content + half, "reading changes nothing"
        Log(tmp_path, 9).close()
        assert path.read_bytes() == content


NOT_UTF_8 = b'{"kind": "train", "step": 2, "na\xffme": 1.0}'


@pytest.mark.parametrize("line", [b'{"kind": "train", "st', b'{"loss": 1.0}', b"[1]", b"\xff\xfe", b"", NOT_UTF_8])
def test_a_damaged_log_is_named(tmp_path: Path, line: bytes) -> None:
    write_log(tmp_path)
    path = tmp_path / "log.jsonl"
    first, *others = path.read_bytes().splitlines(keepends=True)
    damaged = first + line + b"\n" + b"".join(others)
    path.write_bytes(damaged)
    for read in (lambda: Log(tmp_path, 9), lambda: read_log(tmp_path, "train")):
        with pytest.raises(CheckpointError, match=r"log\.jsonl: line 2 is .*expected a record with kind and step"):
            read()
    assert path.read_bytes() == damaged, "nothing is lost"


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"log\.jsonl: no such file, expected the log of a run"):
        read_log(tmp_path, "train")


def test_tensorboard_has_the_records(tmp_path: Path) -> None:
    write_log(tmp_path)
    assert scalars(tmp_path, "train/loss") == [(step, pytest.approx(step / 3)) for step in (1, 2, 3)]
    assert scalars(tmp_path, "evaluation/accuracy") == [(3, 0.5)]
    log = Log(tmp_path, 1)
    log.write("train", 2, {"loss": 9.0})
    log.close()
    assert scalars(tmp_path, "train/loss") == [(1, pytest.approx(1 / 3)), (2, 9.0)], "steps that are made again"


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """Step and value, as TensorBoard reads them."""
    events = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    board = events.EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    return [(event.step, event.value) for event in board.Scalars(name)]


def test_tensorboard_does_without_tensorflow(tmp_path: Path) -> None:
    """Importing it takes seconds and writes on standard error."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('tensorflow was imported')\n")
    code = (
        "import pathlib, sys; from albert_fast.trainer.logs import Log\n"
        "log = Log(pathlib.Path(sys.argv[1]), 0); log.write('train', 1, {'loss': 0.5}); log.close()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert scalars(tmp_path / "run", "train/loss") == [(1, 0.5)]


def test_tensorboard_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    write_log(tmp_path)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 2, 3, 3]
    assert not (tmp_path / "tensorboard").exists()


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"output: cannot write .*log\.jsonl"):
        Log(tmp_path / "file", 0)
