"""Run the endpoint until it is told to end."""

from __future__ import annotations

import socket
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loragraft.serving.app import Served

GRACE_SECONDS = 5
"""For clients to take what is left of their answers once the server is to end."""


def log_settings() -> dict[str, Any]:
    """Return uvicorn's log settings with everything on stderr: stdout is for results."""
    import copy

    from uvicorn.config import LOGGING_CONFIG

    settings = copy.deepcopy(LOGGING_CONFIG)
    for handler in settings["handlers"].values():
        handler["stream"] = "ext://sys.stderr"
    return settings


def run(served: Served, listening: socket.socket) -> None:
    """Serve on a socket until SIGINT or SIGTERM; answers end at their next token then."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            served.answers.stop.set()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        served.app, log_config=log_settings(), timeout_graceful_shutdown=GRACE_SECONDS
    )
    try:
        Server(config).run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn passes the signal on when it has ended
        return
    finally:
        listening.close()
        served.close()
