"""Pretraining data: pairs of segments and masks as google-research/albert draws them, the same from the same seed,
wherever one begins."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from albert_fast.errors import CheckpointError, InvalidInputError, ModelNotFoundError
from albert_fast.pretraining import IGNORED, Corpus, Example, Examples, MaskRules, SegmentRules, collate, read_documents
from albert_fast.pretraining.masking import Masker
from albert_fast.tokenizer import AlbertTokenizer

WORDS = ("some", "unbelievable", "words", "internationalization", "of", "all", "lengths", "philosophical", "go", "here")


@pytest.fixture(scope="module")
def tokenizer() -> AlbertTokenizer:
    return AlbertTokenizer.from_pretrained("random:tiny")


def documents(count: int, sentences: int = 12, seed: int = 0) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [
        [
            f"{d} {s} " + " ".join(rng.choice(WORDS, rng.integers(1, 15))) + "."
            for s in range(rng.integers(1, sentences + 1))
        ]
        for d in range(count)
    ]


@pytest.fixture(scope="module")
def corpus(tokenizer: AlbertTokenizer) -> Corpus:
    return Corpus.from_documents(documents(150), tokenizer)


def unmasked(example: Example) -> np.ndarray:
    return np.where(example.labels == IGNORED, example.input_ids, example.labels)


# ---- the corpus --------------------------------------------------------------------------------------


def test_a_corpus_is_its_sentences(tokenizer: AlbertTokenizer, tmp_path: Path) -> None:
    texts = documents(5)
    (tmp_path / "a.txt").write_text("\n\n".join("\n".join(document) for document in texts[:2]) + "\n\n\n")
    (tmp_path / "b.txt").write_text("\n\n".join("\n".join(document) for document in texts[2:]))
    corpus = Corpus.from_text_files([tmp_path / "a.txt", tmp_path / "b.txt"], tokenizer)
    assert np.diff(corpus.documents).tolist() == [len(document) for document in texts]
    flat = [sentence for document in texts for sentence in document]
    for (begin, end), sentence in zip(pairwise(corpus.sentences.tolist()), flat, strict=True):
        assert corpus.ids[begin:end].tolist() == tokenizer.encode(sentence, add_special_tokens=False)
    corpus.save(tmp_path / "corpus")
    opened = Corpus.open(tmp_path / "corpus")
    for name in ("ids", "sentences", "documents"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(corpus, name))


def test_long_documents_are_read_in_parts(tokenizer: AlbertTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*documents(3), [], ["", " "], *documents(2, seed=1)]
    whole = Corpus.from_documents(texts, tokenizer)
    for window in (1, 3, 7):
        monkeypatch.setattr("albert_fast.pretraining.corpus._WINDOW", window)
        parts = Corpus.from_documents((iter(text) for text in texts), tokenizer)
        for name in ("ids", "sentences", "documents"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), f"{name}, {window}")
    assert whole.num_documents == 5, "empty ones are left out"


def test_bad_corpora(tokenizer: AlbertTokenizer, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="documents: got no token"):
        Corpus.from_documents([[""], []], tokenizer)
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        list(read_documents(tmp_path / "nowhere"))
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    with pytest.raises(InvalidInputError, match="latin: got bytes that are not UTF-8"):
        list(read_documents(tmp_path / "latin"))
    with pytest.raises(ModelNotFoundError, match=r"ids\.npy cannot be read"):
        Corpus.open(tmp_path)
    Corpus.from_documents(documents(2), tokenizer).save(tmp_path)
    np.save(tmp_path / "ids.npy", np.zeros(3, np.int32))
    with pytest.raises(CheckpointError, match="do not belong together"):
        Corpus.open(tmp_path)
    (tmp_path / "ids.npy").write_bytes(b"not an array at all")
    with pytest.raises(CheckpointError, match=r"ids\.npy is not a NumPy array"):
        Corpus.open(tmp_path)


# ---- segments ----------------------------------------------------------------------------------------


def sentences_of(corpus: Corpus) -> list[list[int]]:
    return [corpus.ids[begin:end].tolist() for begin, end in pairwise(corpus.sentences.tolist())]


def test_pairs_are_neighbours_in_order_or_swapped(corpus: Corpus, tokenizer: AlbertTokenizer) -> None:
    """[CLS] A [SEP] B [SEP], and the text of a pair in order is a run of one document's sentences."""
    examples = Examples(corpus, tokenizer, segment_rules=SegmentRules(10_000, short_seq_prob=0))
    stream = corpus.ids.tolist()
    text = " ".join(map(str, stream))
    labels = Counter[int]()
    for i in range(examples.count(0)):
        example = examples.example(0, i)
        ids, types = unmasked(example).tolist(), example.token_type_ids.tolist()
        assert ids[0] == tokenizer.cls_token_id
        assert [place for place, token in enumerate(ids) if token == tokenizer.sep_token_id] == [
            types.index(1) - 1,
            len(ids) - 1,
        ]
        first, second = ids[1 : types.index(1) - 1], ids[types.index(1) : -1]
        in_order = " ".join(map(str, first + second)) in text
        turned = " ".join(map(str, second + first)) in text
        if len(sentences_of(corpus)) and example.sentence_order_label == 0:
            assert in_order
        else:
            assert turned or not in_order
        labels[example.sentence_order_label] += 1
    assert 0.3 < labels[1] / labels.total() < 0.75, "half of the pairs, and those of another document"


def test_every_sentence_is_used_once_an_epoch(corpus: Corpus, tokenizer: AlbertTokenizer) -> None:
    """But for those that follow a lone sentence of another document."""
    examples = Examples(corpus, tokenizer, segment_rules=SegmentRules(64, short_seq_prob=0.2))
    lone = Counter(np.repeat(np.diff(corpus.documents), 1).tolist())[1]
    used = Counter[int]()
    rows = examples._plan_of(3)
    for first, first_end, second, second_end, swapped in rows.tolist():
        follows = second == first_end or first == second_end
        used.update(range(first, first_end))
        if follows or not swapped:
            used.update(range(second, second_end))
    missing = [s for s in range(len(corpus.sentences) - 1) if not used[s]]
    assert not missing, f"{lone} documents of one sentence"


@pytest.mark.parametrize("length", [5, 16, 64])
def test_no_example_is_too_long(corpus: Corpus, tokenizer: AlbertTokenizer, length: int) -> None:
    examples = Examples(corpus, tokenizer, segment_rules=SegmentRules(length))
    lengths = [len(examples.example(0, i).input_ids) for i in range(examples.count(0))]
    assert max(lengths) == length
    assert min(lengths) >= 5, "no segment is empty"


# ---- masks -------------------------------------------------------------------------------------------


def spans(labels: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels != IGNORED, [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def test_masks(corpus: Corpus, tokenizer: AlbertTokenizer) -> None:
    """15 % of the tokens, whole words, 80/10/10, never a special token."""
    examples = Examples(corpus, tokenizer, segment_rules=SegmentRules(128, short_seq_prob=0))
    pieces = np.array(tokenizer.convert_ids_to_tokens(range(tokenizer.vocab_size)))
    tokens = predicted = replaced = kept = 0
    for epoch in range(4):
        for i in range(examples.count(epoch)):
            example = examples.example(epoch, i)
            original, chosen = unmasked(example), example.labels != IGNORED
            assert 1 <= chosen.sum() <= max(1, round(0.15 * len(original)))
            assert not np.isin(original[chosen], [tokenizer.cls_token_id, tokenizer.sep_token_id]).any()
            np.testing.assert_array_equal(example.input_ids[~chosen], original[~chosen])
            for begin, end in spans(example.labels):
                before, after = original[begin - 1], original[end]
                special = (tokenizer.cls_token_id, tokenizer.sep_token_id)
                assert pieces[original[begin]].startswith("▁") or before in special
                assert pieces[after].startswith("▁") or after in special
            tokens += len(original)
            predicted += int(chosen.sum())
            replaced += int((example.input_ids[chosen] == tokenizer.mask_token_id).sum())
            kept += int((example.input_ids[chosen] == original[chosen]).sum())
    assert predicted > 2000, "enough to count"
    assert 0.12 < predicted / tokens < 0.155
    assert replaced / predicted == pytest.approx(0.8, abs=0.03)
    assert kept / predicted == pytest.approx(0.1, abs=0.025)


def test_lengths_of_spans(tokenizer: AlbertTokenizer) -> None:
    """A span of n words is drawn as often as 1 / n; a text of one-piece words shows it."""
    [piece] = tokenizer.encode("the", add_special_tokens=False)
    text = np.full(4000, piece, np.int32)
    masker = Masker(tokenizer, MaskRules(masked_lm_prob=0.01))
    drawn = Counter[int]()
    for seed in range(100):
        _, labels = masker.mask(text, np.random.default_rng(seed))
        drawn.update(end - begin for begin, end in spans(labels))
    shares = [drawn[n] / drawn.total() for n in (1, 2, 3)]
    assert shares == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.04)
    single = Masker(tokenizer, MaskRules(masked_lm_prob=0.01, ngram=1)).mask(text, np.random.default_rng(0))[1]
    assert np.mean([end - begin for begin, end in spans(single)]) < 1.1


def test_max_predictions(corpus: Corpus, tokenizer: AlbertTokenizer) -> None:
    examples = Examples(corpus, tokenizer, mask_rules=MaskRules(max_predictions=2))
    counts = [(examples.example(0, i).labels != IGNORED).sum() for i in range(examples.count(0))]
    assert max(counts) == 2


# ---- seeds and places --------------------------------------------------------------------------------


def same(a: Example, b: Example) -> bool:
    fields = ("input_ids", "token_type_ids", "labels")
    return a.sentence_order_label == b.sentence_order_label and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in fields
    )


def test_an_example_depends_on_its_place_alone(corpus: Corpus, tokenizer: AlbertTokenizer) -> None:
    examples = Examples(corpus, tokenizer, seed=5)
    expected = [examples.example(1, i) for i in range(20)]
    again = Examples(corpus, tokenizer, seed=5)
    again.example(0, 3)
    assert all(same(again.example(1, i), expected[i]) for i in reversed(range(20)))
    other_seed = Examples(corpus, tokenizer, seed=6)
    assert not any(same(other_seed.example(1, i), expected[i]) for i in range(20))


def test_masks_are_dynamic(corpus: Corpus, tokenizer: AlbertTokenizer) -> None:
    examples = Examples(corpus, tokenizer)
    masks: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for epoch in range(10):
        for i in range(examples.count(epoch)):
            example = examples.example(epoch, i)
            places = np.flatnonzero(example.labels != IGNORED)
            masks.setdefault(tuple(unmasked(example).tolist()), set()).add(tuple(places.tolist()))
    assert max(map(len, masks.values())) > 2, "the same text with other masks"


def test_batches_go_on_from_any_place(corpus: Corpus, tokenizer: AlbertTokenizer) -> None:
    examples = Examples(corpus, tokenizer)
    stream = list(islice(examples.batches(16), 40))
    assert stream[-1][0] >= 1, "over the end of an epoch"
    epoch, index, _ = stream[17]
    resumed = islice(Examples(corpus, tokenizer).batches(16, epoch=epoch, index=index), 10)
    for (*place, batch), (*expected_place, expected) in zip(resumed, stream[18:28], strict=True):
        assert place == expected_place
        assert all(map(same, batch, expected))


def test_collate(corpus: Corpus, tokenizer: AlbertTokenizer) -> None:
    examples = [Examples(corpus, tokenizer, segment_rules=SegmentRules(40)).example(0, i) for i in range(6)]
    batch = collate(examples)
    width = max(len(example.input_ids) for example in examples)
    assert {name: array.shape for name, array in batch.items()} == {
        "input_ids": (6, width),
        "token_type_ids": (6, width),
        "labels": (6, width),
        "attention_mask": (6, width),
        "sentence_order_label": (6,),
    }
    for row, example in enumerate(examples):
        size = len(example.input_ids)
        assert batch["attention_mask"][row].sum() == size
        np.testing.assert_array_equal(batch["input_ids"][row, :size], example.input_ids)
        assert (batch["labels"][row, size:] == IGNORED).all()


def test_bad_rules(corpus: Corpus, tokenizer: AlbertTokenizer) -> None:
    for rules, message in (
        (lambda: SegmentRules(4), "max_seq_length: got 4, expected at least 5"),
        (lambda: SegmentRules(short_seq_prob=2), "short_seq_prob: got 2"),
        (lambda: MaskRules(0), "masked_lm_prob: got 0"),
        (lambda: MaskRules(ngram=0), "ngram: got 0"),
        (lambda: MaskRules(max_predictions=0), "max_predictions: got 0"),
        (lambda: MaskRules(replace_prob=0.9, random_prob=0.2), "replace_prob, random_prob: got 0.9 and 0.2"),
        (lambda: Examples(corpus, tokenizer).example(0, 10**6), "index: got 1000000"),
        (lambda: next(Examples(corpus, tokenizer).batches(0)), "batch_size: got 0"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            rules()
    alone = Corpus.from_documents([["One sentence."]], tokenizer)
    with pytest.raises(InvalidInputError, match="corpus: got no pair of segments"):
        Examples(alone, tokenizer).count(0)
