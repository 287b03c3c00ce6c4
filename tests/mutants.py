"""Mutants of a kernel: its PTX with one thing taken away or put wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

REMOVED = ("bar.sync", "barrier.sync", "cp.async.wait_group", "cp.async.commit_group", "membar", "fence.")
_SHUFFLE = re.compile(r"shfl\.sync\.\w+\.b32\s+(%\w+)(?:\|%\w+)?,\s*(%\w+),.*;")
_WAIT = re.compile(r"cp\.async\.wait_group\s+(\d+)")
_ADDRESS = re.compile(r"\[(%\w+)(?:\+(\d+))?\]")
_XOR = re.compile(r"xor\.b32\s+(%\w+),\s*(%\w+),.*;")

MOST_OF_A_KIND = 6
"""Of kinds of which a kernel has dozens alike, such as wrong addresses, so many are tried, spread over the kernel."""


@dataclass(frozen=True)
class Mutant:
    """``what`` says what was done, the same for the same PTX; ``ptx`` holds the one kernel."""

    what: str
    ptx: str


def only_kernel(ptx: str, name: str) -> str:
    """The module without its other kernels."""
    begin = ptx.index(".visible .entry") if ".visible .entry" in ptx else ptx.index(".entry")
    head = ptx[:begin]
    entries = re.split(r"(?=^(?:\.visible |\.weak )?\.entry )", ptx[begin:], flags=re.MULTILINE)
    [own] = [entry for entry in entries if re.search(rf"\.entry {re.escape(name)}\s*\(", entry)]
    return head + own[: own.rindex("\n}") + 2] + "\n"


def mutants(ptx: str) -> Iterator[Mutant]:
    """Every barrier, wait, commit, fence and shuffle removed, every wait one group short, and a few wrong addresses and
    swizzles; one thing in each mutant."""
    lines = ptx.split("\n")
    for kind, change in KINDS.items():
        places = [(i, changed) for i, line in enumerate(lines) if (changed := change(line)) is not None]
        if kind in SAMPLED:
            places = places[:: max(1, -(-len(places) // MOST_OF_A_KIND))]
        for number, (i, changed) in enumerate(places):
            yield Mutant(f"{kind} {number}", "\n".join([*lines[:i], changed, *lines[i + 1 :]]))


def _removed(word: str) -> Callable[[str], str | None]:
    return lambda line: _without(line) if word in line and not line.lstrip().startswith("//") else None


def _without(line: str) -> str:
    """The instruction is gone, what else the line says (labels, braces) stays."""
    return re.sub(r"(?:@!?%\w+\s+)?[a-z][\w.]*[^;{}]*;", "", line)


def _shuffle(line: str) -> str | None:
    """Each lane gets its own value."""
    found = _SHUFFLE.search(line)
    return None if found is None else line.replace(found[0], f"mov.b32 {found[1]}, {found[2]};")


def _short_wait(line: str) -> str | None:
    return _WAIT.sub(lambda m: f"cp.async.wait_group {int(m[1]) + 1}", line) if _WAIT.search(line) else None


def _moved(word: str) -> Callable[[str], str | None]:
    """The first address of the instruction, one chunk of 16 bytes further on."""

    def change(line: str) -> str | None:
        if word not in line:
            return None
        return _ADDRESS.sub(lambda m: f"[{m[1]}+{int(m[2] or 0) + 16}]", line, count=1)

    return change


def _unswizzled(line: str) -> str | None:
    found = _XOR.search(line)
    return None if found is None else line.replace(found[0], f"mov.b32 {found[1]}, {found[2]};")


KINDS: dict[str, Callable[[str], str | None]] = {
    **{f"without {word}": _removed(word) for word in REMOVED},
    "without shfl": _shuffle,
    "wait one group short": _short_wait,
    "ldmatrix moved": _moved("ldmatrix"),
    "cp.async moved": _moved("cp.async.cg"),
    "without xor": _unswizzled,
}
SAMPLED = {"ldmatrix moved", "cp.async moved", "without xor"}
