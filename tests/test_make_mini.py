"""The script that made the bundled model: a short run of it, from texts to a folder that answers."""

from __future__ import annotations

from pathlib import Path

import pytest

import albert_fast

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")


def text_of_chapters(path: Path) -> Path:
    """Our own documentation, as chapters of four paragraphs: so many that one in 25 leaves some to hold out."""
    parts = [part for file in sorted((ROOT / "docs").glob("*.md")) for part in file.read_text().split("\n\n")]
    chapters = ["\n\n".join(parts[i : i + 4]) for i in range(0, len(parts), 4)]
    path.write_text("".join(f"CHAPTER {i}\n\n{chapter}\n\n" for i, chapter in enumerate(chapters)))
    return path


@pytest.mark.usefixtures("scripts")
def test_a_short_run_makes_a_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import make_mini

    texts = [text_of_chapters(tmp_path / "docs.txt")]
    figures = make_mini.make(texts, tmp_path, steps=2)
    assert {"mlm_perplexity at 128 tokens", "sop_accuracy at 512 tokens"} <= set(figures)
    assert (tmp_path / "curve.svg").stat().st_size > 1000
    found = make_mini.predictions(tmp_path / "mini")
    assert [len(answers) for answers in found.values()] == [5, 5, 5]
    model = albert_fast.load(tmp_path / "mini")
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (256, 2)
    before = (tmp_path / "mini" / "model.safetensors").read_bytes()
    assert make_mini.make(texts, tmp_path, steps=2) == figures, "run again, it finds all done"
    assert (tmp_path / "mini" / "model.safetensors").read_bytes() == before
    assert "train.txt:" in capfd.readouterr().out


@pytest.mark.usefixtures("scripts")
def test_it_starts_with_heads_that_look_at_their_neighbours(tmp_path: Path) -> None:
    import make_mini
    import torch

    make_mini.start(albert_fast.AlbertTokenizer.from_pretrained("random:tiny"), tmp_path)
    model = albert_fast.nn.AlbertForPreTraining.from_pretrained(tmp_path)
    ids = torch.randint(5, 8000, (1, 60), generator=torch.Generator().manual_seed(0))
    encoder = model.albert.encoder
    with torch.no_grad():
        x = encoder.embedding_hidden_mapping_in(model.albert.embeddings(ids, None, None, None))[0]
        attention = encoder.albert_layer_groups[0].albert_layers[0].attention
        query, key = (part(x).view(60, 4, 64).transpose(0, 1) for part in (attention.query, attention.key))
        probabilities = (query @ key.transpose(1, 2) / 8).softmax(-1)
    places = torch.arange(5, 55)
    for offset, head in zip(make_mini.OFFSETS, probabilities, strict=True):
        assert head[places, places + offset].mean() > 0.5


@pytest.mark.usefixtures("scripts")
def test_sentences_and_documents(tmp_path: Path) -> None:
    import make_corpus

    assert make_corpus.sentences('Mr. Bennet\nsaid: "Go!" He went. To J. Smith.') == [
        'Mr. Bennet said: "Go!"',
        "He went.",
        "To J. Smith.",
    ]
    (tmp_path / "a.txt").write_text("CHAPTER 1\n\nOne. Two.\n\nThree.\n\nCHAPTER 2\n\nFour. Five.\n")
    assert make_corpus.split_documents([tmp_path / "a.txt"]) == [["One.", "Two.", "Three."], ["Four.", "Five."]]
    osis = "Genesis 1:1: <w>In</w><w>the</w> beginning.\nGenesis 1:2: Two.\nGenesis 2:1: Three.\n"
    (tmp_path / "b.osis").write_text(osis)
    assert make_corpus.split_documents([tmp_path / "b.osis"]) == [["In the beginning.", "Two."]]
    (tmp_path / "jargon.txt").write_text("x\n\n   :hack: n.\n\n   A {job}. Done well.\n\n   :foo: n.\n\n   Bar. Baz.\n")
    assert make_corpus.split_documents([tmp_path / "jargon.txt"]) == [["A job.", "Done well."], ["Bar.", "Baz."]]
