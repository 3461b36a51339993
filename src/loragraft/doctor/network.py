"""What stands between this machine and others: proxies, offline switches, the Hub's caches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loragraft.adapter.fetch.urls import redact_url
from loragraft.artifact.space import format_bytes
from loragraft.doctor.rows import Row, Surroundings, fine, note, shown
from loragraft.doctor.sizes import tree_size

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
PLACES = ("HF_HOME", "HF_HUB_CACHE", "HF_XET_CACHE", "HF_ENDPOINT", "LORAGRAFT_CACHE")
ON = {"1", "on", "yes", "true"}
"""What the Hub's client reads as yes (huggingface_hub.constants)."""
COUNT_SECONDS = 4.0
"""For adding up the Hub's cache, which may hold many files."""


def set_variables(environ: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """Return the variables that are set, in whichever case, by their upper-case names."""
    found: dict[str, str] = {}
    for name in names:
        value = environ.get(name.lower()) or environ.get(name)
        if value:
            found[name] = value
    return found


def check_network(surroundings: Surroundings) -> list[Row]:
    """Say which variables change where loragraft may fetch from."""
    proxies = set_variables(surroundings.environ, PROXIES)
    excepted = set_variables(surroundings.environ, ("NO_PROXY",)).get("NO_PROXY", "")
    offline = [
        name for name, text in set_variables(surroundings.environ, OFFLINE).items()
        if text.lower() in ON
    ]  # fmt: skip
    words = [f"{name}={shown(redact_url(text))}" for name, text in proxies.items()]
    words += [f"NO_PROXY={shown(excepted)}"] if excepted else []
    words += [f"{name} is on" for name in offline]
    facts: dict[str, Any] = {
        "proxies": {name: redact_url(text) for name, text in proxies.items()},
        "no_proxy": excepted or None,
        "offline": offline,
    }
    measured = ", ".join(words) or "no proxy and no offline switch is set"
    expected = "what you mean to be set"
    if offline:
        step = f"Nothing is fetched from the Hub; to allow it: unset {' '.join(offline)}"
        return [note("network.variables", measured, expected, step, facts)]
    return [fine("network.variables", measured, expected, facts=facts)]


def check_hub(surroundings: Surroundings) -> list[Row]:
    """Say where the Hub's client keeps what it downloads, and how much that is."""
    from huggingface_hub.constants import HF_HUB_CACHE, HF_XET_CACHE

    cache, xet = Path(HF_HUB_CACHE), Path(HF_XET_CACHE)
    size = tree_size(cache, COUNT_SECONDS)
    chunks = tree_size(xet, COUNT_SECONDS / 4)
    about = "" if size.whole else "at least "
    words = f"{shown(cache)}: {about}{format_bytes(size.bytes)}"
    if chunks.bytes:
        words += f"; {shown(xet)}: {format_bytes(chunks.bytes)}"
    words += f"; hf-xet {_version('hf-xet') or 'not installed'}"
    facts = {
        "cache": str(cache),
        "bytes": size.bytes,
        "whole": size.whole,
        "xet_cache": str(xet),
        "xet_bytes": chunks.bytes,
        "variables": set_variables(surroundings.environ, PLACES),
    }
    expected = "a folder that can be written to"
    if not _writable(cache):
        step = "Set HF_HOME to a folder of yours."
        return [note("network.hub", f"{words}; it cannot be written to", expected, step, facts)]
    hint = "Not ours, so never cleaned here; to tidy it: hf cache prune" if size.bytes else ""
    return [fine("network.hub", words, expected, hint, facts)]


def _writable(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, may be written to."""
    place = folder.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return os.access(place, os.W_OK) and place.is_dir()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
