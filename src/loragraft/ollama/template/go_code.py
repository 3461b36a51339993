"""Pieces of Go template source: trims, dates and thoughts, which Ollama has no functions for.

No arithmetic is there either: `len (slice $text 1)` is the length less one, and a range over a
number counts.
"""

from __future__ import annotations

from loragraft.ollama.template.go_text import action, actions, go_string, go_text
from loragraft.ollama.template.model import ALL, Trim
from loragraft.ollama.template.probing import Date
from loragraft.ollama.template.thoughts import CLOSE, OPEN

_SPACES = tuple(chr(point) for point in range(0x3001) if chr(point).isspace())
"""What Python's `strip` takes off."""
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SLICES = {"%Y": "0 4", "%y": "2 4", "%m": "5 7", "%d": "8 10", "%F": "0 10"}


def trim_code(variable: str, trim: Trim) -> str:
    """Return source that trims a variable in place."""
    return trim_side(variable, trim.left, True) + trim_side(variable, trim.right, False)


def trim_side(variable: str, which: str, left: bool) -> str:
    """Return source that cuts characters off one side of a variable, as named in `Trim`."""
    if not which:
        return ""
    sizes: dict[int, list[str]] = {}
    for space in _SPACES if which == ALL else tuple(which):
        sizes.setdefault(len(space.encode()), []).append(go_string(space))
    steps = [_trim_step(variable, size, found, left) for size, found in sorted(sizes.items())]
    source = actions(f"range len {variable}", f"if not {variable}", "break")
    source += "".join(actions(f"else if {test}", kept) for test, kept in steps)
    return source + actions("else", "break", "end", "end")


def _trim_step(variable: str, size: int, spaces: list[str], left: bool) -> tuple[str, str]:
    """Return the test for white space of some bytes at an end, and what cuts it off."""
    rest = f"(len (slice {variable} {size}))"
    end = f"(slice {variable} 0 {size})" if left else f"(slice {variable} {rest})"
    kept = f"slice {variable} {size}" if left else f"slice {variable} 0 {rest}"
    test = f"eq {end} {' '.join(spaces)}"
    if size > 1:
        test = f"and (ge (len {variable}) {size}) ({test})"
    return test, f"{variable} = {kept}"


def thoughts_code() -> str:
    """Return source that moves thoughts out of `$text` into `$reason`, if there are any.

    Words are what follows the last `</think>`, thoughts what stands between the last `<think>`
    before the first `</think>` and that one.
    """
    size = len(CLOSE)
    return (
        action('$tail := ""')
        + _cut_at_last("$text", CLOSE, "$tail", ("$thought = true",))
        + actions("if $thought", "range $at := len $text")
        + actions(f"if eq (slice (slice $text $at) 0 {size}) {go_string(CLOSE)}")
        + actions("$reason = slice $text 0 $at", "break", "end", "end", "$text = $tail")
        + _cut_at_last("$reason", OPEN, "$reason")
        + action("end")
    )


def _cut_at_last(variable: str, mark: str, result: str, more: tuple[str, ...] = ()) -> str:
    """Return source that sets a variable to what follows the last mark, if there is one."""
    size = len(mark)
    return (
        actions(f"$rest := {variable}", f"range len {variable}")
        + actions(f"if lt (len $rest) {size}", "break")
        + action(f"else if eq (slice $rest (len (slice $rest {size}))) {go_string(mark)}")
        + actions(f"{result} = slice {variable} (len $rest)", *more, "break", "end")
        + actions("$rest = slice $rest 0 (len (slice $rest 1))", "end")
    )


def date_code(date: Date) -> str | None:
    """Return source that writes the day in `$date`; None if its form cannot be had from it."""
    source, form, position = "", date.form, 0
    while position < len(form):
        code = form[position : position + (3 if form[position + 1 : position + 2] == "-" else 2)]
        code = code if form[position] == "%" else form[position]
        written = go_text(code) if form[position] != "%" else _field(code)
        if written is None:
            return None
        source += written
        position += len(code)
    return source


def _field(code: str) -> str | None:
    """Return the source of one field of a date."""
    if code == "%%":
        return "%"
    if code in ("%B", "%b"):
        return _month(3 if code == "%b" else None)
    if code in ("%-d", "%-m"):
        start, stop = (8, 10) if code == "%-d" else (5, 7)
        first = f"slice $date {start} {start + 1}"
        return actions(f'if ne ({first}) "0"', first, "end", f"slice $date {start + 1} {stop}")
    bounds = _SLICES.get(code)
    return action(f"slice $date {bounds}") if bounds else None


def _month(letters: int | None) -> str:
    source = action("$month := slice $date 5 7")
    for number, month in enumerate(MONTHS):
        other = "else " if number else ""
        source += action(f'{other}if eq $month "{number + 1:02}"') + month[:letters]
    return source + action("end")
