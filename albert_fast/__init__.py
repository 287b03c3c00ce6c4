"""albert_fast: the fastest and most trustworthy way to run ALBERT.

    import albert_fast
    features = albert_fast.encode(["A text goes in, its features come out."], model="albert-xxlarge-v2")   # [1, 4096]

Names are loaded when first used, so that importing the package takes a fraction of a second and never imports torch.
"""

from __future__ import annotations

import importlib
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from albert_fast.acceleration import accelerate as accelerate
    from albert_fast.acceleration import restore as restore
    from albert_fast.config import AlbertConfig as AlbertConfig
    from albert_fast.encoding import encode as encode
    from albert_fast.encoding import encode_iter as encode_iter
    from albert_fast.model import Model as Model
    from albert_fast.model import load as load
    from albert_fast.pipelines import pipeline as pipeline
    from albert_fast.pipelines import rerank as rerank
    from albert_fast.tokenizer import AlbertTokenizer as AlbertTokenizer
    from albert_fast.verification import verify as verify

__version__ = "0.1.0"

# Python started in a checkout finds these files before the installed ones; the extension is found beside the latter.
__path__ = extend_path(__path__, __name__)

_HOMES = {
    "AlbertConfig": "config",
    "AlbertTokenizer": "tokenizer",
    "Model": "model",
    "accelerate": "acceleration",
    "encode": "encoding",
    "encode_iter": "encoding",
    "load": "model",
    "pipeline": "pipelines",
    "rerank": "pipelines",
    "restore": "acceleration",
    "verify": "verification",
}

__all__ = [
    "AlbertConfig",
    "AlbertTokenizer",
    "Model",
    "accelerate",
    "encode",
    "encode_iter",
    "load",
    "pipeline",
    "rerank",
    "restore",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # also over the submodule of the same name, which importing it has put here
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
