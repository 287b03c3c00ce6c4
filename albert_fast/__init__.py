"""albert_fast: the fastest and most trustworthy way to run ALBERT.

    import albert_fast
    features = albert_fast.encode(["A text goes in, its features come out."], model="albert-xxlarge-v2")   # [1, 4096]

Names are loaded when first used, so that importing the package takes a fraction of a second and never imports torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from pkgutil import extend_path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from albert_fast.acceleration import accelerate as accelerate
    from albert_fast.acceleration import restore as restore
    from albert_fast.config import AlbertConfig as AlbertConfig
    from albert_fast.encoding import encode as encode
    from albert_fast.encoding import encode_iter as encode_iter
    from albert_fast.errors import AlbertFastError as AlbertFastError
    from albert_fast.errors import CheckpointError as CheckpointError
    from albert_fast.errors import ConfigError as ConfigError
    from albert_fast.errors import DeviceError as DeviceError
    from albert_fast.errors import InvalidInputError as InvalidInputError
    from albert_fast.errors import InvalidTypeError as InvalidTypeError
    from albert_fast.errors import MissingDependencyError as MissingDependencyError
    from albert_fast.errors import ModelNotFoundError as ModelNotFoundError
    from albert_fast.errors import OutputError as OutputError
    from albert_fast.errors import VerificationError as VerificationError
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
    "AlbertFastError": "errors",
    "AlbertTokenizer": "tokenizer",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "DeviceError": "errors",
    "InvalidInputError": "errors",
    "InvalidTypeError": "errors",
    "MissingDependencyError": "errors",
    "Model": "model",
    "ModelNotFoundError": "errors",
    "OutputError": "errors",
    "VerificationError": "errors",
    "accelerate": "acceleration",
    "encode": "encoding",
    "encode_iter": "encoding",
    "load": "model",
    "pipeline": "pipelines",
    "rerank": "pipelines",
    "restore": "acceleration",
    "verify": "verification",
}

_SUBMODULES = (
    "cuda",
    "errors",
    "export",
    "finetuning",
    "nn",
    "pipelines",
    "pretraining",
    "sentence",
    "tokenizer",
    "training",
)
"""Those that ``dir`` names; ``albert_fast.NAME`` imports every other one, too."""

__all__ = [
    "AlbertConfig",
    "AlbertFastError",
    "AlbertTokenizer",
    "CheckpointError",
    "ConfigError",
    "DeviceError",
    "InvalidInputError",
    "InvalidTypeError",
    "MissingDependencyError",
    "Model",
    "ModelNotFoundError",
    "OutputError",
    "VerificationError",
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
    home = _HOMES.get(name, name)
    if name.startswith("_") or (name not in _HOMES and importlib.util.find_spec(f"{__name__}.{name}") is None):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from albert_fast.errors import MissingDependencyError

    try:
        module = importlib.import_module(f"{__name__}.{home}")
    except MissingDependencyError as error:  # which names the extra
        return _missing(name, str(error))
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        needed = f"{__name__}.{name} needs torch, which is not installed; pip install 'albert_fast[torch]'"
        return _missing(name, needed)
    value = getattr(module, name) if name in _HOMES else module
    globals()[name] = value  # also over the submodule of the same name, which importing it has put here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})


def _missing(name: str, message: str) -> Any:
    """What stands for a name that cannot be had without torch or transformers: using it raises
    ``MissingDependencyError``. So hasattr, help and inspect work without them, as they do on any module."""
    from albert_fast.errors import MissingDependencyError

    def refuse(*_: Any, **__: Any) -> Any:
        raise MissingDependencyError(message)

    if name in _HOMES:
        refuse.__name__ = refuse.__qualname__ = name
        refuse.__doc__ = message
        refuse.__module__ = f"{__name__}.{_HOMES[name]}"
        return refuse

    class Missing(ModuleType):
        def __getattr__(self, attribute: str) -> Any:
            if attribute.startswith("__"):  # inspect and pydoc ask for these
                raise AttributeError(attribute)
            return refuse()

    return Missing(f"{__name__}.{name}", message)
