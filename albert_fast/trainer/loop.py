"""Steps of an optimizer that can be stopped anywhere, in whatever way, and gone on with to the same bits."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from albert_fast.errors import CheckpointError, ConfigError, InvalidInputError, ModelNotFoundError, OutputError
from albert_fast.nn.loading import stored_state
from albert_fast.trainer.checkpoints import Checkpoints, unreadable, write_folder
from albert_fast.trainer.logs import Log
from albert_fast.trainer.prefetch import prefetch
from albert_fast.trainer.rules import TrainingRules
from albert_fast.training import TrainingPolicy

SETTINGS = "settings.json"
"""Of a run's folder, from its first start on."""


class Place(NamedTuple):
    """Where in the data a run is: so many examples of an epoch are done."""

    epoch: int
    done: int


class Task(Protocol):
    """What is trained for. A batch is tensors by name, on any device."""

    best_by: str | None
    """The figure of ``evaluate`` that the best model has least of; with a ``-`` before its name, most of. None if there
    are no figures, and so no best model."""

    def batches(self, place: Place, batch_size: int) -> Iterator[tuple[Place, dict[str, Tensor]]]:
        """Batches from a place on, without end, each with the place behind it. They depend on nothing else."""

    def losses(self, model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``"loss"``, which is minimised, and what else is logged; scalars."""

    def evaluate(self, model: Any) -> dict[str, float]:
        """Figures of a model in evaluation mode."""


class Trainer:
    """A run in a folder.

    ``checkpoints/`` has the last states, ``best/`` and ``final/`` models, ``log.jsonl`` the records. Making it again
    for a folder where a run was stopped goes on with that run, from its last checkpoint: random numbers are seeded by
    the step, data come by their place, so the weights at the end are those of a run that was never stopped, bit for
    bit, on the same machine and number of threads.

    Args:
        model: of ``albert_fast.nn``; trained where it is.
        task: what for.
        rules: how.
        folder: of the run.
        save_beside: writes what belongs into each folder of a model (its vocabulary).
        about: what else the run depends on, as JSON has it; a run of other settings is not gone on with.

    Raises ``InvalidInputError`` if the folder has a run of other settings, ``CheckpointError`` if its last checkpoint
    or its settings are damaged, ``OutputError`` if the folder cannot be written.
    """

    def __init__(
        self,
        model: Any,
        task: Task,
        rules: TrainingRules,
        folder: Path,
        *,
        save_beside: Callable[[Path], object] | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.task, self.rules, self.folder = model, task, rules, folder
        self._save_beside = save_beside
        self._check_settings({"training": dataclasses.asdict(rules), **(about or {})})
        model.training_policy = TrainingPolicy(rules.activations)
        self._optimizer = rules.make_optimizer(model)
        self._checkpoints = Checkpoints(folder / "checkpoints", rules.keep)
        self.step, self._place, self._best = 0, Place(0, 0), math.inf
        self._records: list[dict[str, float]] = []  # of steps that are not logged yet
        newest = self._checkpoints.newest()
        if newest is not None:
            self._restore(newest)
        self.resumed_at = self.step

    def run(self, progress: bool | None = None) -> dict[str, float]:
        """Train to the end; returns the last evaluation's figures. ``progress``: show a bar, None: on a terminal."""
        from tqdm import tqdm  # type: ignore[import-untyped]

        figures: dict[str, float] = {}
        log = Log(self.folder, self.step)
        source = prefetch(self._batches())
        bar = tqdm(
            total=self.rules.steps, initial=self.step, unit="step", disable=None if progress is None else not progress
        )
        try:
            while self.step < self.rules.steps:
                began = time.monotonic()
                self._records.append(self._one_step(source))
                self._records[-1]["seconds"] = time.monotonic() - began
                bar.update()
                if self._is_due(self.rules.log_every):
                    record = self._take_record()
                    bar.set_postfix(loss=f"{record['loss']:.3f}")
                    log.write("train", self.step, record)
                if self._is_due(self.rules.evaluate_every):
                    figures = self._evaluate()
                    if figures:
                        log.write("evaluation", self.step, figures)
                if self._is_due(self.rules.save_every):
                    self._save()
        finally:
            bar.close()
            source.close()
            log.close()
        write_folder(self.folder / "final", self._write_model)
        return figures or self._figures()

    def _batches(self) -> Iterator[tuple[Place, dict[str, Tensor]]]:
        return self.task.batches(self._place, self.rules.batch_size)

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.rules.steps

    def _one_step(self, source: Iterator[tuple[Place, dict[str, Tensor]]]) -> dict[str, float]:
        rules = self.rules
        torch.manual_seed(_seed(rules.seed, self.step))
        self.model.train()
        rate = rules.rate(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        sums: dict[str, float] = {}
        tokens = 0
        for _ in range(rules.accumulate):
            self._place, batch = next(source)
            tokens += int(batch["attention_mask"].sum())
            batch = {name: tensor.to(self.model.device) for name, tensor in batch.items()}
            dtype = getattr(torch, rules.autocast) if rules.autocast else None
            with torch.autocast(self.model.device.type, dtype=dtype, enabled=dtype is not None):
                losses = self.task.losses(self.model, batch)
            (losses["loss"] / rules.accumulate).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / rules.accumulate
        trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(trained, rules.max_grad_norm))
        if not math.isfinite(norm):
            raise InvalidInputError(
                f"training: the gradient of step {self.step} is {norm}; begin another run from the last checkpoint,"
                f" with a lower learning_rate than {rules.learning_rate}"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return {**sums, "learning_rate": rate, "gradient_norm": norm, "tokens": tokens}

    def _take_record(self) -> dict[str, float]:
        """Means over the steps since the last one."""
        records, self._records = self._records, []
        means = {name: sum(record[name] for record in records) / len(records) for name in records[0]}
        means["tokens_per_second"] = means["tokens"] / means.pop("seconds")
        return means

    @torch.no_grad()
    def _figures(self) -> dict[str, float]:
        self.model.eval()
        return self.task.evaluate(self.model)

    def _evaluate(self) -> dict[str, float]:
        figures = self._figures()
        name = self.task.best_by
        if name is None:
            return figures
        value = -figures[name[1:]] if name[0] == "-" else figures[name]
        if value < self._best:
            self._best = value
            write_folder(self.folder / "best", self._write_model)
        return figures

    def _save(self) -> None:
        best = None if math.isinf(self._best) else self._best
        progress = {"step": self.step, "place": list(self._place), "best": best, "records": self._records}
        self._checkpoints.save(self.step, self._optimizer, progress, self._write_model)

    def _write_model(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        if self._save_beside is not None:
            self._save_beside(folder)

    def _restore(self, folder: Path) -> None:
        progress = self._checkpoints.restore(folder, self._optimizer)
        try:
            self.step, self._place = int(progress["step"]), Place(*map(int, progress["place"]))
            self._best = math.inf if progress["best"] is None else float(progress["best"])
            self._records = list(progress.get("records", []))
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable(folder, f"progress.json is damaged: {error!r}") from error
        try:
            lacks = self.model.load_state_dict(stored_state(folder), strict=False).missing_keys
        except (CheckpointError, ConfigError, ModelNotFoundError) as error:  # others are not the folder's fault
            raise unreadable(folder, error) from error
        if absent := sorted({*lacks} & {name for name, _ in self.model.named_parameters()}):  # tied ones have two names
            raise unreadable(folder, f"it lacks {absent[0]}")

    def _check_settings(self, settings: dict[str, Any]) -> None:
        """Settings as JSON; those of a run that is there must be the same."""
        path = self.folder / SETTINGS
        given = json.loads(json.dumps(settings))
        if path.exists():
            stored = _stored_settings(path)
            for table in sorted({*given, *stored}):
                ours, theirs = given.get(table), stored.get(table)
                if ours != theirs:
                    raise InvalidInputError(
                        f"output: {self.folder} has a run with {table} {_difference(theirs, ours)}; expected the same"
                        " settings to go on with, or another folder"
                    )
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(given, indent=1) + "\n", encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise OutputError(f"output: cannot write {path} ({error.strerror or error})") from error


def _stored_settings(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); expected the settings of the run") from error
    if not isinstance(stored, dict):
        raise CheckpointError(f"{path}: got {stored!r}, expected the settings of the run")
    return stored


def _seed(seed: int, step: int) -> int:
    """Random numbers of one step, of no other step of this run."""
    return (seed << 32) + step


def _difference(stored: Any, given: Any) -> str:
    if isinstance(stored, dict) and isinstance(given, dict):
        key = next(key for key in sorted({*stored, *given}) if stored.get(key) != given.get(key))
        return f"{key}: {_difference(stored.get(key), given.get(key))}"
    return f"{stored!r}, not {given!r}"
