"""A loaded model: one weight buffer, shared by all iterations, calls and threads."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from albert_fast import _core
from albert_fast.arguments import check_integer, check_left_out, check_threads
from albert_fast.batching import RaggedBatch, rows_at
from albert_fast.bundled import bundled_folder
from albert_fast.checkpoint import fill, heads
from albert_fast.config import AlbertConfig
from albert_fast.destination import NumpyDestination, destination_like
from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.layout import Heads, weight_layout
from albert_fast.outputs import AlbertForPreTrainingOutput, AlbertModelOutput
from albert_fast.placement import place_names, resolve_place
from albert_fast.sources import WeightSource, open_source
from albert_fast.sources.place import Place, open_place

if TYPE_CHECKING:
    from albert_fast.tokenizer import AlbertTokenizer

Array = npt.NDArray[Any]

_LAST_STREAM = 2**64 - 1  # a pointer

_logger = logging.getLogger("albert_fast")


def load(
    model: str | os.PathLike[str] | Any = "albert-xxlarge-v2",
    *,
    dtype: Any = "auto",
    device: Any = "auto",
    tokenizer: Any = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    mlm_bias: str = "decoder",
) -> Model:
    """Load a model into one weight buffer.

    Args:
        model: a Hugging Face id (``albert-xxlarge-v2``, any fine-tuned ALBERT), a folder or weights file, a live
            transformers ALBERT, or ``random:NAME`` for random weights in the shape of a published model.
        dtype: of weights and activations. On the CPU ``"float32"``; ``"bfloat16"`` for weights of half the size, which
            are widened exactly and computed with in float32; ``"int16"`` for products of 13-bit integers, faster
            and of the same size, at an error of some 3e-4 a product; ``"int8"``, a quarter of the size and faster
            still, at 1e-2 a product (docs/numbers.md says when not to); or ``"float64"`` for checking (slow,
            portable kernels). On CUDA ``"bfloat16"`` or ``"float16"`` on tensor cores, or ``"float32"`` for checking.
            Sums, LayerNorm and softmax are float32 in all of them. ``"auto"``: float32 on the CPU, bfloat16 on CUDA. A
            ``torch.dtype`` stands for its name.
        device: ``"cpu"``, ``"cuda"`` (torch's current device, or the first), or ``"auto"``: CUDA if it is there and
            its kernels take the model. A ``torch.device`` stands for its name, -1 for the CPU, 0 for the GPU.
        tokenizer: used instead of the one that belongs to the model: an ``AlbertTokenizer``, a name or a folder, or one
            of transformers.
        revision, cache_dir, local_files_only: as in huggingface_hub, for hub ids.
        mlm_bias: of a published MLM head: ``"decoder"``, as transformers 5, ``"predictions"``, or their ``"sum"``.

    Returns:
        A ``Model`` that threads may share.

    Raises:
        ModelNotFoundError, ConfigError, CheckpointError, MissingDependencyError: as ``open_source`` does.
        CheckpointError: tensors are missing, extra, misshapen or not finite (named).
        ConfigError: the kernels of the device do not take the model's widths (CUDA: multiples of 8, heads of 32,
            64 or 128).
        InvalidInputError, DeviceError: an unknown dtype or device, or one that is not there.
    """
    device, dtype = place_names(device, dtype)
    chosen, chosen_dtype = resolve_place(device, dtype)
    if tokenizer is not None:
        from albert_fast.tokenizer import as_tokenizer

        tokenizer = as_tokenizer(tokenizer)
    hub = {"revision": revision, "cache_dir": cache_dir, "local_files_only": local_files_only}
    with open_source(model, **hub, mlm_bias=mlm_bias) as source:  # type: ignore[arg-type]
        if source.is_random:
            _logger.warning("%s: weights are random, results mean nothing", source.name)
        layout = weight_layout(source.config, heads(source), chosen_dtype, chosen)
        if device == "auto" and (reason := layout.unsupported_on(chosen)):
            _logger.warning("%s: runs on the CPU, not on the GPU that is there: %s", source.name, reason)
            chosen, chosen_dtype = resolve_place("cpu", dtype)
            layout = weight_layout(source.config, heads(source), chosen_dtype, chosen)
        weights = _core.WeightBuffer(layout, device=chosen)
        fill(weights, source)
        return Model(model, source, weights, tokenizer, hub, mlm_bias)


class Model:
    """What ``load`` returns. Nothing in it changes after loading, so threads may share it."""

    def __init__(
        self,
        requested: Any,
        source: WeightSource,
        weights: _core.WeightBuffer,
        tokenizer: AlbertTokenizer | None,
        hub: dict[str, Any],
        mlm_bias: str,
    ) -> None:
        self.name: str = source.name
        self.config: AlbertConfig = source.config
        self.is_random: bool = source.is_random
        self.unused_tensors: tuple[str, ...] = source.unused_tensors
        self.weights = weights
        self.encoder = _core.Encoder(weights)
        self.device = weights.device
        self._heads = Heads.of(tensor.name for tensor in weights.layout.tensors)
        self._requested = requested
        self._folder = source.folder
        self._tokenizer = self._given_tokenizer = tokenizer
        self._hub = hub
        self._mlm_bias = mlm_bias

    @property
    def dtype(self) -> str:
        """Of the weights: ``"float32"``, ``"float64"``, ``"bfloat16"``, ``"float16"``, ``"int16"`` or ``"int8"``."""
        return self.weights.layout.dtype

    @property
    def activations_dtype(self) -> str:
        """Of hidden states between ops: ``dtype``, or ``"float32"`` for weights of bfloat16 on the CPU."""
        return self.weights.layout.plain_dtype

    @property
    def features_dtype(self) -> str:
        """Of features and logits, and of all NumPy results: ``"float64"`` for a float64 model, else ``"float32"``."""
        return self.weights.layout.host_dtype

    @property
    def has_pooler(self) -> bool:
        """Whether the checkpoint brought a pooler."""
        return self._heads.pooler

    @property
    def has_mlm_head(self) -> bool:
        """Whether the checkpoint brought the masked-language-model head."""
        return self._heads.mlm_head

    @property
    def has_sop_head(self) -> bool:
        """Whether the checkpoint brought the sentence-order head."""
        return self._heads.sop_head

    @property
    def tokenizer(self) -> AlbertTokenizer:
        """The tokenizer that belongs to the model, loaded when first asked for.

        Raises:
            ModelNotFoundError: there is no vocabulary beside the weights; and what ``from_pretrained`` raises.
        """
        if self._tokenizer is None:
            from albert_fast.tokenizer import AlbertTokenizer
            from albert_fast.tokenizer.given import why_misfit

            self._tokenizer = AlbertTokenizer.from_pretrained(self._tokenizer_place(), **self._hub)
            if not self.is_random and (misfit := why_misfit(self._tokenizer, self.config.vocab_size)):
                _logger.warning("%s: %s", self.name, misfit)
        return self._tokenizer

    def _tokenizer_place(self) -> str | os.PathLike[str]:
        """Where the tokenizer is looked for: the place of the weights, or what a live model says of itself."""
        if isinstance(self._requested, (str, os.PathLike)):
            # A weights file has its vocabulary beside it; everything else is a place the tokenizer knows too.
            return self._folder if self._folder and os.path.isfile(self._requested) else self._requested
        if not (live_name := getattr(self._requested, "name_or_path", None)):
            raise InvalidInputError(
                f"tokenizer: {self.name} does not say where its tokenizer is; pass load(..., tokenizer=...)"
            )
        return str(live_name)

    def files(self) -> Place | None:
        """Where the files of the model lie, None for random weights and for a live model."""
        if self.is_random or not isinstance(self._requested, (str, os.PathLike)):
            return None
        return open_place(self._tokenizer_place(), label=f"model {self.name}", **self._hub)

    @property
    def settings_place(self) -> Any:
        """Where all of its configuration is: a folder with a ``config.json``, a live model's ``config``, or None."""
        return self._folder or getattr(self._requested, "config", None)

    def open_source(self) -> WeightSource:
        """The source the weights were read from, opened again."""
        return open_source(self._requested, **self._hub, mlm_bias=self._mlm_bias)

    def state_dict(self) -> dict[str, Array]:
        """Every tensor in plain form under its checkpoint name, copied out of the weight buffer."""
        return {tensor.name: self.weights.read(tensor.name) for tensor in self.weights.layout.tensors}

    def encode_ragged(
        self,
        tokens: npt.NDArray[np.int32],
        cu_seqlens: npt.NDArray[np.int32],
        *,
        positions: npt.NDArray[np.int32] | None = None,
        token_types: npt.NDArray[np.int32] | None = None,
        pooling: str | None = None,
        normalize: bool = False,
        num_threads: int | None = None,
        out: Any = None,
        stream: int = 0,
    ) -> Any:
        """Features of B sequences laid end to end.

        Args:
            tokens: int32 [T], ids with [CLS] and [SEP].
            cu_seqlens: int32 [B + 1], sequence b is ``tokens[cu_seqlens[b]:cu_seqlens[b + 1]]``.
            positions: int32 [T]; by default each sequence counts from 0.
            token_types: int32 [T]; zeros by default.
            pooling: ``"mean"``, ``"cls"``, ``"pooler"``, or None for every token.
            normalize: scale each row to length 1.
            num_threads: CPUs to use; by default those this process may run on.
            out: float32 memory of the model's device for the result, C-contiguous; on CUDA anything with DLPack, such
                as a torch tensor or a ``cuda.DeviceArray``, which is written without waiting for it.
            stream: on CUDA, the ``cudaStream_t`` to work on, as an integer; the default stream by default.

        Returns:
            [B, H], or [T, H] when ``pooling`` is None, of ``features_dtype``: ``out``, or a new NumPy array. Rows of
            empty sequences are zeros.

        Raises:
            InvalidInputError: wrong dtypes, shapes or entries out of range, named with their index; an ``out`` that is
                not contiguous, or not of the model's device.
            DeviceError: the device failed.
        """
        return self.encoder.encode(
            tokens,
            cu_seqlens,
            positions,
            token_types,
            pooling=pooling,
            normalize=normalize,
            out=out,
            num_threads=check_threads(num_threads),
            stream=check_integer("stream", stream, 0, _LAST_STREAM),
        )

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        *,
        inputs_embeds: None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = False,
        return_dict: bool | None = True,
        num_threads: int | None = None,
    ) -> AlbertModelOutput | tuple[Any, ...]:
        """The encoder, with the arguments and results of transformers' ``AlbertModel``.

        Args:
            input_ids: integers [B, S], NumPy, torch (of any device) or nested lists.
            attention_mask: bool or 0/1 [B, S]; holes are fine.
            token_type_ids, position_ids: integers [B, S].
            inputs_embeds, output_attentions: None and false; ``albert_fast.nn`` has more.
            output_hidden_states: also return the L + 1 hidden states; index 0 is after the E -> H mapping.
            return_dict, num_threads: False for a plain tuple; CPUs to use.

        Returns:
            ``last_hidden_state`` [B, S, H], ``pooler_output`` [B, H] (None without a pooler) and, if asked for,
            ``hidden_states``; torch tensors if ``input_ids`` is one, else NumPy. For tensors on the model's GPU they
            are written there, on torch's current stream and in the model's dtype (the pooler's in float32); all else
            is of ``features_dtype``. Where the mask is 0 rows are zeros (transformers computes something there); the
            pooler takes the first attended token, and gives zeros for a row whose mask is all 0.

        Raises:
            InvalidTypeError, InvalidInputError: naming the argument and what is wrong with it.
        """
        check_left_out(inputs_embeds=inputs_embeds, output_attentions=output_attentions)
        batch = RaggedBatch.from_padded(input_ids, attention_mask, token_type_ids, position_ids, limits=self.config)
        to = destination_like(input_ids, self.device)
        state, hidden = self._run(batch, bool(output_hidden_states), to, num_threads)
        pooled = None
        if self.has_pooler:
            room = to.room(batch.num_sequences, self.config.hidden_size, self.features_dtype)
            pooled = to.finish(state.pooler(out=room, num_threads=num_threads))
        padded = tuple(to.pad(batch, rows) for rows in hidden)
        states = padded if output_hidden_states else None
        output = AlbertModelOutput(last_hidden_state=padded[-1], pooler_output=pooled, hidden_states=states)
        return tuple(output) if return_dict is False else output

    __call__ = forward

    def forward_pretraining(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        *,
        mlm_mask: Any = None,
        inputs_embeds: None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = False,
        return_dict: bool | None = True,
        num_threads: int | None = None,
    ) -> AlbertForPreTrainingOutput | tuple[Any, ...]:
        """Both pretraining heads, with the arguments and results of transformers' ``AlbertForPreTraining``.

        Args:
            mlm_mask: bool [B, S]; logits are computed at these positions only. All positions by default, which for
                30,000 pieces are 120 KB a token.
            input_ids, attention_mask, token_type_ids, position_ids: as in ``forward``.
            inputs_embeds, output_attentions, output_hidden_states, return_dict, num_threads: as in ``forward``.

        Returns:
            ``prediction_logits`` [B, S, V] (zeros where the attention mask is 0), or [selected, V] in row-major order
            of ``mlm_mask``; ``sop_logits`` [B, 2], 0 = in order, 1 = swapped.

        Raises:
            InvalidInputError: the checkpoint lacks one of the heads, or ``mlm_mask`` is not bool [B, S] or selects
                a position that the attention mask leaves out.
        """
        check_left_out(inputs_embeds=inputs_embeds, output_attentions=output_attentions)
        if not (self.has_mlm_head and self.has_sop_head and self.has_pooler):
            raise InvalidInputError(
                f"forward_pretraining: {self.name} lacks the pooler, the MLM head or the SOP head"
                f" (found: pooler {self.has_pooler}, mlm {self.has_mlm_head}, sop {self.has_sop_head})"
            )
        batch = RaggedBatch.from_padded(input_ids, attention_mask, token_type_ids, position_ids, limits=self.config)
        rows = np.arange(batch.num_tokens) if mlm_mask is None else rows_at(batch, mlm_mask)
        to = destination_like(input_ids, self.device)
        state, hidden = self._run(batch, bool(output_hidden_states), to, num_threads)
        logits = state.mlm_logits(
            rows.astype(np.int32),
            out=to.room(len(rows), self.config.vocab_size, self.features_dtype),
            num_threads=num_threads,
        )
        order = state.sop_logits(out=to.room(batch.num_sequences, 2, self.features_dtype), num_threads=num_threads)
        output = AlbertForPreTrainingOutput(
            prediction_logits=to.pad(batch, logits) if mlm_mask is None else to.finish(logits),
            sop_logits=to.finish(order),
            hidden_states=tuple(to.pad(batch, rows) for rows in hidden) if output_hidden_states else None,
        )
        return tuple(output) if return_dict is False else output

    def start(self, batch: RaggedBatch, *, num_threads: int | None = None, stream: int = 0) -> _core.EncoderState:
        """The batch embedded, before its first iteration: for going through the iterations one by one."""
        arrays = (batch.tokens, batch.cu_seqlens, batch.positions, batch.token_types)
        stream = check_integer("stream", stream, 0, _LAST_STREAM)
        return self.encoder.start(*arrays, num_threads=check_threads(num_threads), stream=stream)

    def _run(
        self, batch: RaggedBatch, every: bool, to: NumpyDestination, num_threads: int | None
    ) -> tuple[_core.EncoderState, list[Any]]:
        """The finished batch, and [T, H] after the mapping and each iteration, or only the last."""
        state = self.start(batch, num_threads=num_threads, stream=to.stream)
        hidden = []
        while True:
            if every:
                hidden.append(self._hidden_states(state, batch, to, num_threads))
            if not state.advance(num_threads):
                break
        return state, hidden or [self._hidden_states(state, batch, to, num_threads)]

    def _hidden_states(
        self, state: _core.EncoderState, batch: RaggedBatch, to: NumpyDestination, num_threads: int | None
    ) -> Any:
        room = to.room(batch.num_tokens, self.config.hidden_size, self.activations_dtype)
        return state.hidden_states(out=room, num_threads=num_threads)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds what the model was loaded from, not the weights: another process loads it again."""
        if not isinstance(self._requested, (str, os.PathLike)):
            raise InvalidTypeError(
                f"pickle: got a model made from a {self.name}, expected one that was loaded by name or path; "
                f"save that to a folder and load the folder"
            )
        place: Any = self._requested
        if bundled_folder(place) is None and os.path.exists(os.path.expanduser(place)):
            place = os.path.abspath(os.path.expanduser(place))  # the other process may run elsewhere
        options: dict[str, Any] = {"dtype": self.dtype, "device": self.device, "tokenizer": self._given_tokenizer}
        return partial(load, **options, **self._hub, mlm_bias=self._mlm_bias), (place,)

    def __deepcopy__(self, memo: Any) -> Model:
        return self  # nothing in it changes

    def __copy__(self) -> Model:
        return self

    def __repr__(self) -> str:
        facts = [repr(self.name), self.dtype, self.weights.ops, f"{self.weights.nbytes / 1e6:.0f} MB"]
        return f"Model({', '.join([*facts, *['random weights'] * self.is_random])})"
