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
def load_cuda_backend(path: str) -> None: ...
def cuda_backend_path() -> str: ...

class ModelConfig:
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
        has_embedding_mapping: bool = True,
    ) -> None: ...

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
    plain_dtype: str
    host_dtype: str
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
    def unsupported_on(self, device: str) -> str: ...

class WeightBuffer:
    layout: WeightLayout
    nbytes: int
    ops: str
    device: str
    def __init__(self, layout: WeightLayout, isa: str | None = None, device: str = "cpu") -> None: ...
    def write(self, name: str, first_row: int, rows: Floats) -> None: ...
    def read(self, name: str) -> Floats: ...
    def finish(self) -> None: ...
    def missing(self) -> list[str]: ...

class EncoderState:
    depths: list[int]
    cu_seqlens: list[int]
    def advance(self, num_threads: int | None = None) -> bool: ...
    def hidden_states(self, *, out: Any = None, num_threads: int | None = None) -> Any: ...
    def pooler(self, *, out: Any = None, num_threads: int | None = None) -> Any: ...
    def mlm_logits(self, rows: Ints, *, out: Any = None, num_threads: int | None = None) -> Any: ...
    def sop_logits(self, *, out: Any = None, num_threads: int | None = None) -> Any: ...

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
        out: Any = None,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> Any: ...
    def start(
        self,
        tokens: Ints,
        cu_seqlens: Ints,
        positions: Ints | None = None,
        token_types: Ints | None = None,
        *,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> EncoderState: ...
    def join(self, states: Sequence[EncoderState]) -> EncoderState: ...

class DeviceArray:
    """A C-contiguous array in CUDA memory, uninitialised when new; has DLPack."""

    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    device: str
    data_ptr: int
    def __init__(self, shape: Sequence[int], dtype: str = "float32") -> None: ...
    @staticmethod
    def from_numpy(array: Floats, dtype: str = "float32", *, stream: int = 0) -> DeviceArray: ...
    def numpy(self) -> Floats: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __dlpack__(
        self, *, stream: int | None = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any: ...

class PackedWeight:
    def __init__(self, ops: Ops, weight: Floats) -> None: ...
    def unpack(self, ops: Ops) -> Floats: ...

class Ops:
    """On the CPU arrays are NumPy's; on CUDA they have DLPack. Integers are NumPy's int32."""

    name: str
    dtype: str
    weight_dtype: str
    sum_dtype: str
    def __init__(self, isa: str = "", dtype: str = "float32", device: str = "cpu") -> None: ...
    def describe_linear(self, num_tokens: int, rows: int, cols: int) -> str: ...
    def linear(
        self,
        x: Any,
        weight: Any,
        bias: Any = None,
        activation: str = "none",
        residual: Any = None,
        *,
        out: Any,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def layer_norm(
        self,
        x: Any,
        gamma: Any,
        beta: Any,
        eps: float,
        *,
        out: Any,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def attention(
        self,
        qkv: Any,
        cu_seqlens: Ints,
        num_heads: int,
        *,
        out: Any,
        lse: Any = None,
        dropout: tuple[float, int, int] | None = None,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def embed(
        self,
        tokens: Ints,
        positions: Ints,
        token_types: Ints,
        word: Any,
        position: Any,
        token_type: Any,
        gamma: Any,
        beta: Any,
        eps: float,
        *,
        out: Any,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def gather(self, x: Any, rows: Ints, *, out: Any, num_threads: int | None = None, stream: int = 0) -> None: ...
    def pool(
        self, x: Any, cu_seqlens: Ints, pooling: str, *, out: Any, num_threads: int | None = None, stream: int = 0
    ) -> None: ...
    def l2_normalize(self, x: Any, *, num_threads: int | None = None, stream: int = 0) -> None: ...
    def activate(
        self,
        x: Any,
        activation: str,
        *,
        out: Any,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def activate_grad(
        self,
        x: Any,
        dy: Any,
        activation: str,
        *,
        dx: Any,
        y: Any = None,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def linear_input_grad(
        self,
        dy: Any,
        weight: Any,
        residual: Any = None,
        *,
        dx: Any,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def linear_weight_grad(
        self,
        dy: Any,
        x: Any,
        *,
        dweight: Any,
        dbias: Any = None,
        accumulate: bool = False,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def layer_norm_grad(
        self,
        x: Any,
        gamma: Any,
        eps: float,
        dy: Any,
        *,
        dx: Any,
        dgamma: Any,
        dbeta: Any,
        accumulate: bool = False,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def attention_grad(
        self,
        qkv: Any,
        cu_seqlens: Ints,
        num_heads: int,
        out: Any,
        lse: Any,
        dout: Any,
        *,
        dqkv: Any,
        dropout: tuple[float, int, int] | None = None,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def embed_grad(
        self,
        tokens: Ints,
        positions: Ints,
        token_types: Ints,
        word: Any,
        position: Any,
        token_type: Any,
        gamma: Any,
        eps: float,
        dy: Any,
        *,
        dsum: Any,
        dgamma: Any,
        dbeta: Any,
        accumulate: bool = False,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def scatter_add(
        self,
        x: Any,
        order: Ints,
        starts: Ints,
        targets: Ints,
        *,
        out: Any,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def apply_dropout(
        self,
        x: Any,
        dropout: tuple[float, int, int] | None,
        residual: Any = None,
        *,
        out: Any,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def cross_entropy(
        self,
        logits: Any,
        labels: Ints,
        *,
        scale: float,
        losses: Any,
        dlogits: Any,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...

class EncoderTraining:
    gradient_offsets: list[int]
    gradient_size: int
    gradient_dtype: str
    def __init__(
        self,
        *,
        hidden_size: int,
        intermediate_size: int,
        num_attention_heads: int,
        activation: str,
        layer_norm_eps: float,
        hidden_dropout: float,
        attention_dropout: float,
        layers: Sequence[int],
        keep_every: int,
        dtype: str = "float32",
        device: str = "cpu",
        isa: str = "",
    ) -> None: ...
    def saved_size(self, num_tokens: int) -> int: ...
    def chunk_layer_bytes(self, num_tokens: int) -> int: ...
    def step_bytes(self, cu_seqlens: Ints, chunk: int, *, num_threads: int | None = None, stream: int = 0) -> int: ...
    def forward(
        self,
        x: Any,
        cu_seqlens: Ints,
        parameters: Sequence[Any],
        *,
        out: Any,
        saved: Any,
        seed: int = 0,
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
    def backward(
        self,
        dy: Any,
        cu_seqlens: Ints,
        parameters: Sequence[Any],
        saved: Any,
        *,
        seed: int = 0,
        chunk: int = 1,
        products: Sequence[str] | None = None,
        dx: Any,
        gradients: Sequence[Any],
        num_threads: int | None = None,
        stream: int = 0,
    ) -> None: ...
