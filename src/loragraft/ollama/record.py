"""What loragraft has registered where: one small file of the user's, and the bundles' metadata.

The file also notes what is under way: a tag that is being made, and the name under which the
model that had it is kept. A run after a crash finds that and puts things back.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from loragraft.artifact.files import write_atomically
from loragraft.artifact.lock import hold_lock
from loragraft.errors import InputError

FILE_NAME = "ollama.json"
SCHEMA_VERSION = 1
_MODELS, _PENDING = "models", "pending"

Item = TypeVar("Item", "Registered", "Pending")


@dataclass(frozen=True)
class Registered:
    """One model that loragraft registered.

    Attributes:
        url: The server's address.
        tag: Its name there.
        bundle: Path of the bundle's folder, or of the bare file.
        gguf: The file's name.
        blob: SHA256 of the uploaded file.
        layer: SHA256 of the file that the server runs; None where it does not say.
        manifest: The server's digest of the model: it changes with anything about it.
        request: SHA256 of template, system, parameters, licenses and messages.
        server_version: Of the server then.
        registered: When, in UTC.
    """

    url: str
    tag: str
    bundle: str
    gguf: str
    blob: str
    layer: str | None
    manifest: str
    request: str
    server_version: str
    registered: str


@dataclass(frozen=True)
class Pending:
    """A registration that is under way, or was when its process ended.

    Attributes:
        url: The server's address.
        tag: The name that is being given.
        backup: The name under which the model that had it is kept; None where there was none.
        template: SHA256 of the template that was sent, to tell our half-made model from another.
        jinja: SHA256 of the GGUF's own, which newer servers put in its place.
    """

    url: str
    tag: str
    backup: str | None
    template: str
    jinja: str


def state_folder() -> Path:
    """Return where loragraft keeps what it cannot make again: ``LORAGRAFT_STATE`` or the user's.

    Raises:
        InputError: If the user has no home folder.
    """
    given = os.environ.get("LORAGRAFT_STATE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(home) if home else Path.home() / ".local" / "state") / "loragraft"
    except RuntimeError:
        raise InputError(
            "There is no home folder to keep the list of registered models in. Set LORAGRAFT_STATE."
        ) from None


def text_digest(value: object) -> str:
    """Return the SHA256 of a text, or of JSON values."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Record:
    """The list of registered models; reads and writes whole files, one process at a time."""

    def __init__(self, folder: Path | None = None) -> None:
        """Name the folder; nothing is read yet.

        Args:
            folder: Where the list lies, :func:`state_folder` by default.
        """
        self.folder = folder or state_folder()
        self.path = self.folder / FILE_NAME

    def models(self, url: str | None = None) -> list[Registered]:
        """Return what is registered, on one server or on all."""
        return _items(self._load(), _MODELS, Registered, url)

    def find(self, url: str, tag: str) -> Registered | None:
        """Return what is known of a tag."""
        wanted = _key(url, tag)
        return next((item for item in self.models(url) if _key(item.url, item.tag) == wanted), None)

    def pending(self, url: str) -> list[Pending]:
        """Return what was under way on a server."""
        return _items(self._load(), _PENDING, Pending, url)

    def put(self, item: Registered | Pending) -> None:
        """Note a model, or that one is being made."""
        kind = _MODELS if isinstance(item, Registered) else _PENDING
        with self._changed() as value:
            value[kind][_key(item.url, item.tag)] = asdict(item)

    def drop(self, url: str, tag: str) -> None:
        """Forget a model."""
        with self._changed() as value:
            value[_MODELS].pop(_key(url, tag), None)

    def settle(self, url: str, tag: str) -> None:
        """Forget that a tag was being made."""
        with self._changed() as value:
            value[_PENDING].pop(_key(url, tag), None)

    @contextmanager
    def working_on(self, url: str, tag: str) -> Iterator[None]:
        """Hold a tag while it is being changed.

        Raises:
            LockedError: If another process changes the same tag.
        """
        self._make_folder()
        name = f"ollama-{text_digest(_key(url, tag))[:16]}.lock"
        with hold_lock(self.folder / name):
            yield

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        from filelock import FileLock

        self._make_folder()
        with FileLock(self.folder / f"{FILE_NAME}.lock", timeout=30):
            value = self._load()
            yield value
            text = json.dumps(value, indent=2, sort_keys=True) + "\n"
            write_atomically(self.path, text.encode())

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be made ({error.strerror}); the list of registered models "
                "lies there. Set LORAGRAFT_STATE to another folder."
            ) from None

    def _load(self) -> dict[str, Any]:
        empty: dict[str, Any] = {"schema_version": SCHEMA_VERSION, _MODELS: {}, _PENDING: {}}
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return empty
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{self.path} cannot be read ({error}): it lists what loragraft has registered. "
                "Move it away to begin a new list."
            ) from None
        parts = [value.get(key) for key in (_MODELS, _PENDING)] if isinstance(value, dict) else [0]
        if not all(isinstance(part, dict) for part in parts):
            raise InputError(f"{self.path} is no list of loragraft's. Move it away.")
        if value.get("schema_version") != SCHEMA_VERSION:
            raise InputError(f"{self.path} is of another version of loragraft. Upgrade loragraft.")
        return dict(value)


def _key(url: str, tag: str) -> str:
    """Return what tells models apart: servers look names up without regard to case."""
    return f"{url.replace('//localhost:', '//127.0.0.1:')} {tag.lower()}"


def _items(value: Mapping[str, Any], kind: str, make: type[Item], url: str | None) -> list[Item]:
    names = {field.name for field in fields(make)}
    found = [
        make(**entry)
        for _, entry in sorted(value[kind].items())
        if isinstance(entry, dict) and set(entry) == names
    ]
    return [item for item in found if url is None or _key(item.url, "") == _key(url, "")]
