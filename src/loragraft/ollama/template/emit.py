"""Writing a learned chat template as a Go template of Ollama's."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from loragraft.ollama.template.go_code import date_code, thoughts_code, trim_code, trim_side
from loragraft.ollama.template.go_text import action, actions, common_start, go_string, go_text
from loragraft.ollama.template.model import END, START, Model
from loragraft.ollama.template.probing import Date, Gap, Slot
from loragraft.ollama.template.thoughts import CLOSE, OPEN
from loragraft.ollama.template.tree import Leaf, Tree, Value, asked, changed, leaves

_OPENING = re.compile(r"(<[^<>]*>|\[[^\[\]]*\])\s*$")
_CLOSING = re.compile(r"^\s*(<[^<>]*>|\[[^\[\]]*\])")

_TESTS: dict[str, Callable[[str], str]] = {
    "previous": lambda answer: f'eq $previous "{answer}"',
    "system": lambda answer: {
        "none": "not $given",
        "filled": "$system",
        "empty": "and $given (not $system)",
    }[answer],
    "asked": lambda answer: "$asked" if answer == "yes" else "not $asked",
    "place": lambda answer: {
        "before": "lt $i $query",
        "at": "eq $i $query",
        "after": "gt $i $query",
    }[answer],
    "last": lambda answer: f"{'eq' if answer == 'yes' else 'ne'} (len (slice $.Messages $i)) 1",
    "reason": lambda answer: "$thought" if answer == "yes" else "not $thought",
    "inside": lambda answer: "$inside" if answer == "yes" else "not $inside",
    "think": lambda answer: {
        "unset": "not $.IsThinkSet",
        "on": "$.Think",
        "off": "and $.IsThinkSet (not $.Think)",
    }[answer],
}


def emit(model: Model) -> str:
    """Return the Go template of a model."""
    return _Emitter(model).source()


class _Emitter:
    """What the parts of one template need."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._asked = {
            *(name for gaps in model.gaps.values() for name in asked(gaps)),
            *(name for shown in model.shown.values() for name in asked(shown)),
            *(name for left in model.lefts.values() for name in asked(left)),
            *(name for right in model.rights.values() for name in asked(right)),
            *asked(model.thoughts.whole),
        }
        self._pieces = {
            piece for tree in model.gaps.values() for gap in leaves(tree) for piece in gap
        }

    def source(self) -> str:
        """Return the whole template."""
        return (
            f"{self._head()}{action('range $i, $message := .Messages')}{self._message()}"
            f"{action('end')}{self._gap(END)}"
        )

    def _head(self) -> str:
        source = action(f'$previous := "{START}"')
        if self._holds_system():
            source += actions('$system := ""', "$given := false") + self._gather()
        if "asked" in self._asked:
            source += action("$asked := false")
        if "place" in self._asked:
            source += actions("$query := -1", "range $i, $message := .Messages")
            source += actions('if eq .Role "user"', "$query = $i", "end", "end")
        if "inside" in self._asked:
            source += actions("$inside := false", "range $i, $message := .Messages")
            source += actions('if and (gt $i 0) (eq .Role "system")', "$inside = true")
            source += actions("end", "end")
        if any(isinstance(piece, Date) for piece in self._pieces):
            source += actions("$date := currentDate")
        return source

    def _holds_system(self) -> bool:
        return Slot.SYSTEM in self._pieces or "system" in self._asked

    def _gather(self) -> str:
        """Set `$system` from system messages of any place."""
        gathered = self._model.gathered
        if gathered is None or not self._holds_system():
            return ""
        source = actions("range .Messages", 'if eq .Role "system"', "$words := .Content")
        source += trim_code("$words", self._model.system_trim)
        if gathered.which == "all":
            joined = f"$system = print $system {go_string(gathered.joint)} $words"
            source += actions("if $given", joined, "else", "$system = $words", "end")
        elif gathered.which == "first":
            source += actions("if not $given", "$system = $words", "end")
        else:
            source += action("$system = $words")
        return source + actions("$given = true", "end", "end")

    def _message(self) -> str:
        source = action('if and (eq $i 0) (eq .Role "system")')
        if self._model.gathered is not None:
            source = action('if eq .Role "system"')
        elif self._holds_system():
            source += actions("$given = true", "$system = .Content")
            source += trim_code("$system", self._model.system_trim)
        source += actions("continue", "end")
        source += self._role() + self._text() + self._turns() + action("$previous = $role")
        if "asked" in self._asked:
            source += actions('if eq $role "user"', "$asked = true", "end")
        return source

    def _role(self) -> str:
        """Name the message's role; those that the template does not know count as the user's."""
        source = ""
        if self._model.hidden:
            source += actions(f"if eq .Role {_names(self._model.hidden)}", "continue", "end")
        source += action('$role := "user"')
        others = tuple(role for role in self._model.known if role != "user")
        if others:
            source += actions(f"if eq .Role {_names(others)}", "$role = .Role", "end")
        return source

    def _text(self) -> str:
        """Set `$text`, `$reason` and `$thought`."""
        thoughts = self._model.thoughts
        source = action("$text := .Content")
        if thoughts.inline or thoughts.field or self._model.toggled:
            source += self._tags()
        if thoughts.inline or thoughts.field:
            source += actions('$reason := ""', "$thought := false", 'if eq $role "assistant"')
            if thoughts.inline:
                apart = thoughts_code() + action("if $thought")
                apart += trim_code("$text", thoughts.words) + action("end")
                source += self._tree(thoughts.whole, lambda whole: "" if whole else apart)
            if thoughts.field:
                source += actions("if .Thinking", "$reason = .Thinking", "$thought = true", "end")
            source += trim_code("$reason", thoughts.reasons) + action("end")
        return source + self._trims()

    def _tags(self) -> str:
        """Return source that is never run, from which the server learns the tags of thoughts.

        It looks in the range over messages for a list of text, `.Thinking` and text; without one
        it refuses requests with `think`. See Ollama's thinking/template.go.
        """
        tags = OPEN, CLOSE
        for gap in [gap for tree in self._model.gaps.values() for gap in leaves(tree)]:
            for before, piece, after in zip(gap, gap[1:], gap[2:], strict=False):
                if piece is Slot.REASON and isinstance(before, str) and isinstance(after, str):
                    opening, closing = _OPENING.search(before), _CLOSING.search(after)
                    if opening and closing:
                        tags = opening.group(1), closing.group(1)
        source = action("if false") + go_text(tags[0]) + action(".Thinking") + go_text(tags[1])
        return source + action("end")

    def _trims(self) -> str:
        """Trim `$text`, all roles that are trimmed alike together."""
        source = ""
        for left, trees in ((True, self._model.lefts), (False, self._model.rights)):
            groups: dict[Tree[str], tuple[str, ...]] = {}
            for role in self._model.known:
                tree = trees.get(role, Leaf(""))
                groups[tree] = (*groups.get(tree, ()), role)
            for tree, roles in groups.items():
                code = self._tree(tree, partial(trim_side, "$text", left=left))
                if code and roles != self._model.known:
                    code = action(f"if eq $role {_names(roles)}") + code + action("end")
                source += code
        return source

    def _turns(self) -> str:
        *others, last = sorted(self._model.known, key=("user", "assistant", "system").index)
        source, prefix = "", ""
        for role in others:
            source += action(f'{prefix}if eq $role "{role}"') + self._turn(role)
            prefix = "else "
        source += (action("else") if others else "") + self._turn(last)
        return source + (action("end") if others else "")

    def _turn(self, role: str) -> str:
        source = ""
        if role in self._model.dropped_empty:
            source += actions("if not $text", "continue", "end")
        shown = self._model.shown.get(role, Leaf(True))
        source += self._tree(shown, lambda seen: "" if seen else action("continue"))
        closing = go_text(self._model.closing[role])
        return f"{source}{self._gap(role)}{action('$text')}{closing}"

    def _gap(self, following: str) -> str:
        return self._gaps(self._model.gaps[following])

    def _gaps(self, tree: Tree[Gap]) -> str:
        """Write a tree of gaps, what they all end with after it."""
        if isinstance(tree, Leaf):
            return "".join(map(_written, tree.value))
        tail = _common_tail(leaves(tree))
        head = changed(tree, lambda gap: _without_tail(gap, len(tail)))
        return self._tree(head, lambda gap: "".join(map(_written, gap))) + go_text(tail)

    def _tree(self, tree: Tree[Value], write: Callable[[Value], str]) -> str:
        if isinstance(tree, Leaf):
            return write(tree.value)
        source = ""
        for number, (answers, branch) in enumerate(tree.branches):
            tests = [_TESTS[tree.feature](answer) for answer in answers]
            test = tests[0] if len(tests) == 1 else f"or {' '.join(f'({t})' for t in tests)}"
            source += action(f"{'else ' if number else ''}if {test}") + self._tree(branch, write)
        otherwise = self._tree(tree.otherwise, write)
        return source + (action("else") + otherwise if otherwise else "") + action("end")


def _written(piece: str | Slot | Date) -> str:
    if isinstance(piece, str):
        return go_text(piece)
    if isinstance(piece, Date):
        return date_code(piece) or action("$date")
    return action("$system" if piece is Slot.SYSTEM else "$reason")


def _names(roles: Sequence[str]) -> str:
    return " ".join(f'"{role}"' for role in roles)


def _common_tail(gaps: Sequence[Gap]) -> str:
    """Return the text that all gaps end with."""
    ends = [gap[-1][::-1] if gap and isinstance(gap[-1], str) else "" for gap in gaps]
    return common_start(ends)[::-1]


def _without_tail(gap: Gap, length: int) -> Gap:
    if not length or not isinstance(gap[-1], str):
        return gap
    rest = gap[-1][: len(gap[-1]) - length]
    return (*gap[:-1], rest) if rest else gap[:-1]
