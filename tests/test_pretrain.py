"""Pretraining runs: what they report, what they leave, what they refuse, and that they learn."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from pretraining_runs import MODEL, TRAINING, WORDS, records, weights, write_recipe, write_text

import albert_fast
from albert_fast.errors import ConfigError, InvalidInputError, ModelNotFoundError
from albert_fast.nn import AlbertConfig, AlbertForMaskedLM, AlbertForPreTraining
from albert_fast.pretraining import IGNORED, Corpus, Examples, MaskRules, SegmentRules
from albert_fast.pretraining.run import PretrainingRecipe, pretrain
from albert_fast.pretraining.task import PretrainingTask, as_tensors
from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.trainer import TrainingRules

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = "random:tiny"
FIGURES = {
    "mlm_loss",
    "mlm_perplexity",
    "mlm_accuracy",
    "unigram_perplexity",
    "unigram_accuracy",
    "sop_loss",
    "sop_accuracy",
    "masked_tokens",
    "pairs",
}


@pytest.fixture(scope="module")
def tokenizer() -> AlbertTokenizer:
    return AlbertTokenizer.from_pretrained(VOCABULARY)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("texts")
    return {
        "train": [write_text(folder / "a.txt", 6), write_text(folder / "b.txt", 6, seed=1)],
        "heldout": [write_text(folder / "heldout.txt", 4, seed=2)],
    }


def recipe(**training: Any) -> PretrainingRecipe:
    rules = TrainingRules(**{"steps": 6, **TRAINING, **training})
    return PretrainingRecipe(model=MODEL, training=rules, segments=SegmentRules(40))


def run(output: Path, texts: dict[str, list[Path]], rows: PretrainingRecipe | None = None, **options: Any) -> Any:
    train, heldout = texts["train"], options.pop("heldout", texts["heldout"])
    options = {"vocabulary": VOCABULARY, "heldout": heldout, "progress": False, **options}
    return pretrain(rows or recipe(), train, output, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, list[Path]]) -> tuple[Path, dict[str, float]]:
    output = tmp_path_factory.mktemp("finished") / "run"
    return output, run(output, texts)


# ---- figures -----------------------------------------------------------------------------------------


def test_figures(
    finished: tuple[Path, dict[str, float]], texts: dict[str, list[Path]], tokenizer: AlbertTokenizer
) -> None:
    """Of held-out examples counted one by one, with the logits of transformers' model."""
    output, figures = finished
    assert set(figures) == FIGURES
    train = Corpus.from_text_files(texts["train"], tokenizer)
    heldout = Corpus.from_text_files(texts["heldout"], tokenizer)
    examples = Examples(heldout, tokenizer, seed=20_190_926, segment_rules=SegmentRules(40))
    counts = dict.fromkeys(range(tokenizer.vocab_size), 1)
    for piece in train.ids.tolist():
        counts[piece] += 1
    likeliest = max(counts, key=lambda piece: counts[piece])
    theirs = transformers.AlbertForPreTraining.from_pretrained(output / "final").eval()
    nll, surprise, right, guessed, sop, in_order, masked = 0.0, 0.0, 0, 0, 0.0, 0, 0
    for i in range(examples.count(0)):
        example = examples.example(0, i)
        batch = as_tensors([example])
        labels, order = batch.pop("labels")[0], int(batch.pop("sentence_order_label"))
        with torch.no_grad():
            made = theirs(**batch)
        for place in np.flatnonzero(example.labels != IGNORED):
            wanted = int(labels[place])
            logits = made.prediction_logits[0, place].double()
            nll -= float(logits.log_softmax(-1)[wanted])
            right += int(logits.argmax()) == wanted
            surprise -= math.log(counts[wanted] / sum(counts.values()))
            guessed += wanted == likeliest
            masked += 1
        sop -= float(made.sop_logits[0].double().log_softmax(-1)[order])
        in_order += int(made.sop_logits[0].argmax()) == order
    pairs = examples.count(0)
    assert (figures["masked_tokens"], figures["pairs"]) == (masked, pairs)
    assert figures["mlm_loss"] == pytest.approx(nll / masked, rel=1e-5)
    assert figures["mlm_perplexity"] == pytest.approx(math.exp(nll / masked), rel=1e-4)
    assert figures["mlm_accuracy"] == right / masked
    assert figures["unigram_perplexity"] == pytest.approx(math.exp(surprise / masked), rel=1e-9)
    assert figures["unigram_accuracy"] == guessed / masked
    assert figures["sop_loss"] == pytest.approx(sop / pairs, rel=1e-5)
    assert figures["sop_accuracy"] == in_order / pairs


def test_the_log_has_losses_and_figures(finished: tuple[Path, dict[str, float]]) -> None:
    output, figures = finished
    made = records(output)
    assert [(record["kind"], record["step"]) for record in made] == [("train", 4), ("train", 6), ("evaluation", 6)]
    assert made[-1] == {"kind": "evaluation", "step": 6, **figures}
    for record in made[:2]:
        assert record["loss"] == pytest.approx(record["mlm_loss"] + record["sop_loss"], rel=1e-6)
        assert abs(record["mlm_loss"] - math.log(20984)) < 1, "of a model that knows nothing yet"
        assert abs(record["sop_loss"] - math.log(2)) < 0.5
        assert 0 < record["tokens"] <= 8 * 40
    rates = [json.loads(line)["tokens_per_second"] for line in (output / "log.jsonl").read_text().splitlines()[:2]]
    assert min(rates) > 0


def test_what_a_run_leaves(finished: tuple[Path, dict[str, float]], texts: dict[str, list[Path]]) -> None:
    output, _ = finished
    names = {path.name for path in output.iterdir()} - {"tensorboard"}
    assert names == {"best", "checkpoints", "corpus", "final", "log.jsonl", "settings.json"}
    settings = json.loads((output / "settings.json").read_text())
    assert settings["data"]["train"] == [[path.name, path.stat().st_size] for path in texts["train"]]
    for folder in ("best", "final"):
        assert {path.name for path in (output / folder).iterdir()} == {
            "config.json",
            "model.safetensors",
            "spiece.model",
            "tokenizer_config.json",
        }


def test_the_model_is_transformers_and_a_pipelines(finished: tuple[Path, dict[str, float]]) -> None:
    folder = finished[0] / "final"
    ours, theirs = (
        kind.from_pretrained(folder).state_dict() for kind in (AlbertForPreTraining, transformers.AlbertForPreTraining)
    )
    assert ours["albert.embeddings.word_embeddings.weight"].shape == (20984, 8)
    for name, tensor in ours.items():
        assert torch.equal(theirs[name], tensor), name
    fill = albert_fast.pipeline("fill-mask", str(folder))
    answers = fill("the text is [MASK]", top_k=3)
    assert len(answers) == 3
    assert 1 > answers[0]["score"] >= answers[1]["score"] > 0


def test_a_run_learns(tmp_path: Path) -> None:
    """A text whose documents are one word each, so that a masked one is that of its neighbours."""
    for name, count in (("train.txt", 110), ("heldout.txt", 11)):
        documents = (f"{' '.join([WORDS[i % len(WORDS)]] * 6)}\n" * 12 for i in range(count))
        (tmp_path / name).write_text("\n".join(documents))
    dropouts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = {**MODEL, **dropouts, "embedding_size": 16, "hidden_size": 32, "initializer_range": 0.2}
    rules = TrainingRules(steps=200, batch_size=8, learning_rate=5e-3, warmup_steps=10)
    rows = PretrainingRecipe(model, rules, SegmentRules(40))
    figures = run(tmp_path / "run", {name: [tmp_path / f"{name}.txt"] for name in ("train", "heldout")}, rows)
    assert len(WORDS) < figures["unigram_perplexity"] < 60, "all words are as frequent"
    assert figures["mlm_perplexity"] < 4
    assert figures["mlm_accuracy"] > 0.7 > 0.2 > figures["unigram_accuracy"]


# ---- what a run depends on ---------------------------------------------------------------------------


def test_evaluation_changes_nothing(
    finished: tuple[Path, dict[str, float]], tmp_path: Path, texts: dict[str, list[Path]]
) -> None:
    """Nor does it without held-out text, when it asks for training examples while batches are made of them."""
    often = run(tmp_path / "often", texts, recipe(evaluate_every=1))
    assert often == finished[1]
    assert weights(tmp_path / "often", "final") == weights(finished[0], "final")
    alone = run(tmp_path / "alone", texts, recipe(evaluate_every=1), heldout=())
    assert set(alone) == FIGURES
    assert alone["pairs"] > often["pairs"]
    assert weights(tmp_path / "alone", "final") == weights(finished[0], "final")
    assert not (tmp_path / "alone" / "corpus" / "heldout").exists()


def test_an_evaluation_does_not_know_the_epoch_of_training(texts: dict[str, list[Path]], tokenizer: Any) -> None:
    examples = Examples(Corpus.from_text_files(texts["train"], tokenizer), tokenizer, segment_rules=SegmentRules(40))
    task = PretrainingTask(examples, None, tokenizer.vocab_size)
    model = AlbertForPreTraining(AlbertConfig(vocab_size=tokenizer.vocab_size, **MODEL)).eval()
    examples.count(3)
    with torch.no_grad():
        figures = task.evaluate(model)
    assert examples._epoch == 3, "the plan that another thread works on stays"
    assert figures["pairs"] == Examples(examples.corpus, tokenizer, segment_rules=SegmentRules(40)).count(0)


def test_seeds_differ(finished: tuple[Path, dict[str, float]], tmp_path: Path, texts: dict[str, list[Path]]) -> None:
    figures = run(tmp_path / "run", texts, recipe(seed=1))
    assert weights(tmp_path / "run", "final") != weights(finished[0], "final")
    for key in ("masked_tokens", "pairs", "unigram_perplexity"):
        assert figures[key] == finished[1][key], "held-out masks are the same for every seed"


def test_a_run_from_a_checkpoint(
    finished: tuple[Path, dict[str, float]], tmp_path: Path, texts: dict[str, list[Path]]
) -> None:
    best = finished[0] / "best"
    rows = recipe(steps=1, learning_rate=1e-12, warmup_steps=0, weight_decay=0.0)
    run(tmp_path / "run", texts, PretrainingRecipe({}, rows.training, rows.segments), init=best)
    made, started = (AlbertForPreTraining.from_pretrained(folder) for folder in (tmp_path / "run" / "final", best))
    for name, tensor in started.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], tensor, rtol=0, atol=1e-8, msg=name)
    with pytest.raises(InvalidInputError, match="has a run with model"):
        run(tmp_path / "run", texts, rows)


def test_a_head_that_the_checkpoint_lacks_is_drawn_from_the_seed(tmp_path: Path, texts: dict[str, list[Path]]) -> None:
    shape = {**MODEL, "vocab_size": AlbertTokenizer.from_pretrained(VOCABULARY).vocab_size}
    AlbertForMaskedLM(AlbertConfig(**shape)).save_pretrained(tmp_path / "init")
    rows = recipe(steps=1, warmup_steps=0)
    for number in range(2):
        torch.manual_seed(number)  # whatever was drawn before
        run(tmp_path / str(number), texts, PretrainingRecipe({}, rows.training, rows.segments), init=tmp_path / "init")
    assert weights(tmp_path / "0") == weights(tmp_path / "1")


def test_examples_without_a_mask_are_trained_on(texts: dict[str, list[Path]], tokenizer: AlbertTokenizer) -> None:
    """Where every word has more pieces than may be masked there is no mean of their losses."""
    examples = Examples(Corpus.from_text_files(texts["train"], tokenizer), tokenizer, segment_rules=SegmentRules(40))
    task = PretrainingTask(examples, None, tokenizer.vocab_size)
    model = AlbertForPreTraining(AlbertConfig(vocab_size=tokenizer.vocab_size, **MODEL))
    batch = as_tensors([examples.example(0, i) for i in range(2)])
    batch["labels"][:] = IGNORED
    losses = task.losses(model, batch)
    assert losses["loss"] == losses["sop_loss"] > 0
    assert losses["mlm_loss"] == 0
    losses["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# ---- what is refused ---------------------------------------------------------------------------------


def test_a_recipe_file_is_a_recipe(tmp_path: Path) -> None:
    made = PretrainingRecipe.from_toml(write_recipe(tmp_path / "x.toml", steps=6), seed=3)
    assert made == recipe(seed=3)
    (tmp_path / "x.toml").write_text("[training]\nsteps = 2\n[mask]\nngram = 2\n")
    with pytest.raises(ConfigError, match=r"config: got \[mask\], expected \[model\], \[segments\], \[masks\]"):
        PretrainingRecipe.from_toml(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_text("[training]\nsteps = 2\n[masks]\nngram = 2\n")
    assert PretrainingRecipe.from_toml(tmp_path / "x.toml").masks == MaskRules(ngram=2)
    with pytest.raises(
        ConfigError, match=r"\[training\] warmup_steps: got 0, expected 0 to -1|\[training\] steps: got -1"
    ):
        PretrainingRecipe.from_toml(tmp_path / "x.toml", steps=-1)


def test_bad_recipes(tmp_path: Path, texts: dict[str, list[Path]]) -> None:
    good = recipe()
    for rows, message in (
        (PretrainingRecipe(MODEL, good.training), r"\[segments\] max_seq_length: got 512, expected at most 40"),
        (PretrainingRecipe({**MODEL, "hiden": 1}, good.training, good.segments), r"\[model\] hiden: unknown"),
        (PretrainingRecipe({**MODEL, "vocab_size": 99}, good.training, good.segments), "vocab_size: got 99, .* 20984"),
        (PretrainingRecipe({**MODEL, "hidden_size": 17}, good.training, good.segments), "hidden_size: got 17"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(tmp_path / "run", texts, rows)
    assert not (tmp_path / "run").exists()


def test_bad_texts(tmp_path: Path, texts: dict[str, list[Path]]) -> None:
    with pytest.raises(InvalidInputError, match="train: got no file"):
        run(tmp_path / "run", {**texts, "train": []})
    with pytest.raises(ModelNotFoundError, match=r"nowhere\.txt: No such file"):
        run(tmp_path / "run", texts, heldout=[tmp_path / "nowhere.txt"])
    (tmp_path / "line.txt").write_text("one line alone\n")
    with pytest.raises(InvalidInputError, match="corpus: got no pair of segments"):
        run(tmp_path / "run", texts, heldout=[tmp_path / "line.txt"])


def test_text_of_a_run_that_never_began_is_not_used(
    finished: tuple[Path, dict[str, float]], tmp_path: Path, texts: dict[str, list[Path]]
) -> None:
    """A run that was refused after its text was read leaves none to one with other files."""
    (tmp_path / "line.txt").write_text("one line alone\n")
    with pytest.raises(InvalidInputError, match="corpus"):
        run(tmp_path / "run", {"train": texts["heldout"], "heldout": [tmp_path / "line.txt"]})
    assert run(tmp_path / "run", texts) == finished[1]
    assert weights(tmp_path / "run") == weights(finished[0])


def test_other_text_is_refused(finished: tuple[Path, dict[str, float]], texts: dict[str, list[Path]]) -> None:
    before = weights(finished[0])
    with pytest.raises(InvalidInputError, match="has a run with data train: "):
        run(finished[0], {**texts, "train": texts["train"][:1]})
    with pytest.raises(InvalidInputError, match="has a run with training seed: 0, not 5"):
        run(finished[0], texts, recipe(seed=5))
    assert weights(finished[0]) == before
