"""A promotion noted in a configuration of YAML, whose other lines stay as they are.

Only the section ``promoted:`` is written anew, from its key to its last value; what stands before
and behind it, comments, blank lines and line ends among it, keeps its bytes. The result is read
again and compared before anything is written: a file that cannot be edited so is left alone.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import yaml

from loragraft.artifact.files import write_atomically
from loragraft.artifact.lock import hold_lock
from loragraft.errors import InputError, LockedError
from loragraft.experiment.verdict.promoted import Promoted
from loragraft.plain_yaml import parse_yaml, read_yaml

KEY = "promoted"
HISTORY = "history"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_ENDS = ("\n", "\r", "\x85", "\u2028", "\u2029")
_LINE = re.compile(r".*?(?:\r\n|[\n\r\x85\u2028\u2029])|.+\Z", re.DOTALL)
"""Lines as YAML counts them."""
_BOM = "\ufeff"
_PATIENCE = 30.0
"""Seconds to wait for another promotion to be noted: reading and writing take a few hundredths."""
_PAUSE = 0.05
_ANY_WRITE = 0o222
"""Root may write any file: that a person took every right to write away is told by these."""


@dataclass(frozen=True)
class Edit:
    """What came of noting a promotion.

    Attributes:
        changed: Whether anything was written: the same promotion again, whatever the day, is not.
        comments: Lines of the section on which a comment stood that is not kept.
    """

    changed: bool
    comments: int = 0


def note_promotion(path: Path, values: Mapping[str, Any]) -> Edit:
    """Note a promotion; the one that stood there becomes the first of its history.

    Args:
        path: The configuration; a link is followed.
        values: Of a :class:`~loragraft.experiment.verdict.promoted.Promotion`, as JSON values.

    Raises:
        InputError: If the file is read-only, cannot be read, or cannot be edited without touching
            its other lines. Nothing was written then.
        LockedError: If others keep noting promotions there for half a minute.
    """
    path = Path(os.path.realpath(path))
    with _alone(path):
        return _note(path, values)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a configuration's lock; wait while another promotion is noted there.

    The lock lies in the user's state folder: beside the configuration it would stay behind, and
    a lock file that is removed no longer keeps out who has opened it.
    """
    from loragraft.ollama.record import state_folder, text_digest

    folder = state_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made ({error.strerror}); a lock goes there while {path} is "
            "written. Set LORAGRAFT_STATE to another folder."
        ) from None
    lock = folder / f"promote-{text_digest(str(path))[:16]}.lock"
    end = time.monotonic() + _PATIENCE
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold_lock(lock))
                break
            except LockedError:
                if time.monotonic() > end:
                    raise
            time.sleep(_PAUSE)
        yield


def _note(path: Path, values: Mapping[str, Any]) -> Edit:
    before = read_yaml(path).values  # says what is wrong with a file that cannot be read
    if before is not None and not isinstance(before, dict):
        raise InputError(f"{path} holds no keys with values; expected a configuration.")
    old = _section(path, (before or {}).get(KEY))
    if old is not None and _same(old, values):
        return Edit(changed=False)
    _check_writable(path)
    history = [] if old is None else [_without_history(old), *old.get(HISTORY, [])]
    section = {**values, HISTORY: history}
    data = path.read_bytes()
    text = data.decode("utf-8")
    edited = _edited(text, _spelled(section))
    _check(path, edited, before or {}, section)
    _write(path, data, edited)
    return Edit(changed=True, comments=_comments(text))


def _section(path: Path, value: object) -> dict[str, Any] | None:
    """Return the section that is there as plain values; None where there is none.

    Raises:
        InputError: If it is none of ours.
    """
    if value is None:
        return None
    try:
        Promoted.model_validate(value)
    except pydantic.ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(
            f"{path} has a section {KEY}: that is not what promote writes ({where}). Give it "
            "another name, or take it out."
        ) from None
    plain: dict[str, Any] = json.loads(json.dumps(value))  # without the file that each stands in
    return {**plain, HISTORY: plain.get(HISTORY) or []}


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two promotions differ in their day at most; what a new one leaves out is unknown."""
    before = _undated(old)
    return {**before, **_undated(new)} == before


def _undated(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in ("date", HISTORY)}


def _without_history(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != HISTORY}


def _spelled(section: Mapping[str, Any]) -> list[str]:
    """Return the section's lines."""
    lines = [f"{KEY}:"]
    lines += [f"  {name}: {_scalar(value)}" for name, value in _without_history(section).items()]
    earlier = section[HISTORY]
    lines.append(f"  {HISTORY}:" if earlier else f"  {HISTORY}: []")
    for one in earlier:
        marks = iter(("    - ", *(["      "] * len(one))))
        lines += [f"{next(marks)}{name}: {_scalar(value)}" for name, value in one.items()]
    return lines


def _scalar(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_scalar, value))}]"
    if not isinstance(value, str):
        return json.dumps(value, allow_nan=False)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    text: str = yaml.dump(value, default_style='"', allow_unicode=True, width=1 << 30)
    return text.strip()


def _edited(text: str, section: list[str]) -> str:
    """Return a file's text with the section in the place of the one it has, or at its end."""
    end = "\r\n" if "\r\n" in text else "\n"
    lines = _LINE.findall(text)
    spelled = [line + end for line in section]
    place = _place(text)
    if place is None:
        if lines and not lines[-1].endswith(_ENDS):
            lines[-1] += end
        gap = [end] if any(line.strip() for line in lines) else []
        return "".join([*lines, *gap, *spelled])
    first, last = place
    if last == len(lines) - 1 and not lines[last].endswith(_ENDS):
        spelled[-1] = section[-1]
    return "".join([*lines[:first], *spelled, *lines[last + 1 :]])


def _place(text: str) -> tuple[int, int] | None:
    """Return the first and the last line of the section; None where there is none."""
    root = yaml.compose(text.removeprefix(_BOM), Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return None
    for key, value in root.value:
        if key.value == KEY:
            return key.start_mark.line, max(_lines(key, value))
    return None


def _lines(key: yaml.Node, value: yaml.Node) -> Iterator[int]:
    """Yield lines on which something of a value stands."""
    yield key.start_mark.line
    if isinstance(value, yaml.CollectionNode) and not value.flow_style:
        for item in value.value:
            for node in item if isinstance(item, tuple) else (item,):
                yield from _lines(node, node)
    elif value.end_mark.column == 0 and value.end_mark.line > value.start_mark.line:
        yield value.end_mark.line - 1
    else:
        yield value.end_mark.line


def _comments(text: str) -> int:
    """Count the lines of the section with a comment: it stands where YAML reads nothing."""
    text, place = text.removeprefix(_BOM), _place(text)
    if place is None:
        return 0
    found = end = line = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        for at, piece in enumerate(_LINE.findall(text[end : token.start_mark.index]), line):
            found += "#" in piece and place[0] <= at <= place[1]
        if token.end_mark.index > end:
            end, line = token.end_mark.index, token.end_mark.line
    return found


def _check(path: Path, text: str, before: Mapping[str, Any], section: Mapping[str, Any]) -> None:
    """Make sure that an edited file says what it said, and the promotion.

    Raises:
        InputError: If it does not.
    """
    try:
        after = parse_yaml(text.removeprefix(_BOM), path).values
        Promoted.model_validate(after[KEY])
    except (InputError, pydantic.ValidationError):
        after = None
    if after != {**before, KEY: json.loads(json.dumps(dict(section)))}:
        raise InputError(
            f"{path} is written so that a section cannot be put in without touching the rest. "
            f"Nothing was written. Add this by hand:\n\n{chr(10).join(_spelled(section))}"
        )


def _check_writable(path: Path) -> None:
    """Refuse a file that is read-only: its replacement would not be, and would be the user's.

    Raises:
        InputError: If nobody may write it, or this user may not.
    """
    if not path.stat().st_mode & _ANY_WRITE or not os.access(path, os.W_OK):
        raise InputError(
            f"{path} is read-only, and nothing was written. Make it writable (chmod u+w), or name "
            "another file with --default FILE."
        )


def _write(path: Path, before: bytes, text: str) -> None:
    stat = path.stat()
    if path.read_bytes() != before:  # an editor, or another user, knows no lock of ours
        raise InputError(f"{path} was changed meanwhile, and nothing was written. Run this again.")
    try:
        write_atomically(path, text.encode("utf-8"))
        _keep_owner(path, stat)
        path.chmod(stat.st_mode & 0o7777)  # a new owner may take bits away: the mode comes last
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None


def _keep_owner(path: Path, stat: os.stat_result) -> None:
    """Give a file that was replaced back to whom it belonged, where that is allowed."""
    now = path.stat()
    if now.st_gid != stat.st_gid:
        with suppress(OSError):
            os.chown(path, -1, stat.st_gid)
    if now.st_uid != stat.st_uid:
        with suppress(OSError):
            os.chown(path, stat.st_uid, -1)
