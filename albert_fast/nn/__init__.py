"""transformers' ALBERT classes on albert_fast's kernels.

    from albert_fast.nn import AlbertForSequenceClassification  # instead of: from transformers import ...

Each is a subclass of transformers' class of that name, whose encoder, embeddings and masked-LM loss our engine computes
where nothing intercepts them; docs/training.md says what does.
"""

from albert_fast.errors import MissingDependencyError

try:
    import torch as _torch  # noqa: F401
    from transformers.models.albert import AlbertConfig
except ImportError as error:
    raise MissingDependencyError(
        "albert_fast.nn needs torch and transformers: pip install 'albert_fast[nn]'"
    ) from error

from albert_fast.nn.beam import AlbertForBeamQuestionAnswering
from albert_fast.nn.model import (
    AlbertForMultipleChoice,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertModel,
    AlbertPreTrainedModel,
    why_not,
)
from albert_fast.nn.pretraining import AlbertForMaskedLM, AlbertForPreTraining
from albert_fast.nn.spans import AlbertForQuestionAnswering
from albert_fast.tokenizer import AlbertTokenizer

AlbertTokenizerFast = AlbertTokenizer
"""Scripts import a model and its tokenizer at once, by either name."""

__all__ = [
    "AlbertConfig",
    "AlbertForBeamQuestionAnswering",
    "AlbertForMaskedLM",
    "AlbertForMultipleChoice",
    "AlbertForPreTraining",
    "AlbertForQuestionAnswering",
    "AlbertForSequenceClassification",
    "AlbertForTokenClassification",
    "AlbertModel",
    "AlbertPreTrainedModel",
    "AlbertTokenizer",
    "AlbertTokenizerFast",
    "why_not",
]
