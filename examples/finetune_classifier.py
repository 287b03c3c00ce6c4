"""Fine-tune ALBERT to tell verse (Shakespeare's 18th sonnet) from prose (Darwin's Origin of Species).

    python examples/finetune_classifier.py [MODEL [FOLDER]]

MODEL is a name on the Hugging Face hub, a folder, or random:tiny, the default, which starts from random weights and
needs no network. FOLDER is where the result is saved.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from albert_fast import AlbertTokenizer
from albert_fast.nn import AlbertForSequenceClassification

DATA = Path(__file__).with_name("verse_and_prose.tsv")


def finetune(name: str, learning_rate: float, steps: int = 40) -> tuple[AlbertForSequenceClassification, list[float]]:
    """The model, and the loss of every step."""
    labels, texts = zip(*(line.split("\t") for line in DATA.read_text(encoding="utf-8").splitlines()), strict=True)
    kinds = sorted(set(labels))
    model = AlbertForSequenceClassification.from_pretrained(name, id2label=dict(enumerate(kinds)))
    batch = AlbertTokenizer.from_pretrained(name)(list(texts), padding=True, return_tensors="pt")
    batch["labels"] = torch.tensor([kinds.index(label) for label in labels])
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    losses = []
    model.train()
    for _ in range(steps):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return model.eval(), losses


def main(name: str = "random:tiny", folder: str | None = None) -> None:
    """Train, print the losses and what becomes of a new text, and save."""
    model, losses = finetune(name, learning_rate=3e-3 if name.startswith("random:") else 2e-5)
    print(f"loss: {losses[0]:.3f} at first, {losses[-1]:.3f} after {len(losses)} steps")
    inputs = AlbertTokenizer.from_pretrained(name)("Shall I compare thee to a bee?", return_tensors="pt")
    print("a new text is", model.config.id2label[model(**inputs).logits.argmax().item()])
    if folder is not None:
        model.save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
