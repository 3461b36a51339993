"""Verify an adapter: every check that can run, on whatever can be opened.

A broken adapter gives findings, never an exception. The reason comes first: failures before
warnings before what passes, and among them the file before the shapes before the claims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from loragraft.adapter.checks import CHECKS, CheckContext
from loragraft.adapter.checks_claims import CLAIM_CHECKS
from loragraft.adapter.checks_files import FILE_CHECKS
from loragraft.adapter.checks_merged import MERGED_CHECKS
from loragraft.adapter.context import FolderContext
from loragraft.adapter.findings import Finding, Severity, worst
from loragraft.adapter.opening import Opening, finding_of, open_to_verify
from loragraft.adapter.values import ValueScan, scan_values
from loragraft.artifact.progress import Progress, Silent
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError, InputError

_Context = TypeVar("_Context")
_ORDER = (Severity.FAIL, Severity.WARN, Severity.PASS)


@dataclass(frozen=True)
class VerifyRequest:
    """What to verify, and against what.

    Attributes:
        adapter: Folder or file.
        base: Folder of the base checkpoint.
        base_name: The name the user gave the base by, a repository's for instance.
        source_name: Under which name the adapter was had: a repository's, a dataset's.
        clean_base: Folder of the base without any adapter, where ``base`` may have one merged.
        since: The first day on which it may have been trained.
        until: The last one.
        values: Whether all values are read; otherwise headers only, and sampled rows where a
            clean base is given.
        allow_pickle: Whether a pickle may be read, by a process that runs none of its code.
        strict: Whether warnings count as failures.
    """

    adapter: Path
    base: Path | None = None
    base_name: str | None = None
    source_name: str | None = None
    clean_base: Path | None = None
    since: date | None = None
    until: date | None = None
    values: bool = True
    allow_pickle: bool = False
    strict: bool = False


@dataclass(frozen=True)
class VerifyReport:
    """What was found.

    Attributes:
        adapter: Where it lies.
        base: The base it was held against.
        findings: Failures, warnings, then what passed.
        strict: Whether warnings count as failures.
    """

    adapter: Path
    base: Path | None
    findings: tuple[Finding, ...]
    strict: bool = False

    @property
    def verdict(self) -> Severity:
        """The worst finding; with ``strict`` a warning is a failure."""
        found = worst(self.findings)
        return Severity.FAIL if self.strict and found is Severity.WARN else found

    @property
    def failed(self) -> bool:
        """Whether the verdict is a failure."""
        return self.verdict is Severity.FAIL

    def with_findings(self, more: Iterable[Finding]) -> VerifyReport:
        """Return the report with further findings in their place."""
        return replace(self, findings=_in_order((*self.findings, *more)))

    @property
    def first_line(self) -> str:
        """Verdict and reason on one line: ``FAIL fingerprint.hidden: found …``."""
        verdict = self.verdict.value.upper()
        if worst(self.findings) is Severity.PASS:
            return f"{verdict} {len(self.findings)} checks"
        return " ".join(f"{verdict} {self.findings[0]}".split())

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        counts = {s.value: sum(f.severity is s for f in self.findings) for s in _ORDER}
        return {
            "adapter": str(self.adapter),
            "base": None if self.base is None else str(self.base),
            "verdict": self.verdict.value,
            "strict": self.strict,
            "first_line": self.first_line,
            "counts": counts,
            "findings": [finding.as_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class _WatchedContext(CheckContext):
    """A context that tells how far the reading of values is."""

    progress: Progress | None = None

    @cached_property
    def scan(self) -> ValueScan | None:
        """The pass over all values."""
        if not self.values:
            return None
        progress = self.progress or Silent()
        progress.begin("Reading values", sum(info.nbytes for info in self.adapter.tensors.values()))
        try:
            return scan_values(self.adapter, progress.advance)
        finally:
            progress.end()


def verify_adapter(request: VerifyRequest, progress: Progress | None = None) -> VerifyReport:
    """Run every check that applies to an adapter.

    Raises:
        AdapterError: If there is nothing at the path.
        CheckpointError: If the base or the clean base cannot be used.
        InputError: If a clean base is given without a base.
        MissingExtraError: If a pickle is to be read and torch is not installed.
    """
    path = Path(request.adapter)
    if not path.exists():
        raise AdapterError(f"{path} does not exist. Give an adapter folder or file.")
    if request.clean_base is not None and request.base is None:
        raise InputError(
            "A clean base is given, but no base to compare with it. Give the base as well."
        )
    with ExitStack() as stack:
        base, clean = (
            None if folder is None else stack.enter_context(Checkpoint(folder))
            for folder in (request.base, request.clean_base)
        )
        opening = open_to_verify(path, stack, allow_pickle=request.allow_pickle)
        opened = None
        if opening.adapter is not None:
            opened = _WatchedContext(
                opening.adapter, base, request.base_name, request.values, progress
            )
        context = FolderContext(
            path=path, folder=opening.folder, config=opening.config, opened=opened, base=base,
            clean_base=clean, source_name=request.source_name, since=request.since,
            until=request.until,
        )  # fmt: skip
        findings = tuple(dict.fromkeys(_findings(opening, opened, context)))
    return VerifyReport(path, request.base, _in_order(findings), request.strict)


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))


def _findings(
    opening: Opening, opened: CheckContext | None, context: FolderContext
) -> Iterator[Finding]:
    yield from opening.findings
    if opened is not None:
        yield from opened.adapter.findings
        yield from _run(CHECKS, opened)
    yield from _run((*FILE_CHECKS, *CLAIM_CHECKS, *MERGED_CHECKS), context)


def _run(
    checks: Iterable[Callable[[_Context], Finding | None]], context: _Context
) -> Iterator[Finding]:
    """Run checks; what keeps one from being made at all is a failure of the adapter."""
    for check in checks:
        try:
            finding = check(context)
        except (InputError, OSError) as error:
            finding = finding_of("unchecked", error, "an adapter that every check can be made of")
        if finding is not None:
            yield finding
