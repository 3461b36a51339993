"""Does an index hold together: files, hashes, chunks, vectors, and the embedder that made them?

Each check is a function that looks for one kind of damage; all run, whatever the others find.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from loragraft.adapter.findings import Finding, failed, passed, quote, warned
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.progress import Progress, Silent
from loragraft.embedding.protocol import Embedder
from loragraft.errors import InputError, LoragraftError
from loragraft.rag.chunking.chunk import embedded_text
from loragraft.rag.index.approximate import RECALL_AT, SAMPLE, TARGET_RECALL
from loragraft.rag.index.dense import blocks_of, overlap, questions_beside
from loragraft.rag.index.layout import SEARCH, WORK_NAME, IndexInfo, is_ours, read_info
from loragraft.rag.index.sameness import SAME_COSINE, differences, lowest_cosine
from loragraft.rag.index.store import Index, open_index

REBUILD = "Build the index again with loragraft rag index --replace."
_UNIT = 1e-3
_RECALL_SLACK = 0.02
"""Two standard errors of a recall measured on the sample."""
_SEED = 7

OpenEmbedder = Callable[[], Embedder]


def verify_index(
    path: Path,
    open_embedder: OpenEmbedder | None = None,
    progress: Progress | None = None,
) -> tuple[Finding, ...]:
    """Check an index.

    Args:
        path: Its folder.
        open_embedder: Opens the embedder that the index names; None leaves it out.
        progress: Told of each stage.

    Returns:
        What every check found, in a fixed order.

    Raises:
        InputError: If there is no index, or its index.json cannot be read.
    """
    watcher = progress or Silent()
    try:
        info = read_info(path)
        damaged, findings = _check_files(path, info, watcher)
        findings += _check_leftovers(path, info)
        if read_info(path).generation != info.generation:
            return verify_index(path, open_embedder, progress)  # an update was faster
        # FAISS may read anywhere when it is asked by an approximate index that is damaged.
        ask = SEARCH not in info.files or info.files[SEARCH].name not in damaged
        return (*findings, *_check_content(path, open_embedder, watcher, ask))
    finally:
        watcher.end()


def _check_files(
    path: Path, info: IndexInfo, progress: Progress
) -> tuple[list[str], list[Finding]]:
    progress.begin("Hashing the files", sum(file.bytes for file in info.all_files))
    missing, changed = list[str](), list[str]()
    for file in info.all_files:
        try:
            if not (path / file.name).is_file():  # a pipe would be waited for
                raise FileNotFoundError
            digest = sha256_file(path / file.name, progress.advance)
        except OSError:
            missing.append(file.name)
            continue
        if digest != file.sha256:
            changed.append(file.name)
    expected, findings = f"all {len(info.all_files)} files that index.json names", list[Finding]()
    if missing:
        findings.append(failed("index.missing", quote(missing), expected, REBUILD))
    if changed:
        written = "files as they were written"
        findings.append(failed("index.changed", quote(changed), written, REBUILD))
    if not findings:
        found = f"{len(info.all_files)} files, as written"
        findings.append(passed("index.files", found, expected))
    return missing + changed, findings


def _check_leftovers(path: Path, info: IndexInfo) -> Iterator[Finding]:
    named = {file.name.partition("/")[0] for file in info.all_files}
    others = sorted(e.name for e in path.iterdir() if is_ours(e.name) and e.name not in named)
    if (path / WORK_NAME).exists():
        yield warned(
            "index.unfinished", "work of an unfinished run", "none",
            "Run loragraft rag update again: it goes on where that one was.",
        )  # fmt: skip
    elif others:
        yield warned(
            "index.leftovers", quote(others), "only the files of the valid state",
            "The next loragraft rag update deletes them.",
        )  # fmt: skip


def _check_content(
    path: Path, open_embedder: OpenEmbedder | None, progress: Progress, ask: bool
) -> Iterator[Finding]:
    try:
        index = open_index(path, approximate=ask)
    except InputError as error:
        yield failed("index.open", str(error), "an index that can be opened", REBUILD)
        return
    with index:
        for check in (_check_store, _check_rows, _check_texts, _check_vectors, _check_search):
            progress.begin(str(check.__doc__).rstrip("."), 0)
            yield from _guarded(check, index)
        if open_embedder is not None:
            progress.begin("Asking the embedder", 0)
            yield from _check_embedder(index, open_embedder)


def _guarded(check: Callable[[Index], Iterator[Finding]], index: Index) -> list[Finding]:
    """Run a check; what it cannot read is a finding."""
    try:
        return list(check(index))
    except (LoragraftError, ValueError, TypeError, LookupError, RecursionError) as error:
        return [failed("index.unreadable", str(error)[:300], "readable content", REBUILD)]


def _check_store(index: Index) -> Iterator[Finding]:
    """Checking the database."""
    problems = index.store.check()
    if problems:
        yield failed("store.damaged", quote(problems), "a whole SQLite file", REBUILD)
    else:
        yield passed("store.whole", "a whole SQLite file", "a whole SQLite file")


def _check_rows(index: Index) -> Iterator[Finding]:
    """Comparing rows."""
    count, lowest, highest = index.store.one("SELECT count(*), min(row), max(row) FROM chunks")
    (lost,) = index.store.one(
        "SELECT count(*) FROM chunks WHERE document NOT IN (SELECT key FROM documents)"
    )
    (documents,) = index.store.one("SELECT count(*) FROM documents")
    info = index.info
    found = f"{documents} documents, {count} chunks in rows {lowest} to {highest}"
    expected = f"{info.documents} documents, {info.chunks} chunks in rows 0 to {info.chunks - 1}"
    if lost:
        found += f", {lost} of them without a document"
    if found == expected:
        yield passed("store.rows", found, expected)
    else:
        yield failed("store.rows", found, expected, REBUILD)


def _check_texts(index: Index) -> Iterator[Finding]:
    """Hashing the chunks."""
    wrong = []
    for chunk in index.iterate():
        text = embedded_text(chunk).encode("utf-8", "surrogatepass")
        fits = len(chunk.text) == chunk.stop - chunk.start
        if not fits or hashlib.sha256(text).hexdigest() != chunk.sha256:
            wrong.append(chunk.chunk_id)
    if wrong:
        yield failed("chunks.changed", quote(wrong), "texts as they were embedded", REBUILD)
    else:
        yield passed("chunks.texts", f"{len(index)} texts as embedded", "texts as embedded")


def _check_vectors(index: Index) -> Iterator[Finding]:
    """Checking the vectors."""
    broken = odd = empty = 0
    for block in blocks_of(index.exact.array):
        finite = np.asarray(np.isfinite(block).all(axis=1))
        with np.errstate(over="ignore"):
            lengths = np.linalg.norm(np.where(finite[:, None], block, 0), axis=1)
        broken += int((~finite).sum())
        empty += int((finite & (lengths == 0)).sum())
        odd += int((finite & (lengths > 0) & (np.abs(lengths - 1) > _UNIT)).sum())
    if broken or odd:
        found = f"{broken} vectors with NaN or Inf, {odd} of another length than 1"
        yield failed("vectors.values", found, "finite vectors of length 1", REBUILD)
    else:
        yield passed("vectors.values", f"{len(index)} unit vectors", "finite unit vectors")
    if empty:
        yield warned(
            "vectors.empty", f"{empty} chunks of which the embedder knows no word",
            "a vector for every chunk", "Dense search cannot find them; lexical search can.",
        )  # fmt: skip


def _check_search(index: Index) -> Iterator[Finding]:
    """Measuring approximate search."""
    if index.approximate is None:
        return
    size = min(SAMPLE, len(index))
    sample = np.sort(np.random.default_rng(_SEED).choice(len(index), size, replace=False))
    asked = questions_beside(index.exact.array, sample, _SEED)
    wanted = index.exact.search(asked, RECALL_AT)[1]
    recall = overlap(index.approximate.search(asked, RECALL_AT)[1], wanted)
    found = f"recall@{RECALL_AT} {recall:.3f} of exact search on {size} questions"
    expected = f"at least {TARGET_RECALL} as when it was built ({index.info.search.recall})"
    if recall >= TARGET_RECALL - _RECALL_SLACK:
        yield passed("search.recall", found, expected)
    else:
        yield failed("search.recall", found, expected, REBUILD)


def _check_embedder(index: Index, open_embedder: OpenEmbedder) -> Iterator[Finding]:
    """Compare the embedder with the one that made the index, by its files and by its vectors."""
    expected = f"{index.info.embedder}, which made the index"
    try:
        embedder = open_embedder()
    except LoragraftError as error:
        yield failed("embedder.missing", str(error), expected, "Bring it back, or give --embedder.")
        return
    try:
        yield from _compare(index, embedder, expected)
    except LoragraftError as error:
        yield failed("embedder.broken", str(error), expected, "Repair it, or build again.")
    finally:
        embedder.close()


def _compare(index: Index, embedder: Embedder, expected: str) -> Iterator[Finding]:
    differs = differences(index.info, embedder)
    if differs:
        yield failed(
            "embedder.identity", f"{embedder.name} with another {', '.join(differs)}", expected,
            f"Give the embedder that made it. {REBUILD}",
        )  # fmt: skip
        return
    yield passed("embedder.identity", f"{embedder.name}, unchanged", expected)
    lowest, rows = lowest_cosine(index, embedder)
    found = f"cosine {lowest:.4f} between stored and new vectors of {rows} chunks"
    if lowest >= SAME_COSINE:
        yield passed("embedder.vectors", found, f"at least {SAME_COSINE}")
    else:
        yield failed("embedder.vectors", found, f"at least {SAME_COSINE}", REBUILD)
