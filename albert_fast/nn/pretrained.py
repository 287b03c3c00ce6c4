"""What every model class can do: start from a checkpoint, be saved as one, and answer what scripts ask of a model."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import torch
from torch import Tensor, nn

from albert_fast.errors import CheckpointError, InvalidInputError, InvalidTypeError, OutputError
from albert_fast.nn.config import AlbertConfig, as_dtype
from albert_fast.nn.layers import AlbertMLMHead, AlbertTransformer
from albert_fast.nn.outputs import AlbertModelOutput, ModelOutput
from albert_fast.nn.reading import copy_into, name_in, open_described, stored_dtype
from albert_fast.sources import WeightSource
from albert_fast.training import TrainingPolicy

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger(__name__)

_HUB_OPTIONS: Final = ("revision", "cache_dir", "local_files_only")
_WITHOUT_MEANING: Final = frozenset(
    {"attn_implementation", "force_download", "low_cpu_mem_usage", "resume_download", "trust_remote_code"}
    | {"use_cache", "use_safetensors", "weights_only"}
)
"""Options of transformers that say how to load, and change nothing about what is loaded."""
_CANNOT_HONOUR: Final = ("device_map", "quantization_config", "state_dict", "subfolder", "token", "variant")
_INITIALISES: Final = ContextVar("_INITIALISES", default=True)
"""Whether a new model gets random values; one that is about to be read into does not."""
_WEIGHTS, _OLD_WEIGHTS = "model.safetensors", "pytorch_model.bin"


class AlbertPreTrainedModel(nn.Module):
    """Base of all models. A class of its own parts has them beside ``albert``, the encoder with its embeddings."""

    config_class: ClassVar[type[AlbertConfig]] = AlbertConfig
    base_model_prefix: ClassVar[str] = "albert"

    config: AlbertConfig

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = AlbertConfig.of(config)

    @classmethod
    def from_config(cls, config: Any, *, dtype: Any = None, **options: Any) -> Self:
        """A model with new random weights."""
        with _default_dtype(as_dtype(dtype)):
            return cls(config, **options)

    _from_config = from_config

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any,
        *,
        config: Any = None,
        dtype: Any = "auto",
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        **options: Any,
    ) -> Any:
        """A model in evaluation mode, with the weights of a checkpoint.

        Args:
            pretrained_model_name_or_path: a hub id, a folder, a ``.safetensors`` or ``.bin`` file, ``random:NAME``, or
                a live model of ours or of transformers.
            config: instead of the one that comes with the weights.
            dtype: of the parameters; ``"auto"`` is that of the configuration, else what is stored (float32 for files
                of half precision whose configuration does not say).
            ignore_mismatched_sizes: give parameters whose shape differs new values, instead of an error.
            output_loading_info: return ``(model, info)`` with transformers' keys.
            options: attributes of the configuration to change (``num_labels=3``, ``id2label={...}``), ``revision``,
                ``cache_dir``, ``local_files_only``, and arguments of the class.

        Heads that the checkpoint lacks get new random values, and a warning names them. Raises ``CheckpointError`` for
        one that lacks a part of the encoder, and what ``albert_fast.load`` raises.
        """
        hub = {key: options.pop(key) for key in _HUB_OPTIONS if key in options}
        dtype = options.pop("torch_dtype", dtype)
        _refuse_unsupported(options)
        with open_described(pretrained_model_name_or_path, **hub) as (source, values):
            if config is None:
                changes = {key: options.pop(key) for key in list(options) if _is_attribute(key, values)}
                config = AlbertConfig.from_dict(values, **changes)
                config.name_or_path = source.name
            chosen = as_dtype(dtype) or (AlbertConfig.of(config).dtype or stored_dtype(source) if dtype else None)
            model = cls._without_values(config, chosen, options)
            info = model._read(source, ignore_mismatched_sizes)
        model.eval()
        return (model, info) if output_loading_info else model

    @classmethod
    def _without_values(cls, config: Any, dtype: torch.dtype | None, options: dict[str, Any]) -> Self:
        token = _INITIALISES.set(False)
        try:
            with _default_dtype(dtype):
                return cls(config, **options)
        finally:
            _INITIALISES.reset(token)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        is_main_process: bool = True,
        state_dict: dict[str, Tensor] | None = None,
        safe_serialization: bool = True,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
    ) -> None:
        """Write ``config.json`` and ``model.safetensors``, which transformers and ``albert_fast.load`` read.

        Tied tensors are stored once. ``safe_serialization=False`` writes ``pytorch_model.bin`` instead. The weights
        are always one file, whatever ``max_shard_size`` says: the largest ALBERT has 0.9 GB. Nothing is written where
        ``is_main_process`` is false.
        """
        if push_to_hub:
            raise InvalidInputError("push_to_hub: got True, expected False; huggingface_hub uploads folders")
        if not is_main_process:
            return
        folder = Path(save_directory)
        self.config.dtype = self.dtype
        self.config.architectures = [type(self).__name__]
        self.config.save_pretrained(folder)
        state = self.state_dict() if state_dict is None else state_dict
        kept = {name: tensor.contiguous() for name, tensor in state.items() if name not in self._tied_names()}
        new, old = (_WEIGHTS, _OLD_WEIGHTS) if safe_serialization else (_OLD_WEIGHTS, _WEIGHTS)
        partial = folder / f"{new}.partial"
        try:
            if safe_serialization:
                from safetensors.torch import save_file

                save_file(kept, partial, metadata={"format": "pt"})
            else:
                torch.save(kept, partial)
            partial.replace(folder / new)  # in one step: a copy that was there stays whole until then
            (folder / old).unlink(missing_ok=True)  # readers would prefer it, or find two models
        except OSError as error:
            raise OutputError(f"save_directory: cannot write in {folder} ({error.strerror or error})") from error

    @property
    def base_model(self) -> nn.Module:
        """The encoder with its embeddings: ``albert``, or the model itself."""
        return cast(nn.Module, getattr(self, self.base_model_prefix, self))

    @property
    def training_policy(self) -> TrainingPolicy:
        """What is kept for the backward pass: time against memory. Assign another one to change it, or its ``keep``."""
        return self._encoder().policy

    @training_policy.setter
    def training_policy(self, policy: TrainingPolicy | str | int) -> None:
        if isinstance(policy, (str, int)):
            policy = TrainingPolicy(policy)  # type: ignore[arg-type]  # it checks itself
        if not isinstance(policy, TrainingPolicy):
            raise InvalidTypeError(f"training_policy: got {type(policy).__name__}, expected a TrainingPolicy")
        self._encoder().policy = policy

    @property
    def name_or_path(self) -> str:
        """Where the model came from."""
        return self.config.name_or_path

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Of the parameters."""
        return next(self.parameters()).device

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers there are to learn; tied ones count once."""
        skipped = {id(m.weight) for m in self.modules() if isinstance(m, nn.Embedding) and exclude_embeddings}
        counted = (p for p in self.parameters() if id(p) not in skipped and (p.requires_grad or not only_trainable))
        return sum(parameter.numel() for parameter in counted)

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        return cast(nn.Embedding, self.base_model.get_submodule("embeddings.word_embeddings"))

    def get_output_embeddings(self) -> nn.Linear | None:
        """The decoder of the masked-language-model head, if there is one."""
        head = self._mlm_head()
        return None if head is None else head.decoder

    def tie_weights(self) -> None:
        """Make the decoder's parameters those of the word embeddings again."""
        if (head := self._mlm_head()) is not None:
            head.tie(self.get_input_embeddings())

    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> nn.Embedding:
        """Drop the last rows of the word embeddings, or add random ones. Make the optimizer after this."""
        words = self.get_input_embeddings()
        if new_num_tokens is None or new_num_tokens == words.num_embeddings:
            return words
        rows = torch.empty_like(words.weight.detach()[:1]).repeat(new_num_tokens, 1)
        nn.init.normal_(rows, std=self.config.initializer_range)
        kept = min(new_num_tokens, words.num_embeddings)
        rows[:kept] = words.weight.detach()[:kept]
        words.weight = nn.Parameter(rows, requires_grad=words.weight.requires_grad)
        words.num_embeddings = self.config.vocab_size = new_num_tokens
        if (head := self._mlm_head()) is not None:
            bias = head.bias.new_zeros(new_num_tokens)
            bias[:kept] = head.bias.detach()[:kept]
            head.bias = nn.Parameter(bias, requires_grad=head.bias.requires_grad)
        self.tie_weights()
        return words

    def init_weights(self) -> None:
        """New random values for every parameter."""
        self._initialise({name for name, _ in self.named_parameters()})

    def _finish(self) -> None:
        """The end of every constructor: random values for the parts of this class; ``albert`` has made its own."""
        if _INITIALISES.get():
            self._initialise({name for name, _ in self.named_parameters() if not name.startswith("albert.")})

    def _encode(
        self, inputs: tuple[Tensor | None, ...], attentions: bool | None, hidden_states: bool | None
    ) -> AlbertModelOutput:
        """The output of ``albert`` for its five inputs."""
        output = self.base_model(
            *inputs, output_attentions=attentions, output_hidden_states=hidden_states, return_dict=True
        )
        return cast(AlbertModelOutput, output)

    def _output(self, output: ModelOutput, return_dict: bool | None) -> Any:
        """The output, or its plain tuple."""
        wanted = self.config.return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()

    def _encoder(self) -> AlbertTransformer:
        return cast(AlbertTransformer, self.base_model.get_submodule("encoder"))

    def _mlm_head(self) -> AlbertMLMHead | None:
        return cast("AlbertMLMHead | None", getattr(self, "predictions", None))

    def _tied_names(self) -> tuple[str, ...]:
        return () if self._mlm_head() is None else ("predictions.decoder.weight", "predictions.decoder.bias")

    @torch.no_grad()
    def _initialise(self, names: set[str]) -> None:
        """Weights are normal, biases 0; LayerNorms change nothing; the embedding of padding is 0."""
        norms = {id(p) for m in self.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
        for name, parameter in self.named_parameters():
            if name not in names:
                continue
            if id(parameter) in norms:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(0.0, self.config.initializer_range)
        words = self.get_input_embeddings()
        if words.padding_idx is not None and any(name.endswith("word_embeddings.weight") for name in names):
            words.weight[words.padding_idx] = 0

    def _read(self, source: WeightSource, ignore_mismatched: bool) -> dict[str, Any]:
        """Copy what a source has, and initialise heads that it lacks; returns what transformers calls loading info."""
        places = {name: (parameter, name_in(source, name)) for name, parameter in self.named_parameters()}
        missing = [name for name, (_, stored) in places.items() if stored is None]
        mismatched = [
            (name, source.shape(stored), tuple(parameter.shape))
            for name, (parameter, stored) in places.items()
            if stored is not None and source.shape(stored) != tuple(parameter.shape)
        ]
        needed = [name for name in missing if name.removeprefix("albert.").startswith(("embeddings.", "encoder."))]
        if needed:
            raise CheckpointError(f"model {source.name}: lacks {', '.join(needed)}")
        if mismatched and not ignore_mismatched:
            listed = ", ".join(f"{name} is {list(stored)}, expected {list(ours)}" for name, stored, ours in mismatched)
            raise CheckpointError(f"model {source.name}: {listed}; ignore_mismatched_sizes=True gives them new values")
        new = [*missing, *(name for name, _, _ in mismatched)]
        self._initialise(set(new))
        for name, (parameter, stored) in places.items():
            if stored is not None and name not in new:
                copy_into(parameter, source, stored)
        if new:
            _log.warning(
                "%s: newly initialised, for model %s has none that fit: %s. Train it before you use it.",
                type(self).__name__,
                source.name,
                ", ".join(new),
            )
        used = {stored for _, stored in places.values()}
        unexpected = [name for name in (*source.tensor_names, *source.unused_tensors) if name not in used]
        return {
            "missing_keys": missing,
            "unexpected_keys": unexpected,
            "mismatched_keys": mismatched,
            "error_msgs": [],
        }


def _is_attribute(name: str, values: dict[str, Any]) -> bool:
    """Whether an option is meant for the configuration: an attribute of its class, or of the file it came from."""
    return name in values or name in AlbertConfig.__annotations__ or name == "num_labels"


def _refuse_unsupported(options: dict[str, Any]) -> None:
    for name in _WITHOUT_MEANING & set(options):
        del options[name]
    for name in _CANNOT_HONOUR:
        if options.pop(name, None) not in (None, False):
            raise InvalidInputError(f"{name}: not supported by albert_fast.nn, expected it to be left out")


@contextmanager
def _default_dtype(dtype: torch.dtype | None) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype or before)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
