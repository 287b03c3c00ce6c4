"""A model on the Hugging Face hub, through huggingface_hub's own cache and download."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from albert_fast.config import PRESETS
from albert_fast.errors import AlbertFastError, ModelNotFoundError
from albert_fast.sources.base import WeightSource
from albert_fast.sources.folder import CONFIG_FILE, WEIGHT_FILES, open_file, shard_names


def hub_id(name: str) -> str:
    """The full id of a model: the short names of the published ones stand for ``albert/NAME``."""
    return f"albert/{name}" if name.startswith("albert-") and name in PRESETS else name


def open_hub(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    mlm_bias: str = "decoder",
) -> WeightSource:
    """Fetch what is needed and not yet cached: ``config.json`` and the first of ``WEIGHT_FILES`` there is.

    All files are taken from one commit, the one ``config.json`` came from. Raises ``ModelNotFoundError`` with
    what was tried, whatever kept the files away.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import EntryNotFoundError  # type: ignore[attr-defined]  # its home before 0.25

    repo, cache = hub_id(name), None if cache_dir is None else os.fspath(cache_dir)

    def fetch(file: str, at: str | None) -> Path:
        path = hf_hub_download(repo, file, revision=at, cache_dir=cache, local_files_only=local_files_only)
        return Path(path)

    with _hub_errors(name, repo, revision):
        config = fetch(CONFIG_FILE, revision)
        commit = config.parent.name  # the cache keeps a file under snapshots/COMMIT/
        tried = []
        for candidate in WEIGHT_FILES:
            try:
                weights = fetch(candidate, commit)
            except EntryNotFoundError as error:
                tried.append(f"{candidate}: {_first_line(error)}")
                continue
            _fetch_shards(weights, lambda shard: fetch(shard, commit))
            return open_file(name, weights, mlm_bias)
    raise ModelNotFoundError(f"model {name}: no weights under hub id {repo!r} ({'; '.join(tried)})")


def _fetch_shards(weights: Path, fetch: Callable[[str], Path]) -> None:
    if weights.name.endswith(".index.json"):
        for shard in sorted(set(shard_names(weights).values())):
            fetch(shard)


@contextmanager
def _hub_errors(name: str, repo: str, revision: str | None) -> Iterator[None]:
    """Whatever the hub's client raises becomes one ``ModelNotFoundError``; its classes differ between its
    versions."""
    try:
        yield
    except AlbertFastError:
        raise
    except Exception as error:
        where = f"hub id {repo!r}" + (f" at revision {revision!r}" if revision else "")
        raise ModelNotFoundError(
            f"model {name}: tried {where}: {type(error).__name__}: {_first_line(error)}."
            " If you have its files (config.json and the weights), pass the path of their folder instead"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no further explanation"])[0].rstrip(".")
