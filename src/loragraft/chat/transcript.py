"""A conversation as JSON lines: one message each, in order."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loragraft.artifact.space import explain_full_disk
from loragraft.chat.session import Session
from loragraft.engine.protocol import Reply
from loragraft.errors import InputError
from loragraft.rag.answering.answer import CitedReply, citation_record


def reply_record(model: str, reply: Reply) -> dict[str, Any]:
    """Return an answer with its figures, as JSON values."""
    rate = reply.tokens_per_second
    record = {
        "model": model,
        "text": reply.text,
        "thinking": reply.thinking,
        "finish": reply.finish,
        "prompt_tokens": reply.prompt_tokens,
        "tokens": reply.tokens,
        "prompt_seconds": round(reply.prompt_seconds, 4),
        "seconds": round(reply.seconds, 4),
        "tokens_per_second": None if rate is None else round(rate, 2),
    }
    return {**record, **citation_record(reply)} if isinstance(reply, CitedReply) else record


def records(session: Session) -> Iterator[dict[str, Any]]:
    """Yield the messages of a conversation, each answer with its model and figures."""
    if session.system is not None:
        yield {"role": "system", "content": session.system}
    for turn in session.turns:
        yield {"role": "user", "content": turn.question}
        answer = reply_record(session.name, turn.reply)
        yield {"role": "assistant", "content": answer.pop("text"), **answer}


def save(sessions: Sequence[Session], path: Path) -> int:
    """Write conversations into a new file; return the number of lines.

    Of several, one follows the other, and the messages say whose they are.

    Raises:
        InputError: If there is nothing to save, the file exists or cannot be written.
        OutOfSpaceError: If the disk is full.
    """
    several = len(sessions) > 1
    lines = [
        {**record, "model": session.name} if several else record
        for session in sessions
        for record in records(session)
    ]
    if not any(session.turns for session in sessions):
        raise InputError("Nothing was said yet, so there is nothing to save.")
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    try:
        with explain_full_disk(path):
            _write_new(path, text.encode("utf-8", "replace"))
    except FileExistsError:
        raise InputError(f"{path} exists and is left as it is. Choose another name.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be written: {reason}. Choose another place.") from None
    return len(lines)


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist; half a file is taken away again."""
    with path.open("xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
