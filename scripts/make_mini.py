"""Make the bundled model, `mini`: texts to sentences, a vocabulary, three pretraining runs, one small folder.

    python scripts/make_mini.py --work FOLDER TEXT_OR_ZIP...

Killed? Run it again: it goes on. FOLDER/mini is then what albert_fast/data/mini holds but for its README, whose figures
are printed; FOLDER/curve.svg is its loss curve. albert_fast/data/mini/README.md says which texts, and how to get them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from make_corpus import split_documents, write_corpus
from safetensors.torch import load_file, save_file
from torch import Tensor
from train_vocabulary import train as train_vocabulary

from albert_fast import AlbertTokenizer, pipeline
from albert_fast.nn import AlbertConfig, AlbertForPreTraining
from albert_fast.pretraining import Corpus, Examples, MaskRules, SegmentRules
from albert_fast.pretraining.run import HELDOUT_SEED, PretrainingRecipe, pretrain
from albert_fast.pretraining.task import PretrainingTask
from albert_fast.trainer.checkpoints import write_folder
from albert_fast.trainer.logs import read_log

CONFIGS = Path(__file__).parent.parent / "configs"
RECIPES = ("mini", "mini-more", "mini-long")
"""One after the other, each from the end of the one before."""
VOCAB_SIZE = 8000
SHAPE: dict[str, Any] = {
    "embedding_size": 128,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.04,
}
OFFSETS = (-1, 1, -2, 2)
GAIN = 1.6  # seven tenths of a head's attention are then where it looks
_CURVES = (("train", "mlm_loss", "C0-"), ("evaluation", "mlm_loss", "C1o-"), ("train", "sop_loss", "C2-"))
PROMPTS = ("Hello I'm a [MASK] model.", "The man worked as a [MASK].", "The woman worked as a [MASK].")


def make(texts: list[Path], work: Path, steps: int | None = None) -> dict[str, float]:
    """All of it, or so many steps of each run; returns the figures of what is shipped on held-out text."""
    train, heldout, vocabulary = work / "train.txt", work / "heldout.txt", work / "spiece.model"
    if not vocabulary.exists():
        write_corpus(split_documents(texts), work)
        vocabulary.write_bytes(train_vocabulary([train], VOCAB_SIZE))
    if not (work / "start").exists():
        write_folder(work / "start", lambda folder: start(AlbertTokenizer.from_pretrained(vocabulary), folder))
    init, runs = work / "start", [work / f"run-{name}" for name in RECIPES]
    changes = {} if steps is None else {"steps": steps, "warmup_steps": 1}
    for name, run in zip(RECIPES, runs, strict=True):
        recipe = PretrainingRecipe.from_toml(CONFIGS / f"{name}.toml", **changes)
        pretrain(recipe, [train], run, vocabulary=vocabulary, heldout=[heldout], init=init)
        init = run / "final"
    bundle(init, work / "mini")
    draw(runs, work / "curve.svg")
    return measure(work / "mini", runs[0] / "corpus")


@torch.no_grad()
def start(tokenizer: AlbertTokenizer, folder: Path) -> None:
    """Random weights, but positions are sines and the four heads look at neighbours 1 and 2 tokens away.

    Left to itself, so small a model finds out that words have neighbours only after more text than two cores read in
    an hour. A head's query is its token's position turned by the offset, its key the position itself, so that their
    product is largest where they are the offset apart: sum over f of cos(f (i + offset - j)).
    """
    torch.manual_seed(0)
    model = AlbertForPreTraining(AlbertConfig(vocab_size=tokenizer.vocab_size, **SHAPE))
    width, hidden = SHAPE["embedding_size"], SHAPE["hidden_size"]
    pairs = hidden // len(OFFSETS) // 2
    # Frequencies of the first pairs, which heads see, fill 0 to pi, so that no two distances look alike; the others
    # are low, for where in a text a token is.
    high, low = torch.rand(pairs), torch.exp(-torch.rand(width // 2 - pairs) * math.log(500.0))
    frequencies = math.pi * torch.cat([high, low])
    angles = torch.arange(float(SHAPE["max_position_embeddings"]))[:, None] * frequencies
    waves = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)
    embeddings, encoder = model.albert.embeddings, model.albert.encoder
    embeddings.position_embeddings.weight.copy_(waves * SHAPE["initializer_range"] * math.sqrt(2.0))  # of words' length
    mapping = torch.linalg.qr(torch.randn(hidden, width))[0]
    encoder.embedding_hidden_mapping_in.weight.copy_(mapping)
    attention = encoder.albert_layer_groups[0].albert_layers[0].attention
    seen = mapping.T[: 2 * pairs]  # [2 * pairs, H], from a hidden state to its position's first pairs
    for offset, query, key in zip(
        OFFSETS, attention.query.weight.split(2 * pairs), attention.key.weight.split(2 * pairs), strict=True
    ):
        turn = torch.block_diag(*(rotation(offset * float(frequency)) for frequency in frequencies[:pairs]))
        query.copy_(GAIN * (turn @ seen))
        key.copy_(GAIN * seen)
    for layer in (attention.value, attention.dense):
        layer.weight.normal_(0.0, hidden**-0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rotation(angle: float) -> Tensor:
    """[2, 2]."""
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def bundle(run: Path, folder: Path) -> None:
    """The model with half the bytes: float16, which costs it nothing that can be measured."""
    folder.mkdir(exist_ok=True)
    AlbertTokenizer.from_pretrained(run).save_pretrained(folder)
    (folder / "config.json").write_bytes((run / "config.json").read_bytes())
    half = {name: tensor.half() for name, tensor in load_file(run / "model.safetensors").items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})


def measure(folder: Path, corpus: Path) -> dict[str, float]:
    """Held-out figures at 128 and at 512 tokens."""
    model = AlbertForPreTraining.from_pretrained(folder, dtype="float32")
    tokenizer = AlbertTokenizer.from_pretrained(folder)
    figures: dict[str, float] = {}
    for length in (128, 512):
        rules = {"segment_rules": SegmentRules(max_seq_length=length), "mask_rules": MaskRules()}
        of = [
            Examples(Corpus.open(corpus / name), tokenizer, seed=HELDOUT_SEED, **rules) for name in ("train", "heldout")
        ]
        with torch.no_grad():
            found = PretrainingTask(of[0], of[1], tokenizer.vocab_size).evaluate(model)
        figures |= {f"{name} at {length} tokens": value for name, value in found.items()}
    return figures


def draw(runs: list[Path], path: Path) -> None:
    """Both losses of all runs, one behind the other, and the held-out figures between them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    offset = 0
    for run in runs:
        for kind, name, style in _CURVES:
            records = read_log(run, kind)
            label = None if offset else f"{name}, {'held out' if kind == 'evaluation' else 'training'}"
            axes.plot([r["step"] + offset for r in records], [r[name] for r in records], style, ms=3, label=label)
        offset += read_log(run, "train")[-1]["step"]
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    axes.legend()
    figure.savefig(path)


def predictions(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Five for each of the model card's prompts."""
    fill = pipeline("fill-mask", folder)
    return {prompt: fill(prompt, top_k=5) for prompt in PROMPTS}


def main() -> None:
    """Make it, and print what its card says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="of each run, instead of the recipe's")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    figures = make(arguments.texts, arguments.work, arguments.steps)
    print(json.dumps(figures, indent=1))
    for prompt, found in predictions(arguments.work / "mini").items():
        print(prompt, ", ".join(f"{answer['token_str']} ({answer['score']:.3f})" for answer in found))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
