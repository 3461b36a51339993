"""``loragraft dataset split``: divide records into train, val and test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.dataset.leaks.report import LeakReport
    from loragraft.dataset.split.assign import GroupBy

FOLDER = Path("evaluation/datasets/splits")


@click.command()
@click.argument("source", metavar="DATA.jsonl", type=PATH)
@click.option("--tag", required=True, help="The split's name: its files are TAG_train.jsonl ...")
@click.option("--seed", metavar="NUMBER",
              help="Decides who goes where. [default: FINETUNE_SPLIT_SEED, else "
              "20251101]")  # fmt: skip
@click.option("--fractions", default="0.70,0.15,0.15", show_default=True,
              metavar="TRAIN,VAL,TEST", help="Shares, together 1 or 100.")  # fmt: skip
@click.option("--group-by", type=click.Choice(["paper_id"]),
              help="Keep the records of each paper together instead of dividing them.")  # fmt: skip
@click.option("-o", "--output", "folder", type=PATH, default=FOLDER, show_default=True,
              metavar="FOLDER", help="Where the files go.")  # fmt: skip
@click.option("--replace", is_flag=True, help="Give up another split of that tag.")
@click.option("--strict", is_flag=True,
              help="Write nothing and exit with 1 if a record of one split gives away one of "
              "another.")  # fmt: skip
@click.option("--no-leaks", is_flag=True, help="Do not look for leaks.")
@click.option("--dry-run", is_flag=True, help="Say how the records would be divided, only.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def split(
    source: Path,
    tag: str,
    seed: str | None,
    fractions: str,
    group_by: GroupBy | None,
    folder: Path,
    replace: bool,
    strict: bool,
    no_leaks: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Divide task records into train, val and test.

    Every paper's records of every task type are divided, each count to within one record of its
    share. The seed, the ids, papers and task types decide, nothing else: another order of the same
    records gives the same split, on every machine.
    """
    from loragraft.cli.dataset_show import show_manifest
    from loragraft.cli.output import print_json
    from loragraft.dataset.split.manifest import Source, check_tag, make_manifest
    from loragraft.dataset.split.seed import find_seed
    from loragraft.dataset.split.write import Written, plan_split, write_split

    if strict and (no_leaks or dry_run):
        raise click.UsageError("--strict looks for leaks in what is written: leave out --no-leaks "
                               "and --dry-run.")  # fmt: skip
    check_tag(tag)
    found = find_seed(seed)
    click.echo(f"Seed {found.value}, from {found.source}.", err=True)
    planned = plan_split(source, seed=found.value, fractions=fractions.split(","),
                         group_by=group_by)  # fmt: skip
    leaks = _Leaks(tag, folder, strict=strict)
    if dry_run:
        about = Source(source.name, planned.digest)
        manifest = make_manifest(planned.split, tag, about, dict.fromkeys(planned.split.parts, ""))
        done = Written(folder, manifest, changed=False)
    else:
        done = write_split(planned, folder, tag, replace=replace,
                           check=None if no_leaks else leaks.look)  # fmt: skip
    if as_json:
        print_json({**done.manifest, "leaks": leaks.summary()})
        return
    show_manifest(done.manifest)
    leaks.tell()
    state = "Written" if done.changed else "Unchanged"
    click.echo("Nothing was written." if dry_run else f"{state}: {done.path}")


class _Leaks:
    """What a split's own records give away of each other."""

    def __init__(self, tag: str, folder: Path, *, strict: bool) -> None:
        where = "" if folder == FOLDER else f" --splits {folder}"
        self._step = f"loragraft dataset leaks {tag}{where}"
        self._strict = strict
        self._report: LeakReport | None = None

    def look(self, files: Mapping[str, Path]) -> None:
        """Look for leaks; strictly, any is an error.

        Raises:
            CheckFailedError: If there are leaks and the mode is strict.
        """
        from loragraft.cli.progress import make_progress
        from loragraft.dataset.leaks.find import find_leaks
        from loragraft.errors import CheckFailedError

        progress = make_progress()
        try:
            self._report = find_leaks(files, progress=progress)
        finally:
            progress.end()
        if self._strict and not self._report.clean:
            raise CheckFailedError(
                f"{self._report.verdict} Nothing was written (--strict). To see them, write the "
                f"split without --strict and run: {self._step}"
            )

    def summary(self) -> dict[str, Any] | None:
        """Return the verdict for a program; None where nobody looked."""
        found = self._report
        if found is None:
            return None
        return {"clean": found.clean, "verdict": found.verdict, "unchecked": list(found.unchecked)}

    def tell(self) -> None:
        """Print the verdict, what it does not speak of, and how to see more."""
        from loragraft.cli.output import print_warnings

        if self._report is not None:
            click.echo(self._report.verdict)
            print_warnings(self._report.unchecked)
            if not self._report.clean:
                click.echo(f"See: {self._step}")
