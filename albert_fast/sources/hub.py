"""A model on the Hugging Face hub."""

from __future__ import annotations

from albert_fast.errors import ModelNotFoundError
from albert_fast.sources.base import WeightSource
from albert_fast.sources.folder import CONFIG_FILE, WEIGHT_FILES, open_file, shard_names
from albert_fast.sources.place import HubPlace


def open_hub(name: str, place: HubPlace, mlm_bias: str = "decoder") -> WeightSource:
    """Fetch what is needed and not yet cached: ``config.json`` and the first of ``WEIGHT_FILES`` there is.

    All files are taken from one commit, the one ``config.json`` came from. Raises ``ModelNotFoundError`` with
    what was tried, whatever kept the files away.
    """
    place.require(CONFIG_FILE)
    for candidate in WEIGHT_FILES:
        if (weights := place.find(candidate)) is None:
            continue
        if candidate.endswith(".index.json"):
            for shard in sorted(set(shard_names(weights).values())):
                place.require(shard)
        return open_file(name, weights, mlm_bias)
    raise ModelNotFoundError(
        f"model {name}: no weights under hub id {place.repo!r}, expected one of {', '.join(WEIGHT_FILES)}"
    )
