"""What loragraft registered, whether it is still there, and whether it matches its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loragraft.artifact.checksums import read_checksums
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import LoragraftError
from loragraft.ollama.record import Record, Registered

OnServer = Literal["as registered", "changed", "gone", "server not reached"]
OfBundle = Literal["matches", "changed", "gone", "not a bundle"]


@dataclass(frozen=True)
class Listed:
    """One registered model.

    Attributes:
        entry: What was noted when it was registered.
        server: What the server has under its name now, if it was asked.
        bundle: Whether the bundle's checksum list still names the uploaded file.
    """

    entry: Registered
    server: OnServer
    bundle: OfBundle

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**vars(self.entry), "on_server": self.server, "of_bundle": self.bundle}


def list_registered(server: OllamaServer, record: Record | None = None) -> list[Listed]:
    """Compare what is noted of a server with what it has; nothing is changed.

    Raises:
        UnavailableError: If the server is not there.
    """
    there = {
        str(model["name"]).lower(): str(model.get("digest") or "") for model in server.models()
    }
    return [
        Listed(entry, _on_server(entry, there), _of_bundle(entry))
        for entry in (record or Record()).models(server.url)
    ]


def list_noted(url: str, record: Record | None = None) -> list[Listed]:
    """Return what is noted of a server that cannot be asked."""
    return [
        Listed(entry, "server not reached", _of_bundle(entry))
        for entry in (record or Record()).models(url)
    ]


def _on_server(entry: Registered, there: Mapping[str, str]) -> OnServer:
    found = there.get(entry.tag.lower())
    if found is None:
        return "gone"
    return "as registered" if found == entry.manifest else "changed"


def _of_bundle(entry: Registered) -> OfBundle:
    path = Path(entry.bundle)
    if not path.exists():
        return "gone"
    if not path.is_dir():
        return "not a bundle"
    try:
        return "matches" if read_checksums(path).get(entry.gguf) == entry.blob else "changed"
    except LoragraftError:
        return "changed"
