"""``verify``: stage by stage and iteration by iteration, how far a loaded model is from float64 arithmetic.

The reference reads its weights from the model's source again, not from the packed buffer, so that a fault in
loading or packing shows as well as one in a kernel. Needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from albert_fast.batching import RaggedBatch
from albert_fast.errors import (
    InvalidInputError,
    InvalidTypeError,
    MissingDependencyError,
    ModelNotFoundError,
    VerificationError,
)
from albert_fast.numbers import ErrorBound, error_bound, rel_l2
from albert_fast.placement import require_place

if TYPE_CHECKING:
    from albert_fast.model import Model

Text = str | tuple[str, str]
Encoded = tuple[list[int], list[int]]
Stages = dict[str, NDArray[Any]]
"""Stage name to one input's result, in the order of computation."""

SENTENCES: Final[tuple[Text, ...]] = (
    "The quick brown fox jumps over the lazy dog.",
    "One layer runs twelve times over the same weights, so an error in it comes back twelve times as well.",
    "In 1969, 600 million people (a fifth of mankind) watched a man on the Moon; light took 1.3 seconds.",
    ("Where did the river go?", "It had gone underground, as rivers in limestone do, three miles upstream."),
    "Yes.",
)
_RANDOM_LENGTHS: Final = (16, 37, 5, 64, 3, 9, 2, 21, 12, 7, 30, 4, 18, 1, 11, 26)
_SEED: Final = 7


@dataclass(frozen=True)
class Stage:
    """One line of a report: a stage of the model and the worst relative L2 error over the inputs."""

    name: str
    bound: ErrorBound


@dataclass(frozen=True)
class VerificationReport:
    """What ``verify`` measured; ``str()`` makes a table of it."""

    model: str
    dtype: str
    inputs: str
    stages: tuple[Stage, ...]

    @property
    def passed(self) -> bool:
        """Whether every stage is within its bound."""
        return all(stage.bound.ok for stage in self.stages)

    def __str__(self) -> str:
        width = max(len(stage.name) for stage in self.stages)
        head = f"{'stage':{width}}  {'ours':>9}  {'PyTorch':>9}  {'ratio':>5}"
        rows = [
            f"{name:{width}}  {bound.ours:9.2e}  {bound.pytorch:9.2e}  {bound.ratio:5.2f}"
            + ("" if bound.ok else "  TOO LARGE")
            for name, bound in ((stage.name, stage.bound) for stage in self.stages)
        ]
        floor, factor = self.stages[0].bound.floor, self.stages[0].bound.factor
        return "\n".join(
            [
                f"{self.model}, {self.dtype}: relative L2 error against float64, the worst of {self.inputs}",
                head,
                *rows,
                f"{'passed' if self.passed else 'FAILED'}: the ratio (PyTorch floored at {floor:.1e}) "
                f"{'is' if self.passed else 'must be'} at most {factor:g} at every stage",
            ]
        )


def verify(
    model: Model | Any,
    texts: Sequence[Text] | None = None,
    *,
    rtol_factor: float = 2.0,
    raise_on_failure: bool = True,
    num_threads: int | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> VerificationReport:
    """Compare a model with float64 arithmetic, beside the error PyTorch makes in the model's own precision.

    ``model`` is what ``load`` returns, or anything it takes, loaded with ``device`` and ``dtype``. ``texts`` are
    strings or pairs; by default five sentences of our own, or random token ids for a model that has no tokenizer
    beside it. A stage passes when our error is at most ``rtol_factor`` times PyTorch's, which is taken to be at
    least one roundoff. PyTorch has no integers like ours: int16 is held to its error in bfloat16, int8 to that
    of a reference whose weights and activations have 8 bits (``reference.Int8Reference``).

    Raises ``VerificationError`` (the report is its ``report``) when a stage fails, unless told not to;
    ``MissingDependencyError`` without torch; ``InvalidInputError`` and ``InvalidTypeError`` for bad
    arguments.
    """
    if isinstance(rtol_factor, bool) or not isinstance(rtol_factor, (int, float)):
        raise InvalidTypeError(f"rtol_factor: got {type(rtol_factor).__name__}, expected a number")
    if not 0 < rtol_factor < np.inf:
        raise InvalidInputError(f"rtol_factor: got {rtol_factor!r}, expected a number above 0")
    loaded = _load(model, device, dtype)
    if loaded.dtype == "float64":
        raise InvalidInputError("model: got dtype float64, which verify measures against; expected float32")
    encoded, described = _inputs(loaded, texts)
    ours = _our_stages(loaded, encoded, num_threads)
    exact = _reference_stages(loaded, encoded, "float64")
    yardstick = "bfloat16" if loaded.dtype == "int16" else loaded.dtype
    pytorch = _reference_stages(loaded, encoded, yardstick)
    stages = tuple(
        Stage(
            name,
            error_bound(_errors(ours, exact, name), _errors(pytorch, exact, name), yardstick, rtol_factor),
        )
        for name in exact[0]
    )
    report = VerificationReport(loaded.name, loaded.dtype, described, stages)
    if raise_on_failure and not report.passed:
        error = VerificationError(str(report))
        error.report = report  # type: ignore[attr-defined]
        raise error
    return report


def _load(model: Model | Any, device: str | None, dtype: str | None) -> Model:
    from albert_fast.model import Model, load

    if not isinstance(model, Model):
        return load(model, device=device, dtype=dtype)
    require_place(model, device, dtype)
    return model


def _inputs(model: Model, texts: Sequence[Text] | None) -> tuple[list[Encoded], str]:
    """Ids and token types of every text, and what to call them in the report."""
    if texts is not None:
        if isinstance(texts, str) or not isinstance(texts, Sequence):
            raise InvalidTypeError(f"texts: got {type(texts).__name__}, expected a list of strings and pairs")
        if not texts:
            raise InvalidInputError("texts: got an empty list, expected at least one text")
        return _encode(model, texts), f"{len(texts)} texts"
    try:
        _ = model.tokenizer
    except (ModelNotFoundError, InvalidInputError):  # nothing beside the weights, or a live model without one
        config = model.config
        generator = np.random.default_rng(_SEED)
        lengths = [min(length, config.max_position_embeddings) for length in _RANDOM_LENGTHS]
        ids = [generator.integers(config.vocab_size, size=length).tolist() for length in lengths]
        types = [generator.integers(config.type_vocab_size, size=length).tolist() for length in lengths]
        return list(zip(ids, types, strict=True)), f"{len(ids)} inputs of random tokens"
    return _encode(model, SENTENCES), f"{len(SENTENCES)} texts"


def _encode(model: Model, texts: Sequence[Text]) -> list[Encoded]:
    longest = model.config.max_position_embeddings
    return list(model.tokenizer.encode_ragged(texts, max_length=longest, truncation=True))


def _our_stages(model: Model, encoded: list[Encoded], num_threads: int | None) -> list[Stages]:
    """One padded batch, cut back into texts."""
    shape = (len(encoded), max(len(ids) for ids, _ in encoded))
    input_ids, mask, token_types = (np.zeros(shape, np.int64) for _ in range(3))
    for row, (ids, types) in enumerate(encoded):
        input_ids[row, : len(ids)], token_types[row, : len(ids)], mask[row, : len(ids)] = ids, types, 1
    batch = RaggedBatch.from_padded(input_ids, mask, token_types, limits=model.config)
    state = model.start(batch, num_threads=num_threads)
    hidden = [state.hidden_states(num_threads=num_threads)]  # [T, H] each
    while state.advance(num_threads):
        hidden.append(state.hidden_states(num_threads=num_threads))
    rows = np.arange(batch.num_tokens, dtype=np.int32)
    logits = state.mlm_logits(rows, num_threads=num_threads) if model.has_mlm_head else None  # [T, V]
    pooled = state.pooler(num_threads=num_threads) if model.has_pooler else None  # [B, H]
    order = state.sop_logits(num_threads=num_threads) if model.has_pooler and model.has_sop_head else None  # [B, 2]
    results = []
    for text, (begin, end) in enumerate(pairwise(batch.cu_seqlens)):
        heads = (
            None if pooled is None else pooled[text : text + 1],
            None if logits is None else logits[begin:end],
            None if order is None else order[text : text + 1],
        )
        results.append(_stages([state[begin:end] for state in hidden], *heads))
    return results


def _reference_stages(model: Model, encoded: list[Encoded], dtype: str) -> list[Stages]:
    """The reference at one precision, a text at a time, with weights read from the source anew."""
    try:
        import torch
    except ImportError as error:
        message = "verify needs torch; `pip install albert_fast[torch]` brings it"
        raise MissingDependencyError(message) from error
    from albert_fast.reference import Int8Reference, Reference

    with model.open_source() as source:
        if dtype == "int8":
            reference: Reference = Int8Reference.from_source(source)
        else:
            reference = Reference.from_source(source, getattr(torch, dtype))
    results = []
    for ids, types in encoded:
        out = reference(torch.tensor([ids]), token_type_ids=torch.tensor([types]))
        mlm = None if out.prediction_logits is None else out.prediction_logits[0]
        heads = (out.pooler_output, mlm, out.sop_logits)
        results.append(
            _stages(
                [state[0].double().numpy() for state in out.hidden_states],
                *(None if head is None else head.double().numpy() for head in heads),
            )
        )
    return results


def _stages(hidden_states: Sequence[Any], pooler: Any | None, mlm_logits: Any | None, sop_logits: Any | None) -> Stages:
    stages = {"embeddings + mapping": hidden_states[0]}
    stages |= {f"iteration {index}": state for index, state in enumerate(hidden_states[1:], 1)}
    heads = {"pooler": pooler, "mlm logits": mlm_logits, "sop logits": sop_logits}
    return stages | {name: values for name, values in heads.items() if values is not None}


def _errors(actual: list[Stages], expected: list[Stages], stage: str) -> list[float]:
    """One error a text, of its rows; or one of all texts for what is one row a text, such as two logits."""
    pairs = [(a[stage], e[stage]) for a, e in zip(actual, expected, strict=True)]
    if all(len(e) == 1 for _, e in pairs):
        pairs = [(np.concatenate([a for a, _ in pairs]), np.concatenate([e for _, e in pairs]))]
    return [rel_l2(a, e) for a, e in pairs]
