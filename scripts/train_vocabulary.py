"""Train the vocabulary that ships in albert_fast/data: ALBERT's SentencePiece settings on public-domain text.

    python scripts/train_vocabulary.py --output albert_fast/data/spiece.model TEXT_OR_ZIP...

Inputs are read in the order given (a zip's ``.txt`` members by name), split into lines, and normalised by
the tokenizer's own text rules. Training is single-threaded, because the unigram EM sums floats per thread:
the same inputs and the same sentencepiece version give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import sentencepiece

from albert_fast.tokenizer.normalizer import Normalizer

# SentencePiece skips longer lines; the published model was trained with the same limit.
MAX_SENTENCE_BYTES = 4192


def read_texts(paths: list[Path]) -> Iterator[str]:
    """Yield the text of every file and every .txt member of every zip, undecodable bytes replaced."""
    for path in paths:
        if path.suffix != ".zip":
            yield path.read_bytes().decode("utf-8", errors="replace")
            continue
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.namelist()):
                if member.endswith(".txt"):
                    yield archive.read(member).decode("utf-8", errors="replace")


def training_lines(paths: list[Path]) -> Iterator[str]:
    """Yield normalised, non-empty lines."""
    rules = Normalizer()
    for text in read_texts(paths):
        for line in text.replace("\ufffd", " ").splitlines():
            if normalized := rules.normalize(line):
                yield normalized


def train(paths: list[Path], vocab_size: int) -> bytes:
    """Return the serialized model; ids 0..4 are <pad>, <unk>, [CLS], [SEP], [MASK]."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=training_lines(paths),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        character_coverage=0.99995,
        max_sentencepiece_length=16,
        max_sentence_length=MAX_SENTENCE_BYTES,
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        user_defined_symbols=["(", ")", '"', "-", ".", "\u2013", "\u00a3", "\u20ac"],
        num_threads=1,
        minloglevel=1,
    )
    return model.getvalue()


def main() -> None:
    """Train and write the model; print its size, checksum and the pieces the digit-and-comma rule applies
    to.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--vocab-size", type=int, default=30000)
    arguments = parser.parse_args()
    model = train(arguments.inputs, arguments.vocab_size)
    arguments.output.write_bytes(model)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    comma = [piece for piece in pieces if piece[-1] == "," and piece[-2:-1].isdigit()]
    print(f"{len(pieces)} pieces, sha256 {hashlib.sha256(model).hexdigest()}")
    print(f"{len(comma)} pieces end in a digit and a comma: {' '.join(comma)}")


if __name__ == "__main__":
    main()
