"""Two processes on gloo, half of the batch each, get the gradients of one process with all of it, in one bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from processes import WORLD, on_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from albert_fast.config import AlbertConfig as Shape
from albert_fast.nn import AlbertConfig, AlbertForSequenceClassification

MODES: list[dict[str, Any]] = [
    {"find_unused_parameters": True},
    {"static_graph": True},
    {"static_graph": True, "bucket_cap_mb": 1},
]


def model() -> nn.Module:
    torch.manual_seed(0)
    return AlbertForSequenceClassification(AlbertConfig(**Shape.preset("tiny").to_dict())).train()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 1000, (4, 6), generator=generator)
    return ids, torch.tensor([0, 1, 1, 0])


def gradients(module: nn.Module, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of the mean loss; the classifier's dropout is off, for its mask would differ between processes."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    module(input_ids=ids, labels=labels).loss.backward()
    return {name.removeprefix("module."): p.grad for name, p in module.named_parameters() if p.grad is not None}


def work(rank: int, folder: Path) -> None:
    buckets = []

    def reduce(bucket: Any) -> Any:
        buckets.append(bucket.buffer().numel())
        total = torch.distributed.all_reduce(bucket.buffer(), async_op=True).get_future()
        return total.then(lambda future: future.value()[0] / WORLD)

    module = DistributedDataParallel(model(), bucket_cap_mb=1024, gradient_as_bucket_view=True)
    module.register_comm_hook(None, lambda _, bucket: reduce(bucket))
    ids, labels = batch()
    made = [gradients(module, ids[rank::WORLD], labels[rank::WORLD])]
    for options in MODES:
        made.append(gradients(DistributedDataParallel(model(), **options), ids[rank::WORLD], labels[rank::WORLD]))
    torch.save((made, buckets), folder / f"{rank}.pt")


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    on_ranks(work, tmp_path)
    expected = gradients(model(), *batch())
    first, buckets = torch.load(tmp_path / "0.pt")
    second, _ = torch.load(tmp_path / "1.pt")
    assert len(buckets) == 1
    assert buckets[0] == sum(gradient.numel() for gradient in expected.values())
    for mode, one, other in zip([{}, *MODES], first, second, strict=True):
        assert one.keys() == other.keys() == expected.keys()
        for name, gradient in expected.items():
            assert torch.equal(one[name], other[name]), f"{mode}: {name}"
            torch.testing.assert_close(one[name], gradient, rtol=1e-5, atol=1e-7, msg=f"{mode}: {name}")
