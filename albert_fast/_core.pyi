"""The C++ extension, as Python sees it. Arrays are C-contiguous; `dtype` means the weight buffer's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[Any]

def available_isas() -> list[str]: ...
def default_isa() -> str: ...
def default_num_threads() -> int: ...
def cuda_unavailable_reason() -> str: ...

class ModelConfig:
    hidden_size: int
    num_hidden_layers: int
    def __init__(
        self,
        *,
        vocab_size: int,
        embedding_size: int,
        hidden_size: int,
        num_hidden_layers: int,
        num_hidden_groups: int,
        inner_group_num: int,
        num_attention_heads: int,
        intermediate_size: int,
        max_position_embeddings: int,
        type_vocab_size: int,
        hidden_act: str,
        layer_norm_eps: float,
    ) -> None: ...
    def group_of(self, depth: int) -> int: ...

class WeightSlot:
    name: str
    rows: int
    cols: int
    form: str
    offset: int
    nbytes: int

class WeightTensor:
    name: str
    shape: tuple[int, ...]
    slot: int
    first_row: int

class WeightLayout:
    slots: list[WeightSlot]
    tensors: list[WeightTensor]
    nbytes: int
    dtype: str
    def __init__(
        self,
        config: ModelConfig,
        *,
        pooler: bool,
        mlm_head: bool,
        sop_head: bool,
        form: str = "packed",
        dtype: str = "float32",
    ) -> None: ...

class WeightBuffer:
    layout: WeightLayout
    nbytes: int
    ops: str
    def __init__(self, layout: WeightLayout, isa: str | None = None) -> None: ...
    def write(self, name: str, first_row: int, rows: Floats) -> None: ...
    def read(self, name: str) -> Floats: ...
    def missing(self) -> list[str]: ...

class EncoderState:
    depths: list[int]
    cu_seqlens: list[int]
    def advance(self, num_threads: int | None = None) -> bool: ...
    def hidden_states(self) -> Floats: ...
    @staticmethod
    def join(states: Sequence[EncoderState]) -> EncoderState: ...

class Encoder:
    def __init__(self, weights: WeightBuffer) -> None: ...
    def encode(
        self,
        tokens: Ints,
        cu_seqlens: Ints,
        positions: Ints | None = None,
        token_types: Ints | None = None,
        *,
        pooling: str | None = None,
        normalize: bool = False,
        num_threads: int | None = None,
    ) -> Floats: ...
    def hidden_states(
        self,
        tokens: Ints,
        cu_seqlens: Ints,
        positions: Ints | None = None,
        token_types: Ints | None = None,
        *,
        num_threads: int | None = None,
    ) -> list[Floats]: ...
    def start(
        self,
        tokens: Ints,
        cu_seqlens: Ints,
        positions: Ints | None = None,
        token_types: Ints | None = None,
        *,
        num_threads: int | None = None,
    ) -> EncoderState: ...
    def pooler(self, x: Floats, num_threads: int | None = None) -> Floats: ...
    def mlm_logits(self, x: Floats, num_threads: int | None = None) -> Floats: ...
    def sop_logits(self, x: Floats, num_threads: int | None = None) -> Floats: ...

class PackedWeight:
    def __init__(self, ops: Ops, weight: Floats) -> None: ...
    def unpack(self, ops: Ops) -> Floats: ...

class Ops:
    name: str
    def __init__(self, isa: str = "", dtype: str = "float32") -> None: ...
    def linear(
        self,
        x: Floats,
        weight: Floats | PackedWeight,
        bias: Floats | None = None,
        activation: str = "none",
        residual: Floats | None = None,
        *,
        out: Floats,
        num_threads: int | None = None,
    ) -> None: ...
    def layer_norm(
        self,
        x: Floats,
        gamma: Floats,
        beta: Floats,
        eps: float,
        *,
        out: Floats,
        num_threads: int | None = None,
    ) -> None: ...
    def attention(
        self, qkv: Floats, cu_seqlens: Ints, num_heads: int, *, out: Floats, num_threads: int | None = None
    ) -> None: ...
    def embed(
        self,
        tokens: Ints,
        positions: Ints,
        token_types: Ints,
        word: Floats,
        position: Floats,
        token_type: Floats,
        gamma: Floats,
        beta: Floats,
        eps: float,
        *,
        out: Floats,
        num_threads: int | None = None,
    ) -> None: ...
    def pool(
        self, x: Floats, cu_seqlens: Ints, pooling: str, *, out: Floats, num_threads: int | None = None
    ) -> None: ...
    def l2_normalize(self, x: Floats, *, num_threads: int | None = None) -> None: ...
