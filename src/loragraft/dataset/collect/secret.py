"""A key that is used and never shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

from loragraft.errors import InputError

HIDDEN = "[key removed]"
TOKEN = "APIFY_TOKEN"
_SHORTEST = 8
"""Characters: what is shorter stands by chance in any text, and is no key."""


class Secret:
    """A key; spelled only by :meth:`reveal`, and taken out of whatever is written or said."""

    def __init__(self, text: str) -> None:
        """Hold a key."""
        self._text = text
        self._forms = tuple({text, quote(text, safe="")})

    def __repr__(self) -> str:
        """Return a name instead of the key: tracebacks and logs may print it."""
        return f"Secret({HIDDEN})"

    def reveal(self) -> str:
        """Return the key itself, for the request's header and nothing else."""
        return self._text

    def hide(self, text: str) -> str:
        """Return a text without the key."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return text

    def stands_in(self, text: str) -> bool:
        """Whether a text holds the key."""
        return any(form in text for form in self._forms)


def read_token(environment: Mapping[str, str] | None = None) -> Secret:
    """Return Apify's key from the environment.

    Raises:
        InputError: If there is none, or what is there is no key; never with its text.
    """
    text = (os.environ if environment is None else environment).get(TOKEN, "").strip()
    if not text:
        raise InputError(
            f"{TOKEN} is not set. Make a key at https://console.apify.com/settings/integrations "
            f"and set it in the environment: export {TOKEN}=... It is read from nowhere else."
        )
    if len(text) < _SHORTEST or not text.isascii() or not text.isprintable() or " " in text:
        raise InputError(
            f"{TOKEN} holds {len(text)} characters that are no key: expected one word of letters "
            "and digits. Copy it again from https://console.apify.com/settings/integrations."
        )
    return Secret(text)
