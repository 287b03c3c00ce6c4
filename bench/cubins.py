"""The machine code of the CUDA backend: built, taken out of the library, and read with NVIDIA's tools.

`cuobjdump` and `nvdisasm` come with the CUDA toolkit, or from PyPI with `pip install albert_fast[static]`. Neither
they nor nvcc need a GPU.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import ROOT
from bench.sass import Function, parse
from bench.targets import SHARED_RESERVED

_BUILD = ROOT / "build" / "static"
_TOOLKIT = "/usr/local/cuda/bin"
_COUNTS_RESERVED_FROM = 90  # from this target on, static shared memory includes what the system reserves of a block

_USAGE = re.compile(r"Function (\S+):\s*REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
_ENTRY = re.compile(r"\.entry ([\w$]+)\(.*?\)(.*?)^\s*\{(.*?)^\s*\}", re.MULTILINE | re.DOTALL)
_EXTERN_SHARED = re.compile(r"^\s*\.extern \.shared .*?\b([\w$]+)\[\];", re.MULTILINE)

_LINEAR_TILES = ROOT / "cuda" / "linear_tiles.h"
_TILE_TABLE = re.compile(r"k(Mma|Gradient|Simt)Tiles\[\] = \{(.*?)\};", re.DOTALL)
_TILE_INDEX = re.compile(r"^(linear(_input_grad|_weight_grad)?_kernel)<(\w+), (\d+)>$")

_NAMESPACES = re.compile(r"(?:\w+|\(anonymous namespace\))::")
_TYPES = {"__nv_bfloat16": "bf16", "__half": "fp16", "float": "fp32"}


class ToolMissingError(RuntimeError):
    """Something that this needs is not installed."""


@dataclass(frozen=True)
class Kernel:
    """What the compiler made of a kernel for one target, and what its source asks for."""

    name: str
    registers: int
    local_bytes: int
    static_shared: int
    takes_dynamic_shared: bool
    threads: int | None  # of a block at most; None if the source does not say (__launch_bounds__)
    least_blocks: int  # on a multiprocessor, which the source wants room for
    code: Function


def find_tool(name: str) -> str:
    """Path of a tool of the CUDA toolkit; throws ``ToolMissingError``."""
    folders = [os.environ.get("PATH", ""), _TOOLKIT]
    spec = importlib.util.find_spec("nvidia")
    packages = spec.submodule_search_locations if spec else None
    folders += [str(path) for package in packages or () for path in Path(package).glob("*/bin")]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if not found:
        raise ToolMissingError(f"{name} was not found: install the CUDA toolkit, or pip install 'albert_fast[static]'")
    return found


def find_compiler() -> str:
    """Path of nvcc, looked for as CMake does; throws ``ToolMissingError``."""
    found = shutil.which(os.environ.get("CUDACXX", "nvcc")) or shutil.which("nvcc", path=_TOOLKIT)
    if not found:
        raise ToolMissingError("nvcc was not found: install the CUDA toolkit, or set CUDACXX")
    return found


def build(target: int) -> Path:
    """The backend's library with machine code and PTX of one target, up to date, in ``build/static``."""
    folder = _BUILD / f"sm_{target}"
    print(f"bench: building the CUDA backend for sm_{target} in {folder}", file=sys.stderr)
    if not (folder / "CMakeCache.txt").is_file():
        _output(
            *("cmake", "-S", str(ROOT), "-B", str(folder), "-DALBERT_FAST_CUDA=ON", "-DALBERT_FAST_PYTHON=OFF"),
            *(f"-DCMAKE_CUDA_ARCHITECTURES={target}", f"-DCMAKE_CUDA_COMPILER={find_compiler()}"),
        )
    jobs = str(os.cpu_count() or 1)
    _output("cmake", "--build", str(folder), "--target", "albert_fast_cuda", "--parallel", jobs)
    return folder / "cuda" / "_cuda.so"


def read(library: Path, target: int) -> list[Kernel]:
    """The kernels that a library or object file has for a target, by name."""
    cuobjdump, nvdisasm = find_tool("cuobjdump"), find_tool("nvdisasm")
    sources = _sources(_output(cuobjdump, "-ptx", str(library)))
    functions: dict[str, Function] = {}
    usage: dict[str, tuple[int, ...]] = {}
    with tempfile.TemporaryDirectory() as folder:
        _output(cuobjdump, "-xelf", f"sm_{target}", str(library.resolve()), folder=folder)
        for cubin in sorted(Path(folder).iterdir()):
            listing = json.loads(_output(nvdisasm, "--print-code", "--emit-json", str(cubin)))
            functions |= {function.name: function for function in parse(listing)}
            found = _USAGE.findall(_output(cuobjdump, "-res-usage", str(cubin)))
            usage |= {name: tuple(map(int, numbers)) for name, *numbers in found}
    if missing := sources.keys() - usage.keys():
        raise RuntimeError(f"{library}: no machine code for sm_{target} of {short_names(sorted(missing))}")
    entries = sorted(sources)
    kernels = [
        _kernel(short, sources[entry], usage[entry], functions[entry], target)
        for entry, short in zip(entries, short_names(entries), strict=True)
    ]
    return sorted(kernels, key=lambda kernel: kernel.name)


@dataclass(frozen=True)
class _Source:
    """What the PTX of a kernel says about blocks."""

    threads: int | None
    least_blocks: int
    takes_dynamic_shared: bool


def _sources(ptx: str) -> dict[str, _Source]:
    dynamic = set(_EXTERN_SHARED.findall(ptx))
    sources = {}
    for name, directives, body in _ENTRY.findall(ptx):
        threads = re.search(r"\.maxntid (\d+)(?:, (\d+), (\d+))?", directives)
        blocks = re.search(r"\.minnctapersm (\d+)", directives)
        count = None
        if threads:
            x, y, z = (int(n or 1) for n in threads.groups())
            count = x * y * z
        words = set(re.findall(r"[\w$]+", body))
        sources[name] = _Source(count, int(blocks[1]) if blocks else 1, not words.isdisjoint(dynamic))
    return sources


def _kernel(name: str, source: _Source, usage: tuple[int, ...], code: Function, target: int) -> Kernel:
    registers, stack, shared, local = usage
    if target >= _COUNTS_RESERVED_FROM:
        shared = max(shared - SHARED_RESERVED, 0)  # 0 where no kernel of the file has shared memory
    return Kernel(
        name,
        registers,
        stack + local,
        shared,
        source.takes_dynamic_shared,
        source.threads,
        source.least_blocks,
        code,
    )


def short_names(mangled: Sequence[str]) -> list[str]:
    """Names as one says them: ``linear_kernel<bf16, 128x128x32>``; throws ``ValueError`` if two became one."""
    if not mangled:
        return []
    demangled = _output("c++filt", *mangled).splitlines()
    names = [_with_tile(_shorten(name)) for name in demangled]
    if len(set(names)) < len(names):
        raise ValueError(f"short names of kernels are not unique: {sorted(demangled)}")
    return names


def _shorten(demangled: str) -> str:
    """Without result, parameters and namespaces; neighbouring numbers joined by x; short names of types."""
    name = _NAMESPACES.sub("", demangled)
    name = re.sub(r"\((?:unsigned )?(?:int|long)\)|(?<=\d)[ul]+\b", "", name)  # (int)64 is 64
    name = re.sub(r"\((\w+)\)(\d+)", r"\1=\2", name)  # (Activation)1, of which the binary knows no more
    name = name.partition("(")[0]
    name = re.sub(r"^void ", "", name)
    for type_name, short in _TYPES.items():
        name = re.sub(rf"\b{type_name}\b", short, name)
    while (joined := re.sub(r"\b(\d+(?:x\d+)*), (\d+)\b", r"\1x\2", name)) != name:
        name = joined
    name = re.sub(r"(?<=[<, ])\w+<([\dx]+)>", r"\1", name)  # Tile<128x128x32>: the numbers say it
    return name.replace(" >", ">").strip()


def _with_tile(name: str) -> str:
    """The tile in place of its index: ``linear_kernel`` and its gradients' are compiled for each of a table."""

    def tile(found: re.Match[str]) -> str:
        kernel, gradient, dtype, index = found.groups()
        table = "fp32" if dtype == "fp32" else "gradients" if gradient else "16 bit"
        return f"{kernel}<{dtype}, {'x'.join(map(str, linear_tiles()[table][int(index)]))}>"

    return _TILE_INDEX.sub(tile, name)


@functools.cache
def linear_tiles() -> dict[str, list[tuple[int, ...]]]:
    """Tokens, rows and depth of the tiles in ``cuda/linear_tiles.h``, in its order."""
    tables = dict(_TILE_TABLE.findall(_LINEAR_TILES.read_text()))
    return {
        dtype: [tuple(map(int, tile.split(",")[:3])) for tile in re.findall(r"\{([\d, ]+)\}", tables[name])]
        for dtype, name in (("16 bit", "Mma"), ("gradients", "Gradient"), ("fp32", "Simt"))
    }


def _output(*command: str, folder: str | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    if done.stderr:
        print(done.stderr, file=sys.stderr, end="")
    return done.stdout
