"""The root command: groups by name, errors turned into messages and exit codes.

Exit codes: 0 done; 1 a check failed or the verdict is no; 2 bad usage or input; 3 a part outside
loragraft is unavailable; 130 interrupted; 141 nobody reads the output.
"""

from __future__ import annotations

import errno
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn, cast

import click

from loragraft import __version__
from loragraft.errors import LoragraftError

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
UNAVAILABLE = 3
NOBODY_READS = 141
"""128 + SIGPIPE: whoever read the output has gone. What was done is done; no check has failed."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

GROUPS: Mapping[str, tuple[str, str]] = {
    "adapter": ("loragraft.cli.adapter:adapter", "Inspect, verify, diagnose and fetch adapters."),
    "chat": ("loragraft.cli.chat:chat", "Talk with a bundle, a GGUF file or an Ollama model."),
    "dataset": ("loragraft.cli.dataset:dataset", "Collect, curate, split and check data."),
    "demo": ("loragraft.cli.demo:demo", "Go the whole way on a real model, offline."),
    "doctor": ("loragraft.cli.doctor:doctor", "Say what works here, what is slow, what can go."),
    "experiment": (
        "loragraft.cli.experiment:experiment",
        "Run the matrix: the same questions to every arm, measured.",
    ),
    "export": ("loragraft.cli.export:export", "Merge, convert, quantize and check a model."),
    "init": ("loragraft.cli.init:init", "Make a workspace: configurations, data, outputs."),
    "ollama": ("loragraft.cli.ollama:ollama", "Register models on Ollama, and prove it."),
    "rag": ("loragraft.cli.rag:rag", "Index documents, and find what answers a question."),
    "serve": ("loragraft.cli.serve:serve", "Serve a bundle by an OpenAI-compatible endpoint."),
    "trace": ("loragraft.cli.trace:trace", "Follow a model from base to Ollama: where it parts."),
    "train": ("loragraft.cli.train:train", "Fine-tune: plan, run, grid, notebook."),
}
"""Command to where it is and what ``loragraft --help`` says of it, so that help imports none."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run or asked for help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        return sorted(GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in GROUPS:
            return None
        module, _, attribute = GROUPS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, GROUPS[name][1]) for name in self.list_commands(ctx)])

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,  # noqa: ANN401 - click's own
    ) -> NoReturn:
        """Run a command and exit with its code; a bug keeps its traceback."""
        extra["standalone_mode"] = False
        _treat_termination_as_interruption()
        _open_closed_streams()
        _let_any_text_out()
        _quiet_libraries()
        try:
            result = super().main(args, prog_name, **extra)
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            sys.exit(2)
        except LoragraftError as error:
            from loragraft.chat.cleaning import clean  # it may quote a file from anyone

            click.echo(f"Error: {clean(str(error))}", err=True)
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            click.echo("\nInterrupted: nothing half-made stands under its name.", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(NOBODY_READS)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            click.echo(f"Error: the disk that the output goes to is full: {error}.", err=True)
            os._exit(UNAVAILABLE)  # what is left in stdout's buffer can go nowhere
        sys.exit(result if isinstance(result, int) else 0)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _open_closed_streams() -> None:
    """Give a command that was started without stdout or stderr somewhere to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for good


def _let_any_text_out() -> None:
    """Spell what stdout's encoding lacks: names of files may hold bytes that are no UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _quiet_libraries() -> None:
    """Keep bitsandbytes, which PEFT imports, from saying that it found no kernels on the Hub."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _treat_termination_as_interruption() -> None:
    """Let SIGTERM unwind as Ctrl-C does, so that locks are freed and files closed."""
    try:
        signal.signal(signal.SIGTERM, _interrupt)
    except ValueError:  # not in the main thread: embedded in another program
        return


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="loragraft")
def main() -> None:
    """Carry a LoRA adapter from "I found or trained this" to a verified, served model."""
