"""A graph under construction: nodes that name their results, and constants that are stored once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper

CONTRIB_DOMAIN = "com.microsoft"
"""onnxruntime's own operators."""

Shape = Sequence[int | str]


class Graph:
    """Nodes in order, each named after the place it has in the model, and the constants they read."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._names: dict[str, int] = {}
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[ValueInfoProto] = []

    @property
    def uses_contrib(self) -> bool:
        """Whether a node is onnxruntime's own."""
        return any(node.domain == CONTRIB_DOMAIN for node in self.nodes)

    @property
    def nbytes(self) -> int:
        """Of all constants."""
        return sum(len(tensor.raw_data) for tensor in self._constants.values())

    def input(self, name: str, shape: Shape) -> str:
        """An input of int64."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, list(shape)))
        return name

    def output(self, name: str, value: str, shape: Shape) -> None:
        """An output of float32, under a name that users know."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"output/{name}"))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def has(self, name: str) -> bool:
        """Whether there is a constant of that name."""
        return name in self._constants

    def constant(self, name: str, values: npt.NDArray[Any]) -> str:
        """A constant under a name of its own; a name that is known already is not stored again."""
        if name not in self._constants:
            values = np.ascontiguousarray(values).reshape(np.shape(values))  # the former makes [] a [1]
            kind = helper.np_dtype_to_tensor_dtype(values.dtype)
            self._constants[name] = helper.make_tensor(name, kind, values.shape, values.tobytes(), raw=True)
        return name

    def integers(self, *values: int) -> str:
        """The constant [values] of int64: shapes, axes, splits."""
        return self.constant(f"integers/{'_'.join(map(str, values))}", np.array(values, np.int64))

    def scalar(self, value: float, dtype: Any = np.float32) -> str:
        """A constant without axes."""
        kind = np.dtype(dtype)
        return self.constant(f"{kind.name}/{value!r}", np.array(value, kind))

    def op(self, kind: str, *inputs: str, at: str, domain: str = "", **attributes: Any) -> str:
        """A node with one result, whose name is made of the place ``at`` and returned."""
        return self.ops(kind, *inputs, at=at, count=1, domain=domain, **attributes)[0]

    def ops(self, kind: str, *inputs: str, at: str, count: int, domain: str = "", **attributes: Any) -> tuple[str, ...]:
        """A node with ``count`` results."""
        number = self._names[at] = self._names.get(at, -1) + 1
        name = f"{at}/{kind}" if not number else f"{at}/{kind}_{number}"
        results = (name,) if count == 1 else tuple(f"{name}:{i}" for i in range(count))
        self.nodes.append(helper.make_node(kind, inputs, results, name=name, domain=domain, **attributes))
        return results

    def cast(self, value: str, to: int, at: str) -> str:
        """The value as another type of ``TensorProto``."""
        return self.op("Cast", value, at=at, to=to)

    def finish(self, name: str) -> GraphProto:
        """The graph as protobuf."""
        return helper.make_graph(self.nodes, name, self.inputs, self.outputs, list(self._constants.values()))


def metadata(model: Any, entries: Mapping[str, str]) -> None:
    """Write key and value pairs that onnxruntime gives back as ``get_modelmeta().custom_metadata_map``."""
    helper.set_model_props(model, dict(entries))
