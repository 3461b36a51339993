"""Write docs/cli.md from the commands' own help.

python scripts/generate_cli_docs.py           # writes
python scripts/generate_cli_docs.py --check   # fails where the file is out of date
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
WIDTH = 88
HEADER = """\
# The commands

Made by `python scripts/generate_cli_docs.py` from the commands' own `--help`; `make lint` checks
that it is up to date.

Results go to standard output, progress and notes to standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a gate or check says no |
| 2 | bad usage or unusable input |
| 3 | a part is unavailable: a package, the disk, memory, a server, a lock |
| 4 | undecided (`experiment promote`) |
| 130 | interrupted |
| 141 | nobody reads the output any longer; what was done is done |
"""


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield (full name, help text) of a command and of everything below it."""
    yield context.command_path, command.get_help(context)
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        if child is not None and not child.hidden:
            below = click.Context(
                child,
                parent=context,
                info_name=name,
                terminal_width=WIDTH,
                max_content_width=WIDTH,
            )
            yield from commands(child, below)


def document() -> str:
    """Return the whole page."""
    from loragraft.cli.main import main as root_command

    # With a fixed width, help is the same on every terminal.
    root = click.Context(
        root_command, info_name="loragraft", terminal_width=WIDTH, max_content_width=WIDTH
    )
    parts = [HEADER]
    for name, text in commands(root_command, root):
        lines = "\n".join(line.rstrip() for line in text.splitlines())
        parts.append(f"## {name}\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args(arguments)
    wanted = document()
    found = TARGET.read_text(encoding="utf-8") if TARGET.is_file() else ""
    if not options.check:
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_text(wanted, encoding="utf-8")
        return 0
    if found == wanted:
        return 0
    changes = difflib.unified_diff(
        found.splitlines(), wanted.splitlines(), "docs/cli.md", "the commands' help", lineterm=""
    )
    print("\n".join(changes), file=sys.stderr)
    print("docs/cli.md is out of date. Run: make docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
