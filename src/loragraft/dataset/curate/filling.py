"""The raw file through the rules, from where an earlier run stopped to its end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from loragraft import __version__
from loragraft.artifact.jsonl import Broken, Line, scan_jsonl
from loragraft.artifact.progress import Progress
from loragraft.dataset.curate.decisions import Decision
from loragraft.dataset.curate.embedders import Embedders
from loragraft.dataset.curate.engine import Engine
from loragraft.dataset.curate.judges import lacking
from loragraft.dataset.curate.publishing import KEPT, prepare
from loragraft.dataset.curate.record import id_path, row_id
from loragraft.dataset.curate.report import Named, Report, Reviewed
from loragraft.dataset.curate.rule import Row
from loragraft.dataset.curate.rules import Rules
from loragraft.dataset.curate.specs import SemanticDuplicates
from loragraft.dataset.curate.state import State, explain_database
from loragraft.dataset.curate.tally import RECORD_ID, Tally
from loragraft.dataset.pairs import Posts
from loragraft.errors import InputError

BATCH = 512
"""Lines that are judged at once. Batches begin at the same lines in every run, so that what an
embedder computes for one does not depend on where a run was killed."""
BATCH_BYTES = 8 << 20
"""Bytes from which on a batch has enough lines: each may be long."""
COMMIT_SECONDS = 2.0
"""Between two commits at least; a killed run does that much again."""
DONE = "done"
"""What the state holds once everything is ready to be published."""
_VERSION = 1


class Job(NamedTuple):
    """What a run depends on.

    Attributes:
        rules: The rules.
        rules_named: The rules file.
        raw: The raw file.
        raw_named: Its name and hash.
        raw_stat: Its size and time of change, when it was hashed.
        out: Where the records go.
        decisions: Of people, by id.
        embedders: Opens embedders by name.
        strict: Whether a line that holds no row ends the run.
    """

    rules: Rules
    rules_named: Named
    raw: Path
    raw_named: Named
    raw_stat: tuple[int, int]
    out: Path
    decisions: dict[str, Decision]
    embedders: Embedders
    strict: bool

    @property
    def key(self) -> str:
        """What stands for everything that decides the result."""
        semantic = [rule for rule in self.rules.rules if isinstance(rule, SemanticDuplicates)]
        names = sorted({rule.embedder for rule in semantic})
        parts = {
            "version": [_VERSION, __version__],
            "rules": self.rules.model_dump(mode="json"),
            "raw": self.raw_named.sha256,
            "decisions": sorted([key, *value] for key, value in self.decisions.items()),
            "embedders": [dict(self.embedders(name).identity) for name in names],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def fill(job: Job, state: State, progress: Progress) -> None:
    """Judge what no earlier run did, and leave everything ready to be published.

    Raises:
        InputError: If the raw file changes meanwhile, or a line is broken and that counts.
    """
    tally = Tally(state.load("tally"))
    if job.strict and tally.broken_lines:
        first = tally.broken_lines[0]
        raise broken_line(job.raw, first.line, first.reason)
    kept = state.file(KEPT)
    position, before = state.load("position", (0, 0))
    if position:
        progress.note(f"Going on behind line {before:,}, where an earlier run stopped.")
    with ExitStack() as stack:
        posts = _open_posts(job, state.folder, stack, progress)
        engine = Engine(job.rules, job.decisions, job.embedders, state, tally)
        progress.begin("Curating", job.raw_stat[0])
        progress.advance(position)
        committed = time.monotonic()
        for batch in _batches(scan_jsonl(job.raw, start=position, number=before)):
            with explain_database(state.folder):
                kept.append(engine.take(_rows(batch, job, tally, posts)))
            progress.advance(batch[-1].stop - position)
            position, before = batch[-1].stop, batch[-1].number
            if time.monotonic() - committed >= COMMIT_SECONDS:
                _commit(state, tally, position, before)
                committed = time.monotonic()
    _check_same(job)
    _commit(state, tally, position, before)
    prepare(state.folder, lambda digest: _report(job, engine, tally, digest))
    state.save(DONE, True)
    state.commit()


def _commit(state: State, tally: Tally, position: int, before: int) -> None:
    state.save("position", (position, before))
    state.save("tally", tally.saved())
    state.commit()


def _batches(lines: Iterable[Line | Broken]) -> Iterator[list[Line | Broken]]:
    """Cut lines into batches; where depends on the lines alone."""
    batch: list[Line | Broken] = []
    for line in lines:
        batch.append(line)
        if len(batch) == BATCH or line.stop - batch[0].start >= BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _open_posts(job: Job, folder: Path, stack: ExitStack, progress: Progress) -> Posts | None:
    """Return where posts stand in the raw file, where replies are to be joined to them."""
    if job.rules.pairs is None:
        return None
    posts = stack.enter_context(
        Posts(folder / "posts.sqlite", job.raw, key=job.raw_named.sha256, pairing=job.rules.pairs)
    )
    progress.begin("Looking for posts", job.raw_stat[0])
    progress.advance(posts.position)
    posts.fill(_told(scan_jsonl(job.raw, start=posts.position, number=posts.lines), progress))
    return posts


def _told(lines: Iterator[Line | Broken], progress: Progress) -> Iterator[Line | Broken]:
    for line in lines:
        yield line
        progress.advance(line.stop - line.start)


def _rows(batch: Sequence[Line | Broken], job: Job, tally: Tally, posts: Posts | None) -> list[Row]:
    """Return the rows of a batch of lines, and count what are none."""
    rows = []
    for line in batch:
        if isinstance(line, Broken):
            if job.strict:
                raise broken_line(job.raw, line.number, line.reason)
            tally.broke(line.number, line.reason)
            continue
        tally.counts["lines"] += 1
        values = line.values
        if posts is not None:
            joined = posts.join(line)
            if joined.row is None:
                tally.unpaired[joined.reason] += 1
                continue
            values = joined.row
        tally.counts["rows"] += 1
        found = row_id(job.rules.record, values)
        if found is None:
            drop = lacking(values, id_path(job.rules.record), "name or number")
            tally.drop(RECORD_ID, Row(line.number, "", values), drop, lambda: ())
        else:
            rows.append(Row(line.number, found, values))
    return rows


def broken_line(raw: Path, line: int, reason: str) -> InputError:
    """Return the error of a run that takes no line which holds no row."""
    return InputError(f"{raw}, line {line:,} {reason}. Right it, or leave --strict out.")


def _check_same(job: Job) -> None:
    stat = job.raw.stat()
    if (stat.st_size, stat.st_mtime_ns) != job.raw_stat:
        raise InputError(
            f"{job.raw} changed while it was read. Run the same command again once nothing "
            "writes to it."
        )


def _report(job: Job, engine: Engine, tally: Tally, digest: str) -> Report:
    counts = tally.counts
    review = job.rules.review
    return Report(
        loragraft=__version__,
        key=job.key,
        description=job.rules.description,
        rules=job.rules_named,
        raw=job.raw_named,
        output=Named(name=job.out.name, sha256=digest),
        lines=counts["lines"],
        broken=counts["broken"],
        broken_lines=tally.broken_lines,
        unpaired=dict(sorted(tally.unpaired.items())),
        kept=counts["kept"],
        target=job.rules.target,
        reasons=engine.reasons(),
        review=Reviewed(
            sample=review.sample,
            seed=review.seed,
            accepted=counts["accepted"],
            rejected=counts["rejected"],
            stale=counts["stale"],
        ),
    )
