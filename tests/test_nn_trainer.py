"""transformers' Trainer, pipelines and FSDP over models of albert_fast.nn, beside the same over their classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from nn_models import BASE, NAME, batch, pair
from pipeline_models import VOCABULARY
from processes import WORLD, on_ranks
from torch.distributed.fsdp import fully_shard

from albert_fast.nn import AlbertForSequenceClassification, why_not
from albert_fast.tokenizer import AlbertTokenizer

torch.set_num_threads(1)
pytestmark = [  # what torch, transformers and accelerate say of each other
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning"),
]


def examples(name: str, count: int = 24) -> list[dict[str, Any]]:
    rng = torch.Generator().manual_seed(1)
    made = []
    for _ in range(count):
        ids = torch.randint(5, 211, (9,), generator=rng)
        label = ids.clone() if name == "AlbertForMaskedLM" else (ids[1] > 100).long()
        made.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": label})
    return made


def train(model: Any, folder: Path, name: str, resume: str | None = None, **options: Any) -> Any:
    settings: dict[str, Any] = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "logging_steps": 1}
    settings |= {"learning_rate": 1e-3, "report_to": [], "use_cpu": True, "disable_tqdm": True, "save_steps": 6}
    arguments = transformers.TrainingArguments(str(folder), **{**settings, **options})
    data = examples(name)
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data[:8])
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def losses(trainer: Any) -> list[float]:
    return [record["loss"] for record in trainer.state.log_history if "loss" in record]


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "checkpointing": {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
    "smoothing": {"label_smoothing_factor": 0.1},
    "accumulation": {"gradient_accumulation_steps": 2, "max_grad_norm": 0.5},
    "best": {"eval_strategy": "steps", "eval_steps": 6, "load_best_model_at_end": True},
}


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("name", [NAME, "AlbertForMaskedLM"])
def test_the_same_losses(name: str, kind: str, tmp_path: Path) -> None:
    options = OPTIONS[kind]
    if name == "AlbertForMaskedLM" and kind not in ("plain", "smoothing"):
        pytest.skip("one head is enough for what does not concern heads")
    models = dict(zip(("theirs", "ours"), pair(name), strict=True))
    if kind == "checkpointing":
        models["theirs"] = pair(name)[0]  # which has no checkpointing: the losses are those without
    found = {}
    for who, model in models.items():
        given = {} if (kind, who) == ("checkpointing", "theirs") else options
        found[who] = train(model, tmp_path / who, name, **given)
    torch.testing.assert_close(
        torch.tensor(losses(found["ours"])), torch.tensor(losses(found["theirs"])), atol=2e-4, rtol=2e-3
    )
    assert len(losses(found["ours"])) in (6, 12)
    checkpoint = max((tmp_path / "ours").glob("checkpoint-*"))
    assert json.loads((checkpoint / "config.json").read_text())["architectures"] == [name]
    again = getattr(transformers, name).from_pretrained(checkpoint)
    assert {key: tuple(value.shape) for key, value in again.state_dict().items()} == {
        key: tuple(value.shape) for key, value in models["theirs"].state_dict().items()
    }


def test_a_run_goes_on(tmp_path: Path) -> None:
    whole = train(pair(NAME)[1], tmp_path / "whole", NAME)
    rest = train(pair(NAME)[1], tmp_path / "rest", NAME, resume=str(tmp_path / "whole" / "checkpoint-6"))
    assert losses(rest)[-6:] == losses(whole)[-6:]
    for name, parameter in whole.model.named_parameters():
        assert torch.equal(rest.model.get_parameter(name), parameter), name


def test_noise_on_embeddings(tmp_path: Path) -> None:
    """``neftune_noise_alpha`` is a hook on the word embeddings."""
    plain = train(pair(NAME)[1], tmp_path / "plain", NAME, num_train_epochs=1)
    noisy = train(pair(NAME)[1], tmp_path / "noisy", NAME, num_train_epochs=1, neftune_noise_alpha=50.0)
    assert abs(losses(plain)[0] - losses(noisy)[0]) > 1e-3
    assert why_not(noisy.model) is None


def test_their_pipelines(tmp_path: Path) -> None:
    """Models of ours with tokenizers of theirs, as ``transformers.pipeline`` takes them."""
    AlbertTokenizer.from_pretrained(VOCABULARY.parent / "mini").save_pretrained(tmp_path)
    tokenizer = transformers.AlbertTokenizer.from_pretrained(tmp_path)
    config = transformers.AlbertConfig(**{**BASE, "vocab_size": len(tokenizer)})
    torch.manual_seed(0)
    theirs = transformers.AlbertForSequenceClassification(config).eval()
    mine = AlbertForSequenceClassification.from_pretrained(theirs)
    answers = [
        transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")(["a text", "b"])
        for model in (theirs, mine)
    ]
    for one, other in zip(*answers, strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)


def sharded(rank: int, folder: Path) -> None:
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (WORLD,))
    found = []
    for model in pair(NAME):
        fully_shard(model, mesh=mesh)
        output = model(**batch(NAME))
        output.loss.backward()
        gradients = {name: p.grad.full_tensor() for name, p in model.named_parameters() if p.grad is not None}
        found.append((output.logits.detach(), gradients))
    torch.save(found, folder / f"{rank}.pt")


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_sharded_parameters(tmp_path: Path) -> None:
    """FSDP2 over two processes: whichever code runs, results and gradients are those over transformers' class."""
    on_ranks(sharded, tmp_path)
    (logits, gradients), (our_logits, our_gradients) = torch.load(tmp_path / "0.pt")
    torch.testing.assert_close(our_logits, logits, atol=1e-5, rtol=1e-4)
    assert our_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, atol=1e-5, rtol=1e-3, msg=name)
