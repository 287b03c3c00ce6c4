"""The families of ALBERTs that people download, one function each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from nn_models import randomise

import albert_fast
from published.files import spiece, word_pieces, write_bin, write_json, write_safetensors, write_shards

VOCABULARY: Final = Path(albert_fast.__file__).parent / "data" / "spiece.model"
_ENGLISH: Final = ("Shall I compare thee to a summer's day?", "Rough winds do shake the [MASK] buds of May.")
_CHINESE: Final = ("我爱北京天安门。", "今天[MASK]气很好, ok?")


@dataclass(frozen=True)
class Family:
    """``write(folder)`` makes the folder. ``task``: what it was made for, with texts in its language."""

    write: Callable[[Path], None]
    task: str
    texts: tuple[str, ...]
    takes_cuda: bool  # heads of 32


def _state(kind: str, seed: int = 7, **sizes: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Random weights of transformers' class, named as files of 2020 name them, and its configuration."""
    small = {"embedding_size": 16, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 96}
    config = transformers.AlbertConfig(
        **{**small, "num_hidden_layers": 3, "max_position_embeddings": 512, "hidden_act": "gelu_new", **sizes}
    )
    model = getattr(transformers, kind)(config)
    randomise(model, seed=seed)
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    state["albert.embeddings.position_ids"] = torch.arange(config.max_position_embeddings)[None]
    shown = (
        "attention_probs_dropout_prob",
        "bos_token_id",
        "classifier_dropout_prob",
        "embedding_size",
        "eos_token_id",
    )
    shown += ("hidden_act", "hidden_dropout_prob", "hidden_size", "initializer_range", "inner_group_num")
    shown += ("intermediate_size", "layer_norm_eps", "max_position_embeddings", "num_attention_heads")
    shown += ("num_hidden_groups", "num_hidden_layers", "pad_token_id", "type_vocab_size", "vocab_size")
    return state, {"model_type": "albert", **{name: getattr(config, name) for name in shown}}


_OLD_FIELDS: Final = {"down_scale_factor": 1, "gap_size": 0, "net_structure_type": 0, "num_memory_blocks": 0}


def _pieces() -> int:
    return albert_fast.AlbertTokenizer.from_pretrained("random:tiny").vocab_size


def _google(folder: Path, version: str, save: Callable[[Path, dict[str, torch.Tensor]], None], files: str) -> None:
    """MLM head, pooler, no sentence-order head, position_ids, and a decoder bias of zeros beside a trained one."""
    vocab_size = _pieces()
    dropout = 0.1 if version == "v1" else 0
    state, config = _state(
        "AlbertForPreTraining",
        vocab_size=vocab_size,
        hidden_act="gelu" if version == "v1" else "gelu_new",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    state = {name: tensor for name, tensor in state.items() if not name.startswith("sop_classifier")}
    state["predictions.decoder.bias"] = torch.zeros(vocab_size)
    save(folder, state)
    write_json(folder / "config.json", {"architectures": ["AlbertForMaskedLM"], **config, **_OLD_FIELDS})
    if files != "tokenizer.json":
        shutil.copy(VOCABULARY, folder / "spiece.model")
    if files != "spiece.model":
        _write_fast_tokenizer(folder)


def _write_fast_tokenizer(folder: Path) -> None:
    scratch = folder / "scratch"
    scratch.mkdir()
    shutil.copy(VOCABULARY, scratch / "spiece.model")
    shutil.copy(VOCABULARY.parent / "mini" / "tokenizer_config.json", scratch)
    fast = transformers.AlbertTokenizer.from_pretrained(scratch)
    fast.backend_tokenizer.save(str(folder / "tokenizer.json"))
    shutil.rmtree(scratch)


def _sentence_transformer(folder: Path) -> None:
    """paraphrase-albert-small-v2: a bare encoder, and how its features are made."""
    state, config = _state("AlbertModel", vocab_size=_pieces(), num_hidden_layers=4)
    write_bin(folder, {name.removeprefix("albert."): tensor for name, tensor in state.items()})
    write_json(
        folder / "config.json", {"_name_or_path": "old", "architectures": ["AlbertModel"], **config, **_OLD_FIELDS}
    )
    _write_fast_tokenizer(folder)
    shutil.copy(VOCABULARY, folder / "spiece.model")
    tokens = {
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        "unk_token": "<unk>",
        "sep_token": "[SEP]",
        "pad_token": "<pad>",
    }
    mask = {"content": "[MASK]", "single_word": False, "lstrip": True, "rstrip": False, "normalized": False}
    write_json(folder / "special_tokens_map.json", {**tokens, "cls_token": "[CLS]", "mask_token": mask})
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True, **tokens, "model_max_length": 512})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 100, "do_lower_case": False})
    kinds = (("Transformer", ""), ("Pooling", "1_Pooling"))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 64, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    more = {"pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}
    write_json(folder / "1_Pooling" / "config.json", {**pooling, **more})


def _fine_tuned(folder: Path, kind: str, architecture: str, **changes: Any) -> None:
    """Of 2020 and 2021: ``.bin`` only, and whatever labels the script left."""
    state, config = _state(kind, vocab_size=_pieces(), num_labels=changes.pop("num_labels", 2))
    write_bin(folder, state)
    write_json(folder / "config.json", {"architectures": [architecture], **config, **_OLD_FIELDS, **changes})
    shutil.copy(VOCABULARY, folder / "spiece.model")
    write_json(folder / "tokenizer_config.json", {"model_max_length": 512})


def _chinese(folder: Path, settings: Mapping[str, Any] | None, words: str = "".join(_CHINESE) + "朋友们好吗") -> None:
    """albert_chinese_tiny: WordPiece, 12 heads of 26, 4 layers, the exact GELU."""
    vocabulary = word_pieces("".join(c for c in words if ord(c) > 127) + "\uff0c。,.?!", ["ok", "the"])
    narrow = {"hidden_size": 104, "num_attention_heads": 4, "embedding_size": 16, "num_hidden_layers": 4}
    state, config = _state("AlbertForMaskedLM", vocab_size=len(vocabulary), hidden_act="gelu", **narrow)
    state["predictions.decoder.bias"] = state["predictions.bias"].clone()
    write_bin(folder, state)
    write_json(folder / "config.json", {"architectures": ["AlbertForMaskedLM"], **config})
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    if settings is not None:
        write_json(folder / "tokenizer_config.json", dict(settings))


def _in_language(folder: Path, texts: tuple[str, ...], settings: Mapping[str, Any], **options: Any) -> None:
    """SentencePiece of another language, with its own rules of case and accents."""
    model = spiece(texts, **options)
    (folder / "spiece.model").write_bytes(model)
    write_json(folder / "tokenizer_config.json", dict(settings))
    pieces = albert_fast.AlbertTokenizer.from_pretrained(folder).vocab_size
    state, config = _state("AlbertForMaskedLM", vocab_size=pieces)
    write_safetensors(folder, {name: tensor for name, tensor in state.items() if "decoder" not in name})
    write_json(folder / "config.json", {"architectures": ["AlbertForMaskedLM"], **config})


def _pabee(folder: Path) -> None:
    """A classifier after each iteration, of which the last is that of the whole model."""
    state, config = _state("AlbertModel", vocab_size=_pieces())
    state = {name if name.startswith("albert.") else f"albert.{name}": tensor for name, tensor in state.items()}
    for i in range(config["num_hidden_layers"]):
        state[f"classifiers.{i}.weight"] = 0.1 * torch.randn(2, config["hidden_size"])
        state[f"classifiers.{i}.bias"] = torch.zeros(2)
    write_bin(folder, state)
    write_json(folder / "config.json", {"architectures": ["AlbertForSequenceClassificationWithPabee"], **config})
    shutil.copy(VOCABULARY, folder / "spiece.model")


_SAVES: Final = {
    "base-v1": (write_bin, "spiece.model"),
    "large-v1": (lambda f, s: write_shards(f, s, "bin"), "spiece.model"),
    "xlarge-v1": (write_safetensors, "both"),
    "xxlarge-v1": (write_shards, "tokenizer.json"),
    "base-v2": (write_safetensors, "both"),
    "large-v2": (write_bin, "both"),
    "xlarge-v2": (write_safetensors, "tokenizer.json"),
    "xxlarge-v2": (write_shards, "both"),
}
_LANGUAGES: Final[dict[str, tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]]] = {
    "persian": (("سلام دنیا، حال شما چطور است؟", "این یک متن [MASK] است."), {"do_lower_case": True}, {}),
    "arabic": (("مرحبا بالعالم، كيف حالك؟", "هذا نص [MASK]."), {"do_lower_case": False, "keep_accents": True}, {}),
    "turkish": (
        ("İstanbul'da hava çok güzel.", "Bu [MASK] bir ÖRNEK."),
        {"do_lower_case": False, "keep_accents": True},
        {},
    ),
    "japanese": (
        ("吾輩は猫である。名前はまだ無い。", "今日は[MASK]気がいい。"),
        {"do_lower_case": False, "keep_accents": True, "remove_space": True},
        {"normalization_rule_name": "nmt_nfkc"},
    ),
    "indic-bert": (("नमस्ते दुनिया, आप कैसे हैं?", "यह एक [MASK] है।"), {"keep_accents": True, "model_max_length": 512}, {}),
}


def _families() -> dict[str, Family]:
    found = {
        f"albert-{name}": Family(lambda f, v=name[-2:], how=how: _google(f, v, *how), "fill-mask", _ENGLISH, True)
        for name, how in _SAVES.items()
    }
    found["paraphrase-albert-small-v2"] = Family(_sentence_transformer, "feature-extraction", _ENGLISH, True)
    classes = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    found["textattack SST-2"] = Family(
        lambda f: _fine_tuned(
            f, "AlbertForSequenceClassification", "AlbertForSequenceClassification", finetuning_task="sst-2", **classes
        ),
        "text-classification",
        _ENGLISH,
        True,
    )
    found["twmkn9 SQuAD 2"] = Family(
        lambda f: _fine_tuned(f, "AlbertForQuestionAnswering", "AlbertForQuestionAnswering"),
        "question-answering",
        _ENGLISH,
        True,
    )
    found["cross-encoder"] = Family(
        lambda f: _fine_tuned(
            f,
            "AlbertForSequenceClassification",
            "AlbertForSequenceClassification",
            num_labels=1,
            id2label={"0": "LABEL_0"},
        ),
        "text-classification",
        _ENGLISH,
        True,
    )
    found["PABEE"] = Family(_pabee, "feature-extraction", _ENGLISH, True)
    for name, settings in (
        ("voidful chinese tiny", None),
        ("ckiplab chinese tiny", {"do_lower_case": False, "tokenize_chinese_chars": True, "model_max_length": 512}),
        ("clue chinese tiny", {"do_lower_case": True}),
    ):
        found[name] = Family(lambda f, s=settings: _chinese(f, s), "fill-mask", _CHINESE, False)
    korean = {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}
    found["kykim korean"] = Family(
        lambda f: _chinese(f, korean, "안녕하세요오늘은날씨가좋다"),
        "fill-mask",
        ("안녕 하세요", "오늘은 [MASK]"),
        False,
    )
    for name, (texts, settings, options) in _LANGUAGES.items():
        found[name] = Family(
            lambda f, t=texts, s=settings, o=options: _in_language(f, t, s, **o), "fill-mask", texts, True
        )
    return found


FAMILIES: Final = _families()
