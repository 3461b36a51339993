"""Apify's key, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from loragraft.artifact.secret import Secret
from loragraft.errors import InputError

TOKEN = "APIFY_TOKEN"
_SHORTEST = 8
"""Characters: what is shorter stands by chance in any text, and is no key."""


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
