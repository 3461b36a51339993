"""The packages that loragraft names: which are there, in what version, and what lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import TYPE_CHECKING

from loragraft.doctor.rows import Row, Surroundings, broken, fine, note

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "loragraft"
NOT_FOR_USERS = frozenset({"all", "dev", "lint", "test"})
"""Extras that bundle others or serve development."""


@dataclass(frozen=True)
class Package:
    """A package that is wanted.

    Attributes:
        name: Its distribution's name.
        wanted: The versions that serve, as in ``>=1.1,<2``; empty for any.
        found: The version that is installed; None if it is not.
        fits: Whether that one serves.
    """

    name: str
    wanted: str
    found: str | None
    fits: bool

    def __str__(self) -> str:
        """Return name and version, with what was wanted where that differs."""
        if self.found is None:
            return self.name
        return f"{self.name} {self.found}" + ("" if self.fits else f" (wanted {self.wanted})")


def _parsed() -> list[Requirement]:
    from packaging.requirements import Requirement

    return [Requirement(text) for text in metadata(DISTRIBUTION).get_all("Requires-Dist") or []]


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _of_extra(requirements: Sequence[Requirement], extra: str, seen: set[str]) -> Iterator[Package]:
    """Yield an extra's own packages; those of extras that it names follow."""
    if extra in seen:
        return
    seen.add(extra)
    for requirement in requirements:
        always = requirement.marker is None or _applies(requirement, "")
        if not _applies(requirement, extra) or (extra and always):
            continue
        if requirement.name.lower() == DISTRIBUTION:
            for other in sorted(requirement.extras):
                yield from _of_extra(requirements, other, seen)
        else:
            yield _look(requirement)
            yield from _foreign_extras(requirement)


def _foreign_extras(requirement: Requirement) -> Iterator[Package]:
    """Yield what extras of another package ask for, as in ``llama-cpp-python[server]``."""
    from packaging.requirements import Requirement as Parse

    try:
        asked = metadata(requirement.name).get_all("Requires-Dist") or []
    except PackageNotFoundError:
        return
    for other in map(Parse, asked):
        if not _applies(other, "") and any(_applies(other, e) for e in requirement.extras):
            yield _look(other)


def _look(requirement: Requirement) -> Package:
    wanted = str(requirement.specifier)
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return Package(requirement.name, wanted, None, False)
    return Package(
        requirement.name, wanted, found, requirement.specifier.contains(found, prereleases=True)
    )


def check_packages(surroundings: Surroundings) -> list[Row]:
    """Compare what is installed with what loragraft's own metadata ask for."""
    try:
        requirements = _parsed()
    except PackageNotFoundError:
        step = "Install it, from its folder: pip install -e ."
        return [note("packages.core", "loragraft itself is not installed", "its metadata", step)]
    extras = sorted(set(metadata(DISTRIBUTION).get_all("Provides-Extra") or []) - NOT_FOR_USERS)
    core = judge_core(list(_of_extra(requirements, "", set())))
    return [
        core,
        *(judge_extra(extra, list(_of_extra(requirements, extra, set()))) for extra in extras),
    ]


def judge_core(packages: Sequence[Package]) -> Row:
    """Judge the packages without which nothing works."""
    facts = _facts(packages)
    missing = [package for package in packages if package.found is None]
    if missing:
        words = f"not installed: {', '.join(map(str, missing))}"
        return broken("packages.core", words, "all of them", "pip install loragraft", facts)
    odd = [package for package in packages if not package.fits]
    if odd:
        words = ", ".join(map(str, odd))
        step = "pip install --upgrade loragraft"
        return note("packages.core", words, "versions that were tested", step, facts)
    return fine("packages.core", ", ".join(map(str, packages)), "all of them", facts=facts)


def judge_extra(extra: str, packages: Sequence[Package]) -> Row:
    """Judge the packages of an extra: none is fine, half of them is worth a word."""
    code, command = f"packages.{extra}", f'pip install "{DISTRIBUTION}[{extra}]"'
    facts, expected = _facts(packages), "optional"
    there = [package for package in packages if package.found is not None]
    missing = ", ".join(str(package) for package in packages if package.found is None)
    odd = [package for package in there if not package.fits]
    if odd:
        words = ", ".join(map(str, odd))
        return note(code, words, "versions that were tested", f"{command} --upgrade", facts)
    if not missing:
        return fine(code, ", ".join(map(str, there)), expected, facts=facts)
    words = f"not installed: {missing}"
    if there:
        words += f"; there: {', '.join(map(str, there))}"
    return fine(code, words, expected, f"To have it: {command}", facts)


def _facts(packages: Sequence[Package]) -> dict[str, dict[str, str | bool | None]]:
    return {p.name: {"found": p.found, "wanted": p.wanted, "fits": p.fits} for p in packages}
