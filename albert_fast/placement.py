"""Which device and dtype are meant, by our names and by those of torch and transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from albert_fast import cuda
from albert_fast.errors import DeviceError, InvalidInputError

if TYPE_CHECKING:
    from albert_fast.model import Model

DTYPES: Final = ("auto", "float32", "float64", "bfloat16", "float16", "int16", "int8")
DEVICES: Final = ("auto", "cpu", "cuda")


def place_names(device: Any, dtype: Any) -> tuple[str, str]:
    """The names that are meant: None is ``"auto"``, a ``torch.device`` or ``torch.dtype`` its name, -1 the CPU, 0 and
    ``"cuda:0"`` the GPU.

    Raises ``InvalidInputError`` for anything that is no name.
    """
    numbered = {-1: "cpu", 0: "cuda"}.get(device) if type(device) is int else None
    name = numbered or ("auto" if device is None else _name(device))
    name = "cuda" if name == "cuda:0" else name
    kind = "auto" if dtype is None else _name(dtype)
    if name not in DEVICES:
        raise InvalidInputError(f"device: got {device!r}, expected one of {', '.join(DEVICES)}")
    if kind not in DTYPES:
        raise InvalidInputError(f"dtype: got {dtype!r}, expected one of {', '.join(DTYPES)}")
    return name, kind


def resolve_place(device: Any, dtype: Any) -> tuple[str, str]:
    """What ``"auto"`` means on this machine.

    Raises:
        InvalidInputError: a name that is none, or a dtype the device has no kernels for.
        DeviceError: ``"cuda"`` where it cannot be used, with the reason.
    """
    device, dtype = place_names(device, dtype)
    if device == "auto":
        device = "cuda" if dtype != "float64" and cuda.is_available() else "cpu"
    if device == "cuda" and (reason := cuda.why_not()):
        raise DeviceError(f"device: got 'cuda', expected 'cpu' or 'auto': {reason}")
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    return device, dtype


def require_place(model: Model, device: Any, dtype: Any) -> None:
    """Raise ``InvalidInputError`` when a loaded model is asked to be of another device or dtype than it is."""
    names = place_names(device, dtype)
    asked_for = (("device", device, names[0], model.device), ("dtype", dtype, names[1], model.dtype))
    for option, asked, name, has in asked_for:
        if name not in ("auto", has):
            raise InvalidInputError(
                f"{option}: got {asked!r} for a model that is loaded as {has!r}; pass {option} to load()"
            )


def _name(value: Any) -> Any:
    """Of a device or dtype of torch; anything else as it is."""
    return str(value).removeprefix("torch.") if type(value).__module__ == "torch" else value
