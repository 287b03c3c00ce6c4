"""From a checkpoint to a file that onnx's checker accepts, in its place only once it does."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from albert_fast.errors import InvalidInputError, InvalidTypeError, MissingDependencyError, OutputError
from albert_fast.export.contents import Contents
from albert_fast.export.options import DEFAULT_OPSET, ExportOptions
from albert_fast.model import Model
from albert_fast.sentence.modules import SentenceModules, read_modules
from albert_fast.sources.place import open_place

if TYPE_CHECKING:
    from albert_fast.export.graph import Graph

_log = logging.getLogger("albert_fast")

_IR_VERSIONS: Final = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}
"""By opset, that of the release that brought it: what onnx would write is newer than many a runtime reads."""
_MOST_INLINE: Final = (2 << 30) - (16 << 20)
"""Bytes of weights in the file itself: protobuf ends at 2 GiB, and nodes need some room, too."""
_SMALLEST_EXTERNAL: Final = 1024


def to_onnx(
    model: Any,
    path: str | os.PathLike[str],
    *,
    task: str | None = None,
    pooling: str | None = None,
    normalize: bool = False,
    dtype: str = "float32",
    opset: int = DEFAULT_OPSET,
    external_data: bool | None = None,
) -> Path:
    """Write a model as an ONNX file, each weight once, for any batch and length.

    Inputs are ``input_ids``, ``attention_mask`` and ``token_type_ids``, int64 [B, S] ([B, choices, S] for
    ``"multiple-choice"``). Outputs are float32, under optimum's names:

    - ``last_hidden_state`` [B, S, H], and ``pooler_output`` [B, H] if the checkpoint has a pooler; or with ``pooling``
      ``sentence_embedding`` [B, H];
    - ``logits`` for other tasks; ``start_logits`` and ``end_logits`` [B, S] for ``"question-answering"``.

    Hidden states of padding are zeros, the pooler takes the first token that is not padding, and gives zeros for a row
    that has none. A file of that name is replaced once the new one is whole.

    Args:
        model: as ``load`` takes it, or a loaded model, whose checkpoint is read again.
        path: of the file; weights that do not fit into it lie beside it, in ``path`` + ``".data"``.
        task: one of ``TASKS``, ``"feature-extraction"`` by default. The checkpoint must have the task's own layer.
        pooling: one vector for a text: ``"mean"``, ``"cls"`` or ``"pooler"``, as ``encode`` has them, or ``"auto"``
            for what the model's own ``modules.json`` says (the mean without one).
        normalize: scale that vector to length 1.
        dtype: ``"float32"``; ``"float16"`` for weights and products, all else float32; ``"int8"`` for products of
            integers, for onnxruntime alone (1.22 and later).
        opset: 17 to 23.
        external_data: whether weights lie in a file of their own; by default where protobuf ends, at 2 GiB.

    Returns:
        The path.

    Raises:
        InvalidInputError, InvalidTypeError: an argument cannot be used, or the model lacks what the task needs.
        CheckpointError, ConfigError: tensors or labels are missing, do not fit or are not finite.
        MissingDependencyError: onnx is not installed.
        OutputError: the file cannot be written.
        ModelNotFoundError: the model is not there.
    """
    options = ExportOptions(task or "feature-extraction", pooling, normalize, dtype, opset, external_data)
    target = _target(path)
    require_onnx()
    with Contents.of(model) as contents:
        if contents.source.is_random:
            _log.warning("%s: weights are random, results mean nothing", contents.source.name)
        options = options.resolved(_modules_of(model, contents), contents.source.name)
        proto, nbytes = _model(contents, options)
    _write(proto, target, nbytes > _MOST_INLINE if external_data is None else external_data)
    return target


def require_onnx() -> None:
    """Raises ``MissingDependencyError`` if it is not installed."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("export needs onnx: pip install 'albert_fast[onnx]'") from error


def _target(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidTypeError(f"path: got {type(path).__name__}, expected that of a file")
    target = Path(os.path.expanduser(path))
    if not target.name or target.is_dir():
        raise InvalidInputError(f"path: got {os.fspath(path)!r}, expected that of a file, not of a folder")
    return target


def _modules_of(model: Any, contents: Contents) -> SentenceModules | None:
    """What the model's folder says of sentence embeddings; None for random weights and live models."""
    if isinstance(model, Model):
        place = model.files()
    elif isinstance(model, (str, os.PathLike)) and not contents.source.is_random:
        place = open_place(model, label=f"model {contents.source.name}")
    else:
        place = None
    return None if place is None else read_modules(place)


def _model(contents: Contents, options: ExportOptions) -> tuple[Any, int]:
    """The model as protobuf, and how many bytes its weights are."""
    from onnx import helper

    import albert_fast
    from albert_fast.export.graph import CONTRIB_DOMAIN, Graph, metadata

    graph = Graph(options.opset)
    notes = _fill(graph, contents, options)
    domains = [helper.make_opsetid("", options.opset)]
    if graph.uses_contrib:
        domains.append(helper.make_opsetid(CONTRIB_DOMAIN, 1))
    proto = helper.make_model(
        graph.finish("albert"),
        opset_imports=domains,
        ir_version=_IR_VERSIONS[options.opset],
        producer_name="albert_fast",
        producer_version=albert_fast.__version__,
    )
    known = {
        "model": contents.source.name,
        "albert_fast_version": albert_fast.__version__,
        "task": options.task,
        "dtype": options.dtype,
        "pooling": options.pooling or "none",
        "normalize": str(options.normalize).lower(),
        "max_position_embeddings": str(contents.config.max_position_embeddings),
    }
    metadata(proto, {**known, **notes})
    return proto, graph.nbytes


def _fill(graph: Graph, contents: Contents, options: ExportOptions) -> dict[str, str]:
    """Put the model into the graph; returns what else is to be known of it."""
    from albert_fast.export.encoder import Encoder
    from albert_fast.export.heads import BATCH, CHOICES, LENGTH, Heads
    from albert_fast.export.weights import Weights

    has_choices = options.task == "multiple-choice"
    shape = (BATCH, CHOICES, LENGTH) if has_choices else (BATCH, LENGTH)
    inputs = [graph.input(name, shape) for name in ("input_ids", "attention_mask", "token_type_ids")]
    if has_choices:
        length = graph.op("Shape", inputs[0], at="choices", start=2)
        flat = graph.op("Concat", graph.integers(-1), length, at="choices", axis=0)
        inputs = [graph.op("Reshape", name, flat, at="choices") for name in inputs]
    weights = Weights(graph, contents, options.dtype)
    heads = Heads(graph, weights, contents, Encoder(graph, weights, contents.config, *inputs))
    heads.finish(options)
    return heads.notes


def _write(proto: Any, target: Path, external_data: bool) -> None:
    """Into a folder beside the target, through the checker, then into its place."""
    import onnx

    data = target.name + ".data"
    external: dict[str, Any] = {"save_as_external_data": True, "location": data, "size_threshold": _SMALLEST_EXTERNAL}
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            written = Path(folder) / target.name
            onnx.save_model(proto, written, **(external if external_data else {}))
            onnx.checker.check_model(str(written), full_check=True)
            if external_data:
                os.replace(Path(folder) / data, target.with_name(data))
            os.replace(written, target)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror or error}") from error
