"""Whole scripts: written for transformers and run after one changed line, and the example."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from nn_models import pair

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent

CLASSIFIER = """
import torch
from torch.utils.data import DataLoader, TensorDataset
from transformers import AlbertConfig, AlbertForSequenceClassification

generator = torch.Generator().manual_seed(1)
ids = torch.randint(5, 211, (24, 12), generator=generator)
labels = (ids[:, 1] > 100).long() + (ids[:, 2] > 100).long()
mask = torch.arange(12) < torch.randint(3, 13, (24, 1), generator=generator)
loader = DataLoader(TensorDataset(ids, mask.long(), labels), batch_size=8)

config = AlbertConfig.from_pretrained(folder, num_labels=3)
config.id2label = {0: "none", 1: "one", 2: "both"}
config.label2id = {name: index for index, name in config.id2label.items()}
model = AlbertForSequenceClassification.from_pretrained(folder, config=config)
model.load_state_dict(torch.load(folder / "head.pt"), strict=False)
decayed = [p for n, p in model.named_parameters() if "bias" not in n and "orm" not in n]
others = [p for n, p in model.named_parameters() if "bias" in n or "orm" in n]
optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": others}], lr=1e-3)
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4)

losses = []
model.train()
for epoch in range(3):
    for input_ids, attention_mask, targets in loader:
        outputs = model(input_ids=input_ids, attention_mask=attention_mask, labels=targets)
        loss = outputs.loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        model.zero_grad()
        losses.append(outputs["loss"].item())

model.eval()
model.save_pretrained(folder / "trained")
again = AlbertForSequenceClassification.from_pretrained(folder / "trained")
with torch.no_grad():
    logits = again(ids, attention_mask=mask)[0]
results = [losses, logits.tolist(), [again.config.id2label[k] for k in logits.argmax(-1).tolist()]]
"""

PRETRAINING = """
import torch
from transformers import AlbertForPreTraining

model = AlbertForPreTraining.from_pretrained(folder)
model.resize_token_embeddings(220)
with torch.no_grad():  # new rows are random
    model.get_input_embeddings().weight[211:] = torch.linspace(-0.1, 0.1, 24)
    model.get_output_embeddings().bias[211:] = 0
model.train()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
generator = torch.Generator().manual_seed(1)
losses, accuracies = [], []
for step in range(6):
    ids = torch.randint(5, 220, (4, 16), generator=generator)
    masked = torch.rand(ids.shape, generator=generator) < 0.3
    inputs = {"input_ids": ids.masked_fill(masked, 4), "attention_mask": torch.ones_like(ids)}
    labels = ids.masked_fill(~masked, -100)
    output = model(**inputs, labels=labels, sentence_order_label=torch.tensor([0, 1, 0, 1]))
    predicted = output.prediction_logits.argmax(-1)
    accuracies.append((predicted[masked] == ids[masked]).float().mean().item())
    output.loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(output[0].item())
results = [losses, accuracies, model.sop_classifier.classifier.bias.tolist()]
"""
SCRIPTS = {"AlbertForSequenceClassification": CLASSIFIER, "AlbertForPreTraining": PRETRAINING}


def changed(script: str) -> str:
    """The script with one other line."""
    lines = script.splitlines()
    found = [index for index, line in enumerate(lines) if line.startswith("from transformers import")]
    assert len(found) == 1
    lines[found[0]] = lines[found[0]].replace("from transformers import", "from albert_fast.nn import")
    return "\n".join(lines)


def prepare(folder: Path) -> None:
    """A pretrained model without the head of the classifier, which is beside it."""
    theirs, _ = pair("AlbertForPreTraining")
    theirs.save_pretrained(folder)
    head = {"classifier.weight": torch.linspace(-0.1, 0.1, 3 * 48).view(3, 48), "classifier.bias": torch.zeros(3)}
    torch.save(head, folder / "head.pt")


@pytest.mark.parametrize("name", SCRIPTS)
def test_one_changed_line(name: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    found = []
    for script in (SCRIPTS[name], changed(SCRIPTS[name])):
        space: dict[str, Any] = {"folder": tmp_path}
        exec(compile(script, name, "exec"), space)
        assert type(space["model"]).__name__ == name
        found.append(space["results"])
    assert type(space["model"]).__module__.startswith("albert_fast.")
    expected, actual = found
    torch.testing.assert_close(torch.tensor(actual[0]), torch.tensor(expected[0]), atol=1e-4, rtol=1e-4)
    if name == "AlbertForPreTraining":
        torch.testing.assert_close(torch.tensor(actual[2]), torch.tensor(expected[2]), atol=1e-4, rtol=1e-3)
    else:
        torch.testing.assert_close(torch.tensor(actual[1]), torch.tensor(expected[1]), atol=1e-3, rtol=1e-3)
        assert actual[2] == expected[2]
        assert actual[0][-1] < actual[0][0]


def test_without_transformers_the_extra_is_named() -> None:
    script = """
import sys
sys.modules["transformers"] = None
import albert_fast
try:
    import albert_fast.nn
except albert_fast.errors.MissingDependencyError as error:
    assert "pip install 'albert_fast[nn]'" in str(error), error
else:
    raise SystemExit("imported")
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=ROOT, timeout=300)


def test_the_example(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    specification = importlib.util.spec_from_file_location("example", ROOT / "examples" / "finetune_classifier.py")
    assert specification is not None
    assert specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    torch.manual_seed(0)
    example.main("random:tiny", str(tmp_path))
    assert capsys.readouterr().out.startswith("loss: 0.69")
    torch.manual_seed(0)
    model, losses = example.finetune("random:tiny", 3e-3)
    assert losses[-1] < 0.1 * losses[0]
    kinds, texts = zip(*(line.split("\t") for line in example.DATA.read_text().splitlines()), strict=True)
    inputs = example.AlbertTokenizer.from_pretrained("random:tiny")(list(texts), padding=True, return_tensors="pt")
    again = example.AlbertForSequenceClassification.from_pretrained(tmp_path)
    for trained in (model, again):
        answers = [trained.config.id2label[k] for k in trained(**inputs).logits.argmax(-1).tolist()]
        assert answers == list(kinds)


def test_the_lines_in_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "README.md").read_text().split("## Fine-tune a classifier")[1]
    lines = section.split("```python\n")[1].split("```")[0]
    assert len(lines.splitlines()) == 15
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    space: dict[str, Any] = {}
    exec(compile(lines, "README.md", "exec"), space)
    assert space["loss"] < 0.1
    answers = space["model"].eval()(**space["batch"]).logits.argmax(-1)
    assert answers.tolist() == [0, 1]
    assert (tmp_path / "verse-or-prose" / "model.safetensors").is_file()
