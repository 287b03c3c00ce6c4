"""DLPack's C interface through ctypes: what a capsule says, and objects that say anything."""

from __future__ import annotations

import ctypes
from typing import Any

CPU, CUDA = 1, 2
CODES = {"float": 2, "bfloat": 4, "int": 0}

_new = ctypes.pythonapi.PyCapsule_New
_new.restype = ctypes.py_object
_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]


class Tensor(ctypes.Structure):
    """DLManagedTensor, its DLTensor's fields first."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    )


def tensor_of(capsule: Any) -> Tensor:
    """Valid as long as the capsule's tensor."""
    return Tensor.from_address(_pointer(capsule, b"dltensor"))


class Consumer:
    """Takes a capsule's tensor over, as torch does: renames it, and deletes the tensor when it is done."""

    def __init__(self, capsule: Any) -> None:
        self._address = _pointer(capsule, b"dltensor")
        _rename(capsule, b"used_dltensor")

    def done(self) -> None:
        Tensor.from_address(self._address).deleter(self._address)


class Foreign:
    """Another library's array: a pointer, and whatever else it is told to say about it."""

    def __init__(
        self,
        pointer: int,
        shape: tuple[int, ...],
        kind: str = "bfloat",
        bits: int = 16,
        *,
        strides: tuple[int, ...] | None = None,
        device: tuple[int, int] = (CUDA, 0),
        byte_offset: int = 0,
        name: bytes = b"dltensor",
        owner: Any = None,
    ) -> None:
        self.streams: list[int | None] = []  # those its consumers named
        self._device, self._name, self._owner = device, name, owner
        integers = ctypes.c_int64 * len(shape)
        self._shape, self._strides = integers(*shape), None if strides is None else integers(*strides)
        self._tensor = Tensor(
            pointer, *device, len(shape), CODES[kind], bits, 1, self._shape, self._strides, byte_offset
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        self.streams.append(stream)
        return _new(ctypes.addressof(self._tensor), self._name, None)
