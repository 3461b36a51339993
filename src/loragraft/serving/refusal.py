"""Refusals in the shape that OpenAI's clients read."""

from __future__ import annotations

from typing import Any

from loragraft.errors import InputError

BAD_REQUEST, UNAUTHORIZED, NOT_FOUND, TOO_LARGE, UNAVAILABLE = 400, 401, 404, 413, 503
KINDS = {UNAUTHORIZED: "authentication_error", UNAVAILABLE: "server_error"}


class RefusedRequest(InputError):
    """A request that cannot be answered as it is.

    Attributes:
        param: The field that is wrong, if one is.
        code: OpenAI's word for the reason, if there is one.
    """

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        """Say what is wrong, where, and what it may be."""
        super().__init__(message)
        self.param, self.code = param, code


def error_body(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return the JSON of an answer that is an error."""
    kind = KINDS.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
