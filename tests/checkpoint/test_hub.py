"""What is said where the Hub cannot be reached."""

from __future__ import annotations

import pytest

from loragraft.checkpoint.hub import explain_hub
from loragraft.errors import UnavailableError


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (": Got: ConnectError: [Errno -2] Name or service not known", "ConnectError: [Errno -2]"),
        ("The server is down.\nTry later.", "The server is down"),
        ("", "OSError"),
    ],
)
def test_the_cause_stands_in_one_sentence(said: str, shown: str) -> None:
    with pytest.raises(UnavailableError) as caught, explain_hub("a/b", "is not to be had"):
        raise OSError(said)
    message = str(caught.value)
    assert message.startswith(f"a/b is not to be had: {shown}")
    assert message.endswith(". Check the connection, or give the path of a local copy.")
    assert ".. " not in message
