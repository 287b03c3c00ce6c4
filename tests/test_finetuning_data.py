"""Data as people really have it: shifted rows, words with spaces in them, answers elsewhere, others' labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finetuning_data import write_all
from nn_models import randomise

import albert_fast
from albert_fast import nn
from albert_fast.errors import InvalidInputError
from albert_fast.finetuning import TASKS, FinetuningRecipe, TaskRules, evaluate, finetune
from albert_fast.finetuning.readers import ANY, read_conll, read_race, read_squad, read_texts
from albert_fast.finetuning.task import collate
from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.trainer import TrainingRules

RULES = TaskRules(max_length=96, doc_stride=8, max_question_length=16)
CONTEXT = "The king of France lived in Paris until 1793 and then he died."


@pytest.fixture(scope="module")
def tokenizer() -> AlbertTokenizer:
    return AlbertTokenizer.from_pretrained("mini")


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8", newline="")
    return path


def squad(answers: Any, **more: Any) -> dict[str, Any]:
    qas = [{"id": "q1", "question": "Where?", "answers": answers, **more}]
    return {"data": [{"paragraphs": [{"context": CONTEXT, "qas": qas}]}]}


def test_rows_with_more_fields_are_not_shifted(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "text\tlabel\na\tb\tx\nc\ty\n")
    with pytest.raises(InvalidInputError, match=r"a\.tsv: line 2: got 3 fields, expected 2, as in the header"):
        read_texts(path, ANY)


def test_rows_of_any_length_and_line_ends(tmp_path: Path) -> None:
    long = "word " * 40_000
    path = write(tmp_path, "a.tsv", f"\ufefftext\tlabel\r\n{long}\tx\r\n\nwait\u0085what\u2028so\ty")
    assert [(e.text, e.label) for e in read_texts(path, ANY)] == [(long, "x"), ("wait\u0085what\u2028so", "y")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"text": ["New", "York"], "label": True}, r"a\.jsonl: line 1: text: got list, expected a string"),
        ({"text": "x", "label": ["a"]}, "line 1: label: got list, expected a name or a number"),
    ],
)
def test_values_that_are_no_text_are_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_texts(write(tmp_path, "a.jsonl", json.dumps(content) + "\n"), ANY)


def test_words_may_have_spaces_where_tabs_part_columns(tmp_path: Path) -> None:
    words = ("New York", "10\u00a0000", "\u6771\u4eac\u3000\u90fd", "wait\u0085what")
    tabs = write(tmp_path, "tabs.txt", "".join(f"{word}\tO\n" for word in words))
    assert read_conll(tabs)[0].words == words
    spaces = write(tmp_path, "spaces.txt", "".join(f"{word} NN O\n" for word in words[1:]))
    assert read_conll(spaces)[0].words == words[1:]
    marked = write(tmp_path, "marked.txt", "\ufeff-DOCSTART- -X- O O\n\nEU NNP B-ORG\r\n\r\n")
    assert [(e.words, e.tags) for e in read_conll(marked)] == [(("EU",), ("B-ORG",))]


@pytest.mark.parametrize(
    ("text", "start"), [("Lyon", 10), ("", 0), ("", 20), ("Paris", 500), ("Paris", -1), ("Paris", 0), ("Paris", 27)]
)
def test_an_answer_that_is_elsewhere_is_not_trained_on(
    tmp_path: Path, tokenizer: AlbertTokenizer, warned: pytest.LogCaptureFixture, text: str, start: int
) -> None:
    right = squad([{"text": "Paris", "answer_start": CONTEXT.index("Paris")}])
    right["data"] += squad([{"text": text, "answer_start": start}])["data"]
    right["data"][1]["paragraphs"][0]["qas"][0]["id"] = "q2"
    task = TASKS["squad"](tokenizer, RULES)
    examples = task.read(write(tmp_path, "a.json", right))
    [feature] = task.features(examples, {})
    first, last = feature.labels["start_positions"], feature.labels["end_positions"]
    assert tokenizer.decode(feature.rows[0][0][first : last + 1]) == "paris"
    assert "1 questions are left out, their answers are not at answer_start: 'q2'" in warned.text
    with pytest.raises(InvalidInputError, match="question 'q2': got an answer that is not at its answer_start"):
        task.features(examples[1:], {})


def test_answers_in_columns(tmp_path: Path) -> None:
    [example] = read_squad(write(tmp_path, "a.json", squad({"text": ["Paris"], "answer_start": [28]})))
    assert example.answers == (("Paris", 28),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            squad([{"text": "Paris", "answer_start": "28"}]),
            "question 'q1': answer_start: got '28', expected an integer",
        ),
        (squad([{"text": 3, "answer_start": 28}]), "question 'q1': text: got int, expected a string"),
        (squad({"text": ["Paris"], "answer_start": []}), "question 'q1': answers: got 1 texts and 0 starts"),
        (squad("Paris"), "question 'q1': answers: got str, expected a list of objects"),
        (squad([], question=["Where?"]), "question 'q1': question: got list, expected a string"),
        ({"data": [3]}, r"a\.json: data: got list, expected a list of objects"),
        ({"data": {"a": 1}}, r"a\.json: data: got dict, expected a list of objects"),
    ],
)
def test_squad_that_is_none_is_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_squad(write(tmp_path, "a.json", content))


def test_questions_with_fewer_options_weigh_as_much(tmp_path: Path, tokenizer: AlbertTokenizer) -> None:
    passage = {"id": "high1", "article": "A b c d e.", "questions": ["What?", "Why?"], "answers": ["A", "B"]}
    passage["options"] = [["a", "b", "c", "d"], ["x", "y"]]
    task = TASKS["race"](tokenizer, RULES)
    features = task.features(read_race(write(tmp_path, "1.txt", passage)), {})
    model = nn.AlbertForMultipleChoice.from_pretrained("mini").eval()
    randomise(model, seed=3)
    with torch.no_grad():
        together = task.loss(model, collate(features, 0))
        alone = [task.loss(model, collate([feature], 0)) for feature in features]
    torch.testing.assert_close(together, torch.stack(alone).mean())
    assert abs(float(alone[0] - alone[1])) > 1e-3


@pytest.mark.parametrize("options", [[["a", 3], ["x", "y"]], ["ab", "xy"]])
def test_race_that_is_none_is_named(tmp_path: Path, options: Any) -> None:
    passage = {"article": "A.", "questions": ["What?", "Why?"], "answers": ["A", "B"], "options": options}
    with pytest.raises(InvalidInputError, match=r"1\.txt: got 'What\?' with .*, expected a text and a list of texts"):
        read_race(write(tmp_path, "1.txt", passage))


def classifier(folder: Path, *names: str) -> str:
    torch.manual_seed(0)
    model = nn.AlbertForSequenceClassification.from_pretrained("mini", id2label=dict(enumerate(names)))
    model.save_pretrained(folder)
    AlbertTokenizer.from_pretrained("mini").save_pretrained(folder)
    return str(folder)


def test_labels_of_published_checkpoints(tmp_path: Path) -> None:
    path = write(tmp_path, "m.tsv", "sentence1\tsentence2\tgold_label\na\tb\tneutral\nc\td\tentailment\n")
    capitals = classifier(tmp_path / "capitals", "CONTRADICTION", "NEUTRAL", "ENTAILMENT")
    expected = evaluate("mnli", capitals, path)
    unnamed = classifier(tmp_path / "unnamed", "LABEL_0", "LABEL_1", "LABEL_2")
    with pytest.raises(InvalidInputError, match=r"m\.tsv: line 2: label: got 'neutral', .*; labels= \(--labels\)"):
        evaluate("mnli", unnamed, path)
    named = evaluate("mnli", unnamed, path, labels=["contradiction", "neutral", "entailment"])
    assert named.figures == expected.figures
    assert [p.upper() for p in named.predictions] == expected.predictions
    other_order = evaluate("mnli", unnamed, path, labels=["entailment", "contradiction", "neutral"])
    assert other_order.predictions != named.predictions
    with pytest.raises(InvalidInputError, match="labels: got 2, expected 3, one for each class"):
        evaluate("mnli", unnamed, path, labels=["a", "b"])
    sentiment = classifier(tmp_path / "sst2", "LABEL_0", "LABEL_1")
    sst2 = write(tmp_path, "s.tsv", "sentence\tlabel\ngood\t1\nbad\t0\n")
    assert set(evaluate("sst2", sentiment, sst2).predictions) <= {"negative", "positive"}


def test_classes_come_from_all_files(tmp_path: Path, warned: pytest.LogCaptureFixture) -> None:
    train = write(tmp_path, "train.tsv", "text\tlabel\na\tx\nb\ty\n")
    dev = write(tmp_path, "dev.tsv", "text\tlabel\na\tx\nb\tz\n")
    recipe = FinetuningRecipe(TrainingRules(steps=2, batch_size=2, learning_rate=1e-3, evaluate_every=2), RULES)
    figures = finetune("classification", recipe, "mini", train, tmp_path / "run", development=[dev])
    assert 0 <= figures["accuracy"] <= 1
    assert "labels of development files that no example to train on has: 'z'" in warned.text
    one = write(tmp_path, "one.tsv", "text\tlabel\na\tx\nb\tx\n")
    with pytest.raises(InvalidInputError, match="label: got the class 'x' alone, expected at least two"):
        finetune("classification", recipe, "mini", one, tmp_path / "other")


def test_predictions_of_squad_are_the_official_files(tmp_path: Path) -> None:
    """Raw answers, with the odds apart, so that a threshold is the script's to choose."""
    data = write_all(tmp_path)["squad-beam"]
    torch.manual_seed(1)
    nn.AlbertForQuestionAnswering.from_pretrained("mini").save_pretrained(tmp_path / "model")
    AlbertTokenizer.from_pretrained("mini").save_pretrained(tmp_path / "model")
    report = evaluate(
        "squad", str(tmp_path / "model"), data, rules=TaskRules(max_length=48, doc_stride=8, max_question_length=16)
    )
    answers, odds = report.predictions
    assert answers.keys() == odds.keys()
    assert all(answers.values()), "none is emptied by the threshold"
    assert np.isfinite(list(odds.values())).all()


def test_fewer_steps_warm_up_for_their_share(tmp_path: Path) -> None:
    recipe = write(tmp_path, "r.toml", "[training]\nsteps = 20935\nwarmup_steps = 1256\n")
    assert FinetuningRecipe.from_toml(recipe, steps=200).training.warmup_steps == 11
    assert FinetuningRecipe.from_toml(recipe).training.warmup_steps == 1256
    assert FinetuningRecipe.from_toml(recipe, steps=200, warmup_steps=20).training.warmup_steps == 20
    assert albert_fast.__version__
