"""What ``albert-fast info`` prints: a model's shape and size, the build, the machine."""

from __future__ import annotations

import math
import platform

from .. import __version__, _core, cuda
from ..checkpoint import heads
from ..layout import weight_layout
from ..sources import open_source


def model_lines(name: str, revision: str | None = None) -> list[str]:
    """Describe the model ``name``, then the build and machine; reads its header but none of its weights.

    Raises what ``open_source`` raises, and ``CheckpointError`` when tensors are missing or misshapen.
    """
    with open_source(name, revision=revision) as source:
        found = heads(source)
        layout = weight_layout(source.config, found)
        parameters = sum(math.prod(tensor.shape) for tensor in layout.tensors)
        present = [head for head, there in found._asdict().items() if there]
        facts = [
            ("model", f"{source.name}{' (random weights)' if source.is_random else ''}"),
            ("parameters", f"{parameters:,}"),
            ("weight buffer", f"{layout.nbytes:,} bytes (packed float32)"),
            ("heads", ", ".join(present) or "none"),
            *((key, str(value)) for key, value in source.config.to_dict().items()),
        ]
    return [*_columns(facts), "", *build_lines()]


def build_lines() -> list[str]:
    """Describe this build of albert_fast and the machine that it runs on."""
    return _columns(
        [
            ("albert_fast", __version__),
            ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
            ("instruction set", f"{_core.default_isa()} (of {', '.join(_core.available_isas())})"),
            ("threads", str(_core.default_num_threads())),
            ("cuda", cuda.why_not() or "available"),
        ]
    )


def _columns(facts: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in facts)
    return [f"{name:{width}}  {value}" for name, value in facts]
