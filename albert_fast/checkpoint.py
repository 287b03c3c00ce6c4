"""From a weight source into a weight buffer: is everything there, and then block by block, never two copies
at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from albert_fast.errors import CheckpointError
from albert_fast.layout import HEAD_PREFIXES, Heads, Shape, expected_shapes
from albert_fast.sources import WeightSource, row_blocks

if TYPE_CHECKING:
    from albert_fast import _core

_MOST_NAMES_SHOWN: Final = 12
_log = logging.getLogger("albert_fast")


def heads(source: WeightSource) -> Heads:
    """Find out which heads a source has, and make sure it holds exactly what its configuration says.

    A head that is there in part, or in another shape, is left out with a warning: features do not depend on it.
    Raises one ``CheckpointError`` that lists every missing tensor of the encoder, every wrong shape, and every
    tensor of its namespace that the configuration has no place for.
    """
    found = Heads.of(source.tensor_names)
    for head, prefix in zip(Heads._fields, HEAD_PREFIXES, strict=True):
        if getattr(found, head) and (problem := _problem_of(source, found, prefix)):
            _log.warning("model %s: its %s is left out: %s", source.name, head.replace("_", " "), problem)
            found = found._replace(**{head: False})
    wanted = expected_shapes(source.config, found)
    unexpected = [n for n in source.tensor_names if n not in wanted and not n.startswith(HEAD_PREFIXES)]
    _require(source, wanted, unexpected)
    return found


def _problem_of(source: WeightSource, found: Heads, prefix: str) -> str:
    """Why a head of the source cannot be run, or nothing."""
    wanted = {n: shape for n, shape in expected_shapes(source.config, found).items() if n.startswith(prefix)}
    return "; ".join(_misfits(source, wanted))


def fill(buffer: _core.WeightBuffer, source: WeightSource, *, progress: Callable[[int], Any] | None = None) -> None:
    """Write every tensor of ``buffer.layout`` from ``source``, a few megabytes of rows at a time.

    ``progress`` is called after each block with the bytes it took up in float32. Raises one
    ``CheckpointError`` that lists all missing and misshapen tensors before anything is written, or one that
    names a tensor with NaN or infinite values.
    """
    wanted = {tensor.name: tuple(tensor.shape) for tensor in buffer.layout.tensors}
    _require(source, wanted, unexpected=[])
    dtype = np.dtype(buffer.layout.host_dtype)
    for name, shape in wanted.items():
        for start, stop in row_blocks(shape):
            rows = source.rows(name, start, stop)
            with np.errstate(over="ignore"):  # becomes infinite, which the buffer refuses by name
                buffer.write(name, start, rows.astype(dtype, copy=False))
            if progress is not None:
                progress(4 * rows.size)
    buffer.finish()


def _require(source: WeightSource, wanted: Mapping[str, Shape], unexpected: list[str]) -> None:
    problems = _misfits(source, wanted)
    if problems and problems[0].startswith("missing") and source.unused_tensors:
        problems.append(f"not ALBERT's: {_shortened(source.unused_tensors)}")
    if unexpected:
        problems.append(f"not in the configuration: {_shortened(unexpected)}")
    if problems:
        raise CheckpointError(f"model {source.name}: its tensors do not fit its configuration. {'; '.join(problems)}")


def _misfits(source: WeightSource, wanted: Mapping[str, Shape]) -> list[str]:
    """What of the wanted tensors is missing, and what has another shape."""
    present = set(source.tensor_names)
    missing = [name for name in wanted if name not in present]
    misshapen = [
        f"{name} is {source.shape(name)}, expected {shape}"
        for name, shape in wanted.items()
        if name in present and source.shape(name) != shape
    ]
    found = (("missing", missing), ("wrong shape", misshapen))
    return [f"{what}: {_shortened(which)}" for what, which in found if which]


def _shortened(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MOST_NAMES_SHOWN])
    rest = len(names) - _MOST_NAMES_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown
