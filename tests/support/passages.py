"""Passages without an index, and an engine whose words a test decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loragraft.engine.protocol import Message, OnText, Reply, Sampling
from loragraft.rag.records import Chunk, Passage

GREEDY = Sampling(temperature=0, max_tokens=64)


def passage(
    text: str,
    name: str = "a.md",
    *,
    rank: int = 1,
    title: str = "",
    headings: tuple[str, ...] = (),
    start: int = 0,
) -> Passage:
    """Return a passage of a document."""
    chunk = Chunk(
        chunk_id=f"{name}:{start}-{start + len(text)}", doc_id=name, title=title or name,
        headings=headings, start=start, stop=start + len(text), text=text, tokens=len(text) // 4,
        sha256="", metadata={},
    )  # fmt: skip
    return Passage(chunk, score=1 / rank, rank=rank)


def passages(*texts: str) -> list[Passage]:
    """Return passages of as many documents, best first."""
    return [
        passage(text, f"{number}.md", rank=number, title=f"Title {number}")
        for number, text in enumerate(texts, 1)
    ]


@dataclass
class Scripted:
    """Says what it is told, one answer after the other; counts words as tokens."""

    says: list[str]
    context: int = 4096
    name: str = "scripted"
    heard: list[list[Message]] = field(default_factory=list)
    prompt_tokens: int | None = None
    finish: str = "stop"

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return an id for each word."""
        return [0] * sum(len(message["content"].split()) for message in messages)

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        think: bool | None = None,
        on_text: OnText | None = None,
    ) -> Reply:
        """Say the next answer."""
        self.heard.append(list(messages))
        text = self.says.pop(0)
        if on_text is not None:
            on_text(text, False)
        read = self.prompt_tokens
        tokens = len(self.prompt_ids(messages)) if read is None else read
        return Reply(text, "", self.finish, tokens, len(text.split()), 0.1, 0.1)  # type: ignore[arg-type]

    def close(self) -> None:
        """Do nothing."""


@dataclass
class Uncounted:
    """The same behind a server: it shows no tokens, and says afterwards how many it read."""

    inner: Scripted

    def __getattr__(self, name: str) -> object:
        """Give everything but the tokens."""
        if name == "prompt_ids":
            raise AttributeError(name)
        return getattr(self.inner, name)


def retriever(found: dict[str, list[Passage]]) -> Callable[[str, int], list[Passage]]:
    """Return what finds the passages of the first word that a question holds."""

    def retrieve(question: str, k: int) -> list[Passage]:
        hits = [one for word, many in found.items() if word in question for one in many]
        return hits[:k]

    return retrieve
