"""The hub path with huggingface_hub's real code: a cache laid out by hand, and a server on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from checkpoints import assert_same, random_arrays, write_config, write_folder, write_shards

from albert_fast.errors import CheckpointError, ModelNotFoundError
from albert_fast.sources import open_source
from albert_fast.sources.place import hub_id

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEWER = "fedcba9876543210fedcba9876543210fedcba98"


def cached_snapshot(cache: Path, repo: str, commit: str = COMMIT) -> Path:
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    return root / "snapshots" / commit


@pytest.mark.parametrize("repo", ["albert/albert-base-v2", "someone/fine-tuned", "old-style-name"])
def test_from_the_cache_alone(tmp_path, repo):
    arrays = write_folder(cached_snapshot(tmp_path, repo))
    asked = [repo, "albert-base-v2"] if repo.startswith("albert/") else [repo]
    for name in asked:
        with open_source(name, cache_dir=tmp_path, local_files_only=True) as source:
            assert source.name == name
            assert source.folder == cached_snapshot(tmp_path, repo)
            assert_same(source, arrays)
    with open_source(repo, cache_dir=str(tmp_path), local_files_only=True, revision=COMMIT) as source:
        assert_same(source, arrays)


def test_shards_from_the_cache(tmp_path):
    folder = cached_snapshot(tmp_path, "a/b")
    arrays = random_arrays()
    write_shards(folder, arrays)
    write_config(folder)
    with open_source("a/b", cache_dir=tmp_path, local_files_only=True) as source:
        assert_same(source, arrays)
    next(folder.glob("*-of-*")).unlink()
    with pytest.raises(ModelNotFoundError, match="a/b"):
        open_source("a/b", cache_dir=tmp_path, local_files_only=True)


def test_what_is_not_in_the_cache(tmp_path):
    with pytest.raises(ModelNotFoundError) as caught:
        open_source("albert-xxlarge-v2", cache_dir=tmp_path, local_files_only=True)
    message = str(caught.value)
    assert message.startswith("model albert-xxlarge-v2: tried hub id 'albert/albert-xxlarge-v2'")
    assert "pass the path of their folder" in message
    folder = cached_snapshot(tmp_path, "a/b")
    folder.mkdir(parents=True)
    write_config(folder)
    with pytest.raises(ModelNotFoundError, match=r"no weights under hub id 'a/b', expected one of model.*pytorch"):
        open_source("a/b", cache_dir=tmp_path, local_files_only=True)
    with pytest.raises(ModelNotFoundError, match="at revision 'nothing'"):
        open_source("a/b", cache_dir=tmp_path, local_files_only=True, revision="nothing")


def test_damaged_files_in_the_cache_say_so(tmp_path):
    folder = cached_snapshot(tmp_path, "a/b")
    write_folder(folder)
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="not a usable safetensors file"):
        open_source("a/b", cache_dir=tmp_path, local_files_only=True)


def test_names_the_hub_does_not_allow(tmp_path):
    for name in ("a--b/c", "a..b", "x" * 120):
        with pytest.raises(ModelNotFoundError, match="HFValidationError"):
            open_source(name, cache_dir=tmp_path, local_files_only=True)


def test_a_local_folder_wins_over_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = write_folder(tmp_path / "albert-base-v2")
    with open_source("albert-base-v2") as source:
        assert_same(source, arrays)


def test_short_names():
    assert hub_id("albert-xlarge-v1") == "albert/albert-xlarge-v1"
    assert hub_id("albert/albert-xlarge-v1") == "albert/albert-xlarge-v1"
    assert hub_id("tiny") == "tiny"
    assert hub_id("me/albert-xlarge-v1") == "me/albert-xlarge-v1"


class Hub:
    """The part of the hub's HTTP interface that a download uses, over folders by (repository, commit)."""

    def __init__(self) -> None:
        self.commits: dict[tuple[str, str], tuple[str, Path]] = {}  # (repo, revision) -> commit, folder
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self, with_body=False)

            def do_GET(self) -> None:
                hub.answer(self, with_body=True)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def publish(self, repo: str, commit: str, folder: Path) -> None:
        self.commits[repo, "main"] = self.commits[repo, commit] = (commit, folder)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        self.requests.append(f"{request.command} {request.path}")
        repo, _, rest = request.path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if repo == "secret/model":
            return self.refuse(request, 403, "GatedRepo")
        if (repo, revision) not in self.commits:
            known = any(other == repo for other, _ in self.commits)
            return self.refuse(request, 404, "RevisionNotFound" if known else "RepoNotFound")
        commit, folder = self.commits[repo, revision]
        if not (folder / name).is_file():
            return self.refuse(request, 404, "EntryNotFound", commit)
        content = (folder / name).read_bytes()
        request.send_response(200)
        request.send_header("X-Repo-Commit", commit)
        request.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if with_body:
            request.wfile.write(content)

    @staticmethod
    def refuse(request: BaseHTTPRequestHandler, status: int, code: str, commit: str = COMMIT) -> None:
        request.send_response(status)
        request.send_header("X-Error-Code", code)
        request.send_header("X-Error-Message", f"the server says {code}")
        request.send_header("X-Repo-Commit", commit)
        request.send_header("Content-Length", "0")
        request.end_headers()


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


SCRIPT = """
import hashlib, sys
from albert_fast.errors import AlbertFastError
from albert_fast.sources import open_source
model, revision = sys.argv[1], sys.argv[2] or None
try:
    with open_source(model, revision=revision) as source:
        digest = hashlib.sha256()
        for name in sorted(source.tensor_names):
            digest.update(source.rows(name, 0, source.shape(name)[0]).tobytes())
        print(source.folder.name, digest.hexdigest())
except AlbertFastError as error:
    print(type(error).__name__, error)
"""


def load(endpoint: str, home: Path, model: str, revision: str = "", **environment: str) -> str:
    """Open a model in a new process (the endpoint is read at import) and return what it printed."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, model, revision],
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))},
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def digest(arrays) -> str:
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(arrays[name].tobytes())
    return total.hexdigest()


def test_download_then_cache(tmp_path, hub):
    arrays = write_folder(tmp_path / "served")
    (tmp_path / "served" / "pytorch_model.bin").write_bytes(b"never asked for")
    hub.publish("albert/albert-base-v2", COMMIT, tmp_path / "served")
    home = tmp_path / "home"
    expected = f"{COMMIT} {digest(arrays)}"

    assert load(hub.url, home, "albert-base-v2") == expected
    fetched = {request.rpartition("/")[2] for request in hub.requests if request.startswith("GET")}
    assert fetched == {"config.json", "model.safetensors"}

    hub.requests.clear()
    assert load(hub.url, home, "albert/albert-base-v2") == expected
    assert not [request for request in hub.requests if request.startswith("GET")]

    assert load("http://127.0.0.1:9", home, "albert-base-v2", HF_HUB_OFFLINE="1") == expected


def test_shards_and_all_files_of_one_commit(tmp_path, hub):
    arrays = random_arrays()
    write_config(tmp_path)
    write_shards(tmp_path, arrays)
    hub.publish("some/model", COMMIT, tmp_path)
    assert load(hub.url, tmp_path / "home", "some/model") == f"{COMMIT} {digest(arrays)}"
    weights = [r for r in hub.requests if "model" in r.rpartition("/")[2]]
    assert weights
    assert all(f"/resolve/{COMMIT}/" in request for request in weights)
    assert not any("pytorch" in request for request in weights)


def test_revisions(tmp_path, hub):
    old = write_folder(tmp_path / "old")
    new = write_folder(tmp_path / "new", {name: array + 1 for name, array in old.items()})
    hub.publish("some/model", COMMIT, tmp_path / "old")
    hub.publish("some/model", NEWER, tmp_path / "new")
    home = tmp_path / "home"
    assert load(hub.url, home, "some/model") == f"{NEWER} {digest(new)}"
    assert load(hub.url, home, "some/model", COMMIT) == f"{COMMIT} {digest(old)}"
    answer = load(hub.url, home, "some/model", "v9")
    assert answer.startswith("ModelNotFoundError model some/model: tried hub id 'some/model' at revision 'v9'")


def test_bin_when_there_is_nothing_better(tmp_path, hub):
    torch = pytest.importorskip("torch")
    arrays = random_arrays()
    write_config(tmp_path)
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, tmp_path / "pytorch_model.bin")
    hub.publish("some/model", COMMIT, tmp_path)
    assert load(hub.url, tmp_path / "home", "some/model") == f"{COMMIT} {digest(arrays)}"


@pytest.mark.parametrize(
    ("model", "reason"),
    [("nobody/nothing", "RepositoryNotFoundError"), ("secret/model", "GatedRepoError")],
)
def test_what_the_hub_refuses(tmp_path, hub, model, reason):
    answer = load(hub.url, tmp_path, model)
    assert answer.startswith(f"ModelNotFoundError model {model}: tried hub id {model!r}: {reason}")


def test_repositories_without_the_files(tmp_path, hub):
    (tmp_path / "README.md").write_text("nothing else")
    hub.publish("some/model", COMMIT, tmp_path)
    answer = load(hub.url, tmp_path / "home", "some/model")
    assert answer.startswith("ModelNotFoundError model some/model: tried hub id 'some/model'")
    assert "config.json" in answer
    write_config(tmp_path)
    answer = load(hub.url, tmp_path / "home", "some/model")
    assert "no weights under hub id 'some/model'" in answer


def test_index_that_names_a_file_elsewhere_is_refused(tmp_path, hub):
    write_config(tmp_path)
    index = {"weight_map": {"albert.pooler.bias": "../../../../stolen.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    hub.publish("some/model", COMMIT, tmp_path)
    assert load(hub.url, tmp_path / "home", "some/model").startswith("CheckpointError")
    assert not any("stolen" in request for request in hub.requests)
