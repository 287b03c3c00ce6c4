"""transformers' ALBERT classes for training, on albert_fast's kernels; torch is all they need.

    from albert_fast.nn import AlbertForSequenceClassification  # instead of: from transformers import ...

Names, arguments, outputs, losses, parameters and files are transformers'; docs/training.md lists the differences.
"""

from albert_fast.nn.beam import AlbertForBeamQuestionAnswering
from albert_fast.nn.config import AlbertConfig
from albert_fast.nn.model import AlbertModel
from albert_fast.nn.pretrained import AlbertPreTrainedModel
from albert_fast.nn.pretraining import AlbertForMaskedLM, AlbertForPreTraining
from albert_fast.nn.tasks import (
    AlbertForMultipleChoice,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
)

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
]
