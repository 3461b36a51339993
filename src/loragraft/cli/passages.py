"""Passages on stdout: readable in 80 columns, or as JSON."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from loragraft.chat.cleaning import clean, clean_json

if TYPE_CHECKING:
    from rich.text import Text

    from loragraft.rag.records import Passage

PIPE_WIDTH = 80
NARROWEST, WIDEST = 40, 100
"""Lines longer than this are hard to read, however wide the terminal is."""
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_RUN = re.compile(r"[^\W_]+")
_SMALL_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did", "do",
    "does", "for", "from", "had", "has", "have", "how", "i", "if", "in", "into", "is", "it",
    "its", "may", "no", "not", "of", "on", "or", "so", "such", "than", "that", "the", "their",
    "them", "then", "there", "these", "they", "this", "to", "was", "we", "were", "what", "when",
    "where", "which", "who", "whose", "why", "will", "with", "would", "you", "your",
})  # fmt: skip
"""Of a question's words those that stand in nearly every passage: marks on them hide the others."""


def passage_record(passage: Passage) -> dict[str, Any]:
    """Return a passage as JSON values."""
    chunk = passage.chunk
    return {
        "rank": passage.rank, "score": passage.score, "dense": passage.dense,
        "lexical": passage.lexical, "chunk_id": chunk.chunk_id, "doc_id": chunk.doc_id,
        "title": chunk.title, "headings": list(chunk.headings), "start": chunk.start,
        "stop": chunk.stop, "text": chunk.text, "metadata": dict(chunk.metadata),
    }  # fmt: skip


def print_answer_json(
    question: str, mode: str, found: Sequence[Passage], *, in_one_line: bool
) -> None:
    """Print what was found for a question as JSON."""
    value = {"question": question, "mode": mode, "passages": [passage_record(p) for p in found]}
    text = json.dumps(value, ensure_ascii=False, indent=None if in_one_line else 2)
    click.echo(clean_json(text).encode("utf-8", "replace").decode())


def print_passages(question: str, found: Sequence[Passage]) -> None:
    """Print passages for a person; a terminal shows the question's words marked."""
    from rich.console import Console
    from rich.text import Text

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else PIPE_WIDTH
    width = min(max(width, NARROWEST), WIDEST)
    console = Console(width=width, highlight=False)
    wanted = words_to_mark(question) if terminal else frozenset[str]()
    for passage in found:
        for line in _lines(passage, wanted, width):
            line.rstrip()
            console.print(line, soft_wrap=True)
        console.print(Text("─" * width, "dim"), soft_wrap=True)


def _lines(passage: Passage, wanted: frozenset[str], width: int) -> Iterator[Text]:
    """Yield a passage's lines: where it is from, how well it fits, and its text."""
    from rich.text import Text

    from loragraft.rag.answering.prompt import title_line

    yield from _wrapped(Text(clean(f"{passage.rank}. {title_line(passage.chunk)}"), "bold"), width)
    yield from _wrapped(Text(f"{clean(passage.chunk.place)}; {_scores(passage)}", "dim"), width)
    yield Text()
    # Not indented: most text was made for lines of up to 80 columns.
    body = Text(_BLANK_LINES.sub("\n\n", clean(passage.chunk.text)).strip("\n"))
    body.expand_tabs(4)
    for start, stop in places_to_mark(body.plain, wanted):
        body.stylize("bold yellow", start, stop)
    yield from _wrapped(body, width)


def _wrapped(text: Text, width: int) -> Iterator[Text]:
    """Cut a text into lines of a terminal's columns, at spaces where there are some."""
    from rich.console import Console

    yield from text.wrap(Console(), width, overflow="fold")


def _scores(passage: Passage) -> str:
    parts = [f"score {passage.score:.3f}"]
    if passage.dense is not None:
        parts.append(f"cosine {passage.dense:.3f}")
    if passage.lexical is not None:
        parts.append(f"BM25 {passage.lexical:.2f}")
    return ", ".join(parts)


def words_to_mark(question: str) -> frozenset[str]:
    """Return the words of a question that are worth a mark, as search by words sees them."""
    from loragraft.rag.search.words import words

    return frozenset(word for word in words(question[:2000]) if word not in _SMALL_WORDS)


def places_to_mark(text: str, wanted: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yield where the wanted words stand in a text."""
    from loragraft.rag.search.words import words

    if not wanted:
        return
    for run in _RUN.finditer(text):
        found = words(run[0])
        if found and found[-1] in wanted and len(found) == 1:
            yield run.span()
        elif len(found) > 1:
            yield from _inside(run, wanted)


def _inside(run: re.Match[str], wanted: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yield where the wanted words stand in a run of letters that is several words."""
    from loragraft.rag.search.words import words

    text = run[0].casefold()
    if wanted.issuperset(words(run[0])[-1:]) and text.isascii():
        yield run.span()
    elif len(text) == len(run[0]):
        for word in wanted:
            for found in re.finditer(re.escape(word), text) if len(word) > 1 else ():
                yield run.start() + found.start(), run.start() + found.end()
