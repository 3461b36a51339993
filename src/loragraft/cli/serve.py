"""``loragraft serve``: an OpenAI-compatible endpoint over a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from loragraft.chat.commands import THINKING
from loragraft.engine.threads import MAX_THREADS

DEFAULT_PORT = 8000
"""As llama-cpp-python's own server has it."""


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on; one that others can reach needs an API key.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True,
              help="0 takes a free one and prints it.")  # fmt: skip
@click.option("--api-key-file", type=click.Path(path_type=Path),
              help="File with the key of clients. [default: LORAGRAFT_API_KEY]")  # fmt: skip
@click.option("--allow-origin", "origins", multiple=True, metavar="URL",
              help="A web page's origin that may ask from a browser; may be repeated.")  # fmt: skip
@click.option("--think", type=click.Choice(list(THINKING)), default="auto", show_default=True,
              help="Switch thinking, where the model's template knows it.")  # fmt: skip
@click.option("--context", type=click.IntRange(min=1),
              help="Tokens in all. [default: the model's, at most 8192]")  # fmt: skip
@click.option("--threads", type=click.IntRange(0, MAX_THREADS), default=0,
              help="[default: all cores]")  # fmt: skip
@click.option("--gpu-layers", type=click.IntRange(min=0),
              help="Layers on the GPU. [default: all, where llama.cpp sees one]")  # fmt: skip
@click.option("--quant", help="Which file of a bundle, such as Q4_K_M. [default: its first]")
def serve(
    bundle: Path,
    host: str,
    port: int,
    api_key_file: Path | None,
    origins: tuple[str, ...],
    think: str,
    context: int | None,
    threads: int,
    gpu_layers: int | None,
    quant: str | None,
) -> None:
    """Serve BUNDLE, or a .gguf file, by an OpenAI-compatible endpoint.

    llama-cpp-python's own server runs in this process; the model's chat template and its stops
    are in force. Only this machine is served unless --host says otherwise. Ctrl-C ends it.

    The API key comes from a file or the variable LORAGRAFT_API_KEY and never from the command
    line, where every user of the machine could read it.
    """
    from loragraft.checkpoint.bundle import open_model
    from loragraft.cli.output import print_warnings
    from loragraft.serving.address import listen, read_key, require_key, url_of
    from loragraft.serving.app import Serving, build_app, require_packages
    from loragraft.serving.run import run

    require_packages()
    key = read_key(api_key_file)
    require_key(host, key)
    model = open_model(bundle, quant)
    with listen(host, port) as listening:  # before the model is loaded: a taken port is said now
        served = build_app(
            model, Serving(context, threads, key, origins, THINKING[think], gpu_layers)
        )
        print_warnings(served.notes)
        click.echo(f"{model.name} at {url_of(listening)}/v1 with a context of {served.context}")
        run(served, listening)
    click.echo("Stopped.", err=True)
