"""``TAG_manifest.json``: what a split is, so that anyone can check it or make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loragraft import __version__
from loragraft.artifact.names import check_name
from loragraft.dataset.split.assign import Split, Stratum
from loragraft.dataset.split.rounding import SPLITS, Shares
from loragraft.errors import InputError

SCHEMA_VERSION = 1
"""Raised when a reader of the old form would misunderstand the new one."""

SUFFIX = "_manifest.json"


class Source(NamedTuple):
    """The file that was divided."""

    name: str
    sha256: str


def check_tag(tag: str) -> str:
    """Return a tag that can begin a file's name.

    Raises:
        InputError: If it cannot.
    """
    try:
        return check_name(tag)
    except InputError as error:
        raise InputError(
            str(error).split(". Give")[0].replace("The name", "The tag", 1)
            + ". Give one plain name such as 'science' with --tag; folders go to --output."
        ) from None


def file_name(tag: str, name: str) -> str:
    """Return what the file of a split is called."""
    return f"{tag}_{name}.jsonl"


def manifest_path(folder: Path, tag: str) -> Path:
    """Return where the manifest of a tag belongs."""
    return folder / f"{tag}{SUFFIX}"


def make_manifest(
    split: Split, tag: str, source: Source, digests: Mapping[str, str]
) -> dict[str, Any]:
    """Return a manifest.

    Args:
        split: The division.
        tag: Its name.
        source: What was divided.
        digests: SHA-256 of each split's file.
    """
    least = split.least_for_all
    small = [stratum for stratum in split.strata if stratum.records < least]
    return {
        "schema_version": SCHEMA_VERSION,
        "tag": tag,
        "seed": split.seed,
        "fractions": {n: float(share) for n, share in zip(SPLITS, split.shares, strict=True)},
        "stratified_by": ["task_type"] if split.group_by else ["paper_id", "task_type"],
        "group_by": split.group_by,
        "source": {"name": source.name, "sha256": source.sha256, "records": split.total},
        "files": {
            name: {"name": file_name(tag, name), "sha256": digests[name],
                   "records": len(split.parts[name])}
            for name in SPLITS
        },
        "task_types": _task_types(split),
        "largest_deviation": _deviations(split),
        "small_strata": {
            "strata": len(small),
            "records": sum(stratum.records for stratum in small),
            "fewer_records_than": least,
        },
        "papers": _papers(split),
        "strata": [
            {"task_type": s.task_type, "paper_id": s.paper_id, **_counts(s),
             "small": s.records < least}
            for s in split.strata
        ],
        "test_records": _test_records(split),
        "loragraft_version": __version__,
    }  # fmt: skip


def _counts(stratum: Stratum) -> dict[str, int]:
    return dict(zip(SPLITS, stratum.counts, strict=True))


def _sums(split: Split, key: str) -> dict[str | None, list[int]]:
    sums: dict[str | None, list[int]] = {}
    for stratum in split.strata:
        own = sums.setdefault(getattr(stratum, key), [0] * len(SPLITS))
        for at, count in enumerate(stratum.counts):
            own[at] += count
    return sums


def _task_types(split: Split) -> dict[str, dict[str, int]]:
    return {
        str(task_type): dict(zip(SPLITS, counts, strict=True))
        for task_type, counts in _sums(split, "task_type").items()
    }


def _deviations(split: Split) -> dict[str, float]:
    """Return how many records the furthest count is from its share; below 1 is a rounding."""
    groups = {
        "records": [[len(split.parts[name]) for name in SPLITS]],
        "task_types": list(_sums(split, "task_type").values()),
    }
    if not split.group_by:
        groups["papers"] = list(_sums(split, "paper_id").values())
        groups["strata"] = [list(stratum.counts) for stratum in split.strata]
    return {
        name: round(max(_furthest(counts, split.shares) for counts in rows), 3)
        for name, rows in groups.items()
    }


def _furthest(counts: Sequence[int], shares: Shares) -> float:
    """Return the largest difference of a count from its share; whole numbers until the last."""
    number = sum(counts)
    return max(
        abs(count * share.denominator - number * share.numerator) / share.denominator
        for count, share in zip(counts, shares, strict=True)
    )


def _papers(split: Split) -> dict[str, Any]:
    """Return how many papers there are, and how much of the test set trained papers make."""
    held = {name: {item.paper_id for item in split.parts[name]} - {None} for name in SPLITS}
    trained = split.trained_papers()
    test = [item.paper_id for item in split.parts["test"]]
    return {
        "all": len(set.union(*held.values())),
        **{name: len(papers) for name, papers in held.items()},
        "test_records_of_trained_papers": sum(paper in trained for paper in test),
        "test_records_of_other_papers": sum(p is not None and p not in trained for p in test),
        "test_records_without_paper": sum(paper is None for paper in test),
    }


def _test_records(split: Split) -> list[dict[str, Any]]:
    trained = split.trained_papers()
    return [
        {"id": item.id, "paper_id": item.paper_id,
         "paper_seen_in_training": None if item.paper_id is None else item.paper_id in trained}
        for item in split.parts["test"]
    ]  # fmt: skip


def same_split(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two manifests name the same split, whichever version wrote them."""
    return _without_version(one) == _without_version(other)


def _without_version(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key != "loragraft_version"}


def spell_manifest(manifest: Mapping[str, Any]) -> bytes:
    """Spell a manifest as JSON, each item of a list on a line of its own."""
    lines = []
    for key, value in manifest.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            items = ",\n".join(f"    {json.dumps(item, ensure_ascii=False)}" for item in value)
            text = f"[\n{items}\n  ]"
        else:
            text = json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")
        lines.append(f"  {json.dumps(key)}: {text}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8")
