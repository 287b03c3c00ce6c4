"""Other runtimes with the weights of one transformers model: what ``bench model --against`` measures beside ours.

Each peer is built here, from the same torch module, with as many threads as we use:

    transformers       the module itself
    onnxruntime        exported by torch.onnx, every optimisation of graphs on
    openvino           converted from torch, float32 asked for, hint LATENCY
    torch-int8         torch.ao.quantization.quantize_dynamic of every Linear
    onnxruntime-int8   the exported graph through onnxruntime's quantize_dynamic, a scale for each column
    openvino-int8      openvino with NNCF's 8-bit weights, a scale for each row
"""

from __future__ import annotations

import copy
import importlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from albert_fast.errors import MissingDependencyError
from bench.machine import find_version

Array = np.ndarray[Any, Any]

_EXAMPLE = (2, 8)  # texts, tokens: neither is 1, which exporters take for a constant
_OPSET = 18
_ANY_SIZE = 1 << 40


class Peer(Protocol):
    """One contestant: padded ids and mask [B, S] int64, torch, to hidden states [B, S, H]."""

    name: str
    exact: bool  # computes in float32 with unquantised weights, so its result can be held to ours

    def __call__(self, ids: Any, mask: Any) -> Any: ...


class TorchPeer:
    """A module with the interface of transformers' ``AlbertModel``."""

    def __init__(self, name: str, module: Any, exact: bool) -> None:
        self.name, self.exact, self._module = name, exact, module

    def __call__(self, ids: Any, mask: Any) -> Any:
        """[B, S, H], a torch tensor."""
        import torch

        with torch.inference_mode():
            return self._module(ids, attention_mask=mask).last_hidden_state


class OnnxPeer:
    """A session of onnxruntime."""

    def __init__(self, name: str, path: Path, threads: int, exact: bool) -> None:
        runtime = _require("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.name, self.exact = name, exact

    def __call__(self, ids: Any, mask: Any) -> Array:
        """[B, S, H], an array."""
        hidden: Array = self._session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})[0]
        return hidden


class OpenvinoPeer:
    """A compiled model of OpenVINO."""

    def __init__(self, name: str, model: Any, threads: int, exact: bool) -> None:
        openvino = _require("openvino")
        self._compiled = openvino.Core().compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it
            },
        )
        self.name, self.exact = name, exact

    def __call__(self, ids: Any, mask: Any) -> Array:
        """[B, S, H], an array."""
        hidden: Array = self._compiled([ids.numpy(), mask.numpy()])[0]
        return hidden


class Workshop:
    """What peers are built from; the exported graph is shared by those that read it."""

    def __init__(self, theirs: Any, threads: int, folder: Path) -> None:
        self.theirs, self.threads, self.folder = theirs, threads, folder

    @cached_property
    def module(self) -> Any:
        """``(ids, mask) -> hidden states``: exporters want tensors in, one tensor out."""
        import torch

        class HiddenStates(torch.nn.Module):
            def __init__(self, model: Any) -> None:
                super().__init__()
                self.model = model

            def forward(self, ids: Any, mask: Any) -> Any:
                return self.model(ids, attention_mask=mask).last_hidden_state

        return HiddenStates(self.theirs).eval()

    @cached_property
    def graph(self) -> Path:
        """The module as ONNX, batch and sequence of any size, every weight in it once."""
        import torch

        _require("onnx")
        optimizer = _require("onnxscript.optimizer")
        axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
        program = torch.onnx.export(
            self.module,
            _example(),
            input_names=["ids", "mask"],
            output_names=["hidden"],
            dynamic_shapes=(axes, axes),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None  # it is when exported to a file
        # The exporter leaves weights transposed by a node, one for all iterations, unless they are small.
        # onnxruntime's quantize_dynamic takes such a product for one without weights and leaves it in float32.
        optimizer.fold_constants(program.model, input_size_limit=_ANY_SIZE, output_size_limit=_ANY_SIZE)
        path = self.folder / "float32.onnx"
        program.save(path, external_data=True)  # a file without holds at most 2 GB
        return path

    @cached_property
    def traced_graph(self) -> Path:
        """The module as ONNX by torch's older exporter, which optimum uses."""
        import torch

        path = self.folder / "traced.onnx"
        torch.onnx.export(
            self.module,
            _example(),
            str(path),
            input_names=["ids", "mask"],
            output_names=["hidden"],
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in ("ids", "mask", "hidden")},
            opset_version=_OPSET,
            dynamo=False,
        )
        return path

    def transformers(self, name: str) -> Peer:
        return TorchPeer(name, self.theirs, exact=True)

    def torch_int8(self, name: str) -> Peer:
        import torch

        quantize: Callable[..., Any] = torch.ao.quantization.quantize_dynamic
        module = quantize(copy.deepcopy(self.theirs), {torch.nn.Linear}, dtype=torch.qint8)
        return TorchPeer(name, module, exact=False)

    def onnxruntime(self, name: str) -> Peer:
        return OnnxPeer(name, self.graph, self.threads, exact=True)

    def onnxruntime_int8(self, name: str) -> Peer:
        quantization = _require("onnxruntime.quantization")
        path = self.folder / "int8.onnx"
        quantization.quantize_dynamic(
            self.graph,
            path,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # 7 bits: without VNNI a sum of two products of 8 saturates, and errors grow tenfold
            use_external_data_format=True,
        )
        return OnnxPeer(name, path, self.threads, exact=False)

    def converted(self) -> Any:
        """The module as a model of OpenVINO, a new one each time: NNCF changes what it is given."""
        openvino = _require("openvino")
        model = openvino.convert_model(self.module, example_input=_example())
        model.reshape({port: openvino.PartialShape([-1, -1]) for port in model.inputs})
        return model

    def openvino(self, name: str) -> Peer:
        return OpenvinoPeer(name, self.converted(), self.threads, exact=True)

    def openvino_int8(self, name: str) -> Peer:
        return OpenvinoPeer(name, _require("nncf").compress_weights(self.converted()), self.threads, exact=False)


_BUILDERS: dict[str, Callable[[Workshop, str], Peer]] = {
    "transformers": Workshop.transformers,
    "onnxruntime": Workshop.onnxruntime,
    "openvino": Workshop.openvino,
    "torch-int8": Workshop.torch_int8,
    "onnxruntime-int8": Workshop.onnxruntime_int8,
    "openvino-int8": Workshop.openvino_int8,
}
NAMES = tuple(_BUILDERS)


def build(names: Iterable[str], theirs: Any, threads: int) -> list[Peer]:
    """Peers with the weights of ``theirs``, which is used as it is by some.

    Raises ``MissingDependencyError`` when the package of one is not installed.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        workshop = Workshop(theirs, threads, Path(folder))
        return [_BUILDERS[name](workshop, name) for name in names]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say about torchvision, about their own future and how one should quantise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def versions() -> str:
    """The runtimes that are installed, and which."""
    names = {package: find_version(package) for package in ("onnxruntime", "openvino", "nncf")}
    return " · ".join(f"{name} {number}" for name, number in names.items())


def _require(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        message = f"bench: a peer needs {package.partition('.')[0]}; `pip install '.[peers]'` brings it"
        raise MissingDependencyError(message) from error


def _example() -> tuple[Any, Any]:
    """Ids and a mask with padding, so that exporters do not find that there is none."""
    import torch

    mask = torch.ones(_EXAMPLE, dtype=torch.int64)
    mask[0, -1] = 0
    return torch.full(_EXAMPLE, 5), mask
