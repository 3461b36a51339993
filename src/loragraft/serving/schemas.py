"""JSON schemas that answers are to follow: checked before llama.cpp is held to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from loragraft.serving.refusal import RefusedRequest

MAX_BYTES = 1 << 16
MAX_DEPTH = 32
MAX_COUNT = 1000
"""Of repetitions: each becomes a part of the grammar."""
COUNTS = ("minItems", "maxItems", "minLength", "maxLength")


def check_schemas(body: dict[str, Any], parses: Callable[[str], bool]) -> None:
    """Refuse a request whose schemas llama.cpp could not read: it would end the process.

    Args:
        body: A request that is otherwise sound.
        parses: Whether llama.cpp can read a grammar.

    Raises:
        RefusedRequest: Naming the field.
    """
    held = False
    for where, schema in _schemas(body):
        held = True
        _check(schema, where)
        try:
            grammar = _grammar(schema)
        except Exception as error:  # the converter raises whatever it meets
            reason = f"{where} is no schema that can be followed: {error!r:.200}."
            raise RefusedRequest(reason, where) from None
        if not parses(grammar):
            raise RefusedRequest(f"{where} is no schema that llama.cpp can follow.", where)
    held = held or (body.get("response_format") or {}).get("type") == "json_object"
    if held and body.get("min_tokens"):
        raise RefusedRequest("min_tokens keeps JSON from ending where it must.", "min_tokens")


def _grammar(schema: Any) -> str:  # noqa: ANN401 - as the client sent it
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    return str(json_schema_to_gbnf(json.dumps(schema)))


def _schemas(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the schemas that the answer must follow, each with its field."""
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_object" and "schema" in wanted:
        yield "response_format.schema", wanted["schema"]
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or ()}
    tools |= {function["name"]: function for function in body.get("functions") or ()}
    for field in ("tool_choice", "function_call"):
        choice = body.get(field)
        if not isinstance(choice, dict):
            continue
        name = choice["function"]["name"] if field == "tool_choice" else choice["name"]
        if name not in tools:
            raise RefusedRequest(f"{field} names {name[:80]!r}, which is not among the tools.",
                                field)  # fmt: skip
        yield f"parameters of {name[:80]}", tools[name].get("parameters", {})


def _check(schema: Any, where: str) -> None:  # noqa: ANN401
    """Refuse what would take memory or depth without end."""
    if len(json.dumps(schema)) > MAX_BYTES or _deeper(schema, MAX_DEPTH):
        raise RefusedRequest(
            f"{where} is too large: {MAX_BYTES} bytes and {MAX_DEPTH} levels are taken.", where
        )
    for name, value in _counts(schema):
        if not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
            raise RefusedRequest(f"{where}: {name} must be from 0 to {MAX_COUNT}.", where)


def _deeper(value: Any, levels: int) -> bool:  # noqa: ANN401
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(item, levels - 1) for item in inner)


def _counts(value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(value, dict):
        yield from ((name, value[name]) for name in COUNTS if name in value)
        if "pattern" in value:  # a regular expression may repeat and nest as it likes
            yield "pattern", None
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _counts(item)
