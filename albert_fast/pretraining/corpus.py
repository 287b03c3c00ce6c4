"""A corpus of text as token ids: documents of sentences, read once, kept flat."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_fast.errors import CheckpointError, InvalidInputError, ModelNotFoundError, OutputError
from albert_fast.tokenizer import AlbertTokenizer

_FILES = ("ids", "sentences", "documents")
_WINDOW = 4096
"""Sentences that are tokenised at a time."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """N tokens in S sentences in D documents.

    Sentence s is ``ids[sentences[s]:sentences[s + 1]]``, document d has the sentences ``documents[d]`` up to
    ``documents[d + 1]``; none of them is empty.
    """

    ids: npt.NDArray[np.int32]  # [N], no special tokens
    sentences: npt.NDArray[np.int64]  # [S + 1]
    documents: npt.NDArray[np.int64]  # [D + 1]

    @property
    def num_documents(self) -> int:
        """D."""
        return len(self.documents) - 1

    @classmethod
    def from_documents(cls, documents: Iterable[Iterable[str]], tokenizer: AlbertTokenizer) -> Corpus:
        """Tokenise documents, each its sentences in order. Empty sentences and documents are left out.

        Raises ``InvalidInputError`` if nothing is left.
        """
        ids: list[npt.NDArray[np.int32]] = []
        lengths: list[int] = []
        ends = [0]
        for window in _windows(documents):
            encoded = iter(_ids([sentence for document, _ in window for sentence in document], tokenizer))
            for document, is_whole in window:
                rows = [row for row in (next(encoded) for _ in document) if len(row)]
                ids += rows
                lengths += map(len, rows)
                if is_whole and len(lengths) > ends[-1]:
                    ends.append(len(lengths))
        if not ids:
            raise InvalidInputError("documents: got no token in any of them, expected text")
        sentences = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(np.concatenate(ids), sentences, np.array(ends, np.int64))

    @classmethod
    def from_text_files(cls, paths: Iterable[str | os.PathLike[str]], tokenizer: AlbertTokenizer) -> Corpus:
        """A sentence a line, an empty line between documents (the form that google-research/albert takes).

        A file ends its last document. Raises ``ModelNotFoundError`` for a file that cannot be read and
        ``InvalidInputError`` for one that is not UTF-8.
        """
        return cls.from_documents((document for path in paths for document in read_documents(path)), tokenizer)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write it into a folder, for ``open``. Raises ``OutputError``."""
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for name in _FILES:
                np.save(Path(folder) / f"{name}.npy", getattr(self, name))
        except OSError as error:
            raise OutputError(f"folder: cannot save a corpus in {os.fspath(folder)!r} ({error})") from error

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Corpus:
        """What ``save`` wrote, mapped into memory. Raises ``ModelNotFoundError`` or ``CheckpointError``."""
        arrays: list[Any] = []
        for name in _FILES:
            path = Path(folder) / f"{name}.npy"
            try:
                arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
            except OSError as error:
                raise ModelNotFoundError(f"corpus {folder}: {path.name} cannot be read ({error})") from error
            except ValueError as error:
                raise CheckpointError(f"corpus {folder}: {path.name} is not a NumPy array ({error})") from error
        corpus = cls(*arrays)
        if corpus.sentences[-1] != len(corpus.ids) or corpus.documents[-1] != len(corpus.sentences) - 1:
            raise CheckpointError(f"corpus {folder}: its files do not belong together")
        return corpus

    def sentence_lengths(self) -> npt.NDArray[np.int64]:
        """[S]."""
        return np.diff(self.sentences)


def read_documents(path: str | os.PathLike[str]) -> Iterator[list[str]]:
    """The documents of a text file: lines, with an empty one after each document."""
    try:
        with open(path, encoding="utf-8") as file:
            document: list[str] = []
            for line in file:
                if line.strip():
                    document.append(line.strip())
                elif document:
                    yield document
                    document = []
            if document:
                yield document
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{os.fspath(path)}: got bytes that are not UTF-8 ({error}), expected text") from error
    except OSError as error:
        raise ModelNotFoundError(f"{os.fspath(path)}: {error.strerror or error}") from error


def _windows(documents: Iterable[Iterable[str]]) -> Iterator[list[tuple[list[str], bool]]]:
    """Parts of documents, and whether a document ends with its part; so many sentences at a time, whatever the
    documents' lengths."""
    window: list[tuple[list[str], bool]] = []
    room = _WINDOW
    for document in documents:
        part: list[str] = []
        for sentence in document:
            part.append(sentence)
            room -= 1
            if room == 0:
                yield [*window, (part, False)]
                window, part, room = [], [], _WINDOW
        window.append((part, True))
    if window:
        yield window


def _ids(sentences: list[str], tokenizer: AlbertTokenizer) -> list[npt.NDArray[np.int32]]:
    encoded = tokenizer(sentences, add_special_tokens=False, truncation=False) if sentences else {"input_ids": []}
    return [np.array(row, np.int32) for row in encoded["input_ids"]]
