"""Whether the questions of a series were seen in training, or stand in what is searched."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from loragraft import __version__
from loragraft.artifact.files import write_atomically
from loragraft.artifact.metadata import plain
from loragraft.artifact.progress import Progress
from loragraft.dataset.leaks.report import NEXT_STEPS
from loragraft.dataset.split.load import LoadedSplit, find_split
from loragraft.errors import InputError, LockedError
from loragraft.experiment.config import RetrievalConfig, SeriesConfig
from loragraft.experiment.key import digest
from loragraft.experiment.verdict.candidates import LeakCheck
from loragraft.experiment.verdict.trained_on import other_splits

CACHE_NAME = ".leaks.json"
"""In the series' folder; no experiment's name begins with a dot."""
LARGEST_CACHE = 64 * 1024 * 1024
"""Bytes. One has some thousand."""
_DOCUMENTS_AT_ONCE = 200


@dataclass(frozen=True)
class Leakage:
    """What a search for leaks says of a series.

    Attributes:
        check: For the verdict.
        report: ``LeakReport.to_json`` without texts; None where nobody could look.
    """

    check: LeakCheck
    report: Mapping[str, Any] | None = None


def check_leaks(config: SeriesConfig, progress: Progress | None = None) -> Leakage:
    """Look for questions of a series in its training split and in its index.

    What was found is kept beside the series until the split, the index or loragraft changes.
    """
    data = config.data
    if data.tag is None:
        return _unknown("the questions are plain files, and no training split is known with them",
                        "Divide records with loragraft dataset split, and name the split in "
                        "data.tag.")  # fmt: skip
    if data.part == "train":
        return Leakage(LeakCheck("no", "the questions are those that are trained on (data.part: "
                                 "train)", "Ask the test part."))  # fmt: skip
    try:
        split = find_split(data.tag, data.splits)
        report = _report(config, split, progress)
    except (InputError, LockedError) as error:
        said = f"nobody could look for leaked questions ({str(error).rstrip('.')})"
        return Leakage(LeakCheck("open", said, "Put back what is missing.", needed=True))
    return Leakage(_doubted(_told(report, data.part), other_splits(config, split), split), report)


def _unknown(measured: str, next_step: str) -> Leakage:
    return Leakage(LeakCheck("open", measured, next_step))


def _doubted(check: LeakCheck, others: Sequence[str], split: LoadedSplit) -> LeakCheck:
    """Leave open what was looked for in a training split that nobody was trained on."""
    if check.met != "yes" or not others:
        return check
    return LeakCheck(
        "open",
        f"{check.measured}, but {'; '.join(others)}, not on {split.tag} of seed {split.seed}: what "
        "was seen there nobody has looked at",
        "Ask the test part of the split that was trained with (data.tag), or train again.",
        needed=True,
    )


def _told(report: Mapping[str, Any], part: str) -> LeakCheck:
    """Say what leaked of the part that is asked; other parts' leaks touch no verdict."""
    found = {
        str(count["kind"]): int(count["records"].get(part, 0))
        for count in report["counts"] if count["severity"] == "leak"
    }  # fmt: skip
    found = {kind: count for kind, count in found.items() if count}
    total = int(report["records"].get(part, 0))
    if not found:
        return LeakCheck("yes", f"none of {total:,} {part} questions was found elsewhere")
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.items())
    steps = " ".join(NEXT_STEPS.get(kind, "") for kind in found)
    return LeakCheck("no", f"of {total:,} {part} questions: {kinds}", steps.strip())


def _report(
    config: SeriesConfig, split: LoadedSplit, progress: Progress | None
) -> Mapping[str, Any]:
    path = config.outputs / config.series / CACHE_NAME
    retrieval = _searched(config)
    key = digest({
        "files": split.manifest["files"],
        "index": None if retrieval is None else _contents(retrieval),
        "version": __version__,
    })  # fmt: skip
    kept = _kept(path, key)
    if kept is not None:
        return kept
    report = _without_texts(_search(split, retrieval, progress))
    if path.parent.is_dir():
        text = json.dumps({"key": key, "report": report}, indent=2, allow_nan=False) + "\n"
        with suppress(OSError):  # a series that may only be read is read
            write_atomically(path, text.encode("ascii"))
    return report


def _searched(config: SeriesConfig) -> RetrievalConfig | None:
    used = any(one.retrieval or one.stuffed for one in config.experiments.values())
    return config.retrieval if used else None


def _contents(retrieval: RetrievalConfig) -> Any:  # noqa: ANN401
    from loragraft.rag.index.layout import read_info

    return {role: file.sha256 for role, file in read_info(retrieval.index).files.items()}


def _kept(path: Path, key: str) -> Mapping[str, Any] | None:
    """Return what was found before; None where that is of something else, or broken."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_CACHE + 1)
        values = json.loads(data) if len(data) <= LARGEST_CACHE else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.get("key") != key:
        return None
    report = values.get("report")
    return report if isinstance(report, dict) and _sound(report) else None


def _sound(report: Mapping[str, Any]) -> bool:
    counts, records = report.get("counts"), report.get("records")
    return isinstance(records, dict) and isinstance(counts, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("kind"), str)
        and isinstance(one.get("severity"), str)
        and isinstance(one.get("records"), dict)
        and all(type(number) is int for number in one["records"].values())
        for one in counts
    )  # fmt: skip


def _search(
    split: LoadedSplit, retrieval: RetrievalConfig | None, progress: Progress | None
) -> dict[str, Any]:
    from loragraft.artifact.jsonl import write_jsonl
    from loragraft.dataset.leaks.find import find_leaks

    if retrieval is None:
        return find_leaks(split.files, progress=progress).to_json()
    with tempfile.TemporaryDirectory(prefix="loragraft-leaks-") as folder:
        corpus = Path(folder) / "index.jsonl"
        write_jsonl(corpus, indexed_documents(retrieval.index))
        return find_leaks(split.files, corpus=[corpus], progress=progress).to_json()


def indexed_documents(index: Path) -> Iterator[dict[str, Any]]:
    """Yield the documents that an index searches, put together from their chunks.

    Every character stands where it stood: what no chunk holds is blank.

    Raises:
        InputError: If there is no index, or it is damaged.
    """
    from loragraft.rag.index.chunk_store import ChunkStore
    from loragraft.rag.index.layout import CHUNKS, read_info

    try:
        opened = ChunkStore(index / read_info(index).files[CHUNKS].name)
    except (FileNotFoundError, KeyError):
        raise InputError(f"{index} lacks its chunks; build the index again.") from None
    with opened as store:
        documents = store.documents()
        while some := list(islice(documents, _DOCUMENTS_AT_ONCE)):
            rows = store.rows_of(document.doc_id for document in some)
            texts: dict[str, str] = {}
            for chunk in sorted(store.chunks(rows), key=lambda chunk: chunk.start):
                before = texts.get(chunk.doc_id, "")
                fresh = chunk.text[max(len(before) - chunk.start, 0) :]
                texts[chunk.doc_id] = before.ljust(chunk.start) + fresh
            for document in some:
                text = texts.get(document.doc_id, "")
                yield {"doc_id": document.doc_id, "title": document.title, "text": text}


def _without_texts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report with places, but not with what stands there."""
    values: dict[str, Any] = plain(report)
    for leak in values["leaks"]:
        for side in ("first", "second"):
            del leak[side]["text"]
    return values
