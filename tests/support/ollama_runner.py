"""Answers of the stand-in for Ollama: the registered file itself, by llama.cpp, greedily."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loragraft.engine.answer_text import StopWatch
from loragraft.engine.llama_model import LlamaModel
from tests.support.ollama_store import known_facts

LAST_TOKENS = 64
"""That a repetition is punished for: Ollama's repeat_last_n."""


@dataclass
class Piece:
    """One step of an answer."""

    text: str = ""
    log_probs: list[dict[str, Any]] = field(default_factory=list)
    done: str = ""


class Runner:
    """Holds one loaded file at a time."""

    def __init__(self) -> None:
        """Load nothing yet."""
        self._lock = threading.Lock()
        self._key: tuple[Path, int] | None = None
        self._model: LlamaModel | None = None

    def close(self) -> None:
        """Free the file."""
        with self._lock:
            if self._model is not None:
                self._model.close()
            self._model, self._key = None, None

    def _load(self, path: Path, context: int) -> LlamaModel:
        if self._key != (path, context) or self._model is None:
            if self._model is not None:
                self._model.close()
            self._model, self._key = None, None
            self._model = LlamaModel(path, context=context, threads=1)
            self._key = (path, context)
        return self._model

    def tokenize(self, path: Path, context: int, text: str) -> list[int]:
        """Return a prompt's ids, with the BOS that the file asks for."""
        with self._lock:
            ids = self._load(path, context).tokenize(text)
        facts = known_facts(str(path))
        return [facts.bos_id, *ids] if facts.add_bos and facts.bos_id is not None else ids

    def answer(
        self, path: Path, ids: Sequence[int], options: dict[str, Any], *, top: int, endless: bool
    ) -> Iterator[Piece]:
        """Generate, and give piece by piece."""
        with self._lock:
            model = self._load(path, int(options["num_ctx"]))
            yield from _generate(model, list(ids), options, top, endless)


def _generate(
    model: LlamaModel, ids: list[int], options: dict[str, Any], top: int, endless: bool
) -> Iterator[Piece]:
    watch = StopWatch(() if endless else options["stop"])
    model.read(ids, fresh=True)
    most = int(options["num_predict"])
    count = 0
    while len(ids) < model.context:
        logits = model.logits().astype(np.float64)
        token = _choose(logits, ids, float(options["repeat_penalty"]))
        ends = model.ends_answer(token) and not endless
        count += 1
        listed = [] if ends and count > 1 else _log_probs(model, logits, token, top)
        text = "" if ends else watch.feed(model.piece(token).decode("utf-8", "replace"))
        if ends or watch.stopped:
            yield Piece(text, listed)
            yield Piece(watch.finish(), done="stop")
            return
        yield Piece(text, listed)
        if 0 <= most <= count:
            yield Piece(watch.finish(), done="length")
            return
        ids.append(token)
        model.add(token)
    yield Piece(watch.finish(), done="length")


def _choose(logits: np.ndarray, ids: Sequence[int], penalty: float) -> int:
    if penalty != 1.0:
        logits = logits.copy()
        for token in set(ids[-LAST_TOKENS:]):
            logits[token] = (
                logits[token] / penalty if logits[token] > 0 else logits[token] * penalty
            )
    return int(logits.argmax())


def _log_probs(model: LlamaModel, logits: np.ndarray, token: int, top: int) -> list[dict[str, Any]]:
    if not top:
        return []
    shifted = logits - logits.max()
    log_probs = shifted - np.log(np.exp(shifted).sum())

    def entry(which: int) -> dict[str, Any]:
        data = model.piece(which, special=True)
        text = data.decode("utf-8", "replace")
        return {"token": text, "logprob": float(log_probs[which]), "bytes": list(data)}

    best = [entry(int(which)) for which in np.argsort(-log_probs)[:top]]
    return [{**entry(token), "top_logprobs": best}]
