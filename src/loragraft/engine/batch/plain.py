"""A prompt that goes to the model as it stands, without a chat template."""

from __future__ import annotations

from collections.abc import Sequence

from loragraft.engine.protocol import Message
from loragraft.errors import InputError

PLAIN = "plain"
"""The role of a conversation's only message where its text is the whole prompt."""


def plain_text(messages: Sequence[Message]) -> str | None:
    """Return the prompt that is given as it stands; None for a conversation.

    Raises:
        InputError: If a plain prompt stands among turns.
    """
    if all(message["role"] != PLAIN for message in messages):
        return None
    if len(messages) != 1:
        raise InputError(
            f"A message of the role {PLAIN!r} is the whole prompt; {len(messages)} messages were "
            "given. Give it alone, or give all of them the roles of a conversation."
        )
    return messages[0]["content"]
