"""A conversation in a terminal: what is typed, what is shown, where it goes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.chat.commands import COMMANDS, parse_command, said
from loragraft.chat.session import Session
from loragraft.chat.show import DIM, ColumnsShow, JsonShow, Notes, Show, StreamShow
from loragraft.chat.talk import Talk, ask_all
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.protocol import Reply, Sampling
from tests.support.talking import SAYING

GREEDY = Sampling(temperature=0, max_tokens=20)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:  # noqa: D102 - the base class's own
        return True


def talk(sessions: list[Session], *lines: str | type[BaseException]) -> tuple[str, str]:
    """Type lines, then end; return what stands on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    typed = iter([*lines, EOFError])

    def read(prompt: str) -> str:
        line = next(typed)
        if not isinstance(line, str):
            raise line
        return line

    notes = Notes(err)
    show = StreamShow(out, notes, names=len(sessions) > 1, thinking=True)
    Talk(sessions, show, notes, read).run()
    return out.getvalue(), err.getvalue()


def test_questions_and_commands(engine: LlamaEngine, tmp_path: Path) -> None:
    session, file = Session(engine, GREEDY), tmp_path / "talk.jsonl"
    out, err = talk(
        [session], "/system Be brief.", "lazy", "", '"""one', 'two"""', "/undo", "/retry",
        f"/save {file}", f"/save {file}", "/nope", "//etc is a folder", KeyboardInterrupt,
        "/think maybe", "/think off", "/think", "/system -", "/help", "/reset", "/retry", "/undo",
        "/save", "/exit", "never read",
    )  # fmt: skip
    assert out == f"{SAYING}\n" * 4
    questions = [json.loads(line) for line in file.read_text().splitlines()]
    assert [q["content"] for q in questions if q["role"] == "user"] == ["lazy"]
    for words in (
        "System message: Be brief.", "Taken back: one\ntwo", "3 lines written", "left as it is",
        "no command /nope", "Ctrl-D or /exit", "/think maybe", "No system message", "/save FILE",
        "begins anew", "Nothing was asked yet", "nothing to take back", "Name a file",
    ):  # fmt: skip
        assert words in err
    assert session.think is False
    assert session.turns == []


def test_two_models_answer_each_with_its_own_history(
    engine: LlamaEngine, strict_engine: LlamaEngine
) -> None:
    sessions = [Session(engine, GREEDY, system="x"), Session(strict_engine, GREEDY, system="x")]
    out, err = talk(sessions, "lazy", "/system -", "lazy", "/exit")
    assert "System role not supported" in err
    assert out.count("qwen3:\n") == out.count("gemma2:\n") == 2
    assert [len(session.turns) for session in sessions] == [2, 1]


def test_a_stopped_answer_does_not_end_the_conversation(engine: LlamaEngine) -> None:
    class Stopping(StreamShow):
        def piece(self, text: str, thinking: bool) -> None:
            raise KeyboardInterrupt

    notes = Notes(io.StringIO())
    sessions = [Session(engine, GREEDY) for _ in range(2)]
    typed = iter(["lazy", "/exit"])
    show = Stopping(io.StringIO(), notes, names=False, thinking=True)
    Talk(sessions, show, notes, lambda _: next(typed)).run()
    assert [len(session.turns) for session in sessions] == [1, 0]
    with pytest.raises(KeyboardInterrupt):
        ask_all(sessions, "lazy", show, notes)


def hostile(show: Show) -> None:
    """Let a model say what would take over the terminal."""
    show.begin("mo\x1bdel")
    show.piece("think\x1b[31m", True)
    show.piece("say\x1b]0;x\x07", False)
    show.end("mo\x1bdel", Reply("say\x1b]0;x\x07\x9b", "think\x1b[31m", "length", 3, 2, 0.1, 0.1))
    show.close()


def test_no_escape_code_reaches_a_pipe() -> None:
    for kind in ("stream", "json"):
        out, err = io.StringIO(), io.StringIO()
        notes = Notes(err)
        hostile(
            StreamShow(out, notes, names=True, thinking=True)
            if kind == "stream"
            else JsonShow(out, notes)
        )
        text = out.getvalue() + err.getvalue()
        assert not {"\x1b", "\x07", "\x9b"} & set(text)
        assert "say" in text


def test_a_terminal_gets_only_our_own_codes() -> None:
    out, err = Terminal(), Terminal()
    hostile(StreamShow(out, Notes(err), names=True, thinking=True))
    assert out.getvalue() == f"mo␛del:\n{DIM}think␛[31m\x1b[0m\n\nsay␛]0;x␇\n"
    assert "cut at --max-tokens" in err.getvalue()
    hidden = Terminal()
    hostile(StreamShow(hidden, Notes(err), names=False, thinking=False))
    assert hidden.getvalue() == "say␛]0;x␇\n"


def test_json_keeps_the_very_text() -> None:
    out = io.StringIO()
    hostile(JsonShow(out, Notes(io.StringIO())))
    record = json.loads(out.getvalue())
    assert record["text"] == "say\x1b]0;x\x07\x9b"
    assert record["tokens_per_second"] == 10.0


def test_columns_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out, err = Terminal(), Terminal()
    show = ColumnsShow(out, Notes(err), thinking=True)
    for name, word in (("left", "one"), ("right", "two")):
        show.begin(name)
        show.piece(f"{word} \x1b[2J[bold]", False)
        show.end(name, Reply(word, "", "stop", 3, 2, 0.1, 0.1))
    show.close()
    last = [line for line in out.getvalue().splitlines() if "one" in line][-1]
    assert last.index("one ␛[2J[bold]") < last.index("two ␛[2J[bold]")
    assert "[left: " in err.getvalue()
    assert "[right: " in err.getvalue()


@given(st.text())
def test_every_line_is_a_command_or_is_said(line: str) -> None:
    command = parse_command(line)
    if command is None:
        assert said(line) in (line, line[1:])
    else:
        assert line.strip().startswith("/")


def test_commands_are_found() -> None:
    assert all(parse_command(f"/{name}") == (name, "") for name in COMMANDS)
    assert parse_command("/QUIT") == ("exit", "")
    assert parse_command("/system  a b ") == ("system", "a b")
    assert parse_command("/a\nb") is None
    assert said("//x") == "/x"
