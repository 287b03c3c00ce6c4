"""Every op alone, on the shapes of published models, against torch's own op and the limits of the machine.

With ``--static``, the CUDA kernels instead, from their machine code and as the PTX emulator runs them: that needs no
GPU.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from albert_fast.errors import DeviceError
from albert_fast.numbers import rel_l2
from bench import roofline
from bench.cases import TOKENS
from bench.machine import Limits
from bench.report import Table, percent
from bench.targets import TARGETS
from bench.timing import ratio

if TYPE_CHECKING:
    from bench.contest import Contest
    from bench.device import Device

MODELS = ("albert-xxlarge-v2", "albert-base-v2")


@dataclass(frozen=True)
class Setting:
    """What all contests of a run share."""

    device: Device
    limits: Limits
    rounds: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    dtypes = ("float32", "bfloat16", "float16", "int16", "int8")
    parser.add_argument(
        "--dtype", choices=dtypes, help="of weights, on a GPU of all; by default float32 on the CPU, bfloat16 on a GPU"
    )
    parser.add_argument("--isa", default="", help="the CPU's instruction set; the best one by default")
    parser.add_argument("--threads", type=int, help="of the CPU; all processors by default")
    parser.add_argument("--filter", default="", help="only ops whose name and shape contain this")
    parser.add_argument("--models", default=",".join(MODELS), help="whose shapes, comma separated")
    parser.add_argument("--tokens", default=",".join(map(str, TOKENS)), help="rows T, comma separated")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw a roofline: .svg or .png")
    static = parser.add_argument_group("CUDA kernels, without a GPU")
    static.add_argument("--static", action="store_true", help="figures of the machine code and of emulated launches")
    static.add_argument("--targets", default=",".join(map(str, TARGETS)), help="compute capabilities, comma separated")
    static.add_argument("--library", type=Path, help="a backend built for these targets; built here by default")
    static.add_argument("--update", action="store_true", help="expect what was found from now on")


def run(options: argparse.Namespace) -> list[Table]:
    """One table for each model, or for each target."""
    if options.static:
        return _static_tables(options)
    if options.plot:
        roofline.check(options.plot)
    device = open_device(options)
    setting = Setting(device, device.limits(), options.rounds)
    tokens = tuple(map(int, options.tokens.split(",")))
    tables, panels = [], []
    for model in options.models.split(","):
        panel = roofline.Panel(f"{model}, {device.title}", setting.limits, device.rate_unit)
        tables.append(_model_table(setting, model, tokens, options.filter, panel))
        panels.append(panel)
    if options.plot:
        roofline.draw(options.plot, panels)
    return tables


def _static_tables(options: argparse.Namespace) -> list[Table]:
    from bench.cubins import ToolMissingError
    from bench.static import tables

    targets = [int(target) for target in options.targets.split(",")]
    try:
        return tables(targets, options.library, options.update)
    except ToolMissingError as error:
        sys.exit(f"bench: {error}")


def open_device(options: argparse.Namespace) -> Device:
    """The one that the options name; ``DeviceError`` if it is not there, or times on it would mean nothing."""
    from bench.cpu_device import CpuDevice
    from bench.cuda_device import CudaDevice, why_not_timed

    why_not = why_not_timed() if options.device != "cpu" else "the CPU was asked for"
    if options.device == "cuda" and why_not:
        raise DeviceError(f"device: got 'cuda', expected 'cpu' or 'auto': {why_not}")
    if why_not:
        return CpuDevice(options.isa, options.dtype or "float32", options.threads)
    return CudaDevice(options.dtype or "bfloat16")


def _model_table(setting: Setting, model: str, tokens: tuple[int, ...], wanted: str, panel: roofline.Panel) -> Table:
    from bench.kernel_contests import contests
    from bench.training_contests import training_contests

    device = setting.device
    every = contests(device, model, tokens)
    if device.trains:
        every = chain(every, training_contests(device, model, tokens))
    unit, _ = device.rate_unit
    columns = ("op", "shape", "µs", unit, "GB/s", "FLOP/byte", "bound", "of limit", "torch µs", "torch / ours")
    table = Table(f"Ops at the shapes of {model}, {device.title}", columns)
    for contest in every:
        if wanted in f"{contest.op} {contest.shape}":
            print(f"bench: {contest.op} {contest.shape}", file=sys.stderr)
            panel.marks.append(_measure(table, setting, contest))
    limits = setting.limits
    table.facts.update({"device": device.title, "dtype": device.dtype_name, "limit FLOP/s": limits.flops})
    table.facts["limit byte/s"] = limits.bandwidth
    table.notes += [limits.note(), *device.notes()]
    table.notes.append(
        "Each call takes other buffers than the last, twice the last level cache in all, so operands come"
        " from memory. Medians; torch / ours is the median of the ratios of rounds. torch's product is"
        " `addmm` into an output that is there, then `gelu` or an addition where our op has them inside."
    )
    return table


def _measure(table: Table, setting: Setting, contest: Contest) -> roofline.Mark:
    """Check that both compute the same, then let them take turns."""
    from bench.contest import ALLOWED_DIFFERENCE

    device, limits = setting.device, setting.limits
    pair = contest.prepare()
    for _ in range(pair.copies):
        our_result, torch_result = pair.ours(), pair.torch()
    torch_result = torch_result.reshape(our_result.shape)
    difference = rel_l2(*(result.float().cpu().numpy() for result in (our_result, torch_result)))
    if not difference <= ALLOWED_DIFFERENCE[device.dtype_name]:  # NaN fails, too
        table.failures.append(f"{contest.op} {contest.shape}: relative difference to torch {difference:.1e}")
    times = device.interleave({"ours": pair.ours, "torch": pair.torch}, setting.rounds)
    seconds = median(times["ours"])
    compute_bound = contest.flops / limits.flops > contest.nbytes / limits.bandwidth
    mark = roofline.Mark(contest.op, contest.size, contest.flops / contest.nbytes, contest.flops / seconds)
    table.add(
        contest.op,
        contest.shape,
        1e6 * seconds,
        mark.rate / device.rate_unit[1],
        contest.nbytes / seconds / 1e9,
        mark.intensity,
        "compute" if compute_bound else "memory",
        percent(limits.seconds(contest.flops, contest.nbytes) / seconds),
        1e6 * median(times["torch"]),
        ratio(times, "torch", "ours"),
    )
    return mark
