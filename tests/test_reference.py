"""The PyTorch reference against transformers: all else is measured with it, so it is measured first."""

from __future__ import annotations

import numpy as np
import pytest
from tolerance import rel_l2, roundoff

from albert_fast.config import AlbertConfig
from albert_fast.sources import open_source

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from albert_fast.reference import Reference  # noqa: E402

SHAPES = {  # hidden_size, heads (so head_dim 16, 64, 128), groups, inner layers, iterations
    "head_dim_16": (32, 2, 1, 1, 3),
    "head_dim_64": (128, 2, 1, 1, 2),
    "head_dim_128": (256, 2, 1, 1, 2),
    "two_groups_two_inner": (32, 2, 2, 2, 4),
    "uneven_groups": (16, 1, 14, 1, 18),  # where int(i / (L / G)) and i * G // L differ
}


def hugging_face(shape: str, activation: str, attention: str, seed: int = 0, kind: str = "AlbertForPreTraining"):
    hidden, heads, groups, inner, layers = SHAPES[shape]
    config = transformers.AlbertConfig(
        vocab_size=97,
        embedding_size=24,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_hidden_groups=groups,
        inner_group_num=inner,
        num_hidden_layers=layers,
        intermediate_size=2 * hidden,
        max_position_embeddings=40,
        hidden_act=activation,
        attn_implementation=attention,
    )
    torch.manual_seed(seed)
    model = getattr(transformers, kind)(config).double().eval()
    for parameter in model.parameters():  # biases start as zeros and LayerNorm as identity: neither would show an error
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def batch(seed: int = 0, *, padded: bool = True):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 97, (3, 13), generator=generator)
    types = torch.randint(0, 2, (3, 13), generator=generator)
    mask = torch.ones_like(ids)
    if padded:
        mask[1, 5:] = 0
        mask[2, 1:] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def pairs(ours, theirs, mask, inner_layers):
    """Matching outputs, padding (which transformers computes and we leave zero) taken out.

    transformers 5 also records the states between the inner layers of a group; ours are one per iteration.
    """
    kept = mask.bool()
    for index, (a, b) in enumerate(zip(ours.hidden_states, theirs.hidden_states[::inner_layers], strict=True)):
        yield f"hidden state {index}", a[kept], b[kept]
    yield "mlm logits", ours.prediction_logits[kept], theirs.prediction_logits[kept]
    yield "sop logits", ours.sop_logits, theirs.sop_logits


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("shape", SHAPES)
def test_float64_agrees_with_transformers(shape, activation, attention):
    model = hugging_face(shape, activation, attention)
    inputs = batch()
    with torch.no_grad():
        theirs = model(**inputs, output_hidden_states=True)
        pooled = model.albert(**inputs).pooler_output
    ours = Reference.from_source(open_source(model), torch.float64)(**inputs)
    for what, a, b in pairs(ours, theirs, inputs["attention_mask"], SHAPES[shape][3]):
        assert rel_l2(a, b) < 1e-12, what
    assert rel_l2(ours.pooler_output, pooled) < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_agrees_with_transformers_to_a_few_roundoffs(shape):
    model = hugging_face(shape, "gelu_new", "eager").float()
    inputs = batch()
    with torch.no_grad():
        theirs = model(**inputs, output_hidden_states=True)
    ours = Reference.from_source(open_source(model), torch.float32)(**inputs)
    for what, a, b in pairs(ours, theirs, inputs["attention_mask"], SHAPES[shape][3]):
        assert a.dtype == torch.float32
        assert rel_l2(a, b) < 16 * roundoff("float32"), what


def test_model_without_heads_and_without_pooler():
    model = hugging_face("head_dim_16", "gelu", "eager", kind="AlbertModel")
    inputs = batch(padded=False)
    ours = Reference.from_source(open_source(model))(inputs["input_ids"])
    with torch.no_grad():
        theirs = model(inputs["input_ids"])
    assert rel_l2(ours.pooler_output, theirs.pooler_output) < 1e-12
    assert ours.prediction_logits is None
    assert ours.sop_logits is None

    masked_lm = hugging_face("head_dim_16", "gelu", "eager", kind="AlbertForMaskedLM")
    ours = Reference.from_source(open_source(masked_lm))(inputs["input_ids"])
    with torch.no_grad():
        theirs = masked_lm(inputs["input_ids"])
    assert rel_l2(ours.prediction_logits, theirs.logits) < 1e-12
    assert ours.pooler_output is None


def test_padding_is_zero_and_changes_nothing():
    reference = Reference.from_source(open_source(hugging_face("head_dim_16", "gelu_new", "eager")))
    inputs = batch()
    whole = reference(**inputs)
    for row, length in enumerate((13, 5, 1)):
        alone = reference(
            inputs["input_ids"][row : row + 1, :length],
            None,
            inputs["token_type_ids"][row : row + 1, :length],
        )
        assert rel_l2(whole.hidden_states[-1][row, :length], alone.hidden_states[-1][0]) < 1e-14
        assert rel_l2(whole.pooler_output[row], alone.pooler_output[0]) < 1e-14
        for state in (*whole.hidden_states, whole.prediction_logits):
            assert not state[row, length:].any()


def test_empty_sequences_are_zero_and_holes_are_only_keys_left_out():
    model = hugging_face("head_dim_16", "gelu_new", "eager")
    reference = Reference.from_source(open_source(model))
    ids = batch()["input_ids"]
    mask = torch.ones_like(ids)
    mask[0] = 0
    mask[1, [0, 4, 5]] = 0
    ours = reference(ids, mask)
    for output in (*ours.hidden_states, ours.prediction_logits, ours.pooler_output, ours.sop_logits):
        assert not output[0].any()
        assert torch.isfinite(output).all()
    with torch.no_grad():
        theirs = model(ids, attention_mask=mask, output_hidden_states=True).hidden_states[-1]
    kept = mask[1].bool()
    assert rel_l2(ours.hidden_states[-1][1, kept], theirs[1, kept]) < 1e-12
    pooler = model.albert.pooler
    first = torch.tanh(pooler(ours.hidden_states[-1][1, 1]))
    assert rel_l2(ours.pooler_output[1], first.detach()) < 1e-12


def test_position_ids_are_honoured():
    model = hugging_face("head_dim_16", "gelu_new", "eager")
    ids = batch()["input_ids"]
    positions = torch.arange(13).flip(0).expand_as(ids) + 7
    ours = Reference.from_source(open_source(model))(ids, position_ids=positions)
    with torch.no_grad():
        theirs = model(ids, position_ids=positions, output_hidden_states=True)
    assert rel_l2(ours.hidden_states[-1], theirs.hidden_states[-1]) < 1e-12


def test_known_answer_of_a_model_small_enough_to_do_by_hand():
    """H = E = 1: LayerNorm of one number is its bias, so every layer's output is the last bias."""
    config = AlbertConfig(
        vocab_size=2, embedding_size=1, hidden_size=1, num_attention_heads=1, intermediate_size=1,
        num_hidden_layers=2, max_position_embeddings=2, pad_token_id=None,
    )  # fmt: skip
    from albert_fast.layout import Heads, expected_shapes

    shapes = expected_shapes(config, Heads(pooler=True, mlm_head=False, sop_head=True))
    weights = {name: torch.full(shape, 0.5, dtype=torch.float64) for name, shape in shapes.items()}
    out = Reference(config, weights)(torch.tensor([[0, 1]]))
    assert out.hidden_states[0].flatten().tolist() == [0.75, 0.75]  # 0.5 * 0.5 + 0.5
    assert out.hidden_states[2].flatten().tolist() == [0.5, 0.5]
    np.testing.assert_allclose(out.pooler_output, np.tanh(0.75), rtol=1e-15)
