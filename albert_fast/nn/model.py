"""The models that need nothing but the engine in their encoder."""

from __future__ import annotations

import inspect
from typing import Any

import transformers
from torch import nn

from albert_fast.errors import InvalidTypeError
from albert_fast.nn import modules, versions
from albert_fast.nn.adoption import OURS, adopt
from albert_fast.nn.loading import resolved
from albert_fast.training import EncoderSpec, TrainingPolicy


class AlbertPreTrainedModel(transformers.AlbertPreTrainedModel):
    """Base of all models: transformers', with the engine in its modules and a policy for training.

    A class of your own makes its parts, ``self.albert = AlbertModel(config)`` among them, and calls ``post_init()``.
    """

    supports_gradient_checkpointing = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        theirs = getattr(transformers, cls.__name__, None)
        if cls.__module__.startswith(__package__) and theirs is not None:
            OURS[theirs] = cls

    def post_init(self) -> None:
        """The end of every constructor."""
        adopt(self)  # first, as an old configuration's gradient_checkpointing looks for modules that know it
        super().post_init()

    def init_weights(self) -> None:
        """How constructors ended before there was ``post_init``: the same."""
        if hasattr(self, "all_tied_weights_keys") or not versions.RECORDS_BY_HOOKS:
            super().init_weights()
        else:  # since 5 a model without post_init cannot be loaded or saved
            self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *model_args: Any, **kwargs: Any) -> Any:
        """As transformers has it. Also takes what ``albert_fast.load`` does beside a hub id and a folder: a bundled
        model's name, ``random:NAME``, a file of weights with ``config.json`` beside it, or a live model."""
        name, options, label = resolved(pretrained_model_name_or_path, kwargs)
        found = super().from_pretrained(name, *model_args, **options)
        model = found[0] if isinstance(found, tuple) else found
        if name is None:
            model.config.name_or_path = model.name_or_path = str(label)
        adopt(model)  # packs: the loader has exchanged the parameters
        return found

    def _gives_dict(self, return_dict: bool | None) -> bool:
        """Whether a call with this argument gives an output by name, not a tuple."""
        return bool(getattr(self.config, "return_dict", True) if return_dict is None else return_dict)

    @property
    def training_policy(self) -> TrainingPolicy:
        """What is kept for the backward pass: time against memory. Assign another one to change it, or its ``keep``."""
        return encoder_of(self).policy

    @training_policy.setter
    def training_policy(self, policy: TrainingPolicy | str | int) -> None:
        if isinstance(policy, (str, int)):
            policy = TrainingPolicy(policy)  # type: ignore[arg-type]  # it checks itself
        if not isinstance(policy, TrainingPolicy):
            raise InvalidTypeError(f"training_policy: got {type(policy).__name__}, expected a TrainingPolicy")
        encoder_of(self).policy = policy


def argument_names(model: type[nn.Module]) -> tuple[str, ...]:
    """Of a model's ``forward``, in their order, which differs between versions of transformers."""
    parameters = inspect.signature(model.forward).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self")


def encoder_of(model: nn.Module) -> modules.AlbertTransformer:
    """The encoder of a model of ours, also of one inside an adapter's wrapper."""
    found = next((module for module in model.modules() if isinstance(module, modules.AlbertTransformer)), None)
    if found is None:
        raise InvalidTypeError(f"model: got {type(model).__name__}, expected a model of albert_fast.nn")
    return found


def why_not(model: nn.Module) -> str | None:
    """Why the engine would not run a model's encoder or embeddings as they are now; None if it would.

    Raises ``InvalidTypeError`` for anything without an encoder of ours in it.
    """
    encoder = encoder_of(model)
    plan = encoder._plan(encoder.training)
    found = [] if isinstance(plan, EncoderSpec) else [plan]
    found += [part._complaint() for part in model.modules() if isinstance(part, modules.AlbertEmbeddings)]
    return next((complaint for complaint in found if complaint is not None), None)


class AlbertModel(AlbertPreTrainedModel, transformers.AlbertModel):
    """The encoder with its embeddings and, unless ``add_pooling_layer`` is false, the pooler. Rows of hidden states are
    zeros where the mask is 0; transformers computes something there."""


class AlbertForSequenceClassification(AlbertPreTrainedModel, transformers.AlbertForSequenceClassification):
    """A linear layer on the pooler: classification or regression of a text or a pair of texts."""


class AlbertForTokenClassification(AlbertPreTrainedModel, transformers.AlbertForTokenClassification):
    """A linear layer on every token."""


class AlbertForMultipleChoice(AlbertPreTrainedModel, transformers.AlbertForMultipleChoice):
    """A linear layer on the pooler of every choice."""
