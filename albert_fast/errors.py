"""Every error albert_fast raises on purpose; each message names the argument, what came and what was expected."""

from __future__ import annotations


class AlbertFastError(Exception):
    """Base class of all errors raised by this package."""


class InvalidInputError(AlbertFastError, ValueError):
    """An argument has the right type but a value that cannot be used."""


class InvalidTypeError(AlbertFastError, TypeError):
    """An argument has a type that cannot be used."""


class ConfigError(AlbertFastError, ValueError):
    """A model configuration is malformed, is not ALBERT's, or asks for something unsupported."""


class CheckpointError(AlbertFastError, ValueError):
    """A checkpoint's files are damaged, incomplete, unsafe, or do not fit their configuration."""


class ModelNotFoundError(AlbertFastError, OSError):
    """A model name, folder or file could not be found or downloaded."""


class MissingDependencyError(AlbertFastError, ImportError):
    """An optional package is needed for what was asked; the message names the extra that brings it."""


class DeviceError(AlbertFastError, RuntimeError):
    """The requested device or instruction set is not available in this build or on this machine."""


class OutputError(AlbertFastError, OSError):
    """A result could not be written (disk full, no permission, ...); what was finished before is kept."""


class VerificationError(AlbertFastError, AssertionError):
    """``verify`` found an error above its derived tolerance."""
