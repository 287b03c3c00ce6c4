"""PEFT's adapters and quantised layers in models of albert_fast.nn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nn_models import NAME, assert_same_logits, assert_same_results, batch, count_engine_calls, pair
from torch import nn

from albert_fast.nn import why_not

torch.set_num_threads(1)

pytestmark = [  # what torch, transformers and peft say of each other
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:Careful, disabling adapter layers with bias:UserWarning"),
]


def with_lora(model: Any, **options: Any) -> Any:
    peft = pytest.importorskip("peft")
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["query", "value"], "modules_to_save": ["classifier"]}
    adapted = peft.get_peft_model(model, peft.LoraConfig(**{**settings, "lora_dropout": 0.0, **options}))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():  # B begins at zero, where LoRA changes nothing
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return adapted.train()


@pytest.mark.parametrize(
    "options",
    [{}, {"bias": "all"}, {"lora_bias": True}, {"target_modules": ["ffn", "dense"], "use_rslora": True}],
    ids=str,
)
def test_lora_runs_on_the_engine(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    models = [with_lora(model, **options) for model in pair(NAME)]
    assert why_not(models[1]) is None
    calls = count_engine_calls(monkeypatch)
    assert_same_results(*models)
    assert calls == ["AlbertTransformer"]
    with models[0].disable_adapter(), models[1].disable_adapter():
        assert_same_logits(*models)
    for model in models:
        model.merge_adapter()
    assert_same_logits(*models)
    assert why_not(models[1]) is None
    models[1].unmerge_adapter()
    assert type(models[1].merge_and_unload()).__module__.startswith("albert_fast")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"use_dora": True}, "attention.query has a LoRA of another kind than W + BA"),
        ({"lora_dropout": 0.5}, "attention.query has a LoRA with dropout, which is on its input"),
    ],
)
def test_lora_that_is_more_than_a_sum(options: dict[str, Any], reason: str) -> None:
    models = [with_lora(model, **options) for model in pair(NAME)]
    assert why_not(models[1]) == reason
    if "lora_dropout" in options:
        for model in models:
            model.eval()
        assert why_not(models[1]) is None
    assert_same_results(*models)


def test_other_adapters_run_all_the_same() -> None:
    peft = pytest.importorskip("peft")
    settings = peft.IA3Config(target_modules=["key", "ffn_output"], feedforward_modules=["ffn_output"])
    models = [peft.get_peft_model(model, settings).train() for model in pair(NAME)]
    assert why_not(models[1]) == "attention.key is a Linear, not torch's Linear"
    assert_same_logits(*models)
    gradients = []
    for model in models:
        model(**batch(NAME)).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, atol=1e-5, rtol=1e-3, msg=name)


def test_quantized_dynamically() -> None:
    theirs, mine = (
        torch.ao.quantization.quantize_dynamic(model.eval(), {nn.Linear}, dtype=torch.qint8) for model in pair(NAME)
    )
    assert_same_logits(theirs, mine)
