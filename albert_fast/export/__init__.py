"""Models as ONNX files: one layer's weights, stored once, for onnxruntime, its build for browsers, and others."""

from __future__ import annotations

from albert_fast.export.options import DTYPES, OPSETS, POOLINGS, TASKS
from albert_fast.export.writer import to_onnx

__all__ = ["DTYPES", "OPSETS", "POOLINGS", "TASKS", "to_onnx"]
