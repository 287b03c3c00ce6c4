"""Tasks from end to end, with the names, arguments and results of transformers' pipelines."""

from __future__ import annotations

import os
from typing import Any, Final

from albert_fast.arguments import without_unasked
from albert_fast.encoding import DEFAULT_MODEL, resolve_model
from albert_fast.errors import InvalidInputError
from albert_fast.model import Model
from albert_fast.pipelines.base import Pipeline
from albert_fast.pipelines.classification import (
    MultipleChoicePipeline,
    SentenceOrderPipeline,
    TextClassificationPipeline,
    ZeroShotClassificationPipeline,
)
from albert_fast.pipelines.feature_extraction import FeatureExtractionPipeline
from albert_fast.pipelines.fill_mask import FillMaskPipeline
from albert_fast.pipelines.question_answering import QuestionAnsweringPipeline
from albert_fast.pipelines.reranking import rerank
from albert_fast.pipelines.token_classification import TokenClassificationPipeline

__all__ = [
    "TASKS",
    "FeatureExtractionPipeline",
    "FillMaskPipeline",
    "MultipleChoicePipeline",
    "Pipeline",
    "QuestionAnsweringPipeline",
    "SentenceOrderPipeline",
    "TextClassificationPipeline",
    "TokenClassificationPipeline",
    "ZeroShotClassificationPipeline",
    "pipeline",
    "rerank",
]

_CLASSES: Final[tuple[type[Pipeline], ...]] = (
    FillMaskPipeline,
    FeatureExtractionPipeline,
    TextClassificationPipeline,
    ZeroShotClassificationPipeline,
    TokenClassificationPipeline,
    QuestionAnsweringPipeline,
    MultipleChoicePipeline,
    SentenceOrderPipeline,
)
TASKS: Final = {kind.task: kind for kind in _CLASSES}
# Options of transformers' `pipeline` that are nothing to us, as long as they ask for nothing.
_UNASKED: Final = ("config", "feature_extractor", "processor", "token", "trust_remote_code", "model_kwargs")
_ALIASES: Final = {"sentiment-analysis": "text-classification", "ner": "token-classification"}


def pipeline(
    task: str,
    model: str | os.PathLike[str] | Model | Any = DEFAULT_MODEL,
    *,
    tokenizer: Any = None,
    device: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    framework: str | None = None,
    revision: str | None = None,
    **options: Any,
) -> Pipeline:
    """Make a pipeline.

    Args:
        task: one of ``TASKS``; ``"sentiment-analysis"`` and ``"ner"`` are other names of two of them.
        model: as ``load`` takes it, or a loaded model. It must have been fine-tuned for the task, but for
            ``"fill-mask"``, ``"sentence-order"`` and ``"feature-extraction"``, which pretraining serves.
        tokenizer: used instead of the model's: an ``AlbertTokenizer``, a name or a folder, or one of transformers.
        device, dtype, revision: as ``load`` takes them; ``torch_dtype`` is another name of ``dtype``.
        framework: ``"pt"`` or ``"tf"``, as in transformers; results are the same.
        options: ``batch_tokens`` (tokens that are computed together, 4,096), ``batch_size`` (texts that are, at most),
            ``num_threads``, and what the task's calls take, as defaults for them all. Results depend on none of these
            three, nor on transformers' ``padding`` and ``num_workers``; its other options may be None, False or empty.

    Returns:
        A ``Pipeline``: call it with a text, a list of them or an iterator.

    Raises:
        InvalidInputError: an unknown task or option, or a model that lacks what the task needs;
            and what ``load`` raises.
        CheckpointError, ConfigError: the task's own layer or labels are missing or do not fit.
    """
    name = _ALIASES.get(task, task)
    if name not in TASKS:
        raise InvalidInputError(f"task: got {task!r}, expected one of {', '.join([*TASKS, *_ALIASES])}")
    if framework not in (None, "pt", "tf"):
        raise InvalidInputError(f"framework: got {framework!r}, expected 'pt' or 'tf'")
    if revision is not None and not isinstance(model, (str, os.PathLike)):
        raise InvalidInputError(
            f"revision: got {revision!r} for a model that is loaded, expected it where it was loaded"
        )
    if None not in (dtype, torch_dtype) and dtype != torch_dtype:
        raise InvalidInputError(f"torch_dtype: got {torch_dtype!r} with dtype={dtype!r}, expected one of them")
    options = {k: v for k, v in without_unasked(options, _UNASKED).items() if k != "use_fast"}
    loaded = resolve_model(model, device, torch_dtype if dtype is None else dtype, revision)
    return TASKS[name](loaded, tokenizer=tokenizer, **options)
