"""A run's folder: its samples, each once, whatever kills the process that writes them.

```
OUTPUTS/SERIES/EXPERIMENT/run.json         what the run is (run_info.py)
OUTPUTS/SERIES/EXPERIMENT/samples.jsonl    one answer a line, appended as it comes
OUTPUTS/SERIES/EXPERIMENT/scores.jsonl     one metric of one answer a line
OUTPUTS/SERIES/EXPERIMENT/replaced.jsonl   answers to questions whose records have changed since
OUTPUTS/SERIES/EXPERIMENT.previous-DATE/   a run of another key: moved aside, never deleted, and
                                           taken back when its configuration is
OUTPUTS/SERIES/.EXPERIMENT.lock            held while somebody writes
```
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loragraft.artifact.closing import Closing
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.jsonl import (
    LONGEST_LINE,
    Line,
    dump_line,
    open_lines,
    scan_jsonl,
    write_jsonl,
)
from loragraft.artifact.lock import hold_lock
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import InputError
from loragraft.experiment.aside import (
    altered,
    explained,
    free_name,
    holds_something,
    set_aside,
    take_back,
)
from loragraft.experiment.reading import parse_sample, sample_json
from loragraft.experiment.records import FAILED, Sample
from loragraft.experiment.run_info import RUN_NAME, SAMPLES_NAME, RunInfo, read_run, write_run

Key = tuple[str, int]
REPLACED_NAME = "replaced.jsonl"

_NOT_KEPT = "The run of {} that was there was not to be kept."
_UNREADABLE = "{} could not be read, and without it nobody knows what the answers beside it are of."
_ALTERED = (
    "{} is not what the run had written when it ended: somebody else has changed it. What is in it "
    "is kept; to ask everything anew: --restart."
)


@dataclass(frozen=True)
class Kept:
    """What is remembered of a sample while others are made: status, record and tries."""

    status: str
    record: str
    tries: int


def lock_path(folder: Path) -> Path:
    """Return the lock of a run's folder."""
    return folder.with_name(f".{folder.name}.lock")


def read_samples(folder: Path) -> dict[Key, Sample]:
    """Read a run's samples; of two for one question and repeat the later counts.

    What cannot be read is passed over: its question counts as not asked.

    Raises:
        InputError: If the file cannot be opened.
    """
    return _read(folder / SAMPLES_NAME)[0]


def _read(path: Path) -> tuple[dict[Key, Sample], int, bool]:
    """Return samples, how many lines are no samples, and whether the file is as it should be."""
    samples: dict[Key, Sample] = {}
    broken = lines = 0
    if not path.exists():
        return samples, 0, True
    size = path.stat().st_size
    half = not _ends_whole(path)
    for line in scan_jsonl(path):
        lines += 1
        try:
            if not isinstance(line, Line):
                raise InputError(line.reason)
            sample = parse_sample(line.values)
        except InputError:
            broken += not (half and line.stop == size)
        else:
            samples.pop(sample.key, None)
            samples[sample.key] = sample
    return samples, broken, lines == len(samples) and not half


def _ends_whole(path: Path) -> bool:
    """Whether a file is empty or ends with a line's end.

    Raises:
        InputError: If it cannot be opened.
    """
    with open_lines(path) as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


class RunStore(Closing):
    """A run's folder while it is written; a context manager that holds the lock.

    Attributes:
        folder: The run's.
        info: What ``run.json`` says; see :meth:`tell`.
        kept: The samples that are there, by question and repeat.
        notes: What was found on opening that a person should know.
    """

    def __init__(self, folder: Path, info: RunInfo, *, restart: bool = False) -> None:
        """Open a run's folder, or begin one.

        Args:
            folder: Where it is; parents are made.
            info: What the run is. One of another key that is there is moved aside.
            restart: Whether one of the same key is moved aside, too.

        Raises:
            LockedError: If another process writes it.
            InputError: If nothing can be written there, or the run that goes on is a newer
                loragraft's or holds a number that cannot be.
        """
        self.folder, self.notes = folder, []  # type: tuple[Path, list[str]]
        with ExitStack() as stack:
            self._make(folder.parent)
            stack.enter_context(hold_lock(lock_path(folder)))
            before = None if restart else read_run(folder)
            if restart:
                self._set_aside(folder, _NOT_KEPT.format(info.experiment))
            elif before is None:
                self._set_aside(folder, _UNREADABLE.format(folder / RUN_NAME))
            elif before.key != info.key:
                self._set_aside(folder, _another(before, info))
                before = self._take_back(info)
            self._make(folder)
            changed = before is not None and altered(folder, before)
            self.kept: dict[Key, Kept] = self._load(folder / SAMPLES_NAME)
            self.notes += [_ALTERED.format(folder / SAMPLES_NAME)] if changed else []
            self.info = _going_on(before, info)
            stack.callback(self._close_file)
            with explained(folder / SAMPLES_NAME):
                self._file = (folder / SAMPLES_NAME).open("ab", buffering=0)
            self._stack = stack.pop_all()

    @staticmethod
    def _make(folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"Nothing can be written into {folder}: {error.strerror}. Choose another folder "
                "with --set outputs=FOLDER."
            ) from None

    def _set_aside(self, folder: Path, why: str) -> None:
        """Move the folder that is there to a name of its own, and say so."""
        if holds_something(folder):
            self.notes.append(f"{why} It was moved to {set_aside(folder)}.")

    def _take_back(self, info: RunInfo) -> RunInfo | None:
        """Go on with the run of this key that was set aside, if there is one."""
        found = take_back(self.folder, info.key)
        if found is None:
            return None
        self.notes.append(
            f"The run of {info.experiment} in {found} is of this very configuration: it was taken "
            "back. To ask everything anew: --restart."
        )
        return read_run(self.folder)

    def _load(self, path: Path) -> dict[Key, Kept]:
        """Read the samples, and mend the file that a killed process left."""
        samples, broken, sound = _read(path)
        if broken:
            damaged = free_name(path.with_name(f"{path.name}.damaged"))
            with explain_full_disk(damaged), explained(damaged):
                shutil.copyfile(path, damaged)
            self.notes.append(
                f"{broken} lines of {path} are no samples; their questions are asked again. The "
                f"file as it was: {damaged.name}."
            )
        if not sound:
            write_jsonl(path, map(sample_json, samples.values()))
        return {key: Kept(s.status, s.record, s.tries) for key, s in samples.items()}

    def forget(self, unwanted: Iterable[Key]) -> None:
        """Take samples out of the file: of questions whose record has changed since.

        They go to ``replaced.jsonl``, behind those that are there.

        Raises:
            OutOfSpaceError: If the disk is full; nothing is taken out then.
        """
        gone = set(unwanted)
        if not gone:
            return
        samples = _read(self.folder / SAMPLES_NAME)[0]
        lines = b"".join(dump_line(sample_json(samples[key])) for key in samples if key in gone)
        path = self.folder / REPLACED_NAME
        with explain_full_disk(path, len(lines)), path.open("ab") as file:
            file.write(lines)
        self._rewrite([sample for key, sample in samples.items() if key not in gone])
        self.kept = {key: kept for key, kept in self.kept.items() if key not in gone}

    def _rewrite(self, samples: Iterable[Sample]) -> None:
        self._file.close()
        write_jsonl(self.folder / SAMPLES_NAME, map(sample_json, samples))
        self._file = (self.folder / SAMPLES_NAME).open("ab", buffering=0)

    def add(self, sample: Sample, record: str) -> Sample:
        """Append a sample.

        Args:
            sample: Of a question that has none yet, or none but a failed one.
            record: SHA-256 of the record.

        Returns:
            The sample as it was written, with the record and how often it was asked.

        Raises:
            OutOfSpaceError: If the disk is full; what was there stays.
        """
        before = self.kept.get(sample.key)
        tries = 1 if before is None else before.tries + 1
        sample = replace(sample, record=record, tries=tries)
        line = dump_line(sample_json(sample))
        if len(line) > LONGEST_LINE:
            sample = _too_long(sample)
            line = dump_line(sample_json(sample))
        with explain_full_disk(self.folder / SAMPLES_NAME, len(line)):
            rest = memoryview(line)
            while len(rest):
                rest = rest[self._file.write(rest) :]
        self.kept[sample.key] = Kept(sample.status, record, tries)
        return sample

    def samples(self) -> dict[Key, Sample]:
        """Read all samples from the file."""
        return _read(self.folder / SAMPLES_NAME)[0]

    def counts(self, wanted: Iterable[Key]) -> dict[str, int]:
        """Return how many of some samples have which status; those not there are left out."""
        found = Counter(self.kept[key].status for key in wanted if key in self.kept)
        return dict(sorted(found.items()))

    def tell(self, **changes: Any) -> None:  # noqa: ANN401 - fields of RunInfo
        """Change what ``run.json`` says, and write it.

        Raises:
            OutOfSpaceError: If the disk is full; the old file stays.
        """
        self.info = replace(self.info, **changes)
        write_run(self.folder, self.info)

    def finish(self) -> Mapping[str, Any]:
        """Put the samples' file in order, each once, and flush it; return its size and hash."""
        path = self.folder / SAMPLES_NAME
        samples, _broken, sound = _read(path)
        if not sound:
            self._rewrite(samples.values())
        with explain_full_disk(path):
            os.fsync(self._file.fileno())
        return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}

    def _close_file(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def close(self) -> None:
        """Close the file and free the lock; twice does no harm."""
        self._stack.close()


def again(kept: Kept) -> bool:
    """Whether a sample failed and is asked once more by the next run."""
    return kept.status in FAILED and kept.tries < 2


def _going_on(before: RunInfo | None, now: RunInfo) -> RunInfo:
    """Return what a run is, with what an earlier session of the same key has told."""
    if before is None:
        return now
    return replace(
        now,
        started=before.started,
        load=before.load,
        notes=before.notes,
        scores=before.scores,
        probe=before.probe,
    )


def _another(before: RunInfo, now: RunInfo) -> str:
    from loragraft.experiment.key import differing

    names = differing(before.inputs, now.inputs)
    if not names:
        return _NOT_KEPT.format(now.experiment)
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"The run of {now.experiment} that was there is another: {', '.join(names[:4])}{more}."


def _too_long(sample: Sample) -> Sample:
    """Return a sample without its texts: a line that long could not be read again."""
    error = "The sample is longer than a line of a file may be; its texts were left out."
    return replace(sample, status="error", raw="", thinking="", answer="", messages=(), shown=(),
                   retrieved=(), citations=(), extra={}, error=error)  # fmt: skip
