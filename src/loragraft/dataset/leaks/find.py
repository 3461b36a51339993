"""Every way in which one split can give away another, looked for in one go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loragraft.artifact.progress import Progress, Silent
from loragraft.dataset.leaks.answers import find_answers
from loragraft.dataset.leaks.book import Book
from loragraft.dataset.leaks.columns import Columns, read_columns
from loragraft.dataset.leaks.evidence import CORPUS_USES, CorpusUse, Coverage, find_shared
from loragraft.dataset.leaks.hay import document_pieces, documents, training_pieces
from loragraft.dataset.leaks.inside import (
    SHORT,
    Best,
    Wanted,
    add_places,
    find_in_records,
    search,
    wanted_questions,
)
from loragraft.dataset.leaks.report import CORPUS, EVIDENCE_TEXT, TRAINING_TEXT, LeakReport
from loragraft.dataset.leaks.same import find_same
from loragraft.dataset.leaks.wording import find_wording
from loragraft.errors import InputError

if TYPE_CHECKING:
    from loragraft.embedding.protocol import Embedder

NEAR = 0.9
LEAST_NEAR = 0.6
"""Below, most questions of one field are alike."""


def find_leaks(
    splits: Mapping[str, Path],
    *,
    corpus: Sequence[Path] = (),
    corpus_use: CorpusUse = "retrieval",
    training_text: Sequence[Path] = (),
    embedder: Embedder | None = None,
    near: float = NEAR,
    progress: Progress | None = None,
) -> LeakReport:
    """Look for what one split gives away of another.

    Memory holds some hundred bytes for each record, however long its texts are. The order of lines
    changes nothing.

    Args:
        splits: Files of task records by name. What is called ``train`` is trained on; the others
            are judged by. Where none is, every split is judged by.
        corpus: Documents, as an index takes them.
        corpus_use: ``retrieval``: the corpus is searched for evidence, which it must hold.
            ``training``: it is trained on, and must not.
        training_text: Further files that are trained on.
        embedder: Judges meaning; without one, words alone are compared.
        near: From which cosine on two questions are one, of their words or their meaning.
        progress: Hears how far it is.

    Returns:
        The report; :attr:`LeakReport.clean` is the verdict.

    Raises:
        InputError: If a file or a record is broken, or an option is none.
    """
    _check(splits, corpus_use, near)
    _check_paths(splits, (*corpus, *training_text))
    progress = progress or Silent()
    columns = read_columns(splits, progress)
    book, unread = Book(columns), list[str]()
    find_same(columns, book)
    find_wording(columns, book, near, progress)
    several = len(columns.splits) > 1
    if embedder is not None and several:
        from loragraft.dataset.leaks.meaning import find_meaning

        find_meaning(columns, book, near, embedder, progress)
    if several:
        find_answers(columns, book, progress)
    find_shared(columns, book)
    wanted = wanted_questions(columns, progress)
    find_in_records(columns, book, wanted, progress)
    coverage = Coverage(columns)
    if corpus:
        _search_corpus(corpus, book, wanted, coverage, unread, progress)
        coverage.enter(book, corpus_use)
    if training_text:
        _search_training(training_text, book, wanted, coverage.wanted, unread, progress)
    passages = {"passages": coverage.total, "in_corpus": coverage.covered}
    return LeakReport(
        records={name: len(columns.of(split)) for split, name in enumerate(columns.splits)},
        near=near,
        embedder=None if embedder is None else embedder.name,
        counts=book.counts(),
        leaks=tuple(book.leaks()),
        unchecked=(*_unchecked(columns, embedder, wanted, corpus, training_text), *unread),
        evidence=passages if coverage.total else {},
    )


def _check(splits: Mapping[str, Path], use: str, near: float) -> None:
    if not splits:
        raise InputError("No split was given; expected files of task records by their names.")
    if use not in CORPUS_USES:
        raise InputError(f"A corpus is for {' or '.join(CORPUS_USES)}, not for {use!r}.")
    if not LEAST_NEAR <= near <= 1:
        raise InputError(
            f"Questions are to count as one from {near} on; expected a cosine from {LEAST_NEAR} to "
            f"1. {NEAR} is usual."
        )


def _check_paths(splits: Mapping[str, Path], texts: Sequence[Path]) -> None:
    """Refuse what is not there before anything long begins."""
    for path in splits.values():
        if not path.exists():
            raise InputError(f"{path} does not exist; expected a file of JSON lines.")
    for path in texts:
        if not path.exists():
            raise InputError(
                f"{path} does not exist: give files, or folders of files, in Markdown, plain text, "
                "HTML, PDF or JSON lines."
            )


def _search_corpus(
    corpus: Sequence[Path],
    book: Book,
    wanted: Wanted,
    coverage: Coverage,
    unread: list[str],
    progress: Progress,
) -> None:
    index, best = wanted.needles.index(), Best()
    progress.begin("Looking for questions in the corpus", 0, "documents")
    for document in documents(corpus, unread):
        coverage.see(document)
        search(index, document_pieces(document), best)
        progress.advance(1)
    progress.end()
    add_places(book, wanted, best, CORPUS)


def _search_training(
    paths: Sequence[Path],
    book: Book,
    wanted: Wanted,
    passages: Wanted,
    unread: list[str],
    progress: Progress,
) -> None:
    """Look for questions, and for passages where a corpus told their texts."""
    looked = [(kind, what, what.needles.index(), Best())
              for kind, what in ((TRAINING_TEXT, wanted), (EVIDENCE_TEXT, passages))]  # fmt: skip
    progress.begin("Looking for questions in training texts", 0, "texts")
    for piece in training_pieces(paths, unread):
        for _, _, index, best in looked:
            search(index, (piece,), best)
        progress.advance(1)
    progress.end()
    for kind, what, _, best in looked:
        add_places(book, what, best, kind)


def _unchecked(
    columns: Columns,
    embedder: Embedder | None,
    wanted: Wanted,
    corpus: Sequence[Path],
    training_text: Sequence[Path],
) -> list[str]:
    """Say what the report does not speak of."""
    said = [
        f"{name} holds no records." for s, name in enumerate(columns.splits) if not columns.of(s)
    ]
    if embedder is None and len(columns.splits) > 1:
        said.append("Paraphrases were not looked for: no embedder was given.")
    if wanted.short:
        said.append(
            f"{wanted.short:,} of the questions: not looked for inside other texts, being {SHORT}."
        )
    if not corpus and any(columns.evidence):
        said.append("Whether a corpus holds the evidence was not looked at: none was given.")
    if training_text and not corpus and any(columns.evidence):
        said.append("Evidence was not looked for in training texts: its texts are in the corpus.")
    return said
