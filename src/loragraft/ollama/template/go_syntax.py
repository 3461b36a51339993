"""Reading Go's text/template: the part that translated chat templates are written in.

The language is described at https://pkg.go.dev/text/template. Read here: text, fields, variables,
calls, parentheses, pipes, `if`, `else if`, `with`, `range`, `break`, `continue`, comments and trim
markers. Left out, and refused: `define`, `template`, `block`, methods, floating numbers.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TypeAlias

from loragraft.errors import TemplateError

MAX_DEPTH = 100
"""Nested blocks and parentheses: deeper ones come from no sensible template, and would end Python's
own recursion."""


@dataclass(frozen=True)
class Operand:
    """A value of an expression: where it starts, and the fields that are read off it."""

    kind: str
    """dot, variable, literal, function or nested."""
    value: object = None
    """A variable's or function's name, a literal's value, or a nested pipe."""
    fields: tuple[str, ...] = ()


Command: TypeAlias = "tuple[Operand, ...]"


@dataclass(frozen=True)
class Pipe:
    """Commands of which each hands its value to the next, and the variables that take the last."""

    commands: tuple[Command, ...]
    names: tuple[str, ...] = ()
    declares: bool = False


@dataclass(frozen=True)
class Text:
    """Text outside of actions, as UTF-8."""

    text: bytes


@dataclass(frozen=True)
class Action:
    """A pipe whose value is written."""

    pipe: Pipe


@dataclass(frozen=True)
class Block:
    """An if, with or range."""

    kind: str
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Jump:
    """A break or continue."""

    kind: str


Node: TypeAlias = "Text | Action | Block | Jump"

_SPACE = " \t\r\n"
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<raw>`[^`]*`)
    |(?P<number>[+-]?[0-9][0-9_]*(?![\w.]))
    |(?P<declare>:=)
    |(?P<mark>[=|,()])
    |(?P<field>\.[A-Za-z_]\w*)
    |(?P<dot>\.)
    |(?P<variable>\$\w*)
    |(?P<word>[A-Za-z_]\w*)""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL
)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "a": "\a", "b": "\b"}
_SIMPLE |= {"f": "\f", "v": "\v"}
MAX_DIGITS = 18
"""Of a number: every one of so many fits Go's 64 bits."""
_CONSTANTS: dict[str, object] = {"true": True, "false": False}


def parse_go(template: str) -> tuple[Node, ...]:
    """Read a Go template.

    Raises:
        TemplateError: the template is faulty, or uses something that is not read here.
    """
    return _Parser(template).parse()


def refuse(what: str) -> TemplateError:
    """Return the error for a Go template that cannot be read or run here."""
    return TemplateError(
        f"the Go template cannot be rendered here: {what}. Expected is a template as loragraft "
        "writes them; let Ollama itself render this one."
    )


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    glued: bool
    """No space stands before it."""


class _Parser:
    """One pass over a template."""

    def __init__(self, template: str) -> None:
        self._rest = list(_split(template))[::-1]
        self._depth = 0

    def parse(self) -> tuple[Node, ...]:
        nodes, end = self._nodes(loop=False)
        if end:
            raise refuse(f"{{{{ {end[0].text} }}}} without an opening")
        return nodes

    def _nodes(self, *, loop: bool) -> tuple[tuple[Node, ...], list[_Token]]:
        """Read nodes up to an else or end, and return that action's tokens too."""
        nodes: list[Node] = []
        while self._rest:
            piece = self._rest.pop()
            if isinstance(piece, bytes):
                nodes.append(Text(piece))
                continue
            tokens = _tokens(piece)
            word = tokens[0].text if tokens and tokens[0].kind == "word" else ""
            if word in ("else", "end"):
                return tuple(nodes), tokens
            nodes.append(self._node(word, tokens, loop))
        return tuple(nodes), []

    def _node(self, word: str, tokens: list[_Token], loop: bool) -> Node:
        if word in ("if", "with", "range"):
            return self._block(word, tokens[1:], loop)
        if word in ("break", "continue"):
            if not loop or len(tokens) > 1:
                raise refuse(f"{word} outside of a range")
            return Jump(word)
        if word in ("define", "template", "block"):
            raise refuse(f"{word} is not read")
        return Action(_pipe(tokens))

    def _block(self, kind: str, head: list[_Token], loop: bool) -> Block:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise refuse(f"more than {MAX_DEPTH} nested blocks")
        pipe = _pipe(head)
        if len(pipe.names) > (2 if kind == "range" else 1):
            raise refuse(f"{kind} with {len(pipe.names)} variables")
        body, end = self._nodes(loop=loop or kind == "range")
        otherwise: tuple[Node, ...] = ()
        if end and end[0].text == "else":
            otherwise, end = self._else(kind, end[1:], loop)
        if not end or len(end) > 1:
            raise refuse(f"{kind} without its end")
        self._depth -= 1
        return Block(kind, pipe, body, otherwise)

    def _else(
        self, kind: str, head: list[_Token], loop: bool
    ) -> tuple[tuple[Node, ...], list[_Token]]:
        """Read what follows an else; `else if` shares the end of the block around it."""
        if not head:
            return self._nodes(loop=loop)
        if head[0].text != kind or kind == "range":
            raise refuse(f"else {head[0].text} in {kind}")
        return (self._block(kind, head[1:], loop),), [_Token("word", "end", False)]


def _split(template: str) -> list[str | bytes]:
    """Cut a template into text (bytes) and the insides of actions (str)."""
    pieces: list[str | bytes] = []
    position, trim = 0, False
    while True:
        start = template.find("{{", position)
        text = template[position : start if start >= 0 else len(template)]
        inside = start + 2
        left = start >= 0 and template[inside : inside + 1] == "-" and _blank(template, inside + 1)
        text = text.lstrip(_SPACE) if trim else text
        text = text.rstrip(_SPACE) if left else text
        if text:
            pieces.append(encode(text))
        if start < 0:
            return pieces
        stop, trim = _stop(template, inside + left)
        action = template[inside + left : stop].strip(_SPACE)
        position = stop + (2 if not trim else 3 if template[stop] == "-" else 2)
        if not _COMMENT.fullmatch(action):
            pieces.append(action)


def _blank(template: str, position: int) -> bool:
    return template[position : position + 1] in tuple(_SPACE)


def _stop(template: str, position: int) -> tuple[int, bool]:
    """Return where an action's inside ends, and whether it trims what follows."""
    comment = _COMMENT.match(template, position + len(_leading(template, position)))
    position = comment.end() if comment else position
    while position < len(template):
        if template.startswith("}}", position):
            return position, False
        if template.startswith("-}}", position) and template[position - 1] in _SPACE:
            return position, True
        match = _TOKEN.match(template, position)
        if match is None or (not match.group("space") and comment):
            break
        space = match.group("space")
        position += len(space) if space else len(match.group())
    raise refuse(f"an action is not closed, or holds {template[position : position + 20]!r}")


def _leading(template: str, position: int) -> str:
    end = position
    while _blank(template, end):
        end += 1
    return template[position:end]


def encode(text: str) -> bytes:
    """Return a text as Go holds it; half a surrogate pair becomes U+FFFD, as in its JSON."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _tokens(action: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, glued = 0, False
    while position < len(action):
        match = _TOKEN.match(action, position)
        if match is None:
            raise refuse(f"{action[position : position + 20]!r} in an action")
        kind = str(match.lastgroup)
        if kind != "space":
            tokens.append(_Token(kind, match.group(), glued))
        glued, position = kind != "space", match.end()
    return tokens


def _pipe(tokens: list[_Token], depth: int = 0) -> Pipe:
    """Read a pipe with its variables."""
    if depth > MAX_DEPTH:
        raise refuse(f"more than {MAX_DEPTH} nested parentheses")
    names: list[str] = []
    rest = list(tokens)
    for index, token in enumerate(tokens):
        if token.kind == "declare" or token.text == "=":
            if not names:
                break
            rest = tokens[index + 1 :]
            return Pipe(_commands(rest, depth), tuple(names), token.kind == "declare")
        if token.kind == "variable":
            names.append(token.text)
        elif token.text != ",":
            break
    return Pipe(_commands(rest, depth))


def _commands(tokens: list[_Token], depth: int) -> tuple[Command, ...]:
    commands: list[list[Operand]] = [[]]
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token.text == "|" and token.kind == "mark":
            commands.append([])
        elif token.kind == "field" and token.glued and commands[-1]:
            last = commands[-1].pop()
            if last.kind in ("function", "literal"):
                raise refuse(f"a field of {last.value}")
            fields = (*last.fields, token.text[1:])
            commands[-1].append(Operand(last.kind, last.value, fields))
        elif token.text == "(" and token.kind == "mark":
            end = _closing(tokens, position)
            commands[-1].append(Operand("nested", _pipe(tokens[position + 1 : end], depth + 1)))
            position = end
        else:
            commands[-1].append(_operand(token))
        position += 1
    if not all(commands):
        raise refuse("an empty command")
    return tuple(tuple(command) for command in commands)


def _closing(tokens: list[_Token], position: int) -> int:
    depth = 0
    for index in range(position, len(tokens)):
        if tokens[index].kind == "mark":
            depth += {"(": 1, ")": -1}.get(tokens[index].text, 0)
        if depth == 0:
            return index
    raise refuse("an open parenthesis")


def _operand(token: _Token) -> Operand:
    if token.kind == "field":
        return Operand("dot", None, (token.text[1:],))
    if token.kind in ("dot", "variable"):
        return Operand(token.kind, token.text)
    if token.kind == "string":
        return Operand("literal", _unquote(token.text[1:-1]))
    if token.kind == "raw":
        return Operand("literal", encode(token.text[1:-1].replace("\r", "")))
    if token.kind == "number":
        return Operand("literal", _number(token.text))
    if token.text in _CONSTANTS:
        return Operand("literal", _CONSTANTS[token.text])
    if token.kind == "word":
        return Operand("function", token.text)
    raise refuse(f"{token.text!r} in an expression")


def _number(text: str) -> int:
    """Return a whole number as Go reads it; other spellings are outside of the subset."""
    digits = text.replace("_", "").lstrip("+-")
    octal = len(digits) > 1 and digits.startswith("0")
    if len(digits) > MAX_DIGITS or octal:
        raise refuse(f"the number {text[:40]}")
    return -int(digits) if text.startswith("-") else int(digits)


def _character(code: int) -> str:
    if code > sys.maxunicode or 0xD800 <= code < 0xE000:
        raise refuse(f"the character {code:#x} in a string")
    return chr(code)


def _unquote(text: str) -> bytes:
    """Return the bytes of a quoted Go string."""
    result = bytearray()
    position = 0
    for match in _ESCAPE.finditer(text):
        result += encode(text[position : match.start()])
        byte, short, long, octal, simple = match.groups()
        if byte or octal:
            result.append(int(byte, 16) if byte else int(octal, 8) & 0xFF)
        elif short or long:
            result += encode(_character(int(short or long, 16)))
        elif simple in _SIMPLE:
            result += _SIMPLE[simple].encode()
        else:
            raise refuse(f"\\{simple} in a string")
        position = match.end()
    return bytes(result + encode(text[position:]))
