"""What can be asked of an export, checked before anything is read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.sentence.modules import Normalize, SentenceModules

TASKS: Final = (
    "feature-extraction",
    "fill-mask",
    "text-classification",
    "token-classification",
    "question-answering",
    "multiple-choice",
    "sentence-order",
)
"""Named as the pipelines are."""
_ALIASES: Final = {
    "default": "feature-extraction",
    "sentence-similarity": "feature-extraction",
    "sentiment-analysis": "text-classification",
    "zero-shot-classification": "text-classification",
    "ner": "token-classification",
}
POOLINGS: Final = ("auto", "mean", "cls", "pooler", None)
DTYPES: Final = ("float32", "float16", "int8")
OPSETS: Final = range(17, 24)
"""From the first with LayerNormalization to the last that was tried."""
DEFAULT_OPSET: Final = 20
"""The first with Gelu, which onnxruntime has known since 1.17."""


@dataclass(frozen=True)
class ExportOptions:
    """The arguments of ``to_onnx``; ``task`` is one of ``TASKS`` once it is made.

    Raises ``InvalidInputError`` or ``InvalidTypeError`` naming the argument.
    """

    task: str = "feature-extraction"
    pooling: str | None = None
    normalize: bool = False
    dtype: str = "float32"
    opset: int = DEFAULT_OPSET
    external_data: bool | None = None

    def __post_init__(self) -> None:
        name = _ALIASES.get(self.task, self.task)
        if name not in TASKS:
            raise InvalidInputError(f"task: got {self.task!r}, expected one of {', '.join([*TASKS, *_ALIASES])}")
        object.__setattr__(self, "task", name)
        if self.pooling not in POOLINGS:
            raise InvalidInputError(f"pooling: got {self.pooling!r}, expected 'auto', 'mean', 'cls', 'pooler' or None")
        if self.dtype not in DTYPES:
            raise InvalidInputError(f"dtype: got {self.dtype!r}, expected one of {', '.join(DTYPES)}")
        self._check_types()
        if self.opset not in OPSETS:
            raise InvalidInputError(f"opset: got {self.opset}, expected {OPSETS[0]} to {OPSETS[-1]}")
        if self.pooling is not None and name != "feature-extraction":
            raise InvalidInputError(f"pooling: got {self.pooling!r} with task {name!r}, expected 'feature-extraction'")
        if self.normalize and self.pooling is None:
            raise InvalidInputError(
                "normalize: got True without pooling, expected pooling 'auto', 'mean', 'cls' or 'pooler'"
            )

    def resolved(self, modules: SentenceModules | None, name: str) -> ExportOptions:
        """With what ``pooling="auto"`` means for the model ``name``: what its modules say, the mean without any.

        Raises ``InvalidInputError`` for modules that the file cannot hold.
        """
        if self.pooling != "auto":
            return self
        modules = modules or SentenceModules()
        others = [type(step).__name__ for step in modules.steps if not isinstance(step, Normalize)]
        if len(modules.poolings) > 1 or modules.poolings[0] not in POOLINGS or others:
            parts = ", ".join([*modules.poolings, *others])
            raise InvalidInputError(
                f"pooling: got 'auto', which is {parts} for {name}; expected one of mean, cls and pooler and no layers"
                " after it; pooling=None gives hidden states to apply them to"
            )
        normalize = self.normalize or bool(modules.steps)
        return dataclasses.replace(self, pooling=modules.poolings[0], normalize=normalize)

    def _check_types(self) -> None:
        flags: dict[str, tuple[Any, tuple[bool | None, ...]]] = {
            "normalize": (self.normalize, (True, False)),
            "external_data": (self.external_data, (True, False, None)),
        }
        for name, (value, allowed) in flags.items():
            if not any(value is choice for choice in allowed):
                raise InvalidTypeError(f"{name}: got {value!r}, expected {' or '.join(map(str, allowed))}")
        if isinstance(self.opset, bool) or not isinstance(self.opset, int):
            raise InvalidTypeError(f"opset: got {self.opset!r}, expected an integer")
