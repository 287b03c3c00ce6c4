"""The example for onnxruntime-web, run by Node where both are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import albert_fast
from albert_fast.export import to_onnx

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "onnx_fill_mask.mjs"
PACKAGES = Path(os.environ.get("ALBERT_FAST_NODE_MODULES", "node_modules")).resolve()

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (PACKAGES / "onnxruntime-web").is_dir(),
    reason="needs node and onnxruntime-web (npm install onnxruntime-web, ALBERT_FAST_NODE_MODULES)",
)


@needs_node
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_mini_fills_a_mask(dtype, tmp_path):
    path = to_onnx("mini", tmp_path / "mini.onnx", task="fill-mask", dtype=dtype)
    shutil.copy(EXAMPLE, tmp_path)  # Node looks for packages beside the script
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    pipeline = albert_fast.pipeline("fill-mask", "mini")
    text = "The United [MASK] of America."
    ids = json.dumps(pipeline.tokenizer(text)["input_ids"])
    command = ["node", tmp_path / EXAMPLE.name, path, ids]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)[0]["id"] == pipeline(text, top_k=1)[0]["token"]
