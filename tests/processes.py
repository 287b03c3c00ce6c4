"""Processes that talk over gloo, each a rank of one group."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import torch

WORLD = 2


def on_ranks(work: Callable[[int, Path], None], folder: Path) -> None:
    """Run ``work(rank, folder)``, a function of a module, in ``WORLD`` processes of one thread; raises as it does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_rank, (work, port, folder), nprocs=WORLD)


def _rank(rank: int, work: Callable[[int, Path], None], port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD)
    work(rank, folder)
    torch.distributed.destroy_process_group()
