"""Chat templates: found as transformers finds them, rendered as transformers renders them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

from loragraft.checkpoint.files import read_small
from loragraft.errors import TemplateError

TEMPLATE_JINJA = "chat_template.jinja"
TEMPLATE_JSON = "chat_template.json"
TEMPLATE_FOLDER = "additional_chat_templates"
TOKENIZER_CONFIG = "tokenizer_config.json"
DEFAULT = "default"

_NAME_CHARACTERS = frozenset(ascii_letters + digits)


@dataclass(frozen=True)
class ChatTemplates:
    """The template in force, the named ones beside it, and where they are from."""

    default: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)
    source: Path | None = None
    warnings: tuple[str, ...] = ()


def resolve_chat_template(folders: Sequence[Path]) -> ChatTemplates:
    """Return the chat templates of the first folder that has any.

    In each folder, like transformers: chat_template.jinja with additional_chat_templates/*.jinja,
    then chat_template.json, then tokenizer_config.json's chat_template (text, or a list of name
    and template).

    Args:
        folders: the adapter's folder before the base's.

    Raises:
        TemplateError: a file is not text, not JSON, or holds something else than templates.
    """
    found = [
        (folder, source, templates)
        for folder in folders
        for source, templates in _of_folder(folder)[:1]
    ]
    if not found:
        return ChatTemplates()
    folder, source, templates = found[0]
    warnings = _shadowed(folder) + tuple(
        f"the chat template of {source} is used; that of {other_source} differs from it."
        for _, other_source, other in found[1:]
        if other.get(DEFAULT) != templates.get(DEFAULT)
    )
    others = {
        _key(name): text for name, text in templates.items() if name != DEFAULT and _key(name)
    }
    return ChatTemplates(templates.get(DEFAULT), others, source, warnings)


def render(template: str, messages: Sequence[Mapping[str, Any]], **variables: object) -> str:
    """Return a conversation as text, as transformers' apply_chat_template does.

    Args:
        template: the Jinja source.
        messages: objects with `role` and `content`.
        **variables: what the template may read: add_generation_prompt, tools, documents,
            bos_token, eos_token ...

    Raises:
        TemplateError: the template is faulty, forbidden, or refuses these messages.
    """
    return compile_template(template)(messages, **variables)


def compile_template(template: str) -> Callable[..., str]:
    """Return `render` for one template, read once: ``rendered(messages, **variables)``.

    Raises:
        TemplateError: the template is faulty. The function raises it for what `render` does.
    """
    from loragraft.checkpoint.jinja import chat_environment

    settings: dict[str, Any] = {"tools": None, "documents": None, "add_generation_prompt": False}

    def rendered(messages: Sequence[Mapping[str, Any]], **variables: object) -> str:
        try:
            return compiled.render(messages=list(messages), **{**settings, **variables})
        except Exception as error:  # a template is foreign code, and may fail in any way
            raise _failed(f"rendered for {len(messages)} messages", error) from error

    try:
        compiled = chat_environment().from_string(template)
    except Exception as error:  # as above: the compiler runs constant expressions
        raise _failed("read", error) from error
    return rendered


def _failed(what: str, error: Exception) -> TemplateError:
    return TemplateError(
        f"the chat template cannot be {what} ({type(error).__name__}: {error}). Look at the roles "
        "and their order, or correct the template."
    )


def _of_folder(folder: Path) -> list[tuple[Path, dict[str, str]]]:
    """Return every source of templates in a folder, the one in force first."""
    sources: list[tuple[Path, dict[str, str]]] = []
    jinja = folder / TEMPLATE_JINJA
    named = {
        path.stem: _read_text(path) for path in sorted((folder / TEMPLATE_FOLDER).glob("*.jinja"))
    }
    if jinja.exists():
        sources.append((jinja, {DEFAULT: _read_text(jinja), **named}))
    elif named:
        sources.append((folder / TEMPLATE_FOLDER, named))
    for name in (TEMPLATE_JSON, TOKENIZER_CONFIG):
        templates = _from_json(folder / name)
        if templates:
            sources.append((folder / name, templates))
    return sources


def _shadowed(folder: Path) -> tuple[str, ...]:
    (source, templates), *rest = _of_folder(folder)
    return tuple(
        f"{source} is used as chat template; {other_source} beside it holds another one."
        for other_source, other in rest
        if other.get(DEFAULT) != templates.get(DEFAULT)
    )


def _read_text(path: Path) -> str:
    try:
        return _read(path).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise TemplateError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8.") from error


def _read(path: Path) -> bytes:
    try:
        return read_small(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TemplateError(f"Cannot read {path}: {reason}. Check what lies there.") from None


def _from_json(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        parsed = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise TemplateError(
            f"{path} is not valid JSON ({error}). Download the file again."
        ) from error
    entry = parsed.get("chat_template") if isinstance(parsed, dict) else None
    if entry is None:
        return {}
    if isinstance(entry, str):
        return {DEFAULT: entry}
    if isinstance(entry, dict):
        entry = [{"name": name, "template": text} for name, text in entry.items()]
    if isinstance(entry, list) and all(map(_is_named, entry)):
        return {item["name"]: item["template"] for item in entry}
    raise TemplateError(
        f"{path} has a chat_template of type {type(entry).__name__}; a text, or a list of objects "
        "with name and "
        "template was expected. Correct or remove the entry."
    )


def _is_named(item: object) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("name"), str)
        and isinstance(item.get("template"), str)
    )


def _key(name: str) -> str:
    """Return a template's name as gguf keys have it: letters, digits and underscores."""
    return "".join(character if character in _NAME_CHARACTERS else "_" for character in name)
