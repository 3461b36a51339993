"""Remove a model that loragraft registered; others only when told so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import InputError, UnavailableError
from loragraft.ollama.bundle_record import remove_from_bundle
from loragraft.ollama.naming import check_tag
from loragraft.ollama.record import Record
from loragraft.ollama.register import manifest_digest, recover


@dataclass(frozen=True)
class Removal:
    """What removing did.

    Attributes:
        tag: The name.
        removed: Whether the server had it; False where only the note of it was left.
        notes: What a user should know.
    """

    tag: str
    removed: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**vars(self), "notes": list(self.notes)}


def remove(
    tag: str,
    server: OllamaServer,
    *,
    force: bool = False,
    progress: Progress | None = None,
    record: Record | None = None,
) -> Removal:
    """Remove a model from a server, and the notes of it.

    Args:
        tag: Its name.
        server: Where it is.
        force: Whether to remove what loragraft did not register, or what was changed since.
        progress: Who hears what is being done.
        record: Where registrations are noted.

    Raises:
        InputError: If there is no such model, or it is not ours.
        UnavailableError: If the server is not there, or keeps the model all the same.
    """
    name, notebook = check_tag(tag), record or Record()
    with notebook.working_on(server.url, name):
        recover(server, notebook, progress or Silent(), name)
        known = notebook.find(server.url, name)
        there = server.find(name) is not None
        if not there and known is None:
            raise InputError(f"Ollama at {server.url} has no model {name!r}, and none is noted.")
        if there and not force:
            _refuse_others(name, server, notebook)
        if there:
            server.delete(name)
            if server.find(name) is not None:
                raise UnavailableError(
                    f"Ollama at {server.url} still has {name} after removing it."
                )
        notebook.drop(server.url, name)
        notes = remove_from_bundle(Path(known.bundle), known) if known is not None else ()
    return Removal(name, there, notes)


def _refuse_others(name: str, server: OllamaServer, record: Record) -> None:
    known = record.find(server.url, name)
    if known is None:
        raise InputError(
            f"{name} was not registered by loragraft from this account. Remove it with ollama rm "
            f"{name}, or give --force."
        )
    if known.manifest != manifest_digest(server, name):
        raise InputError(
            f"{name} was changed since loragraft registered it. Look at it with ollama show "
            f"{name}, and give --force to remove it all the same."
        )
