"""Training: the encoder, the embeddings and the masked-LM loss as functions that torch can differentiate.

``albert_fast.nn`` has models built of them; here they are alone, for models of one's own.
"""

from albert_fast.training.embeddings import embed
from albert_fast.training.encoder import AlbertEncoderFunction, run_encoder
from albert_fast.training.loss import masked_lm_loss
from albert_fast.training.spec import LAYER_PARAMETERS, EncoderSpec, TrainingPolicy

__all__ = [
    "LAYER_PARAMETERS",
    "AlbertEncoderFunction",
    "EncoderSpec",
    "TrainingPolicy",
    "embed",
    "masked_lm_loss",
    "run_encoder",
]
