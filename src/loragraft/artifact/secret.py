"""A key that is used and never shown."""

from __future__ import annotations

from urllib.parse import quote

HIDDEN = "[key removed]"


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
