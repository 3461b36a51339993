"""Names of models on an Ollama server: checked before anything is sent."""

from __future__ import annotations

import hashlib
import re

from loragraft.errors import InputError

LATEST = "latest"
_HOME = ("registry.ollama.ai/", "library/")
"""What Ollama leaves out of the names it shows."""
_MAX_PART = 80
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"
_NAME = re.compile(
    rf"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.:-]{{0,349}})/)?(?:(?P<space>[A-Za-z0-9_][A-Za-z0-9_-]"
    rf"{{0,79}})/)?(?P<model>{_PART})(?::(?P<tag>{_PART}))?"
)


def check_tag(text: str) -> str:
    """Return a model's name with its tag, as the server lists it.

    Args:
        text: ``[host/][namespace/]model[:tag]``; without a tag, ``latest`` is meant.

    Raises:
        InputError: If Ollama takes no such name.
    """
    name = text.removeprefix("https://").removeprefix("http://")
    for prefix in _HOME:
        name = name.removeprefix(prefix)
    found = _NAME.fullmatch(name)
    if found is None or ".." in name:
        raise InputError(
            f"{text[:100]!r} is no name that Ollama takes. Names are MODEL[:TAG] or "
            f"OWNER/MODEL[:TAG], each part of 1 to {_MAX_PART} letters, digits, '.', '-' and '_', "
            "beginning with a letter or digit. Give one with --name."
        )
    return name if found["tag"] else f"{name}:{LATEST}"


def suggest_tag(name: str) -> str:
    """Make a name for a server of a bundle's name."""
    plain = re.sub(r"(?:[^A-Za-z0-9_.-]|\.{2,})+", "-", name).strip("-.")[:_MAX_PART].rstrip("-.")
    return f"{plain or 'loragraft'}:{LATEST}"


def same_tag(first: str, second: str) -> bool:
    """Whether two names mean one model: servers look names up without regard to case."""
    return check_tag(first).lower() == check_tag(second).lower()


def backup_tag(tag: str) -> str:
    """Return the name under which the model of a tag is kept while another takes its place.

    It is the same each time, so that a run after a crash finds it, and tells a person what it is.
    """
    name, _, version = check_tag(tag).rpartition(":")
    head, slash, model = name.rpartition("/")
    mark = hashlib.sha256(check_tag(tag).lower().encode()).hexdigest()[:8]
    return f"{head}{slash}{model[:48].rstrip('-.')}-before-replacing-{mark}:{version}"


def spell_folder(name: str) -> str:
    """Return a name as a workspace's folder has it: dots spelled out, as in qwen2dot5-science."""
    return name.replace(".", "dot")
