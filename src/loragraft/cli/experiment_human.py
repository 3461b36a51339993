"""``loragraft experiment human``: people compare answers without knowing whose they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.experiment.config import SeriesConfig
    from loragraft.experiment.human.blind import Exported
    from loragraft.experiment.human.summary import Agreement, HumanSummary
    from loragraft.experiment.human.tier import Tier
    from loragraft.experiment.judge.series import GoldOf


@click.command()
@click.argument("config", type=PATH, metavar="CONFIG")
@click.option("--export", "target", type=PATH, metavar="FILE",
              help="Write pairs of answers as a CSV for raters.")  # fmt: skip
@click.option("--pairs", "names", nargs=2, metavar="A B",
              help="Experiments to compare. [default: the only pair that there is]")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), metavar="N",
              help="Questions, drawn by the series' seed. [default: all]")  # fmt: skip
@click.option("--import", "files", type=PATH, multiple=True, metavar="FILE",
              help="Read back what a rater filled in, named as the rater: anna.csv; may be "
                   "repeated.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="As it was given to run.")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Another value than the CONFIG's; may be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def human(
    config: Path,
    target: Path | None,
    names: tuple[str, str] | None,
    count: int | None,
    files: tuple[Path, ...],
    limit: int | None,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write pairs of answers for people to compare, and read back what they say.

    Which answer is whose stands in the series' folder, not in what raters get. Without --export
    and --import, what raters have said so far is shown.
    """
    from loragraft.experiment.config import load_series
    from loragraft.experiment.run import RunRequest, configured

    _check_options(target, names, count, files)
    series = configured(load_series(config, changes), RunRequest(limit=limit))
    with _open_tier(series, wants_gold=target is not None) as tier:
        if target is not None:
            _export(tier, names, target, count, as_json)
        else:
            _import(tier, files, as_json)


def _check_options(
    target: Path | None, names: Sequence[str] | None, count: int | None, files: Sequence[Path]
) -> None:
    if target is not None and files:
        raise click.UsageError("--export and --import are two steps: give one of them.")
    if target is None and (names or count is not None):
        raise click.UsageError("--pairs and --count say what --export FILE writes.")


@contextmanager
def _open_tier(config: SeriesConfig, *, wants_gold: bool) -> Iterator[Tier]:
    from loragraft.experiment.human.tier import Tier
    from loragraft.experiment.judged import samples_of
    from loragraft.experiment.questions import QuestionFile

    file = QuestionFile(config)
    with _gold(config, wanted=wants_gold) as gold_of:
        yield Tier(
            config,
            lambda task: file.of(task).records,
            lambda name: samples_of(config, file, name),
            gold_of,
        )


@contextmanager
def _gold(config: SeriesConfig, *, wanted: bool) -> Iterator[GoldOf | None]:
    """Give the texts of gold evidence, where the series has an index and it can be read."""
    from loragraft.cli.output import print_warnings
    from loragraft.errors import LoragraftError
    from loragraft.experiment.arms.retrieval import Retrieval
    from loragraft.experiment.gold import gold_texts

    if config.retrieval is None or not wanted:
        yield None
        return
    with Retrieval(config.retrieval) as retrieval:
        try:
            retrieval.document("")
        except LoragraftError as error:
            print_warnings([f"Raters get no evidence: {error}"])
            yield None
            return
        yield lambda record: gold_texts(record, retrieval.document)


def _export(
    tier: Tier, names: tuple[str, str] | None, target: Path, count: int | None, as_json: bool
) -> None:
    from loragraft.chat.cleaning import clean
    from loragraft.cli.output import print_json

    found = tier.export(names, target, count)
    if as_json:
        print_json(_exported_json(found))
        return
    key = found.key
    click.echo(clean(f"{len(key.rows)} pairs of {key.a} and {key.b} for raters: {found.path}"))
    left_out = {"with an answer missing": found.missing, "with identical answers": found.identical}
    told = ", ".join(f"{number} {why}" for why, number in left_out.items() if number)
    if told:
        click.echo(f"Left out: {told}")
    click.echo(clean(f"Which answer is whose, not for raters: {found.folder}"))


def _exported_json(found: Exported) -> dict[str, Any]:
    key = found.key
    return {
        "export": key.export, "file": str(found.path), "key": str(found.folder), "a": key.a,
        "b": key.b, "seed": key.seed, "rows": len(key.rows), "missing": found.missing,
        "identical": found.identical,
    }  # fmt: skip


def _import(tier: Tier, files: Sequence[Path], as_json: bool) -> None:
    from loragraft.cli.output import print_json, print_warnings
    from loragraft.errors import InputError

    read = tier.take(files)
    taken = {export.key.export for export, _ in read}
    print_warnings([
        f'{one.rater} rated none of the pairs: is the column "better" filled in?'
        for _, one in read if not one.votes
    ] + tier.notes)  # fmt: skip
    summaries = [one for one in tier.summaries() if not taken or one.export in taken]
    if not summaries:
        raise InputError(
            f"{tier.config.series} has no pairs with raters. Write some: --export FILE."
        )
    if as_json:
        print_json({"exports": [one.to_json() for one in summaries]})
        return
    for one in summaries:
        _show(one)


def _show(one: HumanSummary) -> None:
    from loragraft.cli.output import print_table

    title = f"{one.a} against {one.b}, {one.rows} pairs ({one.export})"
    columns = ["rater", "rated", f"{one.a} better", f"{one.b} better", "ties", "win rate",
               "first answer better"]  # fmt: skip
    rows = [
        [tally.name, str(tally.rated), str(tally.wins), str(tally.losses), str(tally.ties),
         _share(tally.win_rate), _share(tally.first_rate)]
        for tally in (*one.raters, one.majority)
    ]  # fmt: skip
    print_table(title, columns, rows)
    if not one.raters:
        click.echo("Nobody's ratings are here yet: experiment human CONFIG --import FILE.")
        return
    told = [*one.pairs, *([one.judge] if one.judge is not None else [])]
    if told:
        columns = ["", "pairs", "agreement", "Cohen's kappa"]
        print_table("Agreement", columns, [_agreement(pair) for pair in told])
    if sum(rater.rated > 0 for rater in one.raters) > 1:
        click.echo(
            f"All raters: Fleiss' kappa {_number(one.fleiss_kappa)} on the {one.fleiss_rows} pairs "
            f"that everybody rated; Krippendorff's alpha {_number(one.alpha)}."
        )


def _agreement(one: Agreement) -> list[str]:
    return [f"{one.a} and {one.b}", str(one.rows), _share(one.agreement), _number(one.kappa)]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
