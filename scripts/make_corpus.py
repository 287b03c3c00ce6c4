"""Texts for `albert-fast pretrain`: a sentence a line, an empty line between documents, some documents held out.

    python scripts/make_corpus.py --output FOLDER FILE...

writes FOLDER/train.txt and FOLDER/heldout.txt; every 25th document is held out. What a file is, its name says:

    *.osis      a Bible of the SWORD project as `diatheke -f OSIS` prints it; a document is a chapter
    *.zip       .txt files, each a document
    *.dict      a dictionary of definitions between empty lines (`dict-devil`); a document is some entries
    jargon.txt  the Jargon File; a document is some entries
    *.txt       prose or a play; a document is a chapter, or some paragraphs where there are none

The same files give the same bytes.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

HELD_OUT_EVERY = 25
LONGEST_DOCUMENT = 40  # paragraphs, where nothing says how long it is
_HEADING = re.compile(r"^(chapter|volume|book|act|scene|letter)\b.{0,30}$", re.IGNORECASE)
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Esq|Capt|Col|Gen|Rev|Hon|Messrs|vs|e\.g|i\.e|etc|cf)|\b[A-Z])\.$")
_BOUNDARY = re.compile(r"(?<=[.!?])(?:[\"'”\u2019)]|--)*\s+(?=[\"'“\u2018(]?[A-Z0-9])")
_VERSE = re.compile(r"^([\w ]+ \d+):\d+: (.*)$")


def sentences(paragraph: str) -> list[str]:
    """A paragraph, however it was wrapped, as its sentences."""
    text = " ".join(paragraph.split())
    parts: list[str] = []
    begin = 0
    for boundary in _BOUNDARY.finditer(text):
        if not _ABBREVIATION.search(text[begin : boundary.start()]):
            parts.append(text[begin : boundary.end()].strip())
            begin = boundary.end()
    return [part for part in [*parts, text[begin:].strip()] if part]


def paragraphs(text: str) -> list[str]:
    """What stands between empty lines."""
    return [part.strip() for part in re.split(r"\n\s*\n", text) if re.search("[A-Za-z]{2}", part)]


def prose(text: str) -> Iterator[list[str]]:
    """Documents of paragraphs, each begun by a heading or after many paragraphs."""
    document: list[str] = []
    for paragraph in paragraphs(text):
        is_heading = _HEADING.match(paragraph) is not None
        if document and (is_heading or len(document) == LONGEST_DOCUMENT):
            yield document
            document = []
        if not is_heading:
            document.append(paragraph)
    yield document


def bible(text: str) -> Iterator[list[str]]:
    """A document for each chapter; introductions and notes between verses are left out."""
    lines = [_VERSE.match(line) for line in text.splitlines()]
    verses = [(match[1], match[2]) for match in lines if match]
    for _, chapter in groupby(verses, key=lambda verse: verse[0]):
        yield [re.sub("<[^>]*>", "", verse.replace("</w><w", "</w> <w")).strip() for _, verse in chapter]


def jargon(text: str) -> Iterator[list[str]]:
    """Entries `:term: grammar` without their heads; from the first to the last of them."""
    entries = re.split(r"\n {3}:(?=[^:\n]{1,60}: )", text)[1:]
    for entry in entries:
        body = entry.split("\n\n", 1)[1] if "\n\n" in entry else ""
        yield paragraphs(re.sub(r"[{}\u2502\u250c-\u257f]|\[common\]|\[[A-Z][^\]]{0,40}\]", "", body))


def documents(path: Path) -> Iterator[list[str]]:
    """The documents of a file, as paragraphs."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for member in sorted(name for name in archive.namelist() if name.endswith(".txt")):
                yield paragraphs(archive.read(member).decode("utf-8", errors="replace").replace("\ufffd", " "))
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    read = {".osis": bible, ".dict": prose}.get(path.suffix, jargon if path.name == "jargon.txt" else prose)
    yield from read(text)


def split_documents(files: Iterable[Path]) -> list[list[str]]:
    """All documents as sentences, those of one sentence left out."""
    split = [[s for paragraph in document for s in sentences(paragraph)] for f in files for document in documents(f)]
    return [document for document in split if len(document) > 1]


def write_corpus(split: list[list[str]], folder: Path) -> None:
    """train.txt and heldout.txt; says how much is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    held_out = [i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 for i in range(len(split))]
    for name, wanted in (("train.txt", False), ("heldout.txt", True)):
        chosen = [document for document, out in zip(split, held_out, strict=True) if out is wanted]
        text = "".join("\n".join(document) + "\n\n" for document in chosen)
        (folder / name).write_text(text, encoding="utf-8")
        words = sum(len(sentence.split()) for document in chosen for sentence in document)
        print(f"{name}: {len(chosen)} documents, {sum(map(len, chosen))} sentences, {words} words")


def main() -> None:
    """Read all, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    write_corpus(split_documents(arguments.inputs), arguments.output)


if __name__ == "__main__":
    main()
