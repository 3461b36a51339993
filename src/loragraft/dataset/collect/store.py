"""Records as they arrive: each page is there whole with its position, or not at all.

```
raw.jsonl           the records, once collection is over
raw.jsonl.part      the records so far
raw.jsonl.collect   SQLite: how many bytes of them count, the position, the ids seen
.raw.jsonl.lock     held while a process collects
```

A page's bytes are flushed to the disk first; then one transaction says that they count. After a
kill between the two the bytes behind are cut off and the page is fetched again. The ``.collect``
file stays: by it ``--resume`` knows that nothing is left to do, or where another run goes on.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from loragraft.artifact.closing import Closing
from loragraft.artifact.database import explain_full_database
from loragraft.artifact.files import sync_folder
from loragraft.artifact.space import explain_full_disk
from loragraft.dataset.collect.page import Added, Page, sha256
from loragraft.errors import InputError, UnavailableError

_VERSION = "1"
_TABLES = """
CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT);
"""
_CANNOT_WRITE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EISDIR}
SYNCHRONOUS = "FULL"
"""SQLite's own setting: a page that counts is on the disk. Tests without power cuts need less."""


def part_path(out: Path) -> Path:
    """Return where records are before collection is over."""
    return out.with_name(out.name + ".part")


def state_path(out: Path) -> Path:
    """Return where a collection's position stands."""
    return out.with_name(out.name + ".collect")


@contextmanager
def explained_output(out: Path) -> Iterator[None]:
    """Say in words why nothing can be written where a file shall be made.

    Raises:
        InputError: If its folder is missing or may not be written to, or its name is unfit.
    """
    if not out.parent.is_dir():
        raise InputError(f"The folder {out.parent} does not exist. Make it, or choose another.")
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise InputError(
            f"Nothing can be written to {out}: {error.strerror}. Choose another file with -o."
        ) from None


class Store(Closing):
    """The records of one collection and how far it is; a context manager.

    Attributes:
        out: The file that appears in the end.
    """

    def __init__(
        self,
        out: Path,
        key: Mapping[str, str],
        *,
        resume: bool = False,
        replace: bool = False,
        hide: Callable[[str], str] | None = None,
    ) -> None:
        """Begin a collection, or go on with one. The lock is the caller's.

        Args:
            out: The file to make.
            key: What is collected; another key is another collection.
            resume: Whether one that is there goes on; where none is, it begins.
            replace: Whether what is there gives way.
            hide: Takes secrets out of every line.

        Raises:
            InputError: If the file is there already, belongs to another collection, or does not
                fit its state.
            OutOfSpaceError: If the disk is full.
        """
        self.out, self._hide = out, hide or str
        self._file: BinaryIO | None = None
        self._part, self._state = part_path(out), state_path(out)
        if replace:
            self._forget()
        self._check(resume, replace)
        with _explain(self._state):
            self._db = sqlite3.connect(self._state)
            self._db.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        try:
            with _explain(self._state):
                self._open(key)
        except BaseException:
            self._db.close()
            raise

    def _forget(self) -> None:
        for path in (self._state, self._state.with_name(self._state.name + "-journal"),
                     self._part):  # fmt: skip
            path.unlink(missing_ok=True)

    def _check(self, resume: bool, replace: bool) -> None:
        if self.out.is_dir():
            raise InputError(f"{self.out} is a folder. Name the file to make with -o.")
        if self._state.exists():
            if not resume:
                raise InputError(
                    f"A collection into {self.out} is there already. Give --resume to go on with "
                    "it, --replace to drop it and begin anew, or choose another file with -o."
                )
        elif self.out.exists() and not replace:
            raise InputError(
                f"{self.out} is there already, and {self._state.name}, by which it could be gone "
                "on with, is not. Choose another file with -o, or give --replace."
            )

    def _open(self, key: Mapping[str, str]) -> None:
        spelled = json.dumps({**key, "version": _VERSION}, sort_keys=True)
        known = self._known_key()
        if known is None:
            self._begin(spelled)
        elif known != spelled:
            raise InputError(_other(self.out, json.loads(known), json.loads(spelled)))
        if self.ended:
            self._publish()
        else:
            self._file = self._cut()

    def _known_key(self) -> str | None:
        """Return the key of a state that was begun whole."""
        with suppress(sqlite3.OperationalError):  # no table yet
            return self._value("key")
        return None

    def _begin(self, key: str) -> None:
        with explain_full_disk(self._part):
            self._part.write_bytes(b"")
        sync_folder(self._part.parent)
        self._db.executescript(f"BEGIN; DROP TABLE IF EXISTS seen; DROP TABLE IF EXISTS state;"
                               f"{_TABLES} COMMIT;")  # fmt: skip
        self._write({"key": key, "bytes": 0, "records": 0, "again": 0, "empty": 0})

    def _cut(self) -> BinaryIO:
        """Open the records and drop what lies behind the last page that counts.

        Raises:
            InputError: If what counts is not there.
        """
        good = self.number("bytes")
        try:
            file = self._part.open("r+b")
        except FileNotFoundError:
            raise InputError(
                f"{self._part} is gone, which held the {self.records} records so far. Put it "
                "back, or begin anew with --replace."
            ) from None
        size = os.fstat(file.fileno()).st_size
        start, _, digest = (self.get("tail") or "").partition(" ")
        file.seek(int(start or 0))
        if size < good or (digest and sha256(file.read(good - int(start))) != digest):
            file.close()
            raise InputError(
                f"{self._part} was changed: it no longer holds the {good} bytes that were written. "
                "Put it back, or begin anew with --replace."
            )
        file.truncate(good)
        return file

    def close(self) -> None:
        """Close the files; twice does no harm."""
        self._db.close()
        if self._file is not None:
            self._file.close()

    def _open_file(self) -> BinaryIO:
        if self._file is None or self._file.closed:
            raise AssertionError("a collection that is over takes no more records")
        return self._file

    def get(self, name: str) -> str | None:
        """Return a value of the state.

        Raises:
            InputError: If the state is damaged.
        """
        with _explain(self._state):
            return self._value(name)

    def _value(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return None if row is None or row[0] is None else str(row[0])

    def number(self, name: str) -> int:
        """Return a number of the state; 0 where it is not there.

        Raises:
            InputError: If the state is damaged, or was changed by hand.
        """
        text = self.get(name) or "0"
        if not (text.isascii() and text.isdecimal()):
            raise InputError(
                f"{self._state} is damaged: its {name} is {text[:40]!r}. Begin anew with "
                "--replace, or choose another file with -o."
            )
        return int(text)

    @property
    def records(self) -> int:
        """How many records there are."""
        return self.number("records")

    @property
    def ended(self) -> str | None:
        """Why collection is over, or None."""
        return self.get("ended")

    def put(self, **values: str | int | float | None) -> None:
        """Keep values in the state, all of them or none.

        Raises:
            OutOfSpaceError: If the disk is full.
        """
        with _explain(self._state):
            self._write(values)

    def _write(self, values: Mapping[str, str | int | float | None]) -> None:
        rows = [(name, None if value is None else str(value)) for name, value in values.items()]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", rows)

    def add(
        self,
        items: Sequence[Any],
        position: Mapping[str, str | int],
        *,
        limit: int | None = None,
        position_of_rest: Mapping[str, str | int] | None = None,
    ) -> Added:
        """Write a page and the position behind it, both or none.

        Args:
            items: As they arrived; what has an id that is there already is counted, not written.
            position: Values of the state that say where the next page begins; a value ``offset``
                counts the items that were taken on top.
            limit: Records at most, all pages together.
            position_of_rest: Taken instead where the limit left some of the items.

        Raises:
            OutOfSpaceError: If the disk is full; the pages before are kept.
        """
        page = Page(self.has, self._hide)
        page.take(items, None if limit is None else limit - self.records)
        start, file = self.number("bytes"), self._open_file()
        with explain_full_disk(self._part, len(page.data)):
            file.seek(start)
            file.write(page.data)
            file.flush()
            os.fsync(file.fileno())
        if position_of_rest is not None and page.taken < len(items):
            position = position_of_rest
        values: dict[str, str | int] = {**position, **self._counts(page, start)}
        if "offset" in values:
            values["offset"] = int(values["offset"]) + page.taken
        with _explain(self._state), self._db:
            self._db.executemany("INSERT INTO seen VALUES (?)", [(one,) for one in page.ids])
            self._db.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?)",
                [(name, str(value)) for name, value in values.items()],
            )
        return Added(len(page.ids), page.taken)

    def _counts(self, page: Page, start: int) -> dict[str, str | int]:
        counts: dict[str, str | int] = {
            "bytes": start + len(page.data),
            "records": self.records + len(page.ids),
            "again": self.number("again") + page.again,
            "empty": self.number("empty") + page.empty,
        }
        if page.data:
            counts["tail"] = f"{start} {sha256(page.data)}"
        return counts

    def has(self, record_id: str) -> bool:
        """Whether a record is there."""
        with _explain(self._state):
            found = self._db.execute("SELECT 1 FROM seen WHERE id = ?", (record_id,)).fetchone()
        return found is not None

    def finish(self, reason: str) -> Path:
        """End collection: the file appears under its name.

        Args:
            reason: Why it is over.
        """
        self.put(ended=reason)
        self._open_file().close()
        self._publish()
        return self.out

    def _publish(self) -> None:
        """Give the file its name; a killed run may have done so already."""
        with suppress(FileNotFoundError):
            self._part.replace(self.out)
            sync_folder(self.out.parent)
        if not self.out.exists() or self.out.stat().st_size != self.number("bytes"):
            raise InputError(
                f"{self.out} is not the file that was collected: it was moved or changed. Put it "
                "back, or begin anew with --replace."
            )

    def discard(self) -> None:
        """Forget a collection that has not begun; one that holds records stays."""
        if self.records == 0 and self.ended is None:
            self.close()
            self._forget()

    def reopen(self) -> None:
        """Take up a collection that was over, to add to it."""
        self.out.replace(self._part)
        sync_folder(self.out.parent)
        self.put(ended=None)
        self._file = self._cut()


def _other(out: Path, there: dict[str, str], asked: dict[str, str]) -> str:
    differing = sorted(
        name for name in there.keys() | asked.keys() if there.get(name) != asked.get(name)
    )
    told = ", ".join(
        f"{name} {there.get(name, 'none')} there, {asked.get(name, 'none')} now"
        for name in differing
    )
    return (
        f"The collection into {out} is another one: {told}. Give the same again to go on with it, "
        "choose another file with -o, or begin anew with --replace."
    )


@contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        with explain_full_database(path, "Then run the same command again with --resume."):
            yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise UnavailableError(
                f"{path} cannot be read or written: {error}. Check the disk and the folder, and "
                "run the same command again with --resume."
            ) from error
        raise InputError(
            f"{path} is no state of a collection, or it is damaged: {error}. Begin anew with "
            "--replace, or choose another file with -o."
        ) from error
