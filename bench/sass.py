"""Machine code as ``nvdisasm`` lists it: instructions, control flow, loops, and the path through the main loop.

Every instruction since Volta takes 16 bytes, so an instruction's number and its address are the same thing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

INSTRUCTION_BYTES = 16
TENSOR = "HMMA"
_FLOAT_MATH = ("FFMA", "FADD", "FMUL")
_LEAVES = {"BRX", "JMX", "EXIT", "RET", "KILL"}  # indirect jumps are not followed
_COPIES = ("LDG", "LDGSTS", "LDSM", "LDS", "STG", "STS")
_ADDRESS = re.compile(r"0x[0-9a-f]+")


@dataclass(frozen=True)
class Instruction:
    """``@P0 LDS.128 R4, [R2]`` is predicate "@P0", opcode "LDS.128", operands "R4, [R2]"."""

    predicate: str
    opcode: str
    operands: str

    @property
    def name(self) -> str:
        """The opcode without what follows its first dot."""
        return self.opcode.partition(".")[0]

    @property
    def jumps(self) -> bool:
        """Whether it goes to an address of this kernel: a call of one, too, which never returns.

        Only functions with a name of their own are called for good.
        """
        return self.name in {"BRA", "JMP"} or (
            self.name == "CALL" and "$" not in self.operands and "0x" in self.operands
        )

    @property
    def ends_block(self) -> bool:
        """Whether anything but the next instruction may follow."""
        return self.jumps or self.name in _LEAVES or self.name == "BSYNC"

    @property
    def conditional(self) -> bool:
        """Whether it may fall through: its predicate stands before it, or among its operands."""
        return bool(self.predicate) or (self.jumps and "," in self.operands)

    @property
    def target(self) -> int:
        """The number of the instruction that it names: the last address among its operands."""
        return int(_ADDRESS.findall(self.operands)[-1], 16) // INSTRUCTION_BYTES


@dataclass(frozen=True)
class Mix:
    """How many instructions of each opcode some code has."""

    opcodes: Counter[str]

    @property
    def total(self) -> int:
        """All instructions."""
        return self.opcodes.total()

    def count(self, *names: str) -> int:
        """Instructions of these names, whatever follows their first dot."""
        return sum(n for opcode, n in self.opcodes.items() if opcode.partition(".")[0] in names)

    @property
    def tensor(self) -> int:
        """Tensor instructions."""
        return self.count(TENSOR)

    @property
    def float_math(self) -> int:
        """Float32 additions, products, and both in one."""
        return self.count(*_FLOAT_MATH)

    @property
    def spills(self) -> int:
        """Accesses to local memory, where a compiler puts what found no register."""
        return self.count("LDL", "STL")


def mix(instructions: Iterable[Instruction]) -> Mix:
    """Count them."""
    return Mix(Counter(i.opcode for i in instructions))


@dataclass(frozen=True)
class _Block:
    """Instructions first <= i < end, entered at the first and left at the last."""

    first: int
    end: int
    next: tuple[int, ...]  # numbers of blocks


@dataclass(frozen=True)
class Function:
    """A kernel's code."""

    name: str
    instructions: Sequence[Instruction]

    def main_loop(self) -> Mix | None:
        """One turn of the main loop, or None without a loop.

        The main loop is the one whose own instructions, those not in a loop inside it, have the most tensor
        instructions; among equals (there may be none) the most float32 arithmetic, then the most of any kind. One
        turn is the path through it with the most tensor instructions; among those the most copies and the least of
        the rest. That is the turn in the middle of a long loop: the next tile is fetched, no edge is masked. A loop
        inside counts as if it turned once.
        """
        if not self._loops:
            return None
        main = max(self._loops, key=lambda header: self._worth(self._own(header)))
        path = self._best_path(main)
        return mix(i for block in path for i in self._code(block))

    def _code(self, block: int) -> Sequence[Instruction]:
        return self.instructions[self._blocks[block].first : self._blocks[block].end]

    def _own(self, header: int) -> set[int]:
        inner = (body for other, body in self._loops.items() if other != header and other in self._loops[header])
        return self._loops[header].difference(*inner)

    def _worth(self, blocks: Iterable[int]) -> tuple[int, int, int]:
        code = mix(i for block in blocks for i in self._code(block))
        return code.tensor, code.float_math, code.total

    def _best_path(self, header: int) -> list[int]:
        """From the header to a block that branches back to it."""
        body = self._loops[header]
        best: dict[int, tuple[tuple[int, int, int], list[int]]] = {}
        for block in reversed(self._order):  # successors before predecessors
            if block not in body:
                continue
            ways = [best[n] for n in self._blocks[block].next if n in best and not self._returns(block, n)]
            if header in self._blocks[block].next:
                ways.append(((0, 0, 0), []))
            if ways:
                value, path = max(ways, key=lambda way: way[0])
                code = mix(self._code(block))
                here = (code.tensor, code.count(*_COPIES), -code.total)
                best[block] = (tuple(a + b for a, b in zip(value, here, strict=True)), [block, *path])
        return best[header][1]

    def _returns(self, block: int, to: int) -> bool:
        return self._rank[to] <= self._rank[block]

    @cached_property
    def _blocks(self) -> list[_Block]:
        code = self.instructions
        after = [self._successors(number) for number in range(len(code))]
        ends = [number + 1 for number, instruction in enumerate(code) if instruction.ends_block]
        starts = {0, *ends, *(n for end in ends for n in after[end - 1])}
        firsts = sorted(start for start in starts if start < len(code))
        numbers = {first: number for number, first in enumerate(firsts)}
        return [
            _Block(first, end, tuple(numbers[n] for n in after[end - 1] if n < len(code)))
            for first, end in zip(firsts, [*firsts[1:], len(code)], strict=True)
        ]

    def _successors(self, number: int) -> list[int]:
        instruction = self.instructions[number]
        following = [number + 1] if instruction.conditional or not instruction.ends_block else []
        if instruction.jumps:
            following.append(instruction.target)
        if instruction.name == "BSYNC":
            following.append(self._join(number))
        return following

    def _join(self, number: int) -> int:
        """Where BSYNC goes on: what the nearest BSSY of its barrier before it names."""
        barrier = self.instructions[number].operands
        for before in reversed(self.instructions[:number]):
            if before.name == "BSSY" and before.operands.split(",")[0] == barrier:
                return before.target
        return number + 1

    @cached_property
    def _order(self) -> list[int]:
        """Reverse postorder: without branches back, every block comes after all that lead to it."""
        seen, postorder = {0}, []
        stack = [(0, iter(self._blocks[0].next))]
        while stack:
            block, following = stack[-1]
            new = next((n for n in following if n not in seen), None)
            if new is None:
                postorder.append(block)
                stack.pop()
            else:
                seen.add(new)
                stack.append((new, iter(self._blocks[new].next)))
        return postorder[::-1]

    @cached_property
    def _rank(self) -> dict[int, int]:
        return {block: rank for rank, block in enumerate(self._order)}

    @cached_property
    def _before(self) -> dict[int, set[int]]:
        before: dict[int, set[int]] = {block: set() for block in self._order}
        for block in self._order:
            for following in self._blocks[block].next:
                before[following].add(block)
        return before

    @cached_property
    def _dominators(self) -> dict[int, set[int]]:
        """Of each block, those that every way from the entry to it passes."""
        dominators = {block: set(self._order) for block in self._order}
        dominators[0] = {0}
        changed = True
        while changed:
            changed = False
            for block in self._order[1:]:
                new = set.intersection(*(dominators[b] for b in self._before[block])) | {block}
                changed |= new != dominators[block]
                dominators[block] = new
        return dominators

    @cached_property
    def _loops(self) -> dict[int, set[int]]:
        """The natural loops: header to blocks. A branch goes back if every way to it passes its target."""
        loops: dict[int, set[int]] = {}
        for block in self._order:
            for header in self._blocks[block].next:
                if header in self._dominators[block]:
                    body = loops.setdefault(header, {header})
                    stack = [block]
                    while stack:
                        inside = stack.pop()
                        if inside not in body:
                            body.add(inside)
                            stack.extend(self._before[inside])
        return loops


def parse(listing: list[dict]) -> list[Function]:
    """The functions in what ``nvdisasm --print-code --emit-json`` printed."""
    return [
        Function(
            function["function-name"],
            [
                Instruction(i.get("predicate", ""), i["opcode"], i.get("operands", ""))
                for i in function["sass-instructions"]
            ],
        )
        for function in listing[1]
    ]
