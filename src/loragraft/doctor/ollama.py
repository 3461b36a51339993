"""Ollama: its program, its server, and where that keeps the models. None of it is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loragraft.artifact.space import format_bytes, free_disk
from loragraft.doctor.limits import within
from loragraft.doctor.rows import Row, Surroundings, fine, note, shown
from loragraft.doctor.store import Store, find_stores, holds_model
from loragraft.engine.ollama_host import VARIABLE, is_loopback, parse_host
from loragraft.errors import InputError, LoragraftError

ANSWER_SECONDS = 4.0
"""A server that is there answers both questions within milliseconds."""
PROGRAM_SECONDS = 3.0
COUNT_SECONDS = 2.0
"""For adding up a folder of models: some files each."""
WITHOUT = "Without it, chat, serve and trace run on llama.cpp in this process."
START = "Start it with: ollama serve (or Ollama's app, or its service)."
INSTALL = "To have it: https://ollama.com/download"
_VERSION = re.compile(r"\b(\d+\.\d+\.\d+\S*)")


@dataclass(frozen=True)
class Answer:
    """What a server says: its version, and the models it lists."""

    version: str
    models: Sequence[dict[str, Any]]


def check_ollama(surroundings: Surroundings) -> list[Row]:
    """Look for Ollama's program and server, and for the folder of its models."""
    program, version = find_program()
    try:
        url = parse_host(environ=surroundings.environ)
    except InputError as error:
        step = f"Correct {VARIABLE}, or unset it. {WITHOUT}"
        wrong = note("ollama.server", shown(str(error)), "an address", step)
        return [wrong, _judge_program(program, version, None)]
    answer, problem = _ask(url)
    rows = [judge_server(url, answer, problem, program, surroundings.environ.get(VARIABLE))]
    rows.append(_judge_program(program, version, answer))
    if is_loopback(url):
        stores = find_stores(surroundings.environ, COUNT_SECONDS)
        rows.append(judge_stores(stores, answer))
    else:
        words = f"on the machine of {shown(url)}"
        rows.append(fine("ollama.models", words, "a disk with room", facts={"folders": []}))
    return rows


def find_program() -> tuple[str | None, str | None]:
    """Return Ollama's program on the path, and its version."""
    program = shutil.which("ollama")
    if program is None:
        return None, None
    try:
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROGRAM_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return program, None
    return program, parse_version((done.stdout + b"\n" + done.stderr).decode("utf-8", "replace"))


def parse_version(text: str) -> str | None:
    """Read the program's own version out of what ``ollama --version`` prints.

    Without a server it warns and names the client's; with another one, it names both.
    """
    lines = [line for line in text.splitlines() if "version" in line.lower()]
    lines.sort(key=lambda line: "client" not in line.lower())
    match = next((m for line in lines if (m := _VERSION.search(line))), None)
    return match[1] if match else None


def _ask(url: str) -> tuple[Answer | None, str]:
    """Ask a server for its version and its models; return why not, where it does not answer."""
    from loragraft.engine.ollama_server import OllamaServer

    def ask() -> Answer:
        with OllamaServer(url) as server:
            return Answer(server.version(), server.models())

    try:
        return within(ANSWER_SECONDS, ask), ""
    except TimeoutError:
        return None, f"no answer from {url} within {ANSWER_SECONDS:g} s"
    except LoragraftError as error:
        return None, str(error)


def judge_server(
    url: str, answer: Answer | None, problem: str, program: str | None, given: str | None
) -> Row:
    """Say whether a server runs; one that is not there is no fault."""
    code, expected = "ollama.server", "optional"
    facts: dict[str, Any] = {"url": url, VARIABLE: given, "running": answer is not None}
    said = f" ({VARIABLE}={shown(given)})" if given else ""
    if answer is not None:
        size = sum(m["size"] for m in answer.models if isinstance(m.get("size"), int))
        facts |= {"version": answer.version, "models": len(answer.models), "bytes": size}
        words = (
            f"version {shown(answer.version)} at {shown(url)}{said}, {len(answer.models)} models"
        )
        return fine(code, f"{words}, {format_bytes(size)}", expected, facts=facts)
    facts["problem"] = problem
    if program is None and not given:
        return fine(code, f"none at {shown(url)}", expected, f"{INSTALL}. {WITHOUT}", facts)
    step = START if program else f"Correct {VARIABLE}, or unset it. {INSTALL}"
    return note(code, f"not reached{said}: {shown(problem)}", expected, step, facts)


def _judge_program(program: str | None, version: str | None, answer: Answer | None) -> Row:
    code, facts = "ollama.program", {"path": program, "version": version}
    if program is None:
        return fine(code, "not on the path", "optional", facts=facts)
    words = f"{shown(program)}, version {version or 'unknown'}"
    hint = ""
    if answer is not None and version is not None and version != answer.version:
        hint = f"The server is of version {shown(answer.version)}: restart it after an update."
    return fine(code, words, "optional", hint, facts)


def judge_stores(stores: Sequence[Store], answer: Answer | None) -> Row:
    """Say where models lie, how much that is, and which folder is the running server's."""
    code, expected = "ollama.models", "a disk with room"
    names = [str(model["name"]) for model in answer.models] if answer else []
    facts = [_describe(store, names) for store in stores]
    if not stores:
        words = "no folder of Ollama's models that this user can see"
        return fine(code, words, expected, facts={"folders": facts})
    words = "; ".join(
        f"{shown(fact['folder'])}{' (of the running server)' if fact['of_server'] else ''}: "
        f"{'' if fact['whole'] else 'at least '}{format_bytes(fact['bytes'])}, "
        f"{format_bytes(fact['free'])} free"
        for fact in facts
    )
    hint = ""
    if names and not any(fact["of_server"] for fact in facts):
        hint = "None of them holds the running server's models: it may run in a container."
    return fine(code, words, expected, hint, {"folders": facts})


def _describe(store: Store, names: Sequence[str]) -> dict[str, Any]:
    return {
        "folder": str(store.folder),
        "bytes": store.size.bytes,
        "whole": store.size.whole,
        "free": free_disk(store.folder),
        "blobs": len(store.blobs),
        "of_server": any(holds_model(store.folder, name) for name in names),
    }
