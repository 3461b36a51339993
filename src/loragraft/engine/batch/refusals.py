"""What an endpoint's refusals mean: OpenAI's, Anthropic's and those of their look-alikes.

Words and codes are those of OpenAI, Azure, Anthropic, OpenRouter, Mistral, vLLM, SGLang,
llama-server and Ollama, as their documentation and answers have them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from loragraft.artifact.retry_after import asked_wait
from loragraft.engine.batch.failing import FailedError
from loragraft.errors import InputError, LoragraftError, UnavailableError

SHOWN = 300
"""Characters of a server's own words that are repeated."""
FILTERED = ("content_filter", "content_policy", "content management policy", "moderation",
            "flagged", "safety_violation", "responsibleai")  # fmt: skip
NO_MONEY = ("insufficient_quota", "credit balance", "billing", "insufficient credits",
            "exceeded your current quota", "payment required")  # fmt: skip
PASSING = frozenset({408, 409, 425, 429})
NEVER = frozenset({501, 505})
"""Of the answers from 500 on: another time is the same."""


@dataclass(frozen=True)
class Place:
    """Who is asked, for messages.

    Attributes:
        url: The endpoint's address.
        model: Its model.
        key: The variable with its key; None for none.
    """

    url: str
    model: str
    key: str | None = None


@dataclass(frozen=True)
class Said:
    """A refusal, read.

    Attributes:
        words: For people.
        codes: Whatever else tells what it is, in lower case: code, type, words.
        param: The parameter that it is about, where it says so.
    """

    words: str
    codes: str
    param: str = ""


def read_refusal(body: str) -> Said:
    """Read a refusal in any of the usual forms; what is none is its own words."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        page = body.lstrip()[:200].lower().startswith(("<!doctype", "<html"))
        return Said("a web page" if page else short(body) or "no words", "")
    return read_error(value)


def read_error(value: object) -> Said:
    """Read a refusal's JSON."""
    inner = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(inner, str):
        return Said(short(inner), inner.lower())
    if not isinstance(inner, dict):
        return Said(short(json.dumps(inner)), "")
    words = inner.get("message") or inner.get("detail") or inner.get("msg") or inner
    text = words if isinstance(words, str) else json.dumps(words)
    codes = " ".join(str(inner.get(name) or "") for name in ("code", "type", "metadata"))
    return Said(short(text), f"{codes} {text}".lower(), str(inner.get("param") or ""))


def short(text: str) -> str:
    """Return a server's words on one line, control characters spelled out."""
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    return line if len(line) <= SHOWN else f"{line[:SHOWN]} ..."


def refuse(place: Place, status: int, headers: Mapping[str, str], said: Said) -> NoReturn:
    """Raise what a refusal means.

    Raises:
        FailedError: For this job.
        LoragraftError: For all of them: no key, no money, no such model.
    """
    if any(mark in said.codes for mark in FILTERED):
        raise FailedError(
            "refused", f"{place.url} refused the question by its filter: {said.words}."
        )
    if (error := _final(place, status, said)) is not None:
        raise error
    if 300 <= status < 400:
        raise InputError(
            f"{place.url} sends on to another address. Give that one: keys and questions do not "
            "go where nobody asked for."
        )
    start = f"{place.url} answers {status}: {said.words.rstrip('.')}."
    if status in PASSING or (status >= 500 and status not in NEVER):
        limited = status in (429, 529)
        raise FailedError(
            "timeout" if status in (408, 504) else "error",
            f"{start} Look at the server, or ask it less (concurrency, requests_per_minute).",
            passing=True, limited=limited, after=asked_wait(headers),
        )  # fmt: skip
    raise FailedError("error", f"{start} The server cannot take this question as it is.")


def _final(place: Place, status: int, said: Said) -> LoragraftError | None:
    """Return what ends all work; None for what concerns one job."""
    at = f"{place.url} answers {status}: {said.words.rstrip('.')}."
    if status == 402 or (status in (400, 403, 429) and any(m in said.codes for m in NO_MONEY)):
        return UnavailableError(f"{at} The account has no credit left: see its billing page.")
    if status in (401, 403, 407):
        key = f"Set {place.key} to a key of this endpoint" if place.key else "It wants a key"
        return UnavailableError(f"{at} {key}, one that may use {place.model}.")
    if status in (404, 405):
        return InputError(
            f"{at} Check the model's name ({place.model}) and the address; for OpenAI's kind it "
            "ends in /v1 as a rule."
        )
    return None


def broken(place: Place, what: str, *, status: str = "error") -> FailedError:
    """Return the failure of an answer that came and cannot be used, or broke off."""
    timeout = status == "timeout"
    return FailedError(
        "timeout" if timeout else "error", f"{place.url} {what}. Look at its log.", passing=True
    )


def text_of(value: Any) -> str:  # noqa: ANN401 - whatever a server sends
    """Return a text that a server sent; empty for anything else."""
    return value if isinstance(value, str) else ""


def count_of(value: object) -> int | None:
    """Return a number of tokens that a server sent; None for anything else."""
    return value if type(value) is int and 0 <= value < 2**40 else None
