"""What the Hub's client raises, whichever HTTP library its version stands on."""

from __future__ import annotations

_HTTP_LIBRARIES = frozenset({"httpx", "httpx2", "httpcore", "requests"})
"""huggingface_hub went from requests to httpx (1.0) and to httpx2 (2.0)."""


def is_network_error(error: Exception) -> bool:
    """Whether an error came from the network, the disk or the Hub, and is no bug of ours."""
    return isinstance(error, OSError) or any(
        kind.__module__.partition(".")[0] in _HTTP_LIBRARIES for kind in type(error).__mro__
    )
