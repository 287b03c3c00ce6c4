"""``albert-fast encode`` as a job that may be killed at any moment and goes on when it is started again.

While it runs, ``OUT.partial`` grows and ``OUT.progress.json`` says how much of it counts. Each window is
committed: the data is put on the disk, then the journal is replaced as a whole. A restart cuts the partial
file back to the journal, reads past the input that is done (and checks that it is the same input), and goes
on. ``OUT`` appears by renaming, whole.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..disk import sync
from ..encoding import progress_bar
from ..errors import AlbertFastError, InvalidInputError, OutputError
from ..sentence.encoder import Encoder
from .inputs import TextInput
from .journal import Journal
from .writers import Writer, beside, writer_for

_PARTIAL_SUFFIXES = (".partial", ".lengths.partial", ".final.partial")
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)
_PROBE = "ALBERT runs one layer many times; these features tell its weights and the machine apart."


def check_output(out: Path, ragged: bool, overwrite: bool) -> type[Writer]:
    """The writer for ``out``; raises, before any work is done, when the output cannot be made.

    Raises ``InvalidInputError`` (format, or ``out`` exists), ``MissingDependencyError`` or ``OutputError``.
    """
    writer = writer_for(out, ragged)
    if not out.parent.is_dir():
        raise OutputError(f"output: there is no folder {str(out.parent)!r}")
    if out.is_dir():
        raise OutputError(f"output: {str(out)!r} is a folder")
    out = _target(out)
    if not out.parent.is_dir():
        raise OutputError(f"output: there is no folder {str(out.parent)!r}, where the link leads")
    if out.exists() and not overwrite and not _only_tidying_left(out, _read_journal(out, overwrite)):
        raise InvalidInputError(f"output: {str(out)!r} exists; --overwrite replaces it")
    return writer


def check_distinct(source: TextInput, out: Path) -> None:
    """Raise ``InvalidInputError`` if the output, or a file that stands beside it on the way, is the input itself."""
    target = _target(out)
    for suffix in ("", *_PARTIAL_SUFFIXES, ".progress.json"):
        if source.is_file(beside(target, suffix)):
            raise InvalidInputError(
                f"output: {str(out)!r} would take the place of its own input {source.name}, expected another name"
            )


class EncodeJob:
    """One run of ``encode`` from an input to an output file."""

    def __init__(self, encoder: Encoder, source: TextInput, out: Path, *, overwrite: bool) -> None:
        self.encoder, self.source, self.overwrite = encoder, source, overwrite
        self.out = _target(out)
        self.ragged = encoder.options.pooling is None
        self.writer_type = check_output(out, self.ragged, overwrite)
        self.resumed_at = 0

    def run(self, show_progress: bool | None) -> int:
        """Encode what is left to encode and finish the output; returns the number of texts in it.

        Raises:
            InvalidInputError: the job found half done is another one, or its input has changed.
            OutputError: writing failed; what was committed is kept.
        """
        with self._reporting(0):
            journal = self._begin()
        self.resumed_at = journal.rows
        if _only_tidying_left(self.out, journal):
            with self._reporting(journal.rows):
                self._tidy()
            return journal.rows
        with self._reporting(journal.rows):
            writer = self.writer_type(self.out, self.encoder.readout.width, self.ragged)  # it has the lock
        try:
            with self._reporting(journal.rows):
                if not journal.rows:  # perhaps another job's is there; that one's files are cut only afterwards
                    journal.commit()
                writer.begin(journal.sizes)
            self._encode(writer, journal, show_progress)
            with self._reporting(journal.rows):
                self._finish(writer, journal)
        finally:
            writer.close()
        return journal.rows

    def _encode(self, writer: Writer, journal: Journal, show_progress: bool | None) -> None:
        with progress_bar(None, show_progress, initial=journal.rows) as progress:
            for features in self.encoder.windows(self.source, first_index=journal.rows, progress=progress):
                with self._reporting(journal.rows):
                    writer.append(features)
                    journal.sizes = writer.sync()
                    journal.rows += len(features)
                    journal.input_digest = self.source.digest()
                    journal.commit()

    def _finish(self, writer: Writer, journal: Journal) -> None:
        complete = writer.finish(journal.rows)
        journal.complete = complete.name
        journal.commit()
        complete.replace(self.out)
        sync(self.out.parent)
        self._tidy()

    def _tidy(self) -> None:
        for suffix in (*_PARTIAL_SUFFIXES, ".progress.json"):
            beside(self.out, suffix).unlink(missing_ok=True)

    def _begin(self) -> Journal:
        """The journal to go on from: the one found, with the input read up to there, or a new one. Writes nothing."""
        fingerprint = self._fingerprint()
        journal = _read_journal(self.out, self.overwrite)
        if journal is not None:
            obstacle = journal.difference(fingerprint)
            if not obstacle and not _only_tidying_left(self.out, journal):
                obstacle = self._skip(journal)
            if not obstacle:
                return journal
            if not self.overwrite:
                raise InvalidInputError(
                    f"output: {str(self.out)!r} is half made by another job ({obstacle}); "
                    f"go on with that job, or start this one with --overwrite"
                )
            self.source.rewind()
        elif not self.overwrite and _size(partial := beside(self.out, ".partial")):
            raise InvalidInputError(
                f"output: {str(partial)!r} is there without its journal; delete it or use --overwrite"
            )
        return Journal(beside(self.out, ".progress.json"), fingerprint, input_digest=self.source.digest())

    def _skip(self, journal: Journal) -> str:
        """Read past the texts that are done; returns what is wrong with the input, if anything."""
        if not self.source.skip(journal.rows):
            return f"{self.source.name} has only {self.source.rows} texts, of which {journal.rows} were done"
        if self.source.digest() != journal.input_digest:
            return f"the first {journal.rows} texts of {self.source.name} are not those of that job"
        return ""

    def _fingerprint(self) -> dict[str, Any]:
        """All that decides the output's bytes, for the model its answer to a fixed text.

        The answer stands for weights, storage type, instruction set and version of the kernels at once: where
        any of them changes a bit, the rest of the file would not fit to its beginning.
        """
        options = asdict(self.encoder.options)
        for name in ("batch_tokens", "num_threads"):
            del options[name]
        prober = Encoder(self.encoder.model, replace(self.encoder.options, truncation=True))
        [answer] = prober.windows([_PROBE])
        probe = hashlib.sha256(np.ascontiguousarray(answer[0]).tobytes()).hexdigest()
        return {
            "albert_fast": __version__,
            "model": _place_of(str(self.encoder.model.name)),
            **options,
            "kernels": self.encoder.model.weights.ops,
            "dtype": self.encoder.model.dtype,
            "input": self.source.form,
            "probe_sha256": probe,
        }

    @contextmanager
    def _reporting(self, rows: int) -> Iterator[None]:
        """Turn errors of the operating system into ``OutputError``, with what to do."""
        try:
            yield
        except AlbertFastError:
            raise
        except OSError as error:
            advice = "and the same command goes on from there"
            if error.errno in _NO_ACCESS:
                advice = f"but the folder {str(self.out.parent)!r} must be one that can be written to"
            raise OutputError(
                f"output: cannot write {str(self.out)!r}: {error.strerror or error}; the first {rows} "
                f"results are kept, {advice}"
            ) from error


def _target(out: Path) -> Path:
    """The file that a link leads to, so that the link stays one."""
    return Path(os.path.realpath(out)) if out.is_symlink() else out


def _place_of(model: str) -> str:
    """One name for a folder or file, however it was written; any other name is itself."""
    path = Path(os.path.expanduser(model))
    return os.path.realpath(path) if path.exists() else model


def _read_journal(out: Path, overwrite: bool) -> Journal | None:
    try:
        return Journal.read(beside(out, ".progress.json"))
    except OutputError:
        if overwrite:
            return None
        raise


def _only_tidying_left(out: Path, journal: Journal | None) -> bool:
    """Whether a job was killed after its output had got its final name."""
    if journal is None or not journal.complete:
        return False
    return out.exists() and not out.with_name(journal.complete).exists()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
