"""Texts that no person wrote: endless runs, bare marks, directions, joined characters."""

from __future__ import annotations

from collections import Counter

import pytest

from loragraft.embedding.protocol import Embedder
from loragraft.rag.chunking import measure
from loragraft.rag.chunking.chunk import embedded_text, split
from loragraft.rag.corpus.plain import extract_plain
from loragraft.rag.records import Document
from tests.support.minilm import CountingEmbedder

_MINILM = CountingEmbedder()
_LENGTH = 24_000
_ENDLESS = {
    "one letter": "x",
    "full stops": ".",
    "spaced stops": ". ",
    "stops and quotes": '."',
    "rules": "-",
    "table borders": "|",
    "fences": "```\n",
    "lines": "a\n",
    "paragraphs": "a\n\n",
    "titles": "abc\n===\n\n",
    "items": "- a\n",
    "rows": "| a | b |\n",
    "a rule that is none": "| a |\n|" + "-" * _LENGTH + "x |\n",
    "accents": "a" + "\u0301" * 5000,
    "joiners": "\u200d",
    "families": "👩\u200d👩\u200d👧\u200d👦",
    "Hebrew": "שלום עולם. ",
    "overridden directions": "\u202e\u202dabc ",
    "Chinese": "适配器很小",
    "spaces before a word": " " * 9_000 + "x",
    "form feeds": "page\n\x0c\n",
}


@pytest.mark.parametrize("name", _ENDLESS)
def test_endless_texts_are_cut_within_the_budget(name: str) -> None:
    pattern = _ENDLESS[name]
    text = extract_plain(pattern * (1 + _LENGTH // len(pattern)), 1000).text
    chunks = split(Document("d", "d", text), _MINILM, 254)
    covered = 0
    for chunk in chunks:
        assert not text[covered : max(covered, chunk.start)].strip()
        assert chunk.tokens <= 254
        assert len(embedded_text(chunk)) <= 254 * measure.CHARACTERS_PER_TOKEN + 100
        covered = chunk.stop
    assert not text[covered:].strip()


def test_a_joined_character_is_not_cut() -> None:
    family = "👩\u200d👩\u200d👧\u200d👦"
    for chunk in split(Document("d", "d", family * 3000), _MINILM, 64):
        assert set(Counter(chunk.text[:7] + chunk.text[-7:]).values()) <= {2, 4, 6}
        assert chunk.text.startswith("👩")
        assert chunk.text.endswith("👦")


class _Counted(CountingEmbedder):
    """Counts the characters that are tokenized."""

    seen = 0

    def count_tokens(self, texts: list[str]) -> list[int]:  # type: ignore[override]
        self.seen += sum(map(len, texts))
        return super().count_tokens(texts)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        self.seen += len(text)
        return super().token_spans(text)


@pytest.mark.parametrize("name", ["one letter", "lines", "paragraphs", "Hebrew", "families"])
def test_work_grows_as_the_text_does(name: str) -> None:
    counted = []
    for length in (_LENGTH, 4 * _LENGTH):
        embedder: Embedder = _Counted()
        text = (_ENDLESS[name] * length)[:length]
        split(Document("d", "d", text), embedder, 254)
        assert isinstance(embedder, _Counted)
        counted.append(embedder.seen)
    assert counted[1] < 4.5 * counted[0]
