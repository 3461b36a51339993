"""Replies joined to the posts they answer, in bounded memory.

A small SQLite file remembers where in the raw file each tweet stands, by its id; the tweets
themselves stay where they are. It is filled in one pass, which a killed run goes on with; then
every line can be joined alone and in any order:

```
with Posts(folder / "posts.sqlite", raw, key=sha256) as posts:
    posts.fill(scan_jsonl(raw, start=posts.position, number=posts.lines))
    for line in read_jsonl(raw):
        joined = posts.join(line)       # .row is {"post": ..., "reply": ...}, or .reason says why
```
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from loragraft.artifact.closing import Closing
from loragraft.artifact.database import explain_full_database
from loragraft.artifact.jsonl import Broken, Line, open_lines, parse_object
from loragraft.dataset.tweets import read_tweet
from loragraft.errors import InputError, UnavailableError
from loragraft.settings import Settings

NO_ID = "has no id"
NO_REPLY = "is no reply"
NO_POST = "the post it answers is not in the data"
AGAIN = "was collected more than once"
ITSELF = "answers itself"
DEEPER = "answers a reply, not a post"

_VERSION = 1
_LINES = 5_000
"""Lines between two commits: a killed run does that many again."""
_KEPT = 512
"""Posts kept in memory: replies to one post mostly stand together."""


class Pairing(Settings):
    """How rows become pairs of a post and a reply.

    Attributes:
        fields: Our name of a field, or a new one, to dotted paths in the raw rows that are looked
            at before those of :data:`~loragraft.dataset.tweets.PATHS`.
        first_level: Whether only replies to posts count that are no replies themselves.
    """

    fields: dict[str, list[str]] = Field(default_factory=dict)
    first_level: bool = False


class Joined(NamedTuple):
    """A pair, or why there is none.

    Attributes:
        row: ``{"post": ..., "reply": ...}`` under the names of
            :func:`~loragraft.dataset.tweets.read_tweet`, or None.
        reason: One of this module's constants; empty for a pair.
    """

    row: dict[str, Any] | None
    reason: str = ""


class Posts(Closing):
    """Where in a raw file each tweet stands; a context manager.

    Attributes:
        position: Bytes of the raw file that were read; a killed run goes on there.
        lines: Lines before that byte.
    """

    def __init__(self, path: Path, raw: Path, *, key: str, pairing: Pairing | None = None) -> None:
        """Open the index, or begin one.

        Args:
            path: The SQLite file; one of another key, another pairing or a broken one is emptied.
            raw: The raw file, JSONL.
            key: What stands for the raw file's content, such as its hash.
            pairing: How rows become pairs.
        """
        self.pairing = pairing or Pairing()
        full_key = json.dumps([_VERSION, key, self.pairing.model_dump()], sort_keys=True)
        self._path = path
        with _explain(path):
            self._db = _open(path, full_key)
        try:
            open_lines(raw).close()  # it says what is wrong with a file that is none of lines
            self._raw = raw.open("rb", buffering=0)  # single lines from anywhere
        except BaseException:
            self._db.close()
            raise
        self._recent: dict[str, dict[str, Any]] = {}
        self.position = int(_state(self._db, "position") or 0)
        self.lines = int(_state(self._db, "lines") or 0)

    def close(self) -> None:
        """Close the files; twice does no harm."""
        self._db.close()
        self._raw.close()

    def __len__(self) -> int:
        """Return how many tweets are known."""
        return int(self._db.execute("SELECT count(*) FROM tweet").fetchone()[0])

    def fill(self, lines: Iterable[Line | Broken]) -> None:
        """Note where tweets stand; of one id, the first stays. Broken lines hold none.

        Args:
            lines: Of the raw file, from :attr:`position` on.

        Raises:
            InputError: As reading the lines does; what came before is kept.
            OutOfSpaceError: If the disk is full.
        """
        rows: list[tuple[str, int, int]] = []
        try:
            for count, line in enumerate(lines, 1):
                for tweet in () if isinstance(line, Broken) else self._tweets(line.values):
                    if "id" in tweet:
                        rows.append((tweet["id"], line.start, line.stop))
                self.position, self.lines = line.stop, line.number
                if count % _LINES == 0:
                    self._commit(rows)
        finally:
            self._commit(rows)

    def _commit(self, rows: list[tuple[str, int, int]]) -> None:
        state = (("position", str(self.position)), ("lines", str(self.lines)))
        with _explain(self._path), self._db:
            self._db.executemany("INSERT OR IGNORE INTO tweet VALUES (?, ?, ?)", rows)
            self._db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state)
        rows.clear()

    def join(self, line: Line) -> Joined:
        """Join a line of the raw file to the post it answers.

        A row that already holds ``post`` and ``reply`` is a pair as it is.

        Raises:
            InputError: If the raw file is not the one that was read before.
        """
        if _is_pair(line.values):
            sides = self._tweets(line.values)
            return Joined({"post": sides[0], "reply": sides[1]})
        reply = read_tweet(line.values, self.pairing.fields)
        if "id" not in reply:
            return Joined(None, NO_ID)
        if "reply_to" not in reply:
            return Joined(None, NO_REPLY)
        if reply["reply_to"] == reply["id"]:
            return Joined(None, ITSELF)
        where = self._where(reply["id"])
        if where is not None and where[0] != line.start:
            return Joined(None, AGAIN)
        post = self._post(reply["reply_to"])
        if post is None:
            return Joined(None, NO_POST)
        if self.pairing.first_level and "reply_to" in post:
            return Joined(None, DEEPER)
        return Joined({"post": post, "reply": reply})

    def _tweets(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the tweet of a row; both of one that is a pair already."""
        sides = [values["post"], values["reply"]] if _is_pair(values) else [values]
        return [read_tweet(side, self.pairing.fields) for side in sides]

    def _where(self, tweet_id: str) -> tuple[int, int] | None:
        with _explain(self._path):
            found = self._db.execute("SELECT start, stop FROM tweet WHERE id = ?", (tweet_id,))
            row = found.fetchone()
        return None if row is None else (row[0], row[1])

    def _post(self, tweet_id: str) -> dict[str, Any] | None:
        if tweet_id in self._recent:
            return self._recent[tweet_id]
        where = self._where(tweet_id)
        if where is None:
            return None
        post = self._read(tweet_id, *where)
        if len(self._recent) >= _KEPT:
            self._recent.pop(next(iter(self._recent)))
        self._recent[tweet_id] = post
        return post

    def _read(self, tweet_id: str, start: int, stop: int) -> dict[str, Any]:
        self._raw.seek(start)
        with suppress(InputError):
            values = parse_object(self._raw.read(stop - start).removeprefix(b"\xef\xbb\xbf"))
            for tweet in self._tweets(values):
                if tweet.get("id") == tweet_id:
                    return tweet
        raise InputError(
            f"{self._raw.name} changed while it was read: the post {tweet_id!r} no longer stands "
            f"at byte {start}. Run the same command again once nothing writes to the file."
        )


def _is_pair(values: Mapping[str, Any]) -> bool:
    return isinstance(values.get("post"), Mapping) and isinstance(values.get("reply"), Mapping)


@contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        with explain_full_database(path, "Then run the same command again: what is done is kept."):
            yield
    except sqlite3.DatabaseError as error:
        raise UnavailableError(
            f"{path} cannot be read or written: {error}. Check the disk, delete the file (it is "
            "made again), and run the same command again."
        ) from error


def _open(path: Path, key: str) -> sqlite3.Connection:
    """Open a file of this key; another one, or one that is no database, is made anew."""
    database = sqlite3.connect(path)
    with suppress(sqlite3.DatabaseError):
        if _state(database, "key") == key:
            return database
    database.close()
    for name in (path.name, f"{path.name}-journal", f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    database = sqlite3.connect(path)
    with database:
        database.execute(
            "CREATE TABLE tweet (id TEXT PRIMARY KEY, start INTEGER, stop INTEGER) WITHOUT ROWID"
        )
        database.execute("CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT)")
        database.execute("INSERT INTO state VALUES ('key', ?)", (key,))
    return database


def _state(database: sqlite3.Connection, name: str) -> str | None:
    found = database.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return None if found is None else str(found[0])
