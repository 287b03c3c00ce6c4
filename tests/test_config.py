from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from albert_fast import config as config_module
from albert_fast.config import ACTIVATIONS, PRESETS, AlbertConfig
from albert_fast.errors import AlbertFastError, ConfigError, ModelNotFoundError

PUBLISHED = {  # as the config.json files on the hub say: hidden, heads, layers, activation, dropout
    "albert-base-v1": (768, 12, 12, "gelu", 0.1),
    "albert-large-v1": (1024, 16, 24, "gelu", 0.1),
    "albert-xlarge-v1": (2048, 16, 24, "gelu", 0.1),
    "albert-xxlarge-v1": (4096, 64, 12, "gelu", 0),
    "albert-base-v2": (768, 12, 12, "gelu_new", 0),
    "albert-large-v2": (1024, 16, 24, "gelu_new", 0),
    "albert-xlarge-v2": (2048, 16, 24, "gelu_new", 0),
    "albert-xxlarge-v2": (4096, 64, 12, "gelu_new", 0),
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("prefix", ["", "albert/"])
def test_presets_of_the_published_models(name, prefix):
    config = AlbertConfig.preset(prefix + name)
    hidden, heads, layers, activation, dropout = PUBLISHED[name]
    assert (config.hidden_size, config.num_attention_heads, config.num_hidden_layers) == (
        hidden,
        heads,
        layers,
    )
    assert (config.vocab_size, config.embedding_size, config.intermediate_size) == (30000, 128, 4 * hidden)
    assert config.hidden_act == activation
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == dropout
    assert config.classifier_dropout_prob == 0.1
    assert config.head_dim == hidden // heads
    assert (config.num_hidden_groups, config.inner_group_num, config.layer_norm_eps) == (1, 1, 1e-12)


def test_tiny_has_our_own_vocabulary():
    sentencepiece = pytest.importorskip("sentencepiece")
    vocabulary = Path(config_module.__file__).parent / "data" / "spiece.model"
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary)).vocab_size()
    assert AlbertConfig.preset("tiny").vocab_size == pieces


def test_tiny_is_small_and_the_default_is_xxlarge_v2():
    tiny = AlbertConfig.preset("tiny")
    assert (tiny.embedding_size, tiny.hidden_size, tiny.num_attention_heads) == (16, 32, 2)
    assert (tiny.intermediate_size, tiny.num_hidden_layers, tiny.max_position_embeddings) == (64, 3, 512)
    assert AlbertConfig() == AlbertConfig.preset("albert-xxlarge-v2")
    assert AlbertConfig.preset("albert-xlarge-v2").head_dim == 128


@pytest.mark.parametrize("name", ["albert", "", "albert-huge-v2", "bert-base-uncased", None, 3])
def test_unknown_preset(name):
    with pytest.raises(ConfigError, match=r"preset: got .*, expected one of albert-base-v1"):
        AlbertConfig.preset(name)


def test_round_trip_through_a_file(tmp_path):
    config = dataclasses.replace(AlbertConfig.preset("tiny"), hidden_act="gelu", pad_token_id=None, eos_token_id=[3, 4])
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**config.to_dict(), "architectures": ["AlbertModel"], "gap_size": 0}))
    assert AlbertConfig.from_json_file(path) == config


def test_transformers_reads_ours_and_we_read_theirs(tmp_path):
    transformers = pytest.importorskip("transformers")
    for name in PUBLISHED:
        ours = AlbertConfig.preset(name)
        transformers.AlbertConfig(**ours.to_dict()).save_pretrained(tmp_path)
        assert AlbertConfig.from_json_file(tmp_path / "config.json") == ours


def test_model_type():
    shape = {"embedding_size": 8, "hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 8}
    with pytest.raises(ConfigError, match=r"model_type: got 'bert', expected 'albert'"):
        AlbertConfig.from_dict({"model_type": "bert", **shape})
    with pytest.raises(ConfigError, match="model_type: absent, and so are ALBERT's keys num_attention_heads"):
        AlbertConfig.from_dict(shape)
    assert AlbertConfig.from_dict({**shape, "num_attention_heads": 2}).head_dim == 4
    assert AlbertConfig.from_dict({"model_type": "albert"}) == AlbertConfig()
    with pytest.raises(ConfigError, match="config: got list, expected an object"):
        AlbertConfig.from_dict([])


SIZES = [
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_hidden_groups",
    "inner_group_num",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [0, -1, True, 2.0, "12", None, [1], 2**40, float("nan"), 10**400])
def test_sizes_are_integers_in_range(name, value):
    with pytest.raises(ConfigError, match=rf"^{name}: got .*, expected an integer in 1\.\.\d+"):
        AlbertConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hidden_size", 4097, r"a multiple of num_attention_heads \(64\)"),
        ("num_hidden_groups", 13, r"at most num_hidden_layers \(12\)"),
        ("hidden_act", "relu", "one of gelu_new, gelu_pytorch_tanh, gelu"),
        ("hidden_act", None, "one of gelu_new"),
        ("hidden_act", ["gelu"], "one of gelu_new"),
        ("position_embedding_type", "relative_key", "'absolute'"),
        ("tie_word_embeddings", 1, "true or false"),
        ("hidden_dropout_prob", 1.5, r"a number in 0\.\.1"),
        ("hidden_dropout_prob", True, "a number"),
        ("attention_probs_dropout_prob", -0.1, r"a number in 0\.\.1"),
        ("classifier_dropout_prob", "0.1", "a number"),
        ("classifier_dropout_prob", 10**400, r"a number in 0\.\.1"),
        ("initializer_range", float("inf"), "a finite number"),
        ("layer_norm_eps", float("nan"), "a number"),
        ("layer_norm_eps", 0, "a number above 0 and below 1"),
        ("layer_norm_eps", -1e-12, "a number above 0"),
        ("pad_token_id", 30000, r"an integer in 0\.\.29999"),
        ("pad_token_id", False, "an integer in"),
        ("bos_token_id", -1, "an integer, at least 0, or null"),
        ("eos_token_id", [3, None], "an integer, at least 0, a list of them"),
        ("eos_token_id", "3", "an integer"),
    ],
)
def test_bad_fields_are_named(name, value, expected):
    with pytest.raises(ConfigError, match=rf"^{name}: got .*, expected {expected}"):
        AlbertConfig(**{name: value})


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_accepted_activations(activation):
    assert AlbertConfig(hidden_act=activation).hidden_act == activation


def test_groups_are_chosen_as_transformers_does():
    for layers in range(1, 40):
        for groups in range(1, layers + 1):
            config = AlbertConfig(num_hidden_layers=layers, num_hidden_groups=groups)
            chosen = [config.group_of(i) for i in range(layers)]
            assert chosen == [int(i / (layers / groups)) for i in range(layers)]
            assert chosen == sorted(chosen)
            assert chosen[-1] < groups
    assert AlbertConfig(num_hidden_layers=18, num_hidden_groups=14).group_of(9) == 6  # 9 * 14 // 18 is 7


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"hidden_size": ' + b"9" * 5000 + b"}"]
)
def test_files_that_are_not_a_config(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.json"):
        AlbertConfig.from_json_file(path)


def test_missing_file(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"config\.json: No such file"):
        AlbertConfig.from_json_file(tmp_path / "config.json")
    with pytest.raises(ModelNotFoundError, match="Is a directory"):
        AlbertConfig.from_json_file(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
field_names = [field.name for field in dataclasses.fields(AlbertConfig)]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # slow machines draw slowly
@given(st.dictionaries(st.sampled_from([*field_names, "model_type"]), json_values, max_size=4))
def test_any_values_give_a_config_or_a_typed_error(values):
    try:
        config = AlbertConfig.from_dict({"model_type": "albert", **values})
    except AlbertFastError:
        return
    assert AlbertConfig.from_dict(config.to_dict()) == config


def test_presets_survive_their_own_dict():
    for config in PRESETS.values():
        assert AlbertConfig.from_dict(config.to_dict()) == config
