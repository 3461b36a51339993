"""What an Ollama server says of the next token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Chance(NamedTuple):
    """A candidate for the next token: text, bytes (of the text, if not given), log-probability."""

    text: str
    raw: bytes
    log_prob: float


class Probe(NamedTuple):
    """What a server says of the next token; tokens of the prompt are 0 where it counts none."""

    chances: tuple[Chance, ...]
    prompt_tokens: int


def read_probe(answer: Mapping[str, Any]) -> Probe:
    """Read the log-probabilities and the count of an answer's JSON."""
    listed = answer.get("logprobs")
    first = listed[0] if isinstance(listed, list) and listed else None
    entries = first.get("top_logprobs") if isinstance(first, dict) else None
    found = [_chance(entry) for entry in entries if entry] if isinstance(entries, list) else []
    kept = [chance for chance in found if chance is not None]
    read = answer.get("prompt_eval_count")
    return Probe(
        tuple(sorted(kept, key=lambda chance: -chance.log_prob)),
        read if type(read) is int else 0,
    )


def _chance(entry: object) -> Chance | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("logprob"), int | float):
        return None
    text, raw = str(entry.get("token", "")), entry.get("bytes")
    listed = isinstance(raw, list) and all(type(b) is int and 0 <= b < 256 for b in raw)
    return Chance(text, bytes(raw) if listed and raw else text.encode(), float(entry["logprob"]))
