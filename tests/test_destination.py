"""Results in torch tensors on a device. torch's CPU stands for the GPU here, for what the core does with a tensor of a
GPU takes one (tests of ``out=`` are in test_cuda_model.py); where each number ends up does not depend on that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from albert_fast.batching import RaggedBatch
from albert_fast.destination import DeviceTorchDestination, NumpyDestination, destination_like, torch_destination
from albert_fast.encoding import encode
from albert_fast.errors import CheckpointError
from albert_fast.model import Model
from albert_fast.sentence import EncodeOptions
from albert_fast.sentence.encoder import Encoder

TEXTS = ["One layer.", "It runs again, and again.", "", ("and a", "pair")] * 3


class WritesToTensors:
    """A model that fills ``out``, as one on CUDA does."""

    def __init__(self, model: Model, spoil: bool = False) -> None:
        self.config, self.tokenizer, self.features_dtype = model.config, model.tokenizer, model.features_dtype
        self.name, self.has_pooler = model.name, model.has_pooler
        self._model, self._spoil = model, spoil

    def files(self) -> None:
        """It has none."""

    def encode_ragged(self, *arrays: Any, out: torch.Tensor, stream: int, **options: Any) -> torch.Tensor:
        out.copy_(torch.from_numpy(self._model.encode_ragged(*arrays, **options)))
        if self._spoil:
            out[-1, 3] = torch.nan
        return out


@pytest.mark.parametrize("pooling", ["mean", None])
def test_windows_into_tensors(tiny: Model, pooling: str | None) -> None:
    options = EncodeOptions(pooling=pooling, batch_tokens=30)
    encoder = Encoder(WritesToTensors(tiny), options, DeviceTorchDestination("cpu"))  # type: ignore[arg-type]
    [window] = encoder.windows(TEXTS)
    expected = encode(TEXTS, tiny, pooling)
    for ours, numpy in zip(window, expected, strict=True):
        assert isinstance(ours, torch.Tensor)
        np.testing.assert_array_equal(ours.numpy(), numpy)


def test_features_that_are_not_finite_are_found(tiny: Model) -> None:
    model = WritesToTensors(tiny, spoil=True)
    encoder = Encoder(model, EncodeOptions(), DeviceTorchDestination("cpu"))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"texts\[\d+\].*not finite"):
        list(encoder.windows(TEXTS))


def test_padding_on_the_device(tiny: Model) -> None:
    ids, mask = np.arange(12).reshape(3, 4), np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]])
    batch = RaggedBatch.from_padded(ids, mask, limits=tiny.config)
    rows = np.random.default_rng(0).standard_normal((batch.num_tokens, 5)).astype(np.float32)
    padded = DeviceTorchDestination("cpu").pad(batch, torch.from_numpy(rows))
    np.testing.assert_array_equal(padded.numpy(), batch.to_padded(rows))


def test_results_go_where_the_arguments_are() -> None:
    assert type(destination_like(np.zeros(1), "cuda")) is NumpyDestination
    assert destination_like([1], "cpu").room(2, 3, "float32") is None
    tensor = destination_like(torch.zeros(1), "cuda").finish(np.ones((1, 2), np.float32))
    assert isinstance(tensor, torch.Tensor)
    if not torch.cuda.is_available():
        assert torch_destination("cuda").room(1, 1, "float32") is None


def test_concatenation_of_tensors() -> None:
    to = DeviceTorchDestination("cpu")
    parts = [to.empty(0, 3, "float32"), torch.ones(2, 3), torch.zeros(1, 3)]
    assert to.concatenate(parts).tolist() == [[1] * 3, [1] * 3, [0] * 3]
