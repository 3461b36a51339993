"""Where an answer stops: the tokens that end it, by the file, the checkpoint and the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loragraft.checkpoint.gguf_chat import ChatFacts
from loragraft.checkpoint.template import render
from loragraft.errors import TemplateError

MARK = "loragraftanswerends"
"""Stands for an assistant's words: letters only, so that no template trims or escapes it."""

_TURNS = (
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": MARK}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": MARK},
        {"role": "user", "content": "b"},
    ],
)


@dataclass(frozen=True)
class StopTokens:
    """The tokens that end an answer.

    Attributes:
        ids: Their ids, EOS first.
        texts: Their texts, in the same order.
        warnings: What was asked for and is no token.
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def text_after_answer(template: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a template writes after an assistant's words, at the end and before a user's.

    A template that refuses these conversations, or writes nothing after them, gives nothing.
    """
    found: list[str] = []
    for messages in _TURNS:
        try:
            text = render(template, messages, **variables)
        except TemplateError:
            continue
        after = text.rpartition(MARK)[2] if MARK in text else ""
        if after.strip() and after not in found:
            found.append(after)
    return tuple(found)


def turn_ends(template: str, facts: ChatFacts) -> tuple[int, ...]:
    """Return the tokens that a template writes right after an assistant's words.

    Only a special token counts: a text such as "###" may stand in an answer as well.
    """
    special = {facts.vocabulary[token]: token for token in facts.control}
    special.update({facts.vocabulary[token]: token for token in facts.end_ids})
    special.pop("", None)
    found: list[int] = []
    for after in text_after_answer(template, facts.variables):
        start = after.lstrip()
        fitting = [text for text in special if start.startswith(text)]
        if fitting and special[max(fitting, key=len)] not in found:
            found.append(special[max(fitting, key=len)])
    return tuple(found)


def stop_tokens(facts: ChatFacts, more: Sequence[int | str] = ()) -> StopTokens:
    """Return the union of the file's end tokens, the template's turn ends and what is asked for.

    Args:
        facts: The file's.
        more: Further tokens by id or text: ``generation_config.json``'s EOS list, or the
            ``stops`` of a bundle's metadata.
    """
    ids = list(facts.end_ids)
    if facts.template is not None:
        ids += turn_ends(facts.template, facts)
    by_text = {text: token for token, text in reversed(list(enumerate(facts.vocabulary)))}
    warnings: list[str] = []
    for wanted in more:
        token = by_text.get(wanted) if isinstance(wanted, str) else wanted
        if token is None or not 0 <= token < len(facts.vocabulary):
            warnings.append(
                f"{wanted!r} is named as an end of answers but is no token of the vocabulary of "
                f"{len(facts.vocabulary)}: it is left out."
            )
        else:
            ids.append(token)
    unique = tuple(dict.fromkeys(ids))
    return StopTokens(unique, tuple(facts.vocabulary[i] for i in unique), tuple(warnings))
