"""The data files of the tasks, as they are handed out, and what is wrong with those that are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from albert_fast.errors import InvalidInputError, ModelNotFoundError
from albert_fast.finetuning.examples import ChoiceExample, QuestionExample, TaggedExample, TextExample
from albert_fast.finetuning.readers import ANY, MNLI, SST2, read_conll, read_race, read_squad, read_texts

SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Normans",
            "paragraphs": [
                {
                    "context": "Rollo was a Norman.",
                    "qas": [
                        {
                            "id": 1,
                            "question": "Who?",
                            "answers": [{"text": "Rollo", "answer_start": 0}],
                            "is_impossible": False,
                        },
                        {"id": "2", "question": "When?", "answers": [], "plausible_answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}
RACE = {
    "id": "high1.txt",
    "article": "Tom has a dog.",
    "questions": ["Tom has a _ .", "Who has it?"],
    "options": [["cat", "dog"], ["Tom", "Ann"]],
    "answers": ["B", "A"],
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def into(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return into


def test_sst2_has_no_quoting(write: Callable[..., Path]) -> None:
    path = write("dev.tsv", 'sentence\tlabel\n"a "quoted film \t1\nbad\t0\n')
    assert read_texts(path, SST2) == [
        TextExample('"a "quoted film ', None, "positive"),
        TextExample("bad", None, "negative"),
    ]


def test_mnli_as_tsv_and_as_jsonl_without_examples_nobody_agreed_on(write: Callable[..., Path]) -> None:
    rows = [("A man.", "A person.", "entailment"), ("A man.", "A dog.", "-"), ("A man.", "A cat.", "contradiction")]
    tsv = "index\tsentence1\tsentence2\tlabel1\tgold_label\n"
    tsv += "".join(f"{i}\t{a}\t{b}\tx\t{label}\n" for i, (a, b, label) in enumerate(rows))
    lines = "\n".join(json.dumps({"sentence1": a, "sentence2": b, "gold_label": label}) for a, b, label in rows)
    expected = [TextExample(*rows[0]), TextExample(*rows[2])]
    assert read_texts(write("dev_matched.tsv", tsv), MNLI) == expected
    assert read_texts(write("dev_matched.jsonl", lines + "\n\n"), MNLI) == expected


def test_files_of_ones_own_may_have_pairs(write: Callable[..., Path]) -> None:
    one = write("a.jsonl", '{"text": "x", "label": 3}')
    two = write("b.tsv", "label\ttext\ttext_pair\nyes\tx\ty\n")
    assert read_texts(one, ANY) == [TextExample("x", None, "3")]
    assert read_texts(two, ANY) == [TextExample("x", "y", "yes")]


def test_squad(write: Callable[..., Path]) -> None:
    assert read_squad(write("dev.json", SQUAD)) == [
        QuestionExample("1", "Who?", "Rollo was a Norman.", (("Rollo", 0),)),
        QuestionExample("2", "When?", "Rollo was a Norman.", ()),
    ]


def test_race_from_a_folder_fills_gaps(write: Callable[..., Path], tmp_path: Path) -> None:
    write("high/1.txt", RACE)
    write("middle/2.txt", {**RACE, "id": "middle2.txt"})
    found = read_race(tmp_path)
    passage = RACE["article"]
    assert found[0] == ChoiceExample(passage, ("Tom has a cat .", "Tom has a dog ."), 1, "high")
    assert found[3] == ChoiceExample(passage, ("Who has it? Tom", "Who has it? Ann"), 0, "middle")
    assert len(found) == 4


def test_conll_in_any_number_of_columns(write: Callable[..., Path]) -> None:
    text = "-DOCSTART- -X- O O\n\nRollo NNP B-PER\nruled VBD O\n\n\nParis B-LOC\n"
    assert read_conll(write("a.txt", text)) == [
        TaggedExample(("Rollo", "ruled"), ("B-PER", "O")),
        TaggedExample(("Paris",), ("B-LOC",)),
    ]


@pytest.mark.parametrize(
    ("read", "name", "content", "message"),
    [
        (lambda p: read_texts(p, SST2), "a.tsv", "text\tlabel\nx\t1\n", r"line 2: lacks 'sentence', has label, text"),
        (lambda p: read_texts(p, SST2), "a.tsv", "sentence\tlabel\nx\n", r"line 2: lacks 'label'"),
        (lambda p: read_texts(p, ANY), "a.jsonl", '{"text": "x", "label": 1}\n{"te', r"line 2: is not JSON"),
        (lambda p: read_texts(p, ANY), "a.jsonl", "[1]", r"line 1: got list, expected a JSON object"),
        (lambda p: read_texts(p, ANY), "a.jsonl", "", r"a.jsonl: got no example, expected at least one"),
        (read_squad, "a.json", {"version": "1"}, r"lacks 'data'"),
        (read_race, "a.txt", {**RACE, "answers": ["B", "E"]}, r"got the answer 'E', expected a letter of 2 options"),
        (read_race, "a.txt", {**RACE, "answers": ["B"]}, r"got lists of \[2, 2, 1\], expected equal lengths"),
        (read_conll, "a.txt", "word\n", r"line 1: got 'word', expected a word and its tag"),
    ],
)
def test_what_is_wrong_is_named(
    write: Callable[..., Path], read: Callable[[Path], Any], name: str, content: Any, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read(write(name, content))


def test_files_that_are_not_there_and_not_text(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="No such file"):
        read_squad(tmp_path / "none.json")
    (tmp_path / "latin").write_bytes(b"caf\xe9 O\n")
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        read_conll(tmp_path / "latin")
