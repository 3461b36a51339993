"""A conversation with an index: numbers that stay, follow-up questions, sources to open."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.chat.cited import CitedSession, Sources
from loragraft.chat.session import Session
from loragraft.chat.show import JsonShow, Notes, StreamShow
from loragraft.chat.talk import Talk, ask_all
from loragraft.chat.transcript import save
from loragraft.engine.protocol import Sampling
from loragraft.errors import InputError
from loragraft.rag.records import Passage
from tests.support.passages import GREEDY, Scripted, passage, passages, retriever

CATS = passages("Cats sleep.", "Cats purr.")
DOGS = [passage("Dogs bark.", "dogs.md", title="Dogs")]
RETRIEVE = retriever({"cats": CATS, "dogs": DOGS})
Retrieve = Callable[[str, int], list[Passage]]


def session(*says: str, retrieve: Retrieve = RETRIEVE, context: int = 4096) -> CitedSession:
    """Return a conversation in which the model says this."""
    return CitedSession(Scripted(list(says), context), GREEDY, Sources(retrieve))


def heard(one: CitedSession) -> list[list[str]]:
    """Return the contents of what the model read, question by question."""
    engine = one.engine
    assert isinstance(engine, Scripted)
    return [[message["content"] for message in messages] for messages in engine.heard]


def talk(sessions: list[Session], *lines: str) -> tuple[str, str]:
    """Type lines, then end; return what stands on stdout and on stderr."""
    out, err, typed = io.StringIO(), io.StringIO(), iter([*lines, "/exit"])
    notes = Notes(err)
    show = StreamShow(out, notes, names=len(sessions) > 1, thinking=True)
    Talk(sessions, show, notes, lambda _: next(typed)).run()
    return out.getvalue(), err.getvalue()


def test_numbers_stay_and_earlier_questions_are_read_without_passages() -> None:
    one = session("They purr [P1].", "They bark [P3], and cats purr [P1].")
    one.ask("what of cats?")
    one.ask("and of dogs?")
    first, second = heard(one)
    assert first[-1].count("\n[P") == 2
    assert second[0] == "what of cats?"
    assert second[1] == "They purr [P1]."
    assert "[P3] Dogs\n> Dogs bark." in second[2]
    assert "[P1] Title 2\n> Cats purr." in second[2]  # it was cited: it comes again
    assert [turn.question for turn in one.turns] == ["what of cats?", "and of dogs?"]
    assert one.notes[-1].startswith("[P1] Title 2 (2.md, characters 0 to 10)")


def test_a_follow_up_is_looked_for_with_the_question_before() -> None:
    asked: list[str] = []

    def retrieve(question: str, k: int) -> list[Passage]:
        asked.append(question)
        return RETRIEVE(question, k)

    one = session("They sleep [P2].", "A lot.", retrieve=retrieve)
    one.ask("what of cats?")
    one.ask("how long?")
    assert asked == ["what of cats?", "how long?", "what of cats?\nhow long?"]
    assert "> Cats sleep." in heard(one)[1][-1]


def test_notes_say_what_holds_and_what_does_not() -> None:
    one = session("So [P1] and [P7].", "Nothing.", "Hm.")
    one.ask("cats")
    assert any(note.startswith("[P1] ") for note in one.notes)
    assert any("cites P7: no such passage" in note for note in one.notes)
    one.notes.clear()
    one.ask("cats?")
    assert any("cites none of the passages" in note for note in one.notes)
    one.notes.clear()
    empty = session("I know it.")
    empty.ask("plants?")
    assert any("holds nothing on this" in note for note in empty.notes)


def test_what_has_no_room_is_named() -> None:
    many = passages("short " * 10, "long " * 500)
    one = session("[P1]", retrieve=retriever({"x": many}), context=300)
    one.ask("x")
    assert any("1 of 2 passages had no room" in note and "Title 2" in note for note in one.notes)


def test_old_turns_leave_a_small_context() -> None:
    texts = passages("word " * 60)
    one = session(*["answer " * 30] * 5, retrieve=retriever({"x": texts}), context=360)
    for _ in range(5):
        one.ask("x " + "and " * 20)
    assert any("left out" in note for note in one.notes)
    assert len(heard(one)[-1]) < 9
    assert all("> word" in messages[-1] for messages in heard(one))
    assert len(one.turns) == 5


def test_a_refused_question_leaves_no_turn_and_no_number() -> None:
    one = session("never", context=40)
    with pytest.raises(InputError, match="has room"):
        one.ask("cats")
    assert one.turns == []
    assert one.sources.numbers.known == frozenset()


def test_sources_are_listed_and_opened() -> None:
    out, err = talk(
        [session("They purr [P1].", "As said [P1].")],
        "/sources", "cats", "/sources", "/open 1", "/open [P2]", "/open P9", "/open x", "/open",
        "dogs", "/sources", "/undo", "/sources", "/help",
    )  # fmt: skip
    assert "Nothing was asked yet" in err
    assert "* P1  0.500  Title 2 (2.md, characters 0 to 10)" in err
    assert "  P2  1.000  Title 1 (1.md, characters 0 to 11)" in err
    assert "\n\nCats purr.\n" in err
    assert "\n\nCats sleep.\n" in err
    assert "No passage P9 was shown; there are up to P2" in err
    assert err.count("Name a passage by its number") == 2
    assert "  P3  1.000  Dogs (dogs.md" in err
    assert "/open N" in err
    assert out.count("P1") == 2


def test_without_an_index_there_are_no_sources() -> None:
    plain = Session(Scripted(["."]), GREEDY)
    _, err = talk([plain], "/sources", "/open 1")
    assert err.count("has no index") == 2


def test_hostile_passages_are_shown_harmless_in_a_terminal() -> None:
    evil = [passage("\x1b[2J<|im_end|>", "e.md", title="a\x1b]0;b\x07")]
    _, err = talk([session("[P1]", retrieve=retriever({"x": evil}))], "x", "/sources", "/open 1")
    assert "\x1b" not in err
    assert "\u241b[2J<|im_end|>" in err  # as the document has it


def test_two_models_share_the_numbers_and_one_search() -> None:
    asked: list[str] = []

    def retrieve(question: str, k: int) -> list[Passage]:
        asked.append(question)
        return RETRIEVE(question, k)

    sources = Sources(retrieve)
    both = [CitedSession(Scripted([says], name=name), GREEDY, sources)
            for name, says in (("a", "[P1]"), ("b", "[P2]"))]  # fmt: skip
    _, err = talk([*both], "cats", "/sources")
    assert asked == ["cats"]
    assert heard(both[0])[0] == heard(both[1])[0]
    assert "a:\n* P1" in err
    assert "b:\n  P1" in err


def test_retry_and_reset() -> None:
    one = session("[P1]", "[P2]", "[P1]")
    _, err = talk([one], "cats", "/retry", "/reset", "/sources", "cats")
    assert "Nothing was asked yet" in err
    assert [len(messages) for messages in heard(one)] == [1, 1, 1]
    assert [shown.number for shown in one.turns[-1].reply.shown] == [1, 2]  # type: ignore[attr-defined]


def test_records_and_transcripts_hold_the_sources(tmp_path: Path) -> None:
    one = session("They purr [P1]; see [P9].")
    out, err = io.StringIO(), io.StringIO()
    notes = Notes(err)
    assert ask_all([one], "cats", JsonShow(out, notes), notes) == []
    record = json.loads(out.getvalue())
    assert record["text"] == "They purr [P1]; see [P9]."
    assert [source["label"] for source in record["sources"]] == ["P1", "P2"]
    assert record["citations"][0] == {"label": "P1", "text": "[P1]", "start": 10, "stop": 14,
                                      "known": True, "listed": False}  # fmt: skip
    assert record["fabricated"] == ["P9"]
    save([one], tmp_path / "talk.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "talk.jsonl").read_text().splitlines()]
    assert lines[0] == {"role": "user", "content": "cats"}
    assert lines[1]["sources"][0]["chunk_id"] == "2.md:0-10"


def test_a_stopped_answer_keeps_its_sources() -> None:
    engine = Scripted(["They purr [P1] and"], finish="cancelled")
    one = CitedSession(engine, Sampling(max_tokens=64), Sources(RETRIEVE))
    reply = one.ask("cats")
    assert reply.finish == "cancelled"
    assert one.turns[-1].reply is reply
    assert one.sources.numbers.known == {1, 2}
