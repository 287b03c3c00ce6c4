"""What comes after the last iteration: pooling, and the layers of tasks, with optimum's names of outputs.

Hidden states of padding are zeros here, as in the whole package, and layers of tasks are applied to them as to any
other: a logit of padding is what the layer gives for zeros.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from onnx import TensorProto

from albert_fast.export.contents import Contents
from albert_fast.export.encoder import Encoder
from albert_fast.export.graph import Graph
from albert_fast.export.options import ExportOptions
from albert_fast.export.weights import Weights

BATCH, LENGTH, CHOICES = "batch_size", "sequence_length", "num_choices"
"""Names of sizes that are open."""
_SHORTEST: Final = 1e-12
"""Rows are divided by no less, as in ``encode``: zeros stay zeros."""


class Heads:
    """Outputs of a graph, on the hidden states of its encoder."""

    def __init__(self, graph: Graph, weights: Weights, contents: Contents, encoder: Encoder) -> None:
        self.graph, self.weights, self.contents, self.encoder = graph, weights, contents, encoder
        self.config = contents.config
        self.notes: dict[str, str] = {}
        rows = encoder.hidden_states()
        shape = graph.op("Concat", encoder.shape, graph.integers(self.config.hidden_size), at="output", axis=0)
        padded = graph.op("Reshape", rows, shape, at="output")
        keep = graph.op("Unsqueeze", encoder.is_token, graph.integers(-1), at="output")
        self.hidden = graph.op("Where", keep, padded, graph.scalar(0.0), at="output")  # [B, S, H]

    def finish(self, options: ExportOptions) -> None:
        """The outputs of the task."""
        by_task: dict[str, Callable[[], None]] = {
            "fill-mask": self.fill_mask,
            "token-classification": self.token_classification,
            "question-answering": self.question_answering,
        }
        if options.task == "feature-extraction":
            self.features(options.pooling, normalize=options.normalize)
        elif options.task in by_task:
            by_task[options.task]()
        else:
            self.sequence_logits(options.task)

    def features(self, pooling: str | None, *, normalize: bool) -> None:
        """``sentence_embedding``; without pooling ``last_hidden_state``, and ``pooler_output`` if there is a pooler."""
        hidden = self.config.hidden_size
        if pooling is None:
            self.graph.output("last_hidden_state", self.hidden, (BATCH, LENGTH, hidden))
            if self.contents.heads.pooler:
                self.graph.output("pooler_output", self.pooler(), (BATCH, hidden))
            return
        if pooling == "pooler":
            self.contents.require("pooler", "pooling 'pooler'")
        rows = {"mean": self.mean, "cls": self.first, "pooler": self.pooler}[pooling]()
        self.graph.output("sentence_embedding", self.normalized(rows) if normalize else rows, (BATCH, hidden))

    def fill_mask(self) -> None:
        """``logits`` [B, S, V]."""
        graph, place = self.graph, "predictions"
        self.contents.require("mlm_head", "fill-mask")
        inner = self.weights.wide(self.weights.layer(self._rows(), "predictions.dense", place), place)
        inner = self.encoder.layer_norm(self.encoder.activation(inner, place), "predictions.LayerNorm", place)
        logits = self.weights.wide(self.weights.decoder(inner, f"{place}/decoder"), f"{place}/decoder")
        graph.output("logits", self._padded(logits, self.config.vocab_size), (BATCH, LENGTH, self.config.vocab_size))

    def token_classification(self) -> None:
        """``logits`` [B, S, labels]."""
        weight, bias = self.contents.head("token-classification")
        self._name_labels(len(bias))
        logits = self._padded(self.weights.head(self._rows(), weight, bias, "classifier"), len(bias))
        self.graph.output("logits", logits, (BATCH, LENGTH, len(bias)))

    def question_answering(self) -> None:
        """``start_logits`` and ``end_logits``, both [B, S]."""
        graph = self.graph
        weight, bias = self.contents.head("question-answering")
        logits = self.weights.head(self._rows(), weight, bias, "qa_outputs")  # [T, 2]
        parts = graph.ops("Split", logits, graph.integers(1, 1), at="qa_outputs", count=2, axis=1)
        for name, part in zip(("start_logits", "end_logits"), parts, strict=True):
            graph.output(name, graph.op("Reshape", part, self.encoder.shape, at=name), (BATCH, LENGTH))

    def sequence_logits(self, task: str) -> None:
        """``logits`` of a layer on the pooler's output: [B, labels], or [B, choices]."""
        self.contents.require("pooler", task)
        weight, bias = self.contents.head(task)
        logits = self.weights.head(self.pooler(), weight, bias, "classifier")
        if task == "multiple-choice":
            shape = self.graph.op("Shape", "input_ids", at="classifier", end=2)
            self.graph.output("logits", self.graph.op("Reshape", logits, shape, at="classifier"), (BATCH, CHOICES))
            return
        if task == "text-classification":
            self._name_labels(len(bias))
        self.graph.output("logits", logits, (BATCH, len(bias)))

    def pooler(self) -> str:
        """tanh(W x[first token]): [B, H], zeros for a row without a token."""
        dense = self.weights.wide(self.weights.layer(self.first(), "albert.pooler", "pooler"), "pooler")
        some = self.graph.op("Greater", self._counts("pooler"), self.graph.scalar(0.0), at="pooler")
        return self.graph.op(
            "Where", some, self.graph.op("Tanh", dense, at="pooler"), self.graph.scalar(0.0), at="pooler"
        )

    def first(self) -> str:
        """The first token that is not padding: [B, H]."""
        order = self.graph.cast(
            self.encoder.is_token, TensorProto.INT32, "first"
        )  # of the largest, ArgMax is the first
        index = self.graph.op("ArgMax", order, at="first", axis=1, keepdims=1)  # [B, 1]
        return self.graph.op("GatherND", self.hidden, index, at="first", batch_dims=1)

    def mean(self) -> str:
        """Over the tokens of each row: [B, H]."""
        graph = self.graph
        sums = graph.op("ReduceSum", self.hidden, graph.integers(1), at="mean", keepdims=0)
        counts = graph.op("Max", self._counts("mean"), graph.scalar(1.0), at="mean")
        return graph.op("Div", sums, counts, at="mean")

    def normalized(self, rows: str) -> str:
        """Each row scaled to length 1."""
        graph = self.graph
        squares = graph.op("ReduceSum", graph.op("Mul", rows, rows, at="normalize"), graph.integers(-1), at="normalize")
        length = graph.op("Max", graph.op("Sqrt", squares, at="normalize"), graph.scalar(_SHORTEST), at="normalize")
        return graph.op("Div", rows, length, at="normalize")

    def _counts(self, at: str) -> str:
        """Tokens of each row, [B, 1]."""
        ones = self.graph.cast(self.encoder.is_token, TensorProto.FLOAT, at)
        return self.graph.op("ReduceSum", ones, self.graph.integers(1), at=at)

    def _rows(self) -> str:
        """The hidden states as [T, H]."""
        return self.graph.op("Reshape", self.hidden, self.graph.integers(-1, self.config.hidden_size), at="rows")

    def _padded(self, rows: str, width: int) -> str:
        """[T, N] as [B, S, N]."""
        shape = self.graph.op("Concat", self.encoder.shape, self.graph.integers(width), at="logits", axis=0)
        return self.graph.op("Reshape", rows, shape, at="logits")

    def _name_labels(self, count: int) -> None:
        self.notes["id2label"] = json.dumps(self.contents.labels(count), ensure_ascii=False)
