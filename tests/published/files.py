"""Weights in the formats of their year, and vocabularies of a few pieces."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor

State = dict[str, Tensor]


def write_safetensors(folder: Path, state: State) -> None:
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def write_bin(folder: Path, state: State) -> None:
    """As torch before 1.6 did: no zip."""
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def write_shards(folder: Path, state: State, suffix: str = "safetensors") -> None:
    """Two files and their index; ``suffix``: safetensors or bin."""
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    names = list(state)
    weight_map = {}
    for i, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"{stem}-{i:05}-of-00002.{suffix}"
        tensors = {name: state[name] for name in part}
        if suffix == "safetensors":
            save_file(tensors, folder / shard, metadata={"format": "pt"})
        else:
            torch.save(tensors, folder / shard)
        weight_map |= dict.fromkeys(part, shard)
    index = {"metadata": {"total_size": sum(t.nbytes for t in state.values())}, "weight_map": weight_map}
    write_json(folder / f"{stem}.{suffix}.index.json", index)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def spiece(lines: Iterable[str], vocab_size: int = 90, **options: Any) -> bytes:
    """A SentencePiece vocabulary with ALBERT's special pieces, of a few lines in a language."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*lines] * 4),
        model_writer=model,
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def word_pieces(characters: str, words: Iterable[str]) -> list[str]:
    """A ``vocab.txt`` as Google's Chinese BERT has it: specials, unused ones, characters, words and their ends."""
    unused = [f"[unused{i}]" for i in range(1, 4)]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return [
        *("[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        *dict.fromkeys(characters),
        *words,
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
