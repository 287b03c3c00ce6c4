"""Where a tokenizer comes from: folders, files, the hub, saving; and what damaged or foreign files give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from albert_fast.errors import CheckpointError, ConfigError, InvalidTypeError, ModelNotFoundError, OutputError
from albert_fast.tokenizer import AlbertTokenizer
from albert_fast.tokenizer.pretrained import OWN_VOCABULARY

TEXT = "No  W\u00e4r in 1945, [MASK]."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spiece.model").write_bytes(OWN_VOCABULARY.read_bytes())
    return tmp_path


def write_config(folder: Path, **config: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def test_folder_file_and_random_names_give_the_same_ids(folder: Path) -> None:
    expected = AlbertTokenizer.from_pretrained("random:albert-xxlarge-v2")(TEXT)
    for source in (folder, str(folder), folder / "spiece.model"):
        assert AlbertTokenizer.from_pretrained(source)(TEXT) == expected


def test_the_config_beside_the_vocabulary_is_honoured_and_can_be_overridden(folder: Path) -> None:
    write_config(folder, do_lower_case=False, keep_accents=True, remove_space=False, model_max_length=64)
    tokenizer = AlbertTokenizer.from_pretrained(folder)
    own = AlbertTokenizer.from_pretrained("random:tiny", do_lower_case=False, keep_accents=True, remove_space=False)
    assert tokenizer(TEXT) == own(TEXT) != AlbertTokenizer.from_pretrained("random:tiny")(TEXT)
    assert tokenizer.model_max_length == 64
    lowered = AlbertTokenizer.from_pretrained(folder, do_lower_case=True, keep_accents=False, model_max_length=32)
    assert lowered(TEXT) == AlbertTokenizer.from_pretrained("random:tiny")(TEXT)
    assert lowered.model_max_length == 32


def test_no_limit_means_the_models_limit(folder: Path) -> None:
    write_config(folder, model_max_length=int(1e30))
    assert AlbertTokenizer.from_pretrained(folder).model_max_length == 512


def test_save_and_load(tmp_path: Path) -> None:
    saved = AlbertTokenizer.from_pretrained("random:tiny", keep_accents=True, model_max_length=99)
    paths = saved.save_pretrained(tmp_path / "new" / "folder")
    assert [Path(path).name for path in paths] == ["spiece.model", "tokenizer_config.json"]
    loaded = AlbertTokenizer.from_pretrained(tmp_path / "new" / "folder")
    assert loaded(TEXT) == saved(TEXT)
    assert loaded.model_max_length == 99


def test_saving_over_a_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="folder: cannot save the tokenizer in"):
        AlbertTokenizer.from_pretrained("random:tiny").save_pretrained(tmp_path / "file")


def test_a_folder_without_a_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"none of spiece\.model, tokenizer\.json, vocab\.txt in this folder"):
        AlbertTokenizer.from_pretrained(tmp_path)


def test_a_name_of_the_wrong_type() -> None:
    with pytest.raises(InvalidTypeError, match="name_or_folder: got int"):
        AlbertTokenizer.from_pretrained(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="lower_case: not an option of a tokenizer, expected one of do_basic"):
        AlbertTokenizer.from_pretrained("random:tiny", lower_case=True)
    with pytest.raises(InvalidTypeError, match="do_lower_case: got 'no', expected True or False"):
        AlbertTokenizer.from_pretrained("random:tiny", do_lower_case="no")


@pytest.mark.parametrize("damage", ["empty", "text", "half", "between records", "tail cut", "flipped tag"])
def test_a_damaged_vocabulary_is_named(folder: Path, damage: str) -> None:
    model = OWN_VOCABULARY.read_bytes()
    first_record = 2 + model[1]
    damaged = {
        "empty": b"",
        "text": b"not a model\n" * 9,
        "half": model[: len(model) // 2],
        "between records": model[:first_record],
        "tail cut": model[:-1],
        "flipped tag": bytes([model[0] ^ 7]) + model[1:],
    }[damage]
    (folder / "spiece.model").write_bytes(damaged)
    with pytest.raises(CheckpointError, match=str(folder / "spiece.model")):
        AlbertTokenizer.from_pretrained(folder)


def test_a_vocabulary_of_another_model_is_told_from_ours(folder: Path, warned: pytest.LogCaptureFixture) -> None:
    model = OWN_VOCABULARY.read_bytes().replace(b"[MASK]", b"[MUSK]")
    (folder / "spiece.model").write_bytes(model)
    tokenizer = AlbertTokenizer.from_pretrained(folder)
    assert "the vocabulary has no [MASK]; they get the ids after its last one" in warned.text
    assert (tokenizer.mask_token_id, tokenizer.vocab_size, len(tokenizer)) == (20984, 20984, 20985)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"do_lower_case": "yes"}, "do_lower_case is 'yes', expected true or false"),
        ({"model_max_length": 0}, "model_max_length is 0, expected a positive number"),
        (
            {"tokenizer_class": "BertJapaneseTokenizer"},
            "tokenizer_class is BertJapaneseTokenizer, not supported .words",
        ),
    ],
)
def test_unsupported_configs_are_named(folder: Path, config: dict[str, Any], message: str) -> None:
    write_config(folder, **config)
    with pytest.raises(ConfigError, match=message):
        AlbertTokenizer.from_pretrained(folder)


def test_a_config_as_transformers_writes_it_is_accepted(folder: Path) -> None:
    names = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    write_config(
        folder,
        added_tokens_decoder={
            str(i): {
                "content": name,
                "lstrip": name == "[MASK]",
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": True,
            }
            for i, name in enumerate(names)
        },
        bos_token="[CLS]",
        cls_token="[CLS]",
        mask_token={"__type": "AddedToken", "content": "[MASK]", "lstrip": True},
        model_max_length=512,
        sp_model_kwargs={},
        tokenizer_class="AlbertTokenizer",
    )
    assert AlbertTokenizer.from_pretrained(folder)(TEXT) == AlbertTokenizer.from_pretrained("random:tiny")(TEXT)


@pytest.mark.parametrize(("text", "error"), [("{", CheckpointError), ("[]", ConfigError)])
def test_a_config_that_is_no_object(folder: Path, text: str, error: type[Exception]) -> None:
    (folder / "tokenizer_config.json").write_text(text)
    with pytest.raises(error, match=r"tokenizer_config\.json"):
        AlbertTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "repo"), [("albert-base-v2", "albert/albert-base-v2"), ("me/fine-tuned", "me/fine-tuned")]
)
@pytest.mark.parametrize("with_config", [True, False])
def test_the_hub_is_asked_through_its_client(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, repo: str, with_config: bool
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils import EntryNotFoundError

    asked = []

    def download(repo_id: str, file: str, **options: Any) -> str:
        asked.append((repo_id, file, options["revision"], options["local_files_only"]))
        if not (folder / file).exists() or (file == "tokenizer_config.json" and not with_config):
            raise EntryNotFoundError("no such file")
        return str(folder / file)

    write_config(folder, model_max_length=77)
    (folder / "config.json").write_text("{}")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.chdir(folder)
    tokenizer = AlbertTokenizer.from_pretrained(name, revision="v1")
    assert tokenizer.model_max_length == (77 if with_config else 512)
    assert asked == [
        (repo, "config.json", "v1", False),
        (repo, "spiece.model", folder.name, False),
        *(
            (repo, file, folder.name, False)
            for file in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json")
        ),
    ]

    def offline(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(ModelNotFoundError, match=f"tokenizer {name}: tried hub id '{repo}'"):
        AlbertTokenizer.from_pretrained(name)


@pytest.mark.parametrize("local_files_only", [True, False])
def test_a_config_the_hub_could_not_be_asked_for_is_not_taken_as_absent(
    folder: Path, monkeypatch: pytest.MonkeyPatch, local_files_only: bool
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def download(_: str, file: str, **__: Any) -> str:
        if not (folder / file).exists():
            raise LocalEntryNotFoundError("no connection")
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    if local_files_only:
        assert len(AlbertTokenizer.from_pretrained("albert-base-v2", local_files_only=True)) == 20984
    else:
        with pytest.raises(ModelNotFoundError, match="LocalEntryNotFoundError: no connection"):
            AlbertTokenizer.from_pretrained("albert-base-v2")


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, albert_fast.tokenizer;"
        "print(sorted({'torch', 'sentencepiece', 'huggingface_hub', 'transformers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert result.stdout.strip() == "[]"
