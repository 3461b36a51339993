"""``loragraft dataset curate`` and ``review``: raw rows to records, and a person's word on them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.dataset.curate.report import Report
    from loragraft.dataset.curate.review import Item
    from loragraft.dataset.records import TaskRecord

_KEYS = {"a": "accept", "r": "reject", "s": "skip", "q": "quit"}
_SHOWN = 60
"""Characters of an example in the table."""


@click.command()
@click.argument("rules", metavar="RULES", type=PATH)
@click.argument("raw", metavar="RAW", type=PATH)
@click.option("-o", "--output", "out", type=PATH, required=True, metavar="CLEAN",
              help="The file of records; report and page lie beside it.")  # fmt: skip
@click.option("--strict", is_flag=True, help="End at the first line that holds no row.")
@click.option("--replace", is_flag=True,
              help="Overwrite CLEAN also where it was not written by this command.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def curate(rules: Path, raw: Path, out: Path, strict: bool, replace: bool, as_json: bool) -> int:
    """Drop the rows of RAW that RULES speak against; write the others as task records.

    RULES is YAML, RAW and CLEAN are JSON lines. CLEAN.report.json and CLEAN.report.html say what
    was dropped and why, with examples. An interrupted run goes on with the same command; decisions
    of dataset review are applied. The exit code is 1 if no row is kept.
    """
    from loragraft.cli.output import print_json
    from loragraft.cli.progress import watched
    from loragraft.dataset.curate.run import curate as run

    with watched(_kept) as progress:
        outcome = run(rules, raw, out, strict=strict, replace=replace, progress=progress)
    if as_json:
        print_json({"unchanged": outcome.unchanged, **outcome.report.to_json()})
    else:
        _print_report(outcome.report)
    _note(outcome.report, out, outcome.unchanged)
    return 0 if outcome.report.kept else 1


def _kept() -> str:
    from loragraft.dataset.curate.filling import COMMIT_SECONDS

    return f"What was judged is kept, but for the last {COMMIT_SECONDS:.0f} seconds at most"


def _print_report(report: Report) -> None:
    from loragraft.cli.output import print_table

    rows = []
    for reason in report.reasons:
        example = reason.samples[0] if reason.samples else None
        shown = "" if example is None else f"line {example.line}: {example.measured}"
        rows.append([
            reason.name, f"{reason.judged:,}", f"{reason.dropped:,}", f"{reason.share:.1%}",
            f"{reason.missing:,}" if reason.missing else "",
            shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "...",
        ])  # fmt: skip
    columns = ["rule", "judged", "dropped", "share", "missing", "for example"]
    print_table(f"{report.raw.name}: {_summary(report)}", columns, rows)


def _summary(report: Report) -> str:
    pairs = report.lines - sum(report.unpaired.values())
    of = f"{pairs:,} pairs of {report.lines:,} rows" if report.unpaired else f"{pairs:,} rows"
    return f"{report.kept:,} of {of} kept"


def _note(report: Report, out: Path, unchanged: bool) -> None:
    from loragraft.dataset.curate.report import page_path

    notes = [f"{out}: {report.kept:,} records{', unchanged' if unchanged else ''}.",
             f"{page_path(out)}: the report."]  # fmt: skip
    for reason, count in report.unpaired.items():
        notes.append(f"{count:,} rows are no pair: {reason}.")
    for item in report.broken_lines[:3]:
        notes.append(f"Line {item.line:,} {item.reason}{'' if item.reason.endswith('?') else '.'}")
    if report.broken > 3:
        notes.append(f"{report.broken:,} lines could not be read; the report names the first.")
    if report.target is not None and report.kept < report.target:
        missing = report.target - report.kept
        notes.append(f"{report.target:,} were wanted: {missing:,} are missing.")
    for rule in report.reasons:
        if rule.unjudged:
            notes.append(f"{rule.unjudged:,} rows lack what {rule.name!r} needs, and passed it.")
    if report.review.stale:
        notes.append(
            f"{report.review.stale:,} decisions are about another content and were passed over: "
            "review these records again."
        )
    if not report.lines:
        notes.append(f"{report.raw.name} holds no row: expected one JSON object a line.")
    elif not report.kept:
        notes.append("No row was kept: look at the rules that dropped most.")
    from loragraft.chat.cleaning import clean

    for note in notes:
        click.echo(clean(note), err=True)


@click.command()
@click.argument("out", metavar="CLEAN", type=PATH)
@click.option("--sample", type=click.IntRange(min=1), help="How many records. [default: as RULES]")
@click.option("--seed", type=click.IntRange(min=0), help="Which ones. [default: as RULES]")
@click.option("--list", "listed", is_flag=True, help="Only list the sample with its decisions.")
@click.option("--accept", multiple=True, metavar="ID", help="Accept a record without asking.")
@click.option("--reject", multiple=True, metavar="ID", help="Reject a record without asking.")
@click.option("--json", "as_json", is_flag=True, help="List the sample as JSON.")
def review(
    out: Path,
    sample: int | None,
    seed: int | None,
    listed: bool,
    accept: tuple[str, ...],
    reject: tuple[str, ...],
    as_json: bool,
) -> None:
    """Look at a sample of CLEAN, one record after the other, and accept or reject each.

    What is decided is kept in CLEAN.review.jsonl at once, and the next dataset curate goes by it:
    what was rejected is dropped, what was accepted stays whatever the rules say. Quit at any time;
    the same command goes on with what is undecided.
    """
    from loragraft.dataset.curate.review import decide, draw_sample, find_records

    both = sorted(set(accept) & set(reject))
    if both:
        raise click.UsageError(f"{both[0]} cannot be accepted and rejected at once.")
    if accept or reject:
        for record in find_records(out, (*accept, *reject)):
            decide(out, record, accept=record.id in accept)
        click.echo(f"{len(set(accept))} accepted, {len(set(reject))} rejected.", err=True)
    items = draw_sample(out, sample=sample, seed=seed)
    if as_json or listed:
        _list(items, as_json)
    elif not accept and not reject:
        _conclude(_ask(out, items), out)


def _word(item: Item) -> str:
    if item.decision is None:
        return "undecided"
    return "accepted" if item.decision.accept else "rejected"


def _list(items: list[Item], as_json: bool) -> None:
    from loragraft.cli.output import print_json, print_table
    from loragraft.dataset.records import answered, asked, to_json

    if as_json:
        rows = [{"decision": _word(item), "record": to_json(item.record)} for item in items]
        return print_json({"sample": rows})
    cells = [
        [item.record.id, _word(item), _short(asked(item.record)),
         _short("; ".join(answered(item.record)))]
        for item in items
    ]  # fmt: skip
    return print_table(f"{len(items)} records", ["id", "decision", "asked", "answered"], cells)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "..."


def _ask(out: Path, items: list[Item]) -> list[Item]:
    """Ask about what is undecided; return the sample with what was decided."""
    from loragraft.dataset.curate.review import decide

    undecided = [number for number, item in enumerate(items) if item.decision is None]
    for count, number in enumerate(undecided, 1):
        record = items[number].record
        _show(record, f"{count} of {len(undecided)}")
        try:
            key = _read_key()
        except (KeyboardInterrupt, click.Abort):
            click.echo("\nWhat was decided is kept.", err=True)
            raise
        if key == "quit":
            break
        if key != "skip":
            items[number] = decide(out, record, accept=key == "accept")
    return items


def _conclude(items: list[Item], out: Path) -> None:
    counts = {word: sum(_word(item) == word for item in items)
              for word in ("accepted", "rejected", "undecided")}  # fmt: skip
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    click.echo(f"Of {len(items)} records: {said}.", err=True)
    if counts["rejected"]:
        click.echo(f"dataset curate with -o {out} drops what was rejected.", err=True)


def _show(record: TaskRecord, place: str) -> None:
    """Print a record as a person reads it; whatever it holds does nothing to the terminal."""
    from loragraft.chat.cleaning import clean
    from loragraft.dataset.records import to_json

    click.echo(click.style(f"\n{place}  {clean(record.id)}", bold=True))
    for name, value in to_json(record).items():
        if name != "id":
            text = value if isinstance(value, str) else _plain(value)
            click.echo(f"{click.style(clean(name), dim=True)}: {clean(text)}")


def _plain(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _read_key() -> str:
    """Ask until one of the keys is given; the end of the input quits."""
    while True:
        click.echo("accept (a), reject (r), skip (s), quit (q)? ", nl=False)
        answer = _key() if sys.stdin.isatty() else sys.stdin.readline()
        click.echo()
        if not answer:
            return "quit"
        answer = answer.strip().lower()
        for key, word in _KEYS.items():
            if answer in (key, word):
                return word


def _key() -> str:
    """Return the key that is pressed; "" for the end of the input."""
    try:
        return click.getchar(echo=True)
    except EOFError:
        return ""
