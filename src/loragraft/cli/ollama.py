"""``loragraft ollama``: from a bundle to a model of an Ollama server, proven."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from loragraft.artifact.progress import Progress
    from loragraft.engine.ollama_server import OllamaServer
    from loragraft.ollama.listing import Listed
    from loragraft.ollama.overrides import Overrides
    from loragraft.ollama.proof import Proof

PATH = click.Path(path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def ollama() -> None:
    """Register models on an Ollama server, and prove that it serves what was trained."""


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:  # noqa: ANN401 - a decorator
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_JSON = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
_HOST = click.option(
    "--host", metavar="ADDRESS", help="The server. [default: OLLAMA_HOST, or 127.0.0.1:11434]"
)
_QUANT = click.option("--quant", help="Which file of the bundle, such as Q4_K_M. [default: first]")
_OVERRIDES = _options(
    click.option("--config", type=FILE, metavar="YAML",
                 help="File with template, system, parameters, license and messages."),
    click.option("--template", type=FILE, help="Go template in the place of the translated one."),
    click.option("--system", help="System prompt where a conversation brings none."),
    click.option("-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE",
                 help="A parameter of Ollama, such as num_ctx=8192; may be repeated."),
    click.option("--license", "licenses", multiple=True, type=FILE, help="File of a license."),
    click.option("--message", "messages", multiple=True, type=(str, str), metavar="ROLE TEXT",
                 help="A turn that stands before every conversation; may be repeated."),
)  # fmt: skip


def _gather(
    config: Path | None,
    template: Path | None,
    system: str | None,
    parameters: tuple[str, ...],
    licenses: tuple[Path, ...],
    messages: tuple[tuple[str, str], ...],
) -> Overrides:
    """Put flags over what a file says."""
    from loragraft.ollama.overrides import Overrides, from_flags, load_overrides

    said = load_overrides(config) if config is not None else Overrides()
    return said.joined(
        from_flags(
            template=template, system=system, parameters=parameters, licenses=licenses,
            messages=messages,
        )
    )  # fmt: skip


@contextmanager
def _working(host: str | None) -> Iterator[tuple[OllamaServer, Progress]]:
    """Connect, and show progress while the block runs."""
    from loragraft.cli.progress import make_progress
    from loragraft.engine.ollama_server import OllamaServer

    progress = make_progress()
    with OllamaServer(host) as server:
        try:
            yield server, progress
        finally:
            progress.end()


def _print_proof(proof: Proof) -> None:
    from loragraft.cli.output import print_table

    rows = [
        [check.name, check.verdict,
         check.measured + (f"\n{check.next_step}" if check.next_step else ""), check.expected]
        for check in proof.checks
    ]  # fmt: skip
    print_table(f"Proof of {proof.tag}", ["check", "verdict", "found", "expected"], rows)


@ollama.command()
@click.argument("bundle", type=PATH)
@_QUANT
@_OVERRIDES
@click.option("--write", is_flag=True, help="Write it into the bundle and its checksum list.")
@click.option(
    "--workspace", type=PATH, metavar="FOLDER", help="Write it to FOLDER/ollama/NAME/Modelfile."
)
@click.option("--name", help="NAME in the workspace. [default: the bundle's]")
@_JSON
def modelfile(
    bundle: Path,
    quant: str | None,
    write: bool,
    workspace: Path | None,
    name: str | None,
    as_json: bool,
    **overrides: Any,  # noqa: ANN401 - click's own
) -> None:
    """Print the Modelfile of a bundle or GGUF file, or write it."""
    from loragraft.checkpoint.bundle import open_model
    from loragraft.cli.output import print_json, print_warnings
    from loragraft.ollama.compose import compose
    from loragraft.ollama.writing import write_modelfiles

    model = open_model(bundle, quant)
    composed = compose(model, _gather(**overrides))
    written = write_modelfiles(
        model, composed.modelfile, into_bundle=write, workspace=workspace, name=name
    )
    text = composed.modelfile.render()
    if as_json:
        paths = [str(path) for path in written]
        print_json({"modelfile": text, "written": paths, "notes": list(composed.notes)})
        return
    print_warnings(composed.notes)
    if not written:
        click.echo(text, nl=False)
    for path in written:
        click.echo(f"Modelfile: {path}")


@ollama.command()
@click.argument("bundle", type=PATH)
@click.option("--name", metavar="TAG", help="Its name on the server. [default: the bundle's]")
@_QUANT
@_OVERRIDES
@click.option(
    "--replace", is_flag=True, help="Let a model of that name give way, once this one is proven."
)
@_HOST
@_JSON
def register(
    bundle: Path,
    name: str | None,
    quant: str | None,
    replace: bool,
    host: str | None,
    as_json: bool,
    **overrides: Any,  # noqa: ANN401 - click's own
) -> None:
    """Upload a bundle, make a model of it, and prove that the server serves what was trained.

    Anything that fails leaves the server as it was.
    """
    from loragraft.checkpoint.bundle import open_model
    from loragraft.cli.output import print_json, print_warnings
    from loragraft.ollama.register import register as run

    model, wanted = open_model(bundle, quant), _gather(**overrides)
    with _working(host) as (server, progress):
        done = run(model, server, name=name, overrides=wanted, replace_existing=replace,
                   progress=progress)  # fmt: skip
    if as_json:
        print_json(done.to_json())
        return
    print_warnings(done.notes)
    _print_proof(done.proof)
    how = "Registered" if done.changed else "Registered before, and nothing changed"
    click.echo(f"{how}: {done.entry.tag} at {done.entry.url}")
    click.echo(f"Talk with it: ollama run {done.entry.tag}")


@ollama.command()
@click.argument("tag")
@click.option("--bundle", type=PATH, required=True, help="The bundle it was made of.")
@_QUANT
@_OVERRIDES
@_HOST
@_JSON
def verify(
    tag: str,
    bundle: Path,
    quant: str | None,
    host: str | None,
    as_json: bool,
    **overrides: Any,  # noqa: ANN401 - click's own
) -> None:
    """Prove a registered model once more; nothing is changed. Exits with 1 if it fails."""
    from loragraft.checkpoint.bundle import open_model
    from loragraft.cli.output import print_json
    from loragraft.ollama.verify import verify as run

    model, wanted = open_model(bundle, quant), _gather(**overrides)
    with _working(host) as (server, progress):
        proof = run(tag, model, server, overrides=wanted, progress=progress)
    if as_json:
        print_json(proof.to_json())
    else:
        _print_proof(proof)
        verdict = "serves what was trained" if proof.holds else "does NOT serve what was trained"
        click.echo(f"{proof.tag} {verdict}.")
    if not proof.holds:
        sys.exit(1)


@ollama.command("list")
@_HOST
@_JSON
def list_(host: str | None, as_json: bool) -> None:
    """List what loragraft registered, and whether it still matches its bundle."""
    from loragraft.engine.ollama_server import OllamaServer
    from loragraft.errors import UnavailableError
    from loragraft.ollama.listing import list_noted, list_registered

    with OllamaServer(host) as server:
        try:
            found = list_registered(server)
        except UnavailableError:
            _print_listed(server.url, list_noted(server.url), False, as_json)
            raise  # ends with 3
        _print_listed(server.url, found, True, as_json)


def _print_listed(url: str, found: list[Listed], reached: bool, as_json: bool) -> None:
    from loragraft.cli.output import print_json, print_table

    if as_json:
        models = [listed.to_json() for listed in found]
        print_json({"server": url, "reached": reached, "models": models})
        return
    rows = [
        [one.entry.tag, one.server, one.bundle, one.entry.bundle, one.entry.registered]
        for one in found
    ]
    if rows:
        columns = ["model", "on the server", "bundle", "of", "registered"]
        print_table(f"Registered on {url}", columns, rows)
    else:
        click.echo(f"loragraft has registered nothing on {url}.")


@ollama.command()
@click.argument("tag")
@click.option(
    "--force", is_flag=True, help="Also what loragraft did not register, or what was changed since."
)
@_HOST
@_JSON
def remove(tag: str, force: bool, host: str | None, as_json: bool) -> None:
    """Remove a model that loragraft registered."""
    from loragraft.cli.output import print_json, print_warnings
    from loragraft.ollama.remove import remove as run

    with _working(host) as (server, progress):
        done = run(tag, server, force=force, progress=progress)
        url = server.url
    if as_json:
        print_json(done.to_json())
        return
    print_warnings(done.notes)
    how = "Removed" if done.removed else "It was gone already; its note is removed"
    click.echo(f"{how}: {done.tag} at {url}")
