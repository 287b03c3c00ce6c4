"""A pretraining run: from a recipe, text files and a vocabulary to a folder with a model."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from albert_fast.config import AlbertConfig as Shape
from albert_fast.errors import ConfigError, InvalidInputError, ModelNotFoundError
from albert_fast.nn import AlbertConfig, AlbertForPreTraining
from albert_fast.pretraining.corpus import Corpus
from albert_fast.pretraining.examples import Examples
from albert_fast.pretraining.masking import MaskRules
from albert_fast.pretraining.segments import SegmentRules
from albert_fast.pretraining.task import PretrainingTask
from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.trainer import Trainer, TrainingRules, changed, from_table, read_recipe
from albert_fast.trainer.checkpoints import write_folder
from albert_fast.trainer.loop import SETTINGS

PathLike = str | os.PathLike[str]
HELDOUT_SEED = 20_190_926
"""Of held-out examples, whatever the run's seed: figures of two runs are of the same masks."""


@dataclass(frozen=True)
class PretrainingRecipe:
    """``[model]``: what differs from ``AlbertConfig``'s defaults; ``[segments]``, ``[masks]``, ``[training]``: the
    fields of ``SegmentRules``, ``MaskRules`` and ``TrainingRules``."""

    model: Mapping[str, Any]
    training: TrainingRules
    segments: SegmentRules = field(default_factory=SegmentRules)
    masks: MaskRules = field(default_factory=MaskRules)

    @classmethod
    def from_toml(cls, path: PathLike, **training: Any) -> PretrainingRecipe:
        """A recipe file, with other values in its ``[training]``. Raises ``ConfigError``, ``ModelNotFoundError``."""
        tables = read_recipe(path, ("model", "segments", "masks", "training"))
        return cls(
            model=tables["model"],
            training=from_table(TrainingRules, changed(tables["training"], training), "training"),
            segments=from_table(SegmentRules, tables["segments"], "segments"),
            masks=from_table(MaskRules, tables["masks"], "masks"),
        )


def pretrain(
    recipe: PretrainingRecipe,
    train: Iterable[PathLike],
    output: PathLike,
    *,
    vocabulary: PathLike,
    heldout: Iterable[PathLike] = (),
    init: PathLike | None = None,
    device: str = "cpu",
    progress: bool | None = None,
) -> dict[str, float]:
    """Pretrain an ALBERT on text files: a sentence a line, an empty line between documents.

    Call it again after the process was stopped, in whatever way, and the run goes on from its last checkpoint, to the
    same weights. Threads are torch's (``torch.set_num_threads``).

    Args:
        recipe: model and settings.
        train, heldout: text files. Without ``heldout`` figures are of training text.
        output: the run's folder: ``best/`` (least held-out MLM loss), ``final/``, ``checkpoints/``, ``log.jsonl``,
            ``tensorboard/`` where tensorboardX is installed, ``corpus/`` (the text as ids).
        vocabulary: a ``spiece.model``, or what ``AlbertTokenizer.from_pretrained`` takes.
        init: a checkpoint to start from instead of random weights; the recipe's ``[model]`` is then not used.
        device: of torch.
        progress: show a bar; None: on a terminal.

    Returns:
        The last evaluation: ``mlm_loss``, ``mlm_perplexity``, ``mlm_accuracy``, ``unigram_perplexity``,
        ``unigram_accuracy``, ``sop_loss``, ``sop_accuracy`` and how many masked tokens and pairs they are of.

    Raises what ``Trainer``, ``AlbertTokenizer.from_pretrained`` and ``Corpus.from_text_files`` raise.
    """
    rules, folder = recipe.training, Path(output)
    tokenizer = AlbertTokenizer.from_pretrained(vocabulary)
    files = {"train": [Path(path) for path in train], "heldout": [Path(path) for path in heldout]}
    if not files["train"]:
        raise InvalidInputError("train: got no file, expected at least one")
    data = {name: [_name_and_size(path) for path in paths] for name, paths in files.items()}
    model = _model(recipe, tokenizer, init)
    if recipe.segments.max_seq_length > (longest := model.config.max_position_embeddings):
        raise ConfigError(
            f"[segments] max_seq_length: got {recipe.segments.max_seq_length}, expected at most {longest}, the"
            " model's max_position_embeddings"
        )
    if not (folder / SETTINGS).exists():  # text of a run that never began, perhaps of other files
        shutil.rmtree(folder / "corpus", ignore_errors=True)
    corpora = {name: _corpus(folder / "corpus" / name, paths, tokenizer) for name, paths in files.items() if paths}

    def examples(name: str, seed: int) -> Examples:
        rows = {"segment_rules": recipe.segments, "mask_rules": recipe.masks}
        return Examples(corpora[name], tokenizer, seed=seed, **rows)  # type: ignore[arg-type]

    task = PretrainingTask(
        examples("train", rules.seed),
        examples("heldout", HELDOUT_SEED) if "heldout" in corpora else None,
        tokenizer.vocab_size,
    )
    about = {
        "model": dict(recipe.model) if init is None else {"init": os.fspath(init)},
        "segments": dataclasses.asdict(recipe.segments),
        "masks": dataclasses.asdict(recipe.masks),
        "data": data,
        "vocabulary": {"sha256": _digest(tokenizer)},
    }
    trainer = Trainer(model.to(device), task, rules, folder, save_beside=tokenizer.save_pretrained, about=about)
    return trainer.run(progress)


def _model(recipe: PretrainingRecipe, tokenizer: AlbertTokenizer, init: PathLike | None) -> AlbertForPreTraining:
    torch.manual_seed(recipe.training.seed)  # of all weights, or of heads that `init` lacks
    if init is not None:
        model: AlbertForPreTraining = AlbertForPreTraining.from_pretrained(init, dtype="float32")
    else:
        unknown = sorted(set(recipe.model) - {field.name for field in dataclasses.fields(Shape)})
        if unknown:
            raise ConfigError(f"[model] {unknown[0]}: unknown, expected a field of AlbertConfig")
        shape = Shape.from_dict({"vocab_size": tokenizer.vocab_size, **recipe.model})  # which checks it
        model = AlbertForPreTraining(AlbertConfig(**shape.to_dict()))
    if model.config.vocab_size < tokenizer.vocab_size:
        raise ConfigError(
            f"[model] vocab_size: got {model.config.vocab_size}, expected at least {tokenizer.vocab_size}, the pieces"
            " of the vocabulary"
        )
    return model


def _corpus(folder: Path, paths: list[Path], tokenizer: AlbertTokenizer) -> Corpus:
    """The text as ids; made once for a run."""
    if not folder.is_dir():
        corpus = Corpus.from_text_files(paths, tokenizer)
        write_folder(folder, corpus.save)
    return Corpus.open(folder)


def _name_and_size(path: Path) -> tuple[str, int]:
    try:
        return path.name, path.stat().st_size
    except OSError as error:
        raise ModelNotFoundError(f"{path}: {error.strerror or error}") from error


def _digest(tokenizer: AlbertTokenizer) -> str:
    pieces = tokenizer.convert_ids_to_tokens(range(tokenizer.vocab_size))
    return hashlib.sha256("\n".join(pieces).encode()).hexdigest()
