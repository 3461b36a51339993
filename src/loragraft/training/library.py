"""The corpus behind questions: its passages, which of them is evidence, which are like a text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loragraft.artifact.hashing import sha256_file
from loragraft.dataset.records import Evidence, Qa, parse_evidence
from loragraft.embedding.tokens import EstimatedTokens
from loragraft.errors import InputError
from loragraft.rag.chunking.chunk import split
from loragraft.rag.corpus.read import read_corpus
from loragraft.rag.records import Chunk, Document, Skipped
from loragraft.rag.search.lexical import LexicalSearch, write_lexical
from loragraft.training.sentences import gold_sentence, holds

NO_EVIDENCE = "no evidence"
UNKNOWN = "their evidence is in a document that the corpus lacks"
OUTSIDE = "their evidence lies beyond the end of its document"
DIVIDED = "their evidence lies across two passages"
WHOLE = "their evidence is a whole document, and the answer does not stand in exactly one passage"


class BaseTokens:
    """A base's tokenizer as what says where documents are cut."""

    def __init__(self, tokenizer: Any, most: int) -> None:  # noqa: ANN401
        """Count with a tokenizer of transformers."""
        self._tokenizer = tokenizer
        self.max_tokens = most
        self.name = "the base"

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens."""
        return [len(self._encode(text)["input_ids"]) for text in texts]

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token's characters stand; estimated for tokenizers in Python."""
        if not self._tokenizer.is_fast:
            return EstimatedTokens().spans(text)
        found = self._encode(text, return_offsets_mapping=True)
        return [(int(start), int(stop)) for start, stop in found["offset_mapping"]]

    def _encode(self, text: str, **options: Any) -> Any:  # noqa: ANN401
        return self._tokenizer(text, add_special_tokens=False, verbose=False, **options)


@dataclass(frozen=True)
class Gold:
    """What the corpus says to a question.

    Attributes:
        sentence: That holds the answer; None where none does.
        chunks: Numbers of the passages that are evidence; none where ``problem`` says why.
        problem: Why it cannot be asked with passages.
    """

    sentence: str | None = None
    chunks: tuple[int, ...] = ()
    problem: str | None = None


@dataclass
class Library:
    """A corpus in passages.

    Attributes:
        documents: By id.
        chunks: Of all documents.
        skipped: Sources that could not be read.
        about: For the metadata: name, hash, numbers of documents and passages.
        folder: Where search by words is kept.
    """

    documents: dict[str, Document]
    chunks: list[Chunk]
    skipped: list[Skipped]
    folder: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    _numbers: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Remember which passages a document has."""
        for number, chunk in enumerate(self.chunks):
            self._numbers.setdefault(chunk.doc_id, []).append(number)

    def gold(self, record: Qa) -> Gold:
        """Return the evidence of a question."""
        sentences: list[str | None] = []
        chunks: dict[int, None] = {}
        problem = None if record.evidence else NO_EVIDENCE
        for text in record.evidence:
            found = self._locate(parse_evidence(text))
            if isinstance(found, str):
                return Gold(problem=found)
            document, start, stop, whole = found
            sentences.append(gold_sentence(document.text, start, stop, record.answers))
            number = self._passage(document, start, stop, record if whole else None)
            problem = problem or (None if number is not None else WHOLE if whole else DIVIDED)
            if number is not None:
                chunks[number] = None
        sentence = sentences[0] if len(sentences) == 1 else None
        return Gold(sentence, () if problem else tuple(chunks), problem)

    def _locate(self, evidence: Evidence) -> tuple[Document, int, int, bool] | str:
        document = self.documents.get(evidence.doc_id)
        if document is None:
            return UNKNOWN
        size = len(document.text)
        if evidence.start is None or evidence.stop is None:
            return document, 0, size, True
        if evidence.stop > size:
            return OUTSIDE
        text = document.text[evidence.start : evidence.stop]
        if not text.strip():
            return OUTSIDE
        start = evidence.start + len(text) - len(text.lstrip())
        return document, start, start + len(text.strip()), False

    def _passage(self, document: Document, start: int, stop: int, whole: Qa | None) -> int | None:
        numbers = self._numbers.get(document.doc_id, [])
        if whole is not None and len(numbers) > 1:
            fit = [n for n in numbers if holds(self.chunks[n].text, whole.answers)]
            return fit[0] if len(fit) == 1 else None
        if whole is not None:
            return numbers[0] if numbers else None
        fit = [n for n in numbers if self.chunks[n].start <= start and stop <= self.chunks[n].stop]
        return fit[0] if fit else None

    def evidence_texts(self, record: Qa) -> list[str]:
        """Return the texts of spans that are a question's evidence, in one line each."""
        found = (self._locate(parse_evidence(text)) for text in record.evidence)
        return [
            " ".join(one[0].text[one[1] : one[2]].split())
            for one in found
            if not isinstance(one, str) and not one[3]
        ]

    def like(self, question: str, most: int) -> list[int]:
        """Return the numbers of the passages that are like a question by its words, best first."""
        _, rows = self._lexical.search(question, most)
        return [int(row) for row in rows]

    @cached_property
    def _lexical(self) -> LexicalSearch:
        write_lexical(self.folder, iter(self.chunks))
        return LexicalSearch(self.folder, len(self.chunks))


@contextmanager
def open_library(corpus: Path, tokenizer: Any, passage_tokens: int) -> Iterator[Library]:  # noqa: ANN401
    """Read a corpus and cut it into passages, as long as the context lasts.

    Args:
        corpus: A file of records, or a folder of documents.
        tokenizer: The base's, of transformers.
        passage_tokens: Most tokens of a passage.

    Raises:
        InputError: If it does not exist or holds no document.
    """
    reader = BaseTokens(tokenizer, passage_tokens)
    documents: dict[str, Document] = {}
    skipped: list[Skipped] = []
    for item in read_corpus([corpus]):
        if isinstance(item, Document):
            documents[item.doc_id] = item
        elif isinstance(item, Skipped):
            skipped.append(item)
    if not documents:
        first = f" The first problem: {skipped[0].source} {skipped[0].reason}." if skipped else ""
        raise InputError(f"data.corpus: {corpus} holds no document that can be read.{first}")
    chunks = [
        chunk
        for document in documents.values()
        for chunk in split(document, reader, passage_tokens)
    ]
    with TemporaryDirectory(prefix="loragraft-words-") as folder:
        about = {
            "name": corpus.name,
            "sha256": sha256_file(corpus) if corpus.is_file() else _digest(documents),
            "documents": len(documents),
            "passages": len(chunks),
        }
        yield Library(documents, chunks, skipped, Path(folder), about)


def _digest(documents: Mapping[str, Document]) -> str:
    """Return the hash of a folder's documents: of their names and texts, in order."""
    digest = hashlib.sha256()
    for name in sorted(documents):
        content = json.dumps([name, documents[name].text])
        digest.update(content.encode("ascii"))
    return digest.hexdigest()
