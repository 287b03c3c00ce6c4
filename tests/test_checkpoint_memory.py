"""The promise about memory: loading xxlarge takes the buffer and little else, and lets the file go."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import write_config

from albert_fast.config import AlbertConfig
from albert_fast.sources import WeightSource, open_source, row_blocks


def stream_to_safetensors(source: WeightSource, path: Path) -> None:
    """Write a source to a file without ever holding more than a block of it."""
    header, offset = {}, 0
    for name in source.tensor_names:
        shape = source.shape(name)
        size = 4 * sum((stop - start) * source.rows(name, 0, 1).shape[1] for start, stop in row_blocks(shape))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for name in source.tensor_names:
            for start, stop in row_blocks(source.shape(name)):
                file.write(source.rows(name, start, stop).tobytes())


SCRIPT = """
import json, sys, threading, time
from pathlib import Path
import albert_fast
from albert_fast.model import load
import huggingface_hub, safetensors  # what loading imports, so that it counts as baseline

def anonymous():
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["RssAnon"].split()[0])

load("random:tiny")
baseline = peak = anonymous()
done = threading.Event()

def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, anonymous())

watcher = threading.Thread(target=watch)
watcher.start()
start = time.perf_counter()
model = load(sys.argv[1])
seconds = time.perf_counter() - start
done.set()
watcher.join()
print(json.dumps({
    "baseline": baseline,
    "peak": max(peak, anonymous()),
    "buffer": model.weights.nbytes,
    "mapped": sys.argv[1] in Path("/proc/self/maps").read_text(),
    "seconds": seconds,
}))
"""


@pytest.mark.slow
def test_loading_xxlarge_takes_its_buffer_and_no_second_copy(tmp_path):
    write_config(tmp_path, AlbertConfig.preset("albert-xxlarge-v2"))
    path = tmp_path / "model.safetensors"
    with open_source("random:albert-xxlarge-v2") as source:
        stream_to_safetensors(source, path)
    try:
        result = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert result.returncode == 0, result.stderr
    finally:
        path.unlink()
    measured = json.loads(result.stdout)
    print(measured)
    assert measured["buffer"] >= 4 * 223_158_450
    assert measured["peak"] - measured["baseline"] <= 1.15 * measured["buffer"], measured
    assert not measured["mapped"]
