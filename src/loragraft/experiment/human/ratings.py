"""What raters said, read back: each file checked against what was written for them."""

from __future__ import annotations

import hashlib
import json
import shutil
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.artifact.files import write_atomically
from loragraft.artifact.jsonl import parse_object
from loragraft.artifact.names import check_name
from loragraft.errors import InputError
from loragraft.experiment.aside import free_name
from loragraft.experiment.human.blind import (
    RATINGS,
    BlindKey,
    BlindRow,
    find_exports,
    read_key,
)
from loragraft.experiment.human.sheet import LEGACY, Sheet, read_csv
from loragraft.experiment.judge.pairwise import Outcome
from loragraft.rag.answering.visible import visible

SCHEMA_VERSION = 1
SUFFIX = ".json"
LARGEST_RATINGS = 64 * 1024 * 1024
LONGEST_COMMENT = 10_000
ALIKE = 0.8
"""Share of words that a text has kept which came through an encoding without some characters; the
answer of another row has less."""

_TEXTS = ("question", "answer 1", "answer 2")
_READ = ("id", *_TEXTS, "better", "comment")
_CHOICES: Mapping[str, str] = {
    **dict.fromkeys(("1", "1.0", "1,0", "answer 1", "first", "a"), "1"),
    **dict.fromkeys(("2", "2.0", "2,0", "answer 2", "second", "b"), "2"),
    **dict.fromkeys(("tie", "t", "0", "=", "equal", "draw", "same", "1=2", "none"), "tie"),
}


@dataclass(frozen=True)
class Ratings:
    """What a rater said.

    Attributes:
        export: Of which pairs.
        rater: The file's name, without its ending.
        votes: By row, which experiment is better; rows that were not rated are left out.
        firsts: Votes for the answer that stood first.
        comments: By row.
        sha256: Of the file.
    """

    export: str
    rater: str
    votes: Mapping[str, Outcome]
    firsts: int
    comments: Mapping[str, str]
    sha256: str


@dataclass(frozen=True)
class Export:
    """An export and where it lies."""

    folder: Path
    key: BlindKey


def read_exports(folder: Path) -> list[Export]:
    """Read the exports of a series.

    Raises:
        InputError: If a key cannot be read.
    """
    return [Export(path, read_key(path)) for path in find_exports(folder)]


def read_rater(path: Path, exports: Sequence[Export]) -> tuple[Export, Ratings]:
    """Read a rater's file.

    Args:
        path: As it came back; its name is the rater's.
        exports: Those that it may be of.

    Raises:
        InputError: If it is of none of them, or a row is not what was written: its texts were
            changed, or sorted apart from their row; its choice means nothing.
    """
    rater = _rater(path)
    sheet = read_csv(path, _READ)
    export = _export_of(path, sheet, exports)
    rows = {row.id: row for row in export.key.rows}
    votes: dict[str, Outcome] = {}
    seen: dict[str, str] = {}
    comments, firsts = {}, 0
    for cells in sheet.rows:
        row = _row(path, cells, rows)
        _check_texts(path, row, cells, legacy=sheet.legacy)
        choice = _choice(path, row, cells["better"])
        if seen.setdefault(row.id, choice) != choice:
            raise InputError(f"{path} rates the row {row.id} twice, and differently. Keep one.")
        if choice:
            votes[row.id] = _vote(row, choice)
        if comment := visible(cells["comment"]).strip()[:LONGEST_COMMENT]:
            comments[row.id] = comment
    firsts = sum(choice == "1" for choice in seen.values())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return export, Ratings(export.key.export, rater, votes, firsts, comments, digest)


def _rater(path: Path) -> str:
    try:
        return check_name(path.stem)
    except InputError:
        raise InputError(
            f"{path.name} names no rater; give the file a plain name such as anna.csv."
        ) from None


def _export_of(path: Path, sheet: Sheet, exports: Sequence[Export]) -> Export:
    named = [_id(cells).rpartition("-")[0] for cells in sheet.rows]
    for export in exports:
        if export.key.export in named:
            return export
    known = ", ".join(export.key.export for export in exports) or "none"
    raise InputError(
        f"{path} is of no export of this series (there: {known}). Import it with the CONFIG, and "
        "the outputs folder, that it was exported with."
    )


def _id(cells: Mapping[str, str]) -> str:
    return cells["id"].strip().strip("'\"\u201c\u201d").casefold()


def _row(path: Path, cells: Mapping[str, str], rows: Mapping[str, BlindRow]) -> BlindRow:
    row = rows.get(_id(cells))
    if row is None:
        raise InputError(
            f"{path} has a row {cells['id'][:40]!r} that was not written for raters. Take it out, "
            "or put its id right."
        )
    return row


def _check_texts(path: Path, row: BlindRow, cells: Mapping[str, str], *, legacy: bool) -> None:
    for name, text in zip(_TEXTS, (row.question, row.answer_1, row.answer_2), strict=True):
        if not same_text(cells[name], text, legacy=legacy):
            raise InputError(
                f"{path}, row {row.id}: the {name} is not the one that was written. Was a column "
                "sorted without the others, or a text changed? Take the rating over into the file "
                "as it was."
            )


def same_text(read: str, written: str, *, legacy: bool) -> bool:
    """Whether a cell holds the text that was written, whatever became of signs and spaces.

    Args:
        read: The cell.
        written: The text.
        legacy: Whether characters may have been lost.
    """
    if _letters(read) == _letters(written):
        return True
    if not legacy:
        return False
    left = written.encode(LEGACY, "ignore").decode(LEGACY)
    ours, theirs = Counter(_letters(left).split()), Counter(_letters(read).split())
    longest = max(ours.total(), theirs.total())
    return not longest or (ours & theirs).total() >= ALIKE * longest


def _letters(text: str) -> str:
    """Return letters and digits in small letters, words apart."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(char if char.isalnum() else " " for char in plain).split())


def _choice(path: Path, row: BlindRow, cell: str) -> str:
    plain = " ".join(cell.split()).strip("'\"\u201c\u201d.").casefold()
    if not plain:
        return ""
    if plain not in _CHOICES:
        raise InputError(
            f"{path}, row {row.id}: {cell[:40]!r} says which answer is better? Write 1, 2 or tie, "
            "or leave it empty."
        )
    return _CHOICES[plain]


def _vote(row: BlindRow, choice: str) -> Outcome:
    if choice == "tie":
        return "tie"
    return row.first if choice == "1" else ("b" if row.first == "a" else "a")


def keep_ratings(export: Export, ratings: Ratings) -> Path | None:
    """Write what a rater said into the export's folder.

    Returns:
        Where what the same rater said before is kept now; None where that was nothing else.

    Raises:
        OutOfSpaceError: If the disk is full.
    """
    folder = export.folder / RATINGS
    folder.mkdir(exist_ok=True)
    values = {
        "schema_version": SCHEMA_VERSION, "export": ratings.export, "rater": ratings.rater,
        "votes": dict(ratings.votes), "firsts": ratings.firsts,
        "comments": dict(ratings.comments), "sha256": ratings.sha256,
    }  # fmt: skip
    path = folder / f"{ratings.rater}{SUFFIX}"
    older = _put_aside(path, export, ratings)
    write_atomically(path, (json.dumps(values, indent=1) + "\n").encode("ascii"))
    return older


def _put_aside(path: Path, export: Export, now: Ratings) -> Path | None:
    """Keep a rater's file that says something else; return its new name."""
    if not path.exists():
        return None
    try:
        before = _read_one(path, export)
        if (before.votes, before.comments) == (now.votes, now.comments) or not before.votes:
            return None
    except InputError:
        pass  # what cannot be read is kept all the same
    older = free_name(path.with_name(f"{path.name}.replaced"))
    shutil.copyfile(path, older)
    return older


def read_ratings(export: Export) -> list[Ratings]:
    """Read what was imported of an export, in the order of the raters' names.

    Raises:
        InputError: If a file cannot be read.
    """
    folder = export.folder / RATINGS
    if not folder.is_dir():
        return []
    names = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    return [_read_one(path, export) for path in names if not path.name.startswith(".")]


def _read_one(path: Path, export: Export) -> Ratings:
    try:
        with path.open("rb") as file:
            values = parse_object(file.read(LARGEST_RATINGS), LARGEST_RATINGS)
        return _parse(values, {row.id for row in export.key.rows})
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} holds no ratings of this export ({error}). Import the rater's file again."
        ) from None


def _parse(values: Mapping[str, Any], rows: set[str]) -> Ratings:
    votes, comments = values["votes"], values["comments"]
    fits = (
        values["schema_version"] == SCHEMA_VERSION
        and all(row in rows and vote in ("a", "b", "tie") for row, vote in votes.items())
        and all(isinstance(text, str) for text in comments.values())
        and type(values["firsts"]) is int
        and all(isinstance(values[name], str) for name in ("export", "rater", "sha256"))
    )
    if not fits:
        raise TypeError("a value is not what it should be")
    return Ratings(values["export"], values["rater"], votes, values["firsts"], comments,
                   values["sha256"])  # fmt: skip
