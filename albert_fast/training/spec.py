"""What an encoder computes, and what it keeps for its way back."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Final, Literal

from albert_fast.config import ACTIVATIONS
from albert_fast.errors import InvalidInputError

LAYER_PARAMETERS: Final = tuple(
    f"{module}.{kind}"
    for module in (
        "attention.query",
        "attention.key",
        "attention.value",
        "attention.dense",
        "attention.LayerNorm",
        "ffn",
        "ffn_output",
        "full_layer_layer_norm",
    )
    for kind in ("weight", "bias")
)
"""The names of one layer's 16 tensors in a state dict, below ``albert_layers.N.``; the order in which
``run_encoder`` takes them."""


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder but for its parameters, from whose shapes its widths are read.

    ``layers`` has for each layer, in the order in which they run, the index of its set of parameters: ``(0,) * 12``
    for a published ALBERT. The dropouts are probabilities, 0 outside training: of the attention's output before the
    residual is added, and of softmax. Raises ``InvalidInputError`` naming a field that cannot be used.
    """

    num_attention_heads: int
    layers: tuple[int, ...]
    hidden_act: str
    layer_norm_eps: float
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    json: str = field(init=False, repr=False, compare=False)
    """All of it as one string, which is what a torch operator takes."""
    has_dropout: bool = field(init=False, repr=False, compare=False)
    """Whether a call draws random numbers. A field, like the other: a compiler reads those of a constant."""

    def __post_init__(self) -> None:
        if self.hidden_act not in ACTIVATIONS:
            raise InvalidInputError(f"hidden_act: got {self.hidden_act!r}, expected one of {', '.join(ACTIVATIONS)}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: got {getattr(self, name)!r}, expected at least 0 and below 1")

        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        object.__setattr__(self, "json", json.dumps(fields))
        object.__setattr__(self, "has_dropout", self.hidden_dropout_prob > 0 or self.attention_probs_dropout_prob > 0)

    @classmethod
    def from_json(cls, text: str) -> EncoderSpec:
        """The way back."""
        fields = json.loads(text)
        return cls(**{**fields, "layers": tuple(fields["layers"])})


@dataclass(frozen=True)
class TrainingPolicy:
    """Memory for speed.

    ``keep``: the activations that wait for the backward pass: ``"all"``, the input of each layer (``"inputs"``; the
    rest is computed again, two ninths more work), or of every k-th layer (k, an integer). ``"auto"`` is, at each call,
    the fastest of ``"all"`` and ``"inputs"`` that stays within ``memory_bytes``.

    ``defer_bytes``: memory in which operands of weight gradients are collected, so that the gradient of several layers
    that share a weight is one product, written once; 0 forms it layer by layer.

    ``memory_bytes``: with ``"auto"``, and only then, what a step may take beyond parameters and gradients: the
    activations that wait, the operands that are collected, the workspace of a layer. ``InvalidInputError`` at the call
    if that is too little for the batch.
    """

    keep: Literal["all", "inputs", "auto"] | int = "inputs"
    defer_bytes: int = 256 << 20
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        is_count = isinstance(self.keep, int) and not isinstance(self.keep, bool) and self.keep >= 1
        if self.keep not in ("all", "inputs", "auto") and not is_count:
            raise InvalidInputError(
                f"keep: got {self.keep!r}, expected 'all', 'inputs', 'auto' or an integer, at least 1"
            )
        if self.defer_bytes < 0:
            raise InvalidInputError(f"defer_bytes: got {self.defer_bytes!r}, expected at least 0")
        if (self.keep == "auto") != (self.memory_bytes is not None):
            raise InvalidInputError(
                f"memory_bytes: got {self.memory_bytes!r} with keep={self.keep!r}, expected bytes with keep='auto' and"
                " None otherwise"
            )

    @property
    def keep_every(self) -> int:
        """As the engine counts: the input of every so manieth layer, 0 for everything. Not of ``"auto"``."""
        if self.keep == "auto":
            raise InvalidInputError(
                "policy: got keep='auto', which is decided batch by batch, expected 'all', 'inputs' or an integer:"
                " torch.compile fixes what is kept before it has seen a batch"
            )
        if self.keep == "all":
            return 0
        return 1 if self.keep == "inputs" else int(self.keep)
