"""Span question answering: SQuAD 1.1 and 2.0, with a linear head or ALBERT's beam head."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from albert_fast.errors import InvalidInputError
from albert_fast.finetuning.examples import QuestionExample
from albert_fast.finetuning.readers import read_squad
from albert_fast.finetuning.squad_metrics import squad_1, squad_2
from albert_fast.finetuning.task import Feature, FinetuningTask, Report, Row, TaskRules
from albert_fast.model import Model
from albert_fast.nn import AlbertForBeamQuestionAnswering, AlbertForQuestionAnswering, AlbertPreTrainedModel
from albert_fast.pipelines import Pipeline
from albert_fast.pipelines.beam import BeamHead
from albert_fast.pipelines.heads import Head
from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.tokenizer.assembly import SPECIALS_PAIR

Array = npt.NDArray[Any]
Candidate = tuple[float, int, int]
"""Score, first and last token."""
_log = logging.getLogger("albert_fast")
_CHUNK = 64
"""Questions whose windows are made, and run, together."""


@dataclass(frozen=True, eq=False)
class Window:
    """[CLS] question [SEP] a part of a context [SEP]."""

    row: Row
    example: int
    spans: Array  # [S, 2], characters of the context
    in_context: Array  # [S], bool

    @property
    def allowed(self) -> Array:
        """[S], where an answer may begin and end: in the context, or at [CLS], which is that there is none."""
        allowed = self.in_context.copy()
        allowed[0] = True
        return allowed

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """First and last token of characters ``start`` to ``end``, None if not all of them are in the window."""
        places = np.flatnonzero(self.in_context)
        if not len(places) or self.spans[places[0], 0] > start or self.spans[places[-1], 1] < end:
            return None
        first = places[np.searchsorted(self.spans[places, 1], start, side="right")]
        last = places[np.searchsorted(self.spans[places, 0], end, side="left") - 1]
        return int(first), int(last)


@dataclass(frozen=True)
class Opinion:
    """What a model says of a window: its likeliest answers, and how likely none is (``null``, on the same scale for
    all windows of a question)."""

    candidates: list[Candidate]
    null: float


class SquadTask(FinetuningTask[QuestionExample]):
    """The span of a context that answers a question. Figures: those of the official script of the data's version.

    Answers are searched as google-research/bert's ``run_squad.py`` does: of the ``n_best`` starts and ends of each
    window, none before another that sees more of its surroundings, the pair with the highest sum of logits.
    """

    model_class: ClassVar[type[AlbertPreTrainedModel]] = AlbertForQuestionAnswering
    settings: ClassVar[Mapping[str, Any]] = {"span_loss_excludes_padding": True}
    best_by = "f1"

    def __init__(self, tokenizer: AlbertTokenizer, rules: TaskRules, label_names: Sequence[str] | None = None) -> None:
        """Raises ``InvalidInputError`` for a ``doc_stride`` that leaves nothing new to a window behind the longest
        question."""
        super().__init__(tokenizer, rules, label_names)
        room = rules.max_length - rules.max_question_length - SPECIALS_PAIR
        if rules.doc_stride >= room:
            raise InvalidInputError(
                f"doc_stride: got {rules.doc_stride}, expected less than {room}, what max_length ({rules.max_length})"
                f" leaves beside max_question_length ({rules.max_question_length}) and {SPECIALS_PAIR} special tokens"
            )

    def read(self, path: Any) -> list[QuestionExample]:
        """See ``read_squad``."""
        return read_squad(path)

    def labels(self, examples: Sequence[QuestionExample]) -> None:
        """It has none."""

    def features(self, examples: Sequence[QuestionExample], label2id: Mapping[str, int]) -> list[Feature]:
        """Every window of every context; where an answer is not in it, both its ends are at [CLS]. Questions whose
        first answer is not where it is said to be are left out, with a warning, as google-research/bert does."""
        examples = _with_right_answers(examples)
        features = []
        for window in self.windows(examples):
            answers = examples[window.example].answers
            found = None
            if answers:
                text, start = answers[0]
                found = window.tokens_of(start, start + len(text))
            first, last = found or (0, 0)
            labels = {"start_positions": first, "end_positions": last, **self._more_labels(window, found is None)}
            features.append(Feature((window.row,), labels))
        return features

    def measure(self, model: Model, examples: Sequence[QuestionExample]) -> Report:
        """Predictions are the official files: ``[{id: the best answer}, {id: odds of no answer}]``; no answer is where
        the odds are above a threshold, which the official script takes as ``--na-prob-thresh``."""
        ids = [example.id for example in examples]
        if len(set(ids)) != len(ids):
            raise InvalidInputError("id: got one for two questions, expected one for each")
        pipe, opinion = Pipeline(model), self.reader(model)
        best: dict[str, str] = {}
        odds: dict[str, float] = {}
        for begin in range(0, len(examples), _CHUNK):
            chunk = examples[begin : begin + _CHUNK]
            windows = list(self.windows(chunk))
            states = pipe.hidden_states([window.row for window in windows])
            grouped: dict[int, list[tuple[Window, Opinion]]] = defaultdict(list)
            for window, hidden in zip(windows, states, strict=True):
                grouped[window.example].append((window, opinion(window, hidden)))
            for i, group in grouped.items():
                example = chunk[i]
                best[example.id], odds[example.id] = self._answer(example.context, group)
        has_impossible = any(not example.answers for example in examples)
        if not has_impossible:
            return Report({**squad_1(examples, best), "total": len(examples)}, [best, odds])
        threshold = self.rules.null_threshold
        return Report(squad_2(examples, best, odds, threshold), [best, odds])

    def windows(self, examples: Sequence[QuestionExample]) -> Iterator[Window]:
        """The windows of all contexts, in order."""
        rules = self.rules
        for begin in range(0, len(examples), _CHUNK):
            chunk = examples[begin : begin + _CHUNK]
            encoded = self.tokenizer(
                [self._shortened(example.question) for example in chunk],
                [example.context for example in chunk],
                truncation="only_second",
                max_length=rules.max_length,
                stride=rules.doc_stride,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
            )
            for i, sample in enumerate(encoded["overflow_to_sample_mapping"]):
                yield Window(
                    (encoded["input_ids"][i], encoded["token_type_ids"][i]),
                    begin + int(sample),
                    np.array(encoded["offset_mapping"][i]),
                    np.array([of == 1 for of in encoded.sequence_ids(i)]),
                )

    def reader(self, model: Model) -> Callable[[Window, Array], Opinion]:
        """From a window and its hidden states [S, H] to an opinion."""
        head = Head.of(model, "qa_outputs", "squad")

        def opinion(window: Window, hidden: Array) -> Opinion:
            starts, ends = head(hidden).T
            places = np.flatnonzero(window.in_context)
            best = [places[np.argsort(-of[places], kind="stable")[: self.rules.n_best]] for of in (starts, ends)]
            candidates = [(float(starts[i] + ends[j]), int(i), int(j)) for i in best[0] for j in best[1]]
            return Opinion(candidates, float(starts[0] + ends[0]))

        return opinion

    def _answer(self, context: str, group: Sequence[tuple[Window, Opinion]]) -> tuple[str, float]:
        """The best answer that is not empty, and the odds of none: how much better that would be."""
        widest = _widest([window for window, _ in group])
        found: list[tuple[float, str]] = []
        for number, (window, opinion) in enumerate(group):
            for score, first, last in opinion.candidates:
                start, end = int(window.spans[first, 0]), int(window.spans[last, 1])
                fits = first <= last < first + self.rules.max_answer_length
                if fits and widest[int(window.spans[first, 0])] == number and start < end:
                    found.append((score, context[start:end]))
        score, text = max(found, key=lambda pair: pair[0], default=(float("-inf"), ""))
        return text, self._odds(min(opinion.null for _, opinion in group), score)

    def _odds(self, null: float, score: float) -> float:
        return null - score if np.isfinite(score) else float("inf")

    def _more_labels(self, window: Window, is_impossible: bool) -> dict[str, int | list[int]]:
        return {}

    def _shortened(self, question: str) -> str:
        text = question.lstrip()
        spans = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        most = self.rules.max_question_length
        return text if len(spans) <= most else text[: spans[most - 1][1]]


class BeamSquadTask(SquadTask):
    """With the head that google-research/albert has for SQuAD 2.0: ends depend on starts, and a class of its own says
    whether there is an answer; its logit is the odds of none."""

    model_class = AlbertForBeamQuestionAnswering
    settings: ClassVar[Mapping[str, Any]] = {}

    def reader(self, model: Model) -> Callable[[Window, Array], Opinion]:
        """See ``SquadTask``."""
        head = BeamHead.of(model, "squad-beam")

        def opinion(window: Window, hidden: Array) -> Opinion:
            beam = head(hidden, window.allowed)
            candidates = [
                (float(beam.start_log_probs[i] + beam.end_log_probs[i, j]), int(start), int(beam.end_index[i, j]))
                for i, start in enumerate(beam.start_index)
                for j in range(beam.end_index.shape[1])
            ]
            inside = [c for c in candidates if window.in_context[c[1]] and window.in_context[c[2]]]
            return Opinion(inside, float(beam.cls_logit))

        return opinion

    def _odds(self, null: float, score: float) -> float:
        return null

    def _more_labels(self, window: Window, is_impossible: bool) -> dict[str, int | list[int]]:
        return {"is_impossible": int(is_impossible), "p_mask": (~window.allowed).astype(int).tolist()}


def _with_right_answers(examples: Sequence[QuestionExample]) -> list[QuestionExample]:
    kept: list[QuestionExample] = []
    wrong: list[QuestionExample] = []
    for example in examples:
        text, start = example.answers[0] if example.answers else ("", 0)
        found = example.context[max(start, 0) : max(start, 0) + len(text)]
        right = not example.answers or (text != "" and start >= 0 and found.split() == text.split())
        (kept if right else wrong).append(example)
    if wrong:
        ids = ", ".join(repr(example.id) for example in wrong[:8])
        more = f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        _log.warning("%d questions are left out, their answers are not at answer_start: %s%s", len(wrong), ids, more)
    if not kept and wrong:
        raise InvalidInputError(
            f"question {wrong[0].id!r}: got an answer that is not at its answer_start, as in all others"
        )
    return kept


def _widest(windows: Sequence[Window]) -> dict[int, int]:
    """For the first character of each token: the window that sees most on the poorer side; of equals the first."""
    best: dict[int, tuple[float, int]] = {}
    for number, window in enumerate(windows):
        places = np.flatnonzero(window.in_context)
        for i, place in enumerate(places):
            score = min(i, len(places) - 1 - i) + 0.01 * len(places)
            start = int(window.spans[place, 0])
            if start not in best or score > best[start][0]:
                best[start] = (score, number)
    return {start: number for start, (_, number) in best.items()}
