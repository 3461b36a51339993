"""``loragraft dataset show``: records and splits, readable in 80 columns."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.dataset.records import TaskRecord

PIPE_WIDTH = 80
NARROWEST, WIDEST = 40, 100
LABEL = 12
"""Columns in front of a field's text."""
LONGEST = 4000
"""Characters of a field that a person is shown."""
RECORDS, STRATA = 5, 40
"""Shown where nobody says how many."""
SPLITS = ("train", "val", "test")
_MANIFEST = "_manifest.json"


@click.command()
@click.argument("source", metavar="FILE|MANIFEST|TAG", type=PATH)
@click.option("--strata", is_flag=True, help="Count papers and task types instead of printing.")
@click.option("--id", "wanted", multiple=True, metavar="ID",
              help="Print this record; may be repeated.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=0), metavar="N",
              help=f"Most that is printed. [default: {RECORDS} records, "
              f"{STRATA} strata]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a record a line.")
def show(
    source: Path, strata: bool, wanted: tuple[str, ...], limit: int | None, as_json: bool
) -> None:
    """Print records, or what a split is.

    MANIFEST is what dataset split wrote, TAG_manifest.json; its files are compared with their
    hashes. TAG names a split in evaluation/datasets/splits.
    """
    if not source.exists():
        source = _manifest_of(source)
    if source.name.endswith(_MANIFEST):
        if wanted:
            raise click.UsageError("--id is for a file of records, such as TAG_test.jsonl.")
        _show_split(source, strata=strata, limit=limit, as_json=as_json)
    elif strata:
        if wanted:
            raise click.UsageError("Give --id or --strata, not both.")
        _show_strata(source, STRATA if limit is None else limit, as_json=as_json)
    else:
        _show_records(source, wanted, limit, as_json=as_json)


def _manifest_of(tag: Path) -> Path:
    """Return a tag's manifest where there is one, else what was given."""
    from loragraft.dataset.split.load import DEFAULT_FOLDER

    found = DEFAULT_FOLDER / f"{tag}{_MANIFEST}"
    return found if tag.name == str(tag) and found.is_file() else tag


def _show_split(source: Path, *, strata: bool, limit: int | None, as_json: bool) -> None:
    from loragraft.cli.output import print_json
    from loragraft.dataset.split.load import find_split

    manifest = find_split(str(source)).manifest
    if as_json:
        print_json(manifest)
        return
    show_manifest(manifest)
    if strata:
        rows = [
            [_type(s), _paper(s), *(str(s[name]) for name in SPLITS)] for s in manifest["strata"]
        ]
        _print_some(["task type", "paper", *SPLITS], rows, STRATA if limit is None else limit)


def show_manifest(manifest: Mapping[str, Any]) -> None:
    """Print what a split is: counts, papers, and what is too small to be divided."""
    from loragraft.cli.output import print_table

    sums = {name: file["records"] for name, file in manifest["files"].items()}
    rows = [
        [task_type, *(str(counts[name]) for name in SPLITS), str(sum(counts[n] for n in SPLITS))]
        for task_type, counts in manifest["task_types"].items()
    ]
    rows.append(["all", *(str(sums[name]) for name in SPLITS), str(sum(sums.values()))])
    title = f"Split {manifest['tag']}, seed {manifest['seed']}"
    print_table(title, ["task type", *SPLITS, "all"], rows)
    for line in _about(manifest):
        print_wrapped(line, "  ")


def _about(manifest: Mapping[str, Any]) -> Iterator[str]:
    source, papers, small = (manifest[key] for key in ("source", "papers", "small_strata"))
    shares = "/".join(f"{manifest['fractions'][name]:g}" for name in SPLITS)
    how = "whole papers" if manifest["group_by"] else "papers and task types"
    yield (f"{source['name']} (sha256 {source['sha256'][:12]}): {source['records']} records, "
           f"{shares} by {how}.")  # fmt: skip
    furthest = manifest["largest_deviation"]
    named = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in furthest.items())
    rounding = " (below 1: rounded down or up)" if max(furthest.values(), default=0) < 1 else ""
    yield f"Furthest from a share, in records: {named}{rounding}."
    if papers["all"]:
        held = ", ".join(f"{papers[name]} in {name}" for name in SPLITS)
        yield f"Papers: {papers['all']}; {held}."
        seen, other = (papers[f"test_records_of_{which}_papers"] for which in ("trained", "other"))
        yield f"Test records whose paper train has seen: {seen}; has not: {other}."
    if small["strata"]:
        yield (f"Small strata: {small['strata']} of {len(manifest['strata'])}, with "
               f"{small['records']} records, have fewer than {small['fewer_records_than']} each: "
               "not every split can hold one of them.")  # fmt: skip


def _show_strata(source: Path, limit: int, *, as_json: bool) -> None:
    from loragraft.cli.output import print_json, print_table
    from loragraft.dataset.records import kind_of, read_records

    kinds: Counter[tuple[str, str]] = Counter()
    strata: Counter[tuple[str, str | None]] = Counter()
    for record in read_records(source):
        kinds[record.task_type, kind_of(record)] += 1
        strata[record.task_type, record.paper_id] += 1
    order = sorted(strata, key=lambda key: (key[0], key[1] is not None, key[1] or ""))
    if as_json:
        print_json({
            "records": kinds.total(),
            "task_types": [{"task_type": t, "kind": k, "records": kinds[t, k]}
                           for t, k in sorted(kinds)],
            "strata": [{"task_type": t, "paper_id": p, "records": strata[t, p]}
                       for t, p in order],
        })  # fmt: skip
        return
    rows = [[task_type, kind, str(kinds[task_type, kind])] for task_type, kind in sorted(kinds)]
    rows.append(["all", "", str(kinds.total())])
    print_table(f"Records of {source.name}", ["task type", "kind", "records"], rows)
    papers = {paper for _, paper in strata} - {None}
    print_wrapped(f"Papers: {len(papers)}. Strata of paper and task type: {len(strata)}.", "  ")
    _print_some(["task type", "paper", "records"],
                [[t, p or "(none)", str(strata[t, p])] for t, p in order], limit)  # fmt: skip


def _type(stratum: Mapping[str, Any]) -> str:
    return str(stratum["task_type"]) + (" (small)" if stratum["small"] else "")


def _paper(stratum: Mapping[str, Any]) -> str:
    return "(none)" if stratum["paper_id"] is None else str(stratum["paper_id"])


def _print_some(columns: Sequence[str], rows: Sequence[Sequence[str]], limit: int) -> None:
    from loragraft.cli.output import print_table

    if limit:
        print_table("Strata", columns, rows[:limit])
    if len(rows) > limit:
        click.echo(f"{len(rows) - limit} more strata; see them with --limit {len(rows)}.")


def _show_records(source: Path, wanted: Sequence[str], limit: int | None, *, as_json: bool) -> None:
    from loragraft.chat.cleaning import clean_json
    from loragraft.dataset.records import read_records, to_json
    from loragraft.errors import InputError

    left = set(wanted)
    most = None if wanted and limit is None else RECORDS if limit is None else limit
    chosen = (r for r in read_records(source) if not wanted or r.id in left)
    for number, record in enumerate(islice(chosen, most)):
        left.discard(record.id)
        if as_json:
            click.echo(clean_json(json.dumps(to_json(record), ensure_ascii=False)))
        else:
            if number:
                click.echo()
            _print_record(record)
        if wanted and not left:
            break
    if left and most is None:
        raise InputError(
            f"{source} holds no record with the id {', '.join(map(repr, sorted(left)))}; see its "
            "ids with dataset show --json."
        )


def _print_record(record: TaskRecord) -> None:
    from loragraft.dataset.records import kind_of, to_json

    paper = "" if record.paper_id is None else f", paper {record.paper_id}"
    print_wrapped(f"{record.id}: {record.task_type} ({kind_of(record)}){paper}", "  ")
    values = to_json(record)
    for key in ("kind", "id", "task_type", "paper_id"):
        values.pop(key, None)
    values |= values.pop("fields", {})
    for key, value in values.items():
        texts = value if isinstance(value, list) and value else [value]
        for number, text in enumerate(texts):
            shown = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
            print_field("" if number else key, shown)


def print_field(name: str, text: str) -> None:
    """Print a text behind its name, its further lines under the first; long ones are cut."""
    more = len(text) - LONGEST
    if more > 0:
        text = f"{text[:LONGEST]} ... ({more:,} more characters: --json)"
    if len(name) > LABEL - 3:  # it would push the text's first line out of its column
        print_wrapped(f"  {name}", "  ")
        name = ""
    print_wrapped(text, "  ".ljust(LABEL), first=f"  {name} ".ljust(LABEL))


def print_wrapped(text: str, indent: str, *, first: str = "") -> None:
    """Print a text in lines that fit, all but the first indented; nothing in it is obeyed."""
    from rich.console import Console
    from rich.text import Text

    from loragraft.chat.cleaning import clean

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    width = min(max(width, NARROWEST), WIDEST)
    console, room = Console(), width - max(len(indent), len(first))
    lines = clean(text).expandtabs(4).split("\n")
    parts = [p.plain for line in lines for p in Text(line).wrap(console, room, overflow="fold")]
    for number, part in enumerate(parts):
        click.echo(((indent if number else clean(first)) + part).rstrip())
