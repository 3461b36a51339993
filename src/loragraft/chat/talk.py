"""Talk: one question, or one after the other until the user has enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from loragraft.chat.commands import THINKING, Command, help_text, parse_command, said
from loragraft.chat.session import Session
from loragraft.chat.show import Notes, Show
from loragraft.chat.sources import open_text, sources_text
from loragraft.chat.transcript import save
from loragraft.errors import InputError, LoragraftError

BLOCK = '"""'
"""Begins and ends a text of several lines, as in Ollama's own chat."""
ReadLine = Callable[[str], str]
"""Shows a prompt and returns a line; EOFError at the end, KeyboardInterrupt on Ctrl-C."""


def ask_all(
    sessions: Sequence[Session], question: str, show: Show, notes: Notes
) -> list[LoragraftError]:
    """Let every model answer a question; return what went wrong.

    Raises:
        KeyboardInterrupt: If the user stopped an answer: the models after it are not asked.
    """
    errors: list[LoragraftError] = []
    stopped = False
    try:
        for session in sessions:
            show.begin(session.name)
            try:
                reply = session.ask(question, show.piece)
            except LoragraftError as error:
                show.end(session.name, error)
                errors.append(error)
            else:
                show.end(session.name, reply)
                stopped = reply.finish == "cancelled"
            if stopped:
                break
    finally:
        show.close()
        tell_notes(sessions, notes)
    if stopped:
        raise KeyboardInterrupt
    return errors


def tell_notes(sessions: Sequence[Session], notes: Notes) -> None:
    """Write what the sessions have to say, each once."""
    for text in dict.fromkeys(note for session in sessions for note in session.notes):
        notes.write(f"Note: {text}")
    for session in sessions:
        session.notes.clear()


class Talk:
    """A conversation in a terminal."""

    def __init__(
        self, sessions: Sequence[Session], show: Show, notes: Notes, read: ReadLine
    ) -> None:
        """Get ready to talk; nothing is shown yet."""
        self._sessions, self._show, self._notes, self._read = sessions, show, notes, read

    def run(self) -> None:
        """Read and answer until the user ends it."""
        names = " and ".join(session.name for session in self._sessions)
        self._notes.write(f"{names}. /help lists the commands, Ctrl-D ends.")
        tell_notes(self._sessions, self._notes)
        interrupted, going_on = False, True
        while going_on:
            try:  # the whole turn: an interruption comes at any moment, and again while it is told
                if interrupted:
                    interrupted = False
                    self._notes.write("\nCtrl-D or /exit ends the conversation.")
                going_on = self._take(self._read_text())
            except EOFError:
                self._notes.write("")
                return
            except KeyboardInterrupt:
                interrupted = True

    def _read_text(self) -> str:
        """Read a line, or a block of lines between triple quotes."""
        line = self._read("> ")
        if not line.strip().startswith(BLOCK):
            return line
        rest = line.strip().removeprefix(BLOCK)
        lines = []
        while BLOCK not in rest:
            lines.append(rest)
            rest = self._read(". ")
        return "\n".join([*lines, rest.partition(BLOCK)[0]]).strip("\n")

    def _take(self, line: str) -> bool:
        """Obey a command or ask the models; return whether to go on."""
        command = parse_command(line)
        try:
            if command is not None:
                return self._obey(command)
            if line.strip():
                self._ask(said(line))
        except LoragraftError as error:
            self._notes.error(error)
        except KeyboardInterrupt:  # an answer was stopped
            pass
        return True

    def _ask(self, question: str) -> None:
        ask_all(self._sessions, question, self._show, self._notes)

    def _obey(self, command: Command) -> bool:
        actions: dict[str, Callable[[str], None]] = {
            "system": self._system,
            "think": self._think,
            "reset": self._reset,
            "undo": self._undo,
            "retry": self._retry,
            "sources": lambda _: self._notes.write(sources_text(self._sessions)),
            "open": lambda number: self._notes.write(open_text(self._sessions, number)),
            "save": self._save,
            "help": lambda _: self._notes.write(help_text()),
        }
        if command.name == "exit":
            return False
        if command.name not in actions:
            raise InputError(f"There is no command /{command.name}. /help lists them.")
        actions[command.name](command.argument)
        return True

    def _system(self, text: str) -> None:
        if text:
            for session in self._sessions:
                session.system = None if text == "-" else text
        now = self._sessions[0].system
        self._notes.write(
            "No system message: the template's own, if it has one." if now is None
            else f"System message: {now}"
        )  # fmt: skip

    def _think(self, text: str) -> None:
        if text not in THINKING:
            raise InputError(f"/think {text}: give on, off or auto.")
        for session in self._sessions:
            session.think = THINKING[text]
            session.check_thinking()
        tell_notes(self._sessions, self._notes)

    def _reset(self, _: str) -> None:
        for session in self._sessions:
            session.reset()
        self._notes.write("The conversation begins anew.")

    def _undo(self, _: str) -> None:
        taken = [question for session in self._sessions if (question := session.undo()) is not None]
        self._notes.write(f"Taken back: {taken[0]}" if taken else "There is nothing to take back.")

    def _retry(self, _: str) -> None:
        last = [session.turns[-1].question for session in self._sessions if session.turns]
        if not last:
            raise InputError("Nothing was asked yet, so there is nothing to ask again.")
        for session in self._sessions:
            session.undo()
        self._ask(last[0])

    def _save(self, name: str) -> None:
        if not name:
            raise InputError("Name a file: /save conversation.jsonl")
        path = Path(name).expanduser()
        self._notes.write(f"{save(self._sessions, path)} lines written to {path}.")
