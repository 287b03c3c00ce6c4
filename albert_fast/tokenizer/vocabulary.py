"""The SentencePiece model behind the tokenizer: loading, checking, batch encoding and the digit-and-comma
rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from albert_fast import _core
from albert_fast.errors import CheckpointError
from albert_fast.tokenizer.normalizer import SPECIAL_TOKENS

WORD_START = "\u2581"  # SentencePiece's stand-in for a space

# Texts per call into SentencePiece: long enough to keep its threads busy, short enough that Ctrl-C is seen
# at once.
_CALL_TEXTS = 4096
# A batched call costs about what ten single ones do before it starts, so short lists go text by text.
_BATCH_TEXTS = 64

# Field numbers in sentencepiece_model.proto: ModelProto's pieces, trainer_spec and normalizer_spec.
_PIECES, _TRAINER_SPEC, _NORMALIZER_SPEC = 1, 2, 3
_LENGTH_DELIMITED = 2


def ends_in_digit_comma(piece: str) -> bool:
    """Whether the digit-and-comma rule applies: the piece ends in a digit (of any script) and a comma."""
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


class Vocabulary:
    """A loaded SentencePiece model; immutable, shared by threads, pickled as its bytes.

    Raises CheckpointError, naming ``name``, when the bytes are not a whole SentencePiece model.
    """

    def __init__(self, model: bytes, name: str) -> None:
        import sentencepiece

        _check_complete(model, name)
        self.model = model
        self.name = name
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise CheckpointError(f"{name}: not a usable SentencePiece model ({error})") from error
        self.size: int = self._processor.get_piece_size()
        self.pieces: list[str] = [self._processor.id_to_piece(i) for i in range(self.size)]
        self.ids: dict[str, int] = {piece: i for i, piece in enumerate(self.pieces)}
        self.unk_id: int = self._processor.unk_id()
        self._expansions: dict[int, list[int]] = {
            i: [self.piece_to_id(part) for part in self._without_comma(piece)]
            for i, piece in enumerate(self.pieces)
            if ends_in_digit_comma(piece)
        }
        # SentencePiece joins unknown characters in a row into one piece, which can be a special token's
        # text or end in a digit and a comma, but only if all its characters are unknown: then ids alone do
        # not tell.
        known = set(self.pieces)
        self._unknown_needs_text = "," not in known or any(known.isdisjoint(token) for token in SPECIAL_TOKENS)
        self._vanishing: dict[str, bool] = {}
        self.crosses_words: bool = any(WORD_START in piece[1:] for piece in self.pieces)

    def __reduce__(self) -> tuple[type[Vocabulary], tuple[bytes, str]]:
        return Vocabulary, (self.model, self.name)

    def piece_to_id(self, piece: str) -> int:
        """Return the id of a piece, the unknown id for any other string."""
        return int(self._processor.piece_to_id(piece))

    def encode(self, text: str) -> list[str]:
        """Return the pieces of one normalised text, the digit-and-comma rule applied: the definition."""
        return [part for piece in self._processor.encode(text, out_type=str) for part in self._without_comma(piece)]

    def encode_ids(self, texts: Sequence[str], num_threads: int | None = None) -> Iterator[list[int]]:
        """Yield, text by text, the ids of ``encode``'s pieces, computed in batches on several threads."""
        threads = _core.default_num_threads() if num_threads is None else num_threads
        for start in range(0, len(texts), _CALL_TEXTS):
            call = list(texts[start : start + _CALL_TEXTS])
            for text, row in zip(call, self._encode_call(call, threads), strict=True):
                if self._unknown_needs_text and self.unk_id in row:
                    yield [self.piece_to_id(piece) for piece in self.encode(text)]
                else:
                    yield row if self._expansions.keys().isdisjoint(row) else self._expand(row)

    def _encode_call(self, texts: list[str], threads: int) -> list[list[int]]:
        if len(texts) < _BATCH_TEXTS:
            return [self._processor.encode(text, out_type=int) for text in texts]
        rows: list[list[int]] = self._processor.encode(texts, out_type=int, num_threads=threads)
        return rows

    def normalize(self, text: str) -> tuple[str, list[int]]:
        """Return SentencePiece's own normalised form and, for each of its characters and its end, where it
        came from.

        The positions (one more than there are characters) are character indices into ``text``, never
        decreasing.
        """
        normalized, positions = self._processor.normalize(text, with_offsets=True)
        return normalized, positions

    def vanishes(self, char: str) -> bool:
        """Whether a character alone normalises to nothing: white space, controls and other invisible
        characters.
        """
        if char not in self._vanishing:
            self._vanishing[char] = not self._processor.normalize(char)
        return self._vanishing[char]

    def decode(self, ids: list[int]) -> str:
        """Join the pieces of ``ids`` (no special tokens among them) into text."""
        return str(self._processor.decode(ids)) if ids else ""

    def _expand(self, ids: list[int]) -> list[int]:
        return [part for i in ids for part in self._expansions.get(i, (i,))]

    def _without_comma(self, piece: str) -> list[str]:
        """Split ``9,`` into ``9`` and ``,``: encode what stands before the comma again, keeping its word
        start or lack of it.
        """
        if not ends_in_digit_comma(piece):
            return [piece]
        parts: list[str] = self._processor.encode(piece[:-1].replace(WORD_START, ""), out_type=str)
        if piece[0] != WORD_START and parts[0][0] == WORD_START:
            parts = parts[1:] if len(parts[0]) == 1 else [parts[0][1:], *parts[1:]]
        return [*parts, ","]


def _check_complete(model: bytes, name: str) -> None:
    """Refuse a file cut between two records, which SentencePiece would load as a smaller vocabulary."""
    seen = set()
    try:
        position = 0
        while position < len(model):
            tag, position = _varint(model, position)
            length, position = _varint(model, position)
            if tag & 7 != _LENGTH_DELIMITED or position + length > len(model):
                raise CheckpointError(f"{name}: damaged SentencePiece model (bad record before byte {position})")
            seen.add(tag >> 3)
            position += length
    except IndexError:
        raise CheckpointError(f"{name}: damaged SentencePiece model (ends inside a record)") from None
    if not {_PIECES, _TRAINER_SPEC, _NORMALIZER_SPEC} <= seen:
        raise CheckpointError(
            f"{name}: incomplete SentencePiece model ({len(model)} bytes, expected pieces and both specs)"
        )


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Read a protobuf base-128 integer; return it and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
