"""The Jinja environment of chat templates, with what transformers puts into it.

Import this module only where a template is rendered: jinja2 is not free to load.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import NoReturn

from jinja2 import nodes
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro

from loragraft.checkpoint.jinja_bounds import BoundedEnvironment


class GenerationBlocks(Extension):
    """Accept `{% generation %}` blocks, which mark the assistant's words in training templates."""

    tags = {"generation"}  # noqa: RUF012  (the name and form that Jinja wants)

    def parse(self, parser: Parser) -> nodes.Node:
        """Turn the block into a call that returns its body as it is."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Macro) -> str:
        return str(caller())


def chat_environment() -> BoundedEnvironment:
    """Return a bounded sandbox in which chat templates behave as they do in transformers."""
    environment = BoundedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own tojson escapes HTML
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> NoReturn:
    raise JinjaError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)
