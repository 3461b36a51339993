"""Bounds on what a chat template may do: steps, lengths and widths, counted for each rendering.

A template is foreign code from a file that somebody published. Jinja's sandbox keeps it from the
machine, not from looping for hours or from making texts of gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import nodes
from jinja2.environment import Template
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_STEPS = 300_000
"""Turns of loops and calls in one rendering: the largest template in use needs about a hundred for
each message, so that this is a conversation of thousands; it takes some three seconds."""
MAX_LENGTH = 16 << 20
"""Characters or items of any one value: beyond every model's context."""
MAX_WIDTH = 10_000
"""Columns that a text may be padded to; templates indent by a handful."""

_GROWING = frozenset({"*", "+", "**", "%"})
_WIDTH_FILTERS = ("batch", "center", "indent", "slice", "truncate", "wordwrap")


class BoundedTemplate(Template):
    """A template whose steps are counted anew in each rendering."""

    def render(self, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401 - jinja2's own
        """Render, within the bounds."""
        environment = self.environment
        if isinstance(environment, BoundedEnvironment):
            environment.steps = 0
        return super().render(*args, **kwargs)


class _Wrap(NodeTransformer):
    """Sends every loop's items and every joined text through the environment."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "_bounded_loop", [], [], None, None)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return nodes.Filter(nodes.List(node.nodes), "_bounded_concat", [], [], None, None)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox in which nothing goes on for ever or grows without end.

    Attributes:
        steps: Turns and calls of the rendering so far.
    """

    template_class = BoundedTemplate
    intercepted_binops = _GROWING

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Set up the sandbox; constants are not computed while compiling, where nobody counts."""
        super().__init__(*args, **kwargs, optimized=False)
        self.steps = 0
        for name in _WIDTH_FILTERS:
            self.filters[name] = self._narrow(self.filters[name])
        for name in ("format", "replace", "join"):
            self.filters[name] = self._short(name, self.filters[name])
        self.filters["_bounded_loop"] = self._loop
        self.filters["_bounded_concat"] = self._concat

    def count(self, steps: int = 1) -> None:
        """Count steps.

        Raises:
            SecurityError: If there were too many.
        """
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise SecurityError(f"it takes more than {MAX_STEPS:,} steps")

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401
        return super()._generate(_Wrap().visit(source), *args, **kwargs)

    def _loop(self, items: Any) -> Any:  # noqa: ANN401 - whatever a template loops over
        if hasattr(items, "__len__"):  # loop.length and the like need it: do not make it a stream
            self.count(len(items))
            return items
        return self._stream(items)

    def _stream(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.count()
            yield item

    def _concat(self, parts: list[Any]) -> str:
        texts = [str(part) for part in parts]
        _require_length(sum(map(len, texts)))
        return "".join(texts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Compute an operator whose result may grow."""
        self.count()
        _require_length(_result_length(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Call something, with widths and lengths as they should be."""
        __self.count()
        # str.format comes in a wrapper of the sandbox's.
        receiver = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)
        if isinstance(receiver, str):
            _check_text_call(receiver, getattr(__obj, "__name__", ""), args)
        return super().call(__context, __obj, *args, **kwargs)

    @staticmethod
    def _narrow(function: Callable[..., Any]) -> Callable[..., Any]:
        def narrow(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            _require_width((*args, *kwargs.values()))
            return function(*args, **kwargs)

        return _passed_like(function, narrow)

    @staticmethod
    def _short(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def short(first: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            texts = [first, *args, *kwargs.values()]  # the context in front is no text
            receiver = next((text for text in texts if isinstance(text, str | list | tuple)), "")
            rest = tuple(text for text in texts if text is not receiver)
            if name != "join" and isinstance(receiver, str):
                _check_text_call(receiver, name, rest)
            elif isinstance(receiver, list | tuple):
                separator = next((text for text in rest if isinstance(text, str)), "")
                _check_text_call(separator, name, (receiver,))
            return function(first, *args, **kwargs)

        return _passed_like(function, short)


def _passed_like(function: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """Have Jinja pass the same first argument (context, environment) to a wrapper."""
    passed = getattr(function, "jinja_pass_arg", None)
    if passed is not None:
        vars(other)["jinja_pass_arg"] = passed
    return other


def _require_length(length: float) -> None:
    if length > MAX_LENGTH:
        raise SecurityError(f"it makes a value of more than {MAX_LENGTH:,} characters or items")


def _require_width(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, int) and abs(value) > MAX_WIDTH:
            raise SecurityError(f"it pads a text to {value} columns, more than {MAX_WIDTH:,}")


def _result_length(operator: str, left: Any, right: Any) -> float:  # noqa: ANN401
    """Return at least how long an operator's result is; numbers count their bits."""
    if operator == "%" and isinstance(left, str):
        _check_form(left)
        _require_width(right if isinstance(right, tuple) else (right,))
        return 0
    if operator == "+":
        return _length(left) + _length(right)
    if operator == "**" and isinstance(left, int) and isinstance(right, int):
        return left.bit_length() * abs(right)
    if operator == "*":
        for sequence, times in ((left, right), (right, left)):
            if isinstance(times, int) and _length(sequence):
                return _length(sequence) * abs(times)
        if isinstance(left, int) and isinstance(right, int):
            return left.bit_length() + right.bit_length()
    return 0


def _length(value: Any) -> int:  # noqa: ANN401
    return len(value) if isinstance(value, str | list | tuple) else 0


def _check_form(form: str) -> None:
    """Refuse a format string that names a width of many digits."""
    digits = 0
    for character in form:
        digits = digits + 1 if character.isdigit() else 0
        if digits >= len(str(MAX_WIDTH)) and ("%" in form or "{" in form):
            raise SecurityError("its format string may pad a text to any width")


def _check_text_call(receiver: str, name: str, args: tuple[Any, ...]) -> None:
    """Refuse a text method whose result is too long."""
    if name in ("center", "ljust", "rjust", "zfill", "expandtabs"):
        _require_width(args)
    elif name in ("format", "format_map"):
        _check_form(receiver)
        _require_width(args)
    elif name == "replace" and len(args) >= 2 and isinstance(args[1], str):
        _require_length((len(receiver) + 1) * max(len(args[1]), 1))
    elif name == "join" and args and isinstance(args[0], list | tuple):
        _require_length(sum(_length(item) + len(receiver) for item in args[0]))
