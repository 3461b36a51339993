"""A file on its way: the bytes so far beside the file to be, and what they are of.

```
FILE.part         the bytes so far
FILE.part.json    what they are of: source and validator (ETag); once FILE is whole, that it is
```
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from loragraft.artifact.files import write_atomically
from loragraft.artifact.space import explain_full_disk, format_bytes
from loragraft.errors import InputError


@dataclass(frozen=True)
class Download:
    """A file that arrived.

    Attributes:
        path: Where it lies.
        name: What the server or the address calls it.
        url: Where the bytes came from after redirects; no query, no credentials.
        etag: As sent, or None.
        modified: ``Last-Modified`` as seconds since 1970, or None.
        bytes: Its size.
        resumed: Bytes that were there from a run before this one.
        hashes: Headers that name a hash (``x-goog-hash``), as sent.
    """

    path: Path
    name: str
    url: str
    etag: str | None
    modified: float | None
    bytes: int
    resumed: int
    hashes: str | None = None


class Part:
    """The bytes so far, and what they are of.

    Attributes:
        path: Where they lie.
        size: How many they are.
        kept: How many of them an earlier run brought.
        validator: What stands for the content they are of, as If-Range takes it.
    """

    def __init__(self, target: Path, identity: str) -> None:
        """Name the file to be, and what it is; nothing is read yet."""
        self.path = target.with_name(f"{target.name}.part")
        self._state_path = target.with_name(f"{target.name}.part.json")
        self._identity = identity
        self.validator: str | None = None
        self.size = 0
        self.kept = 0

    def load(self) -> None:
        """Take what an earlier run left, or begin."""
        try:
            state = json.loads(self._state_path.read_text(encoding="utf-8"))
            size = self.path.stat().st_size
        except (OSError, ValueError, RecursionError):
            state, size = None, 0
        if isinstance(state, dict) and state.get("identity") == self._identity:
            validator = state.get("validator")
            if isinstance(validator, str):
                self.validator, self.size = validator, size
        if not self.size:
            self.restart()
        self.kept = self.size

    def restart(self) -> None:
        """Drop the bytes."""
        self.path.write_bytes(b"")
        self._state_path.unlink(missing_ok=True)
        self.size, self.kept, self.validator = 0, 0, None

    def describe(self, validator: str | None) -> None:
        """Note what the bytes will be of; without a validator they are good for this run only."""
        self.validator = validator
        state = {"identity": self._identity, "validator": validator}
        write_atomically(self._state_path, json.dumps(state).encode())

    @property
    def strong(self) -> bool:
        """Whether the validator is an ETag."""
        return self.validator is not None and self.validator.startswith('"')

    def headers(self) -> dict[str, str]:
        """Return what asks for the rest."""
        if not self.size or self.validator is None:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}

    def append(self, blocks: Iterator[bytes], expected: int | None, limit: int, what: str) -> None:
        """Write blocks as they come, up to a limit."""
        with self.path.open("ab", buffering=0) as file:
            for block in blocks:
                if self.size + len(block) > limit:
                    raise too_large(what, None, limit)
                still = None if expected is None else expected - self.size
                with explain_full_disk(self.path, still):
                    rest = memoryview(block)
                    while len(rest):
                        count = file.write(rest)
                        rest = rest[count:]
                        self.size += count

    def finish(self, got: Download) -> Download:
        """Give the whole file its name, and note that it is whole for the next run."""
        note = {**asdict(got), "path": str(got.path), "resumed": got.bytes}
        state = {"identity": self._identity, "done": note}
        write_atomically(self._state_path, json.dumps(state).encode())
        self.path.replace(got.path)
        return got

    def finished(self, target: Path) -> Download | None:
        """Return the file, if an earlier run brought the whole of it."""
        try:
            state = json.loads(self._state_path.read_text(encoding="utf-8"))
            size = target.stat().st_size
        except (OSError, ValueError, RecursionError):
            return None
        note = state.get("done") if isinstance(state, dict) else None
        if not isinstance(note, dict) or state.get("identity") != self._identity:
            return None
        return Download(**{**note, "path": target}) if note.get("bytes") == size else None


def too_large(what: str, size: int | None, limit: int) -> InputError:
    """Return the error for more bytes than are wanted."""
    has = f"has {format_bytes(size)}" if size is not None else "goes on"
    return InputError(
        f"{what} {has}; at most {format_bytes(limit)} are taken. An adapter is rarely that large: "
        "check that it is the one you mean, then raise --max-size."
    )
