"""``loragraft chat``: talk with a bundle, a GGUF file or a model in Ollama."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from loragraft.chat.commands import THINKING
from loragraft.cli.paths import PATH
from loragraft.engine.protocol import Sampling
from loragraft.engine.threads import MAX_THREADS
from loragraft.rag.answering.answer import DEFAULT_PASSAGES

if TYPE_CHECKING:
    from loragraft.chat.session import Session
    from loragraft.chat.show import Notes, Show
    from loragraft.engine.protocol import ChatEngine
    from loragraft.rag.search.retrieve import Mode
    from loragraft.rag.searching import Search

TERMINATED = 143
"""128 + SIGTERM, as shells report it."""
COLUMNS = 100
"""Columns of a terminal from which on two answers stand side by side."""
DEFAULT_TOKENS = 2048
"""Room for a long answer, or for thinking before a short one."""
DEFAULTS = Sampling(max_tokens=DEFAULT_TOKENS)


@click.command()
@click.argument("target")
@click.option("--compare", metavar="OTHER", help="A second model that answers the same questions.")
@click.option("--ollama", is_flag=True, help="TARGET and OTHER are models of the Ollama server.")
@click.option("--prompt", metavar="TEXT", help="Ask this, print the answer and end.")
@click.option("--system", metavar="TEXT", help="System message. [default: the template's]")
@click.option(
    "--think", type=click.Choice(list(THINKING)), default="auto", show_default=True,
    help="Switch thinking, where the model's template knows it.",
)  # fmt: skip
@click.option("--temperature", type=float, default=DEFAULTS.temperature, show_default=True,
              help="0 takes the likeliest token every time.")  # fmt: skip
@click.option("--top-k", type=int, default=DEFAULTS.top_k, show_default=True,
              help="Likeliest tokens to choose from; 0 for all.")  # fmt: skip
@click.option("--top-p", type=float, default=DEFAULTS.top_p, show_default=True,
              help="Their probability together; 1 for all.")  # fmt: skip
@click.option("--min-p", type=float, default=DEFAULTS.min_p, show_default=True,
              help="Their least share of the likeliest's; 0 for none.")  # fmt: skip
@click.option("--repeat-penalty", type=float, default=DEFAULTS.repeat_penalty, show_default=True,
              help="Divisor on the last 64 tokens; 1 for none.")  # fmt: skip
@click.option("--seed", type=int, help="Repeat the same choices. [default: others each time]")
@click.option("--max-tokens", type=int, default=DEFAULTS.max_tokens, show_default=True,
              help="Longest answer, thinking included.")  # fmt: skip
@click.option("--context", type=click.IntRange(min=1),
              help="Tokens in all. [default: the model's, at most 8192]")  # fmt: skip
@click.option("--threads", type=click.IntRange(0, MAX_THREADS), default=0,
              help="[default: all cores]")  # fmt: skip
@click.option("--gpu-layers", type=click.IntRange(min=0),
              help="Layers on the GPU. [default: all, where llama.cpp sees one]")  # fmt: skip
@click.option("--quant", help="Which file of a bundle, such as Q4_K_M. [default: its first]")
@click.option("--rag", "index", type=PATH, metavar="INDEX",
              help="Answer from the documents of an index, with citations.")  # fmt: skip
@click.option("--passages", type=click.IntRange(1, 100),
              help=f"Passages for a question. [default: {DEFAULT_PASSAGES}]")  # fmt: skip
@click.option("--search-mode", type=click.Choice(["dense", "lexical", "hybrid"]),
              help="By meaning, by words, or both. [default: hybrid]")  # fmt: skip
@click.option("--filter", "filters", multiple=True, metavar="CONDITION",
              help="Only documents with KEY=VALUE, as in rag query; may be repeated.")  # fmt: skip
@click.option("--embedder", help="Where the index's embedder is now, if it moved.")
@click.option("--json", "as_json", is_flag=True, help="One JSON record a line for each answer.")
def chat(
    target: str,
    compare: str | None,
    ollama: bool,
    prompt: str | None,
    system: str | None,
    think: str,
    quant: str | None,
    context: int | None,
    threads: int,
    gpu_layers: int | None,
    index: Path | None,
    passages: int | None,
    search_mode: Mode | None,
    filters: tuple[str, ...],
    embedder: str | None,
    as_json: bool,
    **settings: float | int | None,
) -> None:
    """Talk with TARGET: a bundle's folder, a .gguf file, or the tag of a model in Ollama.

    Bundles and files are answered in this process, without a server. A path that exists goes
    before a tag. In a terminal /help lists the commands; input from a pipe or a file is one
    question, all of it, and only the answer goes to stdout.

    With --rag each question is answered from passages of an index (loragraft rag index); /sources
    lists them, and /open 3 shows what [P3] stands for.
    """
    from loragraft.chat.show import Notes
    from loragraft.chat.target import Opening, open_all
    from loragraft.engine.sampling import check_sampling

    sampling = Sampling(**settings)  # type: ignore[arg-type]
    check_sampling(sampling)
    notes = Notes(sys.stderr)
    with ExitStack() as stack:
        search = _search(index, passages, search_mode, filters, embedder, notes)
        if search is not None:
            stack.enter_context(search)
        question = _question(prompt)
        engines = open_all(
            [target, *([compare] if compare else [])],
            Opening(ollama, quant, context, threads, gpu_layers),
        )
        for engine in engines:
            stack.callback(engine.close)
        begin = _beginner(search, passages, sampling, system, THINKING[think])
        sessions = [begin(engine) for engine in engines]
        with _ended_by_sigterm():
            _talk(sessions, question, notes, as_json)


def _search(
    index: Path | None,
    passages: int | None,
    mode: Mode | None,
    filters: tuple[str, ...],
    embedder: str | None,
    notes: Notes,
) -> Search | None:
    """Open the index that answers rest on; None without one."""
    if index is None:
        if passages or mode or filters or embedder:
            raise click.UsageError(
                "--passages, --search-mode, --filter and --embedder belong to --rag INDEX."
            )
        return None
    from loragraft.rag.searching import Search, SearchRequest

    return Search(index, SearchRequest(mode, filters, embedder=embedder), notes.write)


def _beginner(
    search: Search | None,
    passages: int | None,
    sampling: Sampling,
    system: str | None,
    think: bool | None,
) -> Callable[[ChatEngine], Session]:
    """Return what begins a conversation with an engine, from an index where there is one."""
    from loragraft.chat.session import Session

    if search is None:
        return partial(Session, sampling=sampling, system=system, think=think)
    from loragraft.chat.cited import CitedSession, Sources

    search.load()  # now: a person who has typed a question does not wait ten seconds for torch
    sources = Sources(search.retrieve, passages or DEFAULT_PASSAGES)
    return partial(CitedSession, sampling=sampling, sources=sources, system=system, think=think)


def _question(prompt: str | None) -> str | None:
    """Return the one question there is, or None where a person will type."""
    if prompt is None:
        if sys.stdin.isatty():
            return None
        prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not prompt.strip():
        raise click.UsageError("There is no question: stdin or --prompt is empty.")
    return prompt.removesuffix("\n")


def _talk(sessions: Sequence[Session], question: str | None, notes: Notes, as_json: bool) -> None:
    from loragraft.chat.reading import line_reader
    from loragraft.chat.talk import Talk, ask_all, tell_notes

    show = _show(sessions, notes, as_json)
    if question is None:
        Talk(sessions, show, notes, line_reader()).run()
        return
    tell_notes(sessions, notes)
    errors = ask_all(sessions, question, show, notes)
    if errors:
        sys.exit(errors[0].exit_code)


def _show(sessions: Sequence[Session], notes: Notes, as_json: bool) -> Show:
    """Return what suits where the answers go."""
    from loragraft.chat.show import ColumnsShow, JsonShow, StreamShow

    terminal, several = sys.stdout.isatty(), len(sessions) > 1
    if as_json:
        return JsonShow(sys.stdout, notes)
    if several and terminal and shutil.get_terminal_size().columns >= COLUMNS:
        return ColumnsShow(sys.stdout, notes, thinking=True)
    return StreamShow(sys.stdout, notes, names=several, thinking=terminal)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program, where Ctrl-C only stops an answer."""

    def end(number: int, frame: object) -> NoReturn:
        sys.exit(TERMINATED)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
