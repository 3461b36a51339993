"""Rendering Go chat templates as Ollama does, for the part of the language in go_syntax."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from loragraft.errors import TemplateError
from loragraft.ollama.template.go_syntax import (
    Action,
    Block,
    Command,
    Jump,
    Node,
    Operand,
    Pipe,
    Text,
    encode,
    parse_go,
    refuse,
)

MAX_STEPS = 5_000_000
"""Nodes and turns of loops that one rendering may run: enough for answers of half a million bytes
that are searched for thoughts, and over within seconds where a template loops without end."""
JOINT = "\n\n"
"""What Ollama puts between adjacent messages of one role."""
MESSAGE_FIELDS = ("Role", "Content", "Thinking", "ToolName", "ToolCallID")
"""Text fields of Ollama's messages (its template/template.go)."""


def render_go(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    system: str | None = None,
    think: bool | None = None,
    now: datetime | None = None,
) -> str:
    """Return a conversation as Ollama's server renders it with a Go template.

    Args:
        template: the Go template; it has to read `.Messages`.
        messages: objects with `role` and `content`, and `thinking` where there is any.
        system: the model's SYSTEM, used where the first message is no system message.
        think: the request's `think`; None where it has none.
        now: the server's clock; the current time if None.

    Raises:
        TemplateError: the template is faulty, or uses what loragraft does not write.
    """
    return compile_go(template)(messages, system=system, think=think, now=now)


def compile_go(template: str) -> Callable[..., str]:
    """Return a function that renders conversations with one Go template, read once.

    Raises:
        TemplateError: the template is faulty, or uses what loragraft does not write.
    """
    nodes = parse_go(template)
    if ".Messages" not in template:
        raise refuse("it does not read .Messages")

    def rendered(
        messages: Sequence[Mapping[str, Any]],
        *,
        system: str | None = None,
        think: bool | None = None,
        now: datetime | None = None,
    ) -> str:
        data = _data(_with_system(messages, system), think)
        run = _Run(data, now or datetime.now())
        try:
            run.walk(nodes, data)
        except RecursionError:
            raise refuse("it is nested too deeply") from None
        return b"".join(run.out).decode("utf-8", "replace")

    return rendered


def collate(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join adjacent messages of one role with a blank line, tool results apart, as Ollama does."""
    collated: list[dict[str, Any]] = []
    for message in messages:
        role = message.get("role")
        if collated and collated[-1].get("role") == role and role != "tool":
            collated[-1]["content"] = JOINT.join((_content(collated[-1]), _content(message)))
        else:
            collated.append(dict(message))
    return collated


def _with_system(
    messages: Sequence[Mapping[str, Any]], system: str | None
) -> list[Mapping[str, Any]]:
    first = messages[0].get("role") if messages else None
    return (
        [{"role": "system", "content": system}, *messages]
        if system and first != "system"
        else [*messages]
    )


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if not isinstance(content, str | None):
        raise TemplateError(
            f"a message's content is of type {type(content).__name__}; Ollama's templates take "
            "text. Send the text alone."
        )
    return content or ""


def _data(messages: Sequence[Mapping[str, Any]], think: bool | None) -> dict[str, object]:
    """Return what the template sees."""
    systems = [_content(message) for message in messages if message.get("role") == "system"]
    return {
        "System": encode(JOINT.join(systems)),
        "Messages": [_message(message) for message in collate(messages)],
        "Tools": [],
        "Response": b"",
        "Think": bool(think),
        "ThinkLevel": b"",
        "IsThinkSet": think is not None,
    }


def _message(message: Mapping[str, Any]) -> dict[str, object]:
    fields: dict[str, object] = dict.fromkeys(MESSAGE_FIELDS, b"")
    fields["Role"] = encode(str(message.get("role", "")))
    fields["Content"] = encode(_content(message))
    fields["Thinking"] = encode(str(message.get("thinking") or ""))
    return fields | {"ToolCalls": [], "Images": []}


class _Jumped(Exception):
    """A break or continue on its way to its range."""


class _Run:
    """One rendering: variables, output and the count of steps."""

    def __init__(self, data: dict[str, object], now: datetime) -> None:
        self.out: list[bytes] = []
        self._now = now
        self._variables: list[tuple[str, object]] = [("$", data)]
        self._steps = 0

    def walk(self, nodes: Sequence[Node], dot: object) -> None:
        for node in nodes:
            self._step()
            if isinstance(node, Text):
                self.out.append(node.text)
            elif isinstance(node, Action):
                value = self._pipe(node.pipe, dot)
                if not node.pipe.names:
                    self.out.append(_written(value))
            elif isinstance(node, Jump):
                raise _Jumped(node.kind)
            elif node.kind == "range":
                self._range(node, dot)
            else:
                self._branch(node, dot)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise refuse(f"it takes more than {MAX_STEPS} steps")

    def _branch(self, node: Block, dot: object) -> None:
        mark = len(self._variables)
        try:
            value = self._pipe(node.pipe, dot)
            inner = value if node.kind == "with" and truth(value) else dot
            self.walk(node.body if truth(value) else node.otherwise, inner)
        finally:
            del self._variables[mark:]

    def _range(self, node: Block, dot: object) -> None:
        mark = len(self._variables)
        value = self._pipe(Pipe(node.pipe.commands), dot)
        try:
            items = range(value) if type(value) is int else value
            if not isinstance(items, list | range):
                raise refuse(f"range over {_kind(value)}")
            if isinstance(items, range) and len(node.pipe.names) > 1:
                raise refuse("a range over a number with two variables")
            for index, item in enumerate(items):
                self._step()
                del self._variables[mark:]
                self._loop_variables(node.pipe, index, item)
                try:
                    self.walk(node.body, item)
                except _Jumped as jump:
                    if jump.args == ("break",):
                        break
            if not items:
                self.walk(node.otherwise, dot)
        finally:
            del self._variables[mark:]

    def _loop_variables(self, pipe: Pipe, index: int, item: object) -> None:
        values = (item,) if len(pipe.names) == 1 else (index, item)
        for name, value in zip(pipe.names, values, strict=False):
            if pipe.declares:
                self._variables.append((name, value))
            else:
                self._assign(name, value)

    def _pipe(self, pipe: Pipe, dot: object) -> object:
        value: object = None
        for position, command in enumerate(pipe.commands):
            value = self._command(command, dot, (value,) if position else ())
        for name in pipe.names:
            if pipe.declares:
                self._variables.append((name, value))
            else:
                self._assign(name, value)
        return value

    def _assign(self, name: str, value: object) -> None:
        for position in range(len(self._variables) - 1, -1, -1):
            if self._variables[position][0] == name:
                self._variables[position] = (name, value)
                return
        raise refuse(f"{name} is not declared")

    def _command(self, command: Command, dot: object, piped: tuple[object, ...]) -> object:
        first, *rest = command
        if first.kind == "function":
            return self._call(str(first.value), rest, dot, piped)
        if rest or piped:
            raise refuse("arguments for something that is no function")
        return self._operand(first, dot)

    def _call(
        self, name: str, operands: Sequence[Operand], dot: object, piped: tuple[object, ...]
    ) -> object:
        if name in ("and", "or"):
            return self._short(name == "or", operands, dot, piped)
        arguments = (*(self._operand(operand, dot) for operand in operands), *piped)
        if name == "currentDate":
            return encode(f"{self._now:%Y-%m-%d}")
        if name not in FUNCTIONS:
            raise refuse(f"function {name}")
        try:
            return FUNCTIONS[name](*arguments)
        except (TypeError, IndexError, ValueError) as error:
            raise refuse(f"{name} of {', '.join(map(_kind, arguments))}: {error}") from None

    def _short(
        self, wanted: bool, operands: Sequence[Operand], dot: object, piped: tuple[object, ...]
    ) -> object:
        """And, or: the first value that decides, or the last one."""
        if not operands and not piped:
            raise refuse("and, or without arguments")
        value: object = None
        for operand in operands:
            value = self._operand(operand, dot)
            if truth(value) == wanted:
                return value
        return piped[0] if piped else value

    def _operand(self, operand: Operand, dot: object) -> object:
        if operand.kind == "literal":
            return operand.value
        if operand.kind == "function":
            return self._call(str(operand.value), (), dot, ())
        if operand.kind == "nested":
            assert isinstance(operand.value, Pipe)
            value = self._pipe(operand.value, dot)
        elif operand.kind == "variable":
            value = self._variable(str(operand.value))
        else:
            value = dot
        for name in operand.fields:
            value = _field(value, name)
        return value

    def _variable(self, name: str) -> object:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise refuse(f"{name} is not declared")


def truth(value: object) -> bool:
    """Return what `if` makes of a value: empty things are false."""
    return bool(value)


def _field(value: object, name: str) -> object:
    if not isinstance(value, dict) or name not in value:
        raise refuse(f"field {name} of {_kind(value)}")
    return value[name]


def _kind(value: object) -> str:
    names = {bytes: "text", int: "a number", bool: "a truth value", list: "a list"}
    return names.get(type(value), "an object")


def _written(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return str(value).encode()
    raise refuse(f"writing {_kind(value)}")


def _same_kind(left: object, *others: object) -> None:
    for other in others:
        if type(left) is not type(other) or not isinstance(left, bytes | int):
            raise TypeError("values of different kinds")


def _equal(left: object, *others: object) -> bool:
    _same_kind(left, *others)
    if not others:
        raise TypeError("one value alone")
    return left in others


def _less(left: Any, right: Any) -> bool:  # noqa: ANN401
    _same_kind(left, right)
    if isinstance(left, bool):
        raise TypeError("truth values have no order")
    return bool(left < right)


def _index(items: Any, position: int) -> object:  # noqa: ANN401
    if not isinstance(items, bytes | list) or type(position) is not int:
        raise TypeError("a list or text and a number are expected")
    if not 0 <= position < len(items):
        raise IndexError("out of range")
    return items[position]


def _slice(items: Any, *bounds: int) -> object:  # noqa: ANN401
    if not isinstance(items, bytes | list) or any(type(bound) is not int for bound in bounds):
        raise TypeError("a list or text and numbers are expected")
    start, stop = (*bounds, *(0, len(items))[len(bounds) :])
    if not 0 <= start <= stop <= len(items):
        raise IndexError("out of range")
    return items[start:stop]


def _print(*texts: object) -> bytes:
    if not all(isinstance(text, bytes) for text in texts):
        raise TypeError("only text is joined here")
    return b"".join(text for text in texts if isinstance(text, bytes))


def _length(items: object) -> int:
    if not isinstance(items, bytes | list):
        raise TypeError("no length")
    return len(items)


FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _less,
    "le": lambda left, right: _less(left, right) or _equal(left, right),
    "gt": lambda left, right: _less(right, left),
    "ge": lambda left, right: _less(right, left) or _equal(left, right),
    "not": lambda value: not truth(value),
    "len": _length,
    "print": _print,
    "index": _index,
    "slice": _slice,
}
