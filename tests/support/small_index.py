"""A small static embedder and documents, so that building an index takes milliseconds."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from loragraft.embedding.protocol import Embedder
from loragraft.rag.chunking.chunk import split
from loragraft.rag.records import Chunk, Document

WORDS = (
    "river",
    "stone",
    "cloud",
    "winter",
    "garden",
    "lamp",
    "engine",
    "copper",
    "violin",
    "harbour",
    "signal",
    "meadow",
    "ladder",
    "pepper",
    "glacier",
    "orbit",
    "saddle",
    "canvas",
    "thunder",
    "magnet",
    "poem",
    "ferry",
    "walnut",
    "bridge",
    "desert",
    "needle",
)
BUDGET = 32


def build_static(folder: Path, seed: int = 0, dimensions: int = 24) -> Path:
    """Save a model of model2vec with random vectors for some words."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace

    names = ["[UNK]", "[PAD]", *WORDS, *(str(number) for number in range(1000))]
    tokenizer = Tokenizer(WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((len(names), dimensions)).astype(np.float32)
    model = StaticModel(vectors, tokenizer, config={"normalize": True, "model_type": "model2vec"})
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder))
    return folder


def make_document(number: int, *, version: int = 0, sentences: int = 12) -> Document:
    """Return a document whose text depends on its number and version alone."""
    generator = random.Random(number * 1000 + version)
    text = " ".join(
        f"The {generator.choice(WORDS)} and the {generator.choice(WORDS)} {number} meet the "
        f"{generator.choice(WORDS)}."
        for _ in range(sentences)
    )
    sha256 = hashlib.sha256(f"{number} {version} {sentences}".encode()).hexdigest()
    return Document(f"doc{number}", f"Number {number}", text, {"kind": number % 3}, (), sha256)


def make_documents(count: int) -> list[Document]:
    """Return several documents."""
    return [make_document(number) for number in range(count)]


def splitter(embedder: Embedder, budget: int = BUDGET) -> Callable[[Document], Sequence[Chunk]]:
    """Return what splits documents for an embedder."""
    return lambda document: split(document, embedder, budget)


class Counting:
    """An embedder that remembers what it was asked, and may fail on the way."""

    def __init__(self, inner: Embedder, fail_after: int | None = None) -> None:
        """Wrap an embedder; after so many texts it is interrupted."""
        self._inner, self._left = inner, fail_after
        self.texts: list[str] = []

    def __getattr__(self, name: str) -> object:
        """Ask the embedder inside."""
        return getattr(self._inner, name)

    def embed(self, texts: Sequence[str], **options: object) -> object:
        """Embed, or be interrupted."""
        if self._left is not None:
            if self._left < len(texts):
                raise KeyboardInterrupt
            self._left -= len(texts)
        self.texts += texts
        return self._inner.embed(texts, **options)  # type: ignore[arg-type]


def forbidden(documents: Sequence[Document]) -> Iterator[Document]:
    """Give documents, then break: nothing may be committed."""
    yield from documents
    raise RuntimeError("the source broke")
