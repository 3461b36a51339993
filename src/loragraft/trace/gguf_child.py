"""A GGUF file under llama.cpp, in a child process: a crash of llama.cpp ends only that.

Run as ``python -m loragraft.trace.gguf_child REQUEST.json`` it prints its answer as JSON; the
parent calls :func:`ask_gguf`. Log-probabilities go through a file, one array for each prompt.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from loragraft.artifact.child import child_command, run_child
from loragraft.errors import LoragraftError
from loragraft.trace.observation import ANSWER_TOKENS, KEPT_POSITIONS, Answer, LogProbs

if TYPE_CHECKING:
    from loragraft.engine.llama_model import LlamaModel

MODULE = "loragraft.trace.gguf_child"
TIMEOUT = 3600.0
"""Seconds: six short prompts and two answers of a 70B model on a slow machine take many minutes."""
MIN_CONTEXT = 64


class Likely(NamedTuple):
    """A candidate for the next token: its bytes and log-probability."""

    raw: bytes
    log_prob: float


@dataclass(frozen=True)
class GgufAnswer:
    """What llama.cpp makes of a file.

    Attributes:
        ids: Tokens of each text, special ones parsed and no BOS added.
        ends: Every token at which llama.cpp ends generation, however it found them.
        log_probs: As :class:`~loragraft.trace.observation.Observation` has them.
        answers: Samples.
        likely: The likeliest tokens after each sequence, likeliest first, where asked for.
    """

    ids: tuple[tuple[int, ...] | None, ...]
    ends: frozenset[int]
    log_probs: tuple[LogProbs, ...]
    answers: tuple[Answer, ...]
    likely: tuple[tuple[Likely, ...], ...] = ()


def ask_gguf(
    gguf: Path,
    texts: Sequence[str | None],
    *,
    taught: Sequence[Sequence[int]] = (),
    kept: int = KEPT_POSITIONS,
    answered: Sequence[tuple[str, str]] = (),
    tokens: int = ANSWER_TOKENS,
    top: int = 0,
    threads: int = 2,
) -> GgufAnswer:
    """Let llama.cpp tokenize texts, run token sequences and answer prompts.

    Args:
        gguf: The file.
        texts: What to tokenize; None stays None.
        taught: Token sequences whose log-probabilities are wanted.
        kept: Of how many last positions.
        answered: Name and rendered text of each prompt to answer greedily.
        tokens: Most tokens of an answer.
        top: How many of the likeliest tokens after each sequence to name.
        threads: Threads of llama.cpp.

    Raises:
        CheckFailedError: If llama.cpp cannot load or run the file, or crashes; in its own words.
    """
    with tempfile.TemporaryDirectory(prefix="loragraft-trace-") as name:
        request, results = Path(name) / "request.json", Path(name) / "log-probs.npz"
        body = {
            "gguf": os.fsdecode(gguf.resolve()), "texts": list(texts), "results": str(results),
            "taught": [list(ids) for ids in taught], "kept": kept, "threads": threads,
            "answered": [list(pair) for pair in answered], "tokens": tokens,
            "top": top,
        }  # fmt: skip
        request.write_text(json.dumps(body), encoding="utf-8")
        command = child_command(MODULE, [str(request)])
        said = run_child(command, timeout=TIMEOUT, purpose=f"Running {gguf.name} in llama.cpp")
        with np.load(results) as stored:
            log_probs = tuple(stored[str(index)] for index in range(len(taught)))
    return GgufAnswer(
        ids=tuple(None if ids is None else tuple(ids) for ids in said["ids"]),
        ends=frozenset(said["ends"]),
        log_probs=log_probs,
        answers=tuple(Answer(**{**a, "ids": tuple(a["ids"])}) for a in said["answers"]),
        likely=tuple(
            tuple(Likely(bytes.fromhex(raw), value) for raw, value in entries)
            for entries in said["likely"]
        ),
    )


def measure(body: dict[str, Any]) -> dict[str, Any]:
    """Do the work of the child: every position's chances first, then tokens and answers.

    In this order because :class:`LlamaForward` takes the library's log to itself, and
    :class:`LlamaModel` takes it back for good.
    """
    from loragraft.engine.llama_model import LlamaModel

    path, answered = Path(body["gguf"]), body["answered"]
    longest = max((len(text.encode()) for _, text in answered), default=0)
    context = max(longest + body["tokens"], MIN_CONTEXT)
    found = _run(path, body) if body["taught"] else {}
    model = LlamaModel(path, context=context, threads=body["threads"])
    try:
        kept = [values[-1] for values in found.values()] if body["top"] else []
        said = {
            "likely": [_likely(model, log_probs, body["top"]) for log_probs in kept],
            "ids": [None if text is None else model.tokenize(text) for text in body["texts"]],
            "ends": [token for token in range(model.vocabulary) if model.ends_answer(token)],
            "answers": [_answer(model, name, text, body["tokens"]) for name, text in answered],
        }
    finally:
        model.close()
    np.savez(body["results"], **found)  # type: ignore[arg-type]
    return said


def _run(path: Path, body: dict[str, Any]) -> dict[str, LogProbs]:
    """Return the log-probabilities after the last positions of every sequence."""
    from loragraft.engine.llama_forward import LlamaForward

    context = max(MIN_CONTEXT, *(len(ids) for ids in body["taught"]))
    with LlamaForward(path, context=context, threads=body["threads"]) as forward:
        return {
            str(index): _log_softmax(forward.logits(ids)[-body["kept"] :])
            for index, ids in enumerate(body["taught"])
        }


def _log_softmax(logits: LogProbs) -> LogProbs:
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    values -= np.log(np.exp(values).sum(axis=1, keepdims=True))
    return values.astype(np.float32)


def _likely(model: LlamaModel, log_probs: LogProbs, top: int) -> list[tuple[str, float]]:
    """Return the likeliest tokens' bytes in hexadecimal with their log-probabilities."""
    order = np.argsort(-log_probs, kind="stable")[:top]
    return [(model.piece(int(token)).hex(), float(log_probs[token])) for token in order]


def _answer(model: LlamaModel, name: str, text: str, room: int) -> dict[str, Any]:
    """Write a greedy answer; special tokens are shown."""
    said: list[int] = []
    prompt = model.tokenize(text)
    model.read(prompt, fresh=True)
    while len(said) < room:
        said.append(int(model.logits().argmax()))
        if model.ends_answer(said[-1]):
            break
        model.add(said[-1])
    shown = b"".join(model.piece(token, special=True) for token in said)
    finish = "stop" if model.ends_answer(said[-1]) else "length"
    return {"probe": name, "text": shown.decode("utf-8", "replace"), "ids": said, "finish": finish}


def main(arguments: Sequence[str]) -> int:
    """Run the child; JSON goes to the real stdout, everything else to stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)  # llama.cpp and its back ends may print to stdout
    body = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    try:
        result = measure(body)
    except LoragraftError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        out.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
