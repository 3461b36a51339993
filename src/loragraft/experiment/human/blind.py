"""Pairs written down for people: which answer is whose stands in another file.

```
FILE                                              what raters get: a CSV without names
OUTPUTS/SERIES/human/EXPORT/key.json              which answer is whose
OUTPUTS/SERIES/human/EXPORT/ratings/RATER.json    what a rater said
```
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from loragraft.artifact.files import write_atomically
from loragraft.artifact.jsonl import parse_object
from loragraft.errors import InputError
from loragraft.experiment.human.sheet import quoted, to_csv
from loragraft.experiment.judge.pairwise import Pair, choose
from loragraft.experiment.judge.prompt import Material

SCHEMA_VERSION = 1
FOLDER = "human"
KEY_NAME = "key.json"
RATINGS = "ratings"
LARGEST_KEY = 256 * 1024 * 1024
"""Bytes."""

COLUMNS = ("id", "question", "accepted answers", "evidence", "answer 1", "answer 2",
           "better (1, 2 or tie)", "comment")  # fmt: skip
Side = Literal["a", "b"]


@dataclass(frozen=True)
class BlindRow:
    """One pair as raters see it.

    Attributes:
        id: What stands in the row's first cell.
        question_id: The record's.
        repeat: Of both answers.
        first: Whose answer is answer 1: the first or the second experiment's.
        question: As it stands in its cell.
        answer_1: As it stands in its cell.
        answer_2: As it stands in its cell.
    """

    id: str
    question_id: str
    repeat: int
    first: Side
    question: str
    answer_1: str
    answer_2: str


@dataclass(frozen=True)
class BlindKey:
    """What raters must not see.

    Attributes:
        export: The export's name.
        a: The first experiment.
        b: The second.
        seed: That decided rows and sides.
        rows: In their order.
        file: What the raters' file was called.
    """

    export: str
    a: str
    b: str
    seed: int
    rows: tuple[BlindRow, ...]
    file: str


@dataclass(frozen=True)
class Exported:
    """What was written for raters.

    Attributes:
        key: What they must not see.
        path: What they get.
        folder: Where the key is, and ratings will be.
        missing: Questions left out because an answer is missing.
        identical: Questions left out because both answers have the same words.
    """

    key: BlindKey
    path: Path
    folder: Path
    missing: int
    identical: int


def draw_rows(
    pairs: Sequence[Pair], material_of: Callable[[str], Material], count: int | None, seed: int
) -> tuple[BlindRow, ...]:
    """Return the rows of an export: drawn and ordered by a seed, each side first equally often.

    Args:
        pairs: Those that can be compared.
        material_of: Returns what the answers to a question are judged by.
        count: How many questions at most; None for all.
        seed: Which ones, in which order, and who is first.
    """
    by_question: dict[str, Pair] = {}
    for pair in pairs:
        by_question.setdefault(pair.question_id, pair)
    names = choose(by_question, len(by_question) if count is None else count, seed)
    firsts = frozenset(choose(names, len(names) // 2, seed + 1))
    mark = _mark(seed, [by_question[name] for name in names])
    rows = []
    for number, name in enumerate(names, start=1):
        question = quoted(material_of(name).question)
        side: Side = "a" if name in firsts else "b"
        rows.append(_row(f"{mark}-{number:03}", by_question[name], side, question))
    return tuple(rows)


def _row(row_id: str, pair: Pair, side: Side, question: str) -> BlindRow:
    one, two = (pair.a, pair.b) if side == "a" else (pair.b, pair.a)
    return BlindRow(row_id, pair.question_id, pair.repeat, side, question, quoted(one), quoted(two))


def _mark(seed: int, pairs: Sequence[Pair]) -> str:
    """Return what tells an export from others: of what is in it, and by no name of an arm.

    Its first sign is a letter, and no E is in it: a spreadsheet reads 12e45 as a number.
    """
    told = json.dumps([seed, [[pair.content("ab"), pair.repeat] for pair in pairs]])
    return "x" + hashlib.sha256(told.encode("ascii")).hexdigest()[:10].replace("e", "g")


def export_pairs(
    pairs: Sequence[Pair],
    names: tuple[str, str],
    material_of: Callable[[str], Material],
    path: Path,
    folder: Path,
    *,
    count: int | None = None,
    seed: int = 0,
) -> Exported:
    """Write pairs for people, and the key for ourselves.

    Args:
        pairs: All pairs of two experiments.
        names: The experiments.
        material_of: Returns what the answers to a question are judged by.
        path: The raters' file; it must not be there.
        folder: Where exports of the series are kept.
        count: How many questions at most; None for all.
        seed: Which ones, in which order, and who is first.

    Raises:
        InputError: If the file is there, cannot be written, or there is nothing to compare.
        OutOfSpaceError: If the disk is full.
    """
    _check_free(path)
    usable = [pair for pair in pairs if not pair.missing and not pair.identical]
    rows = draw_rows(usable, material_of, count, seed)
    if not rows:
        missing = sum(bool(pair.missing) for pair in pairs)
        step = "Run both experiments first." if missing or not pairs else "People could only tie."
        raise InputError(
            f"{names[0]} and {names[1]} have no answers to compare: {missing} pairs lack one, "
            f"{sum(pair.identical for pair in pairs)} are identical. {step}"
        )
    key = BlindKey(rows[0].id.rpartition("-")[0], *names, seed, rows, path.name)
    home = folder / key.export
    _write(home / KEY_NAME, _key_json(key))
    _write(path, to_csv(COLUMNS, (_cells(row, material_of(row.question_id)) for row in rows)))
    return Exported(key, path, home, sum(bool(pair.missing) for pair in pairs),
                    sum(pair.identical for pair in pairs))  # fmt: skip


def _check_free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise InputError(
            f"{path} is there already; somebody may have rated in it. Choose another name, or "
            "move it away."
        )


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}. Choose another folder."
        ) from None


def _cells(row: BlindRow, material: Material) -> tuple[str, ...]:
    accepted, evidence = ("\n".join(some) for some in (material.accepted, material.evidence))
    return (
        row.id, row.question, quoted(accepted) if accepted else "",
        quoted(evidence) if evidence else "", row.answer_1, row.answer_2, "", "",
    )  # fmt: skip


def _key_json(key: BlindKey) -> bytes:
    values = {"schema_version": SCHEMA_VERSION, **asdict(key)}
    return (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def read_key(folder: Path) -> BlindKey:
    """Read what raters must not see.

    Raises:
        InputError: If it cannot be read, or is none.
    """
    path = folder / KEY_NAME
    try:
        with path.open("rb") as file:
            values = parse_object(file.read(LARGEST_KEY), LARGEST_KEY)
        return _parse_key(values)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (InputError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no key of experiment human --export ({error}).") from None


def _parse_key(values: Mapping[str, Any]) -> BlindKey:
    if values["schema_version"] != SCHEMA_VERSION:
        raise TypeError(f"its schema version is {str(values['schema_version'])[:40]}")
    rows = tuple(_typed(BlindRow, row, {"repeat": int}) for row in values["rows"])
    if any(row.first not in ("a", "b") for row in rows) or len({r.id for r in rows}) != len(rows):
        raise TypeError("its rows are not ours")
    key: BlindKey = _typed(BlindKey, {**values, "rows": rows}, {"seed": int, "rows": tuple})
    return key


def _typed(kind: Any, values: Mapping[str, Any], others: Mapping[str, type]) -> Any:  # noqa: ANN401
    """Return a record whose fields are texts, but for some of other types."""
    found = {field.name: values[field.name] for field in fields(kind)}
    for name, value in found.items():
        if type(value) is not others.get(name, str):
            raise TypeError(f"{name} is {repr(value)[:40]}")
    return kind(**found)


def find_exports(folder: Path) -> list[Path]:
    """Return the folders of a series' exports."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if (path / KEY_NAME).is_file())
