"""Questions: what is asked, what is shown, and what is read from an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loragraft.dataset.records import Qa, Reply
from loragraft.embedding.static import StaticEmbedder
from loragraft.engine.batch.protocol import Answer
from loragraft.engine.protocol import Sampling
from loragraft.errors import InputError
from loragraft.experiment.arms.asking import LONGEST_ANSWER
from loragraft.experiment.arms.protocol import SEEDS, seed_of
from loragraft.experiment.arms.qa import QaArm
from loragraft.experiment.arms.reply import ReplyArm
from loragraft.experiment.arms.retrieval import DEPTH, Retrieval
from loragraft.experiment.config import RetrievalConfig, SamplingConfig
from loragraft.rag.answering.answer import ask as ask_in_chat
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions
from loragraft.rag.search.lexical import LEXICAL, write_lexical
from loragraft.rag.searching import Search, SearchRequest
from tests.support.answering import Blind, ScriptedBatch, ask, reply
from tests.support.passages import Scripted
from tests.support.small_index import make_documents, splitter

SAMPLING = SamplingConfig(max_tokens=64, system="Be kind.", stop=("END",))


def question(name: str, text: str, *evidence: str, answer: str = "copper") -> Qa:
    """Return a question."""
    return Qa(name, "entity", text, (answer, "also"), evidence, "paper")


QUESTIONS = [question("a", "copper violin 3"), question("b", "river 5 garden"),
             question("c", "the poem of the harbour")]  # fmt: skip


def test_closed_book_asks_the_question_and_nothing_else() -> None:
    arm, engine = QaArm("closed", SAMPLING), ScriptedBatch("  Copper [P1].\n")
    (sample,) = ask(arm, QUESTIONS[:1], engine)
    assert sample.messages == (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "copper violin 3"},
    )
    assert (sample.raw, sample.answer, sample.status) == ("  Copper [P1].\n", "Copper [P1].", "ok")
    assert (sample.shown, sample.retrieved, sample.citations) == ((), (), ())
    assert (sample.experiment, sample.task_type, sample.paper_id) == ("closed", "entity", "paper")
    assert (sample.finish, sample.prompt_tokens, sample.tokens) == ("stop", 7, 3)
    assert (sample.first_seconds, sample.seconds) == (0.1, 0.2)
    job = engine.jobs[0].sampling
    assert (job.max_tokens, job.stop, job.seed) == (64, ("END",), sample.seed)
    assert arm.identity() == {"task": "qa", "perplexity": False}


def test_with_passages_the_prompt_is_that_of_a_chat_with_rag(retrieval: RetrievalConfig) -> None:
    with Retrieval(retrieval) as found:
        samples = ask(QaArm("rag", SAMPLING, retrieval=found), QUESTIONS, ScriptedBatch("ok"))
    with Search(retrieval.index, SearchRequest()) as search:
        for record, sample in zip(QUESTIONS, samples, strict=True):
            chat = Scripted(["ok"])
            ask_in_chat(record.question, search.retrieve, chat, Sampling(max_tokens=64),
                        passages=3, system="Be kind.")  # fmt: skip
            assert list(sample.messages) == chat.heard[0]
            assert len(sample.retrieved) >= DEPTH
            best = [(one.chunk_id, one.score) for one in sample.retrieved[:3]]
            by_rank = sorted(sample.shown, key=lambda one: one.rank)
            assert [(one.chunk_id, one.score) for one in by_rank] == best


def test_shown_passages_are_as_the_model_reads_them(retrieval: RetrievalConfig) -> None:
    with Retrieval(retrieval) as found:
        (sample,) = ask(QaArm("rag", SAMPLING, retrieval=found), QUESTIONS[2:], ScriptedBatch("."))
    (hostile,) = [one for one in sample.shown if one.doc_id == "hostile" and one.start == 0]
    assert "<|im_end|>" not in hostile.text
    assert "[P1]" not in hostile.text
    prompt = sample.messages[-1]["content"]
    assert "<|im_end|>" not in prompt
    for one in sample.shown:
        assert f"[{one.label}] " in prompt
        assert f"> {one.text.splitlines()[0]}" in prompt


def test_citations_are_resolved_against_what_was_shown(retrieval: RetrievalConfig) -> None:
    engine = ScriptedBatch("  It is copper [P2]. And stone [P9].")
    with Retrieval(retrieval) as found:
        (sample,) = ask(QaArm("rag", SAMPLING, retrieval=found), QUESTIONS[:1], engine)
    cited = [(one["label"], one["known"]) for one in sample.citations]
    assert cited == [("P2", True), ("P9", False)]
    for one in sample.citations:
        assert sample.answer[one["start"] : one["stop"]] == one["text"]


def test_an_endless_answer_is_measured_to_a_limit(retrieval: RetrievalConfig) -> None:
    engine = ScriptedBatch("[P1] " * 12_000)
    with Retrieval(retrieval) as found:
        (sample,) = ask(QaArm("rag", SAMPLING, retrieval=found), QUESTIONS[:1], engine)
    assert len(sample.raw) == 60_000
    assert len(sample.answer) == LONGEST_ANSWER
    assert len(sample.citations) == LONGEST_ANSWER // 5


def test_what_is_no_unicode_is_asked_and_answered_all_the_same(
    retrieval: RetrievalConfig,
) -> None:
    odd = question("odd\ud800", "copper \ud800 violin")
    with Retrieval(retrieval) as found:
        arm = QaArm("rag", SAMPLING, retrieval=found)
        (sample,) = ask(arm, [odd], ScriptedBatch("\udfff [P1]"))
    assert (sample.status, len(sample.citations)) == ("ok", 1)


def test_numbers_of_passages_begin_anew_with_each_question(retrieval: RetrievalConfig) -> None:
    with Retrieval(retrieval) as found:
        arm = QaArm("rag", SAMPLING, retrieval=found)
        together = ask(arm, QUESTIONS, ScriptedBatch("."))
        alone = ask(arm, QUESTIONS[1:2], ScriptedBatch("."))
    assert [one.label for one in together[1].shown] == ["P1", "P2", "P3"]
    assert together[1].messages == alone[0].messages


def test_each_question_is_searched_once_for_all_arms(
    retrieval: RetrievalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    plain = Search.retrieve

    def counted(self: Search, text: str, k: int) -> Any:  # noqa: ANN401
        asked.append(text)
        return plain(self, text, k)

    monkeypatch.setattr(Search, "retrieve", counted)
    with Retrieval(retrieval) as found:
        for name in ("one", "two"):
            arm = QaArm(name, SAMPLING, retrieval=found)
            arm.context_needed(QUESTIONS)
            ask(arm, QUESTIONS, ScriptedBatch("."))
    assert asked == [one.question for one in QUESTIONS]


def test_what_an_engine_could_not_answer_keeps_its_status_and_words() -> None:
    fates = {
        "copper violin 3": Answer("0", "timeout", None, "It took too long. Ask again.", 4),
        "river 5 garden": Answer("1", "refused", None, "The filter refused it.", cost=0.5),
    }

    def say(job: Any) -> Any:  # noqa: ANN401
        fate = fates.get(job.messages[-1]["content"])
        return "fine" if fate is None else fate

    samples = ask(QaArm("closed", SAMPLING), QUESTIONS, ScriptedBatch(say))
    assert [one.status for one in samples] == ["timeout", "refused", "ok"]
    assert (samples[0].attempts, samples[0].error) == (4, "It took too long. Ask again.")
    assert (samples[1].cost, samples[1].answer, samples[1].raw) == (0.5, "", "")


def test_a_question_without_room_is_its_own_fault(retrieval: RetrievalConfig) -> None:
    long = question("long", "stone " * 300)
    with Retrieval(retrieval) as found:
        for given in (None, found):
            arm = QaArm("arm", SAMPLING, retrieval=given)
            engine = ScriptedBatch("fine", context=290)
            samples = ask(arm, [long, QUESTIONS[0]], engine)
            assert [one.status for one in samples] == ["error", "ok"]
            assert "290" in samples[0].error
            assert (samples[0].attempts, len(engine.jobs)) == (0, 1)


def test_the_context_needed_holds_every_prompt_and_its_answer(retrieval: RetrievalConfig) -> None:
    with Retrieval(retrieval) as found:
        arm = QaArm("rag", SAMPLING, retrieval=found)
        needed = arm.context_needed(QUESTIONS)
        assert needed is not None
        assert needed % 256 == 0
        engine = Blind(ScriptedBatch(".", context=needed))
        samples = ask(arm, QUESTIONS, engine)
    assert [len(one.shown) for one in samples] == [3, 3, 3]
    longest = max(one.tokens for one in map(lambda r: arm.prepare(r, None), QUESTIONS))
    assert longest + 64 <= needed < longest + 64 + 256
    assert QaArm("closed", SAMPLING).context_needed([]) is None


def test_repeats_differ_in_their_seeds_and_seeds_are_the_same_for_every_arm() -> None:
    sampling = SamplingConfig(temperature=1, repeats=3)
    engine = ScriptedBatch(lambda job: f"{job.sampling.seed}")
    one = ask(QaArm("one", sampling), QUESTIONS, engine, repeats=3)
    two = ask(QaArm("two", sampling), QUESTIONS[1:], engine, repeats=3)
    assert len({sample.seed for sample in one}) == 9
    assert [sample.answer for sample in one[3:]] == [sample.answer for sample in two]
    assert all(sample.seed is not None and 0 <= sample.seed < SEEDS for sample in one)
    assert seed_of(7, "a", 1) == one[1].seed
    assert QaArm("one", sampling).repeats == 3


def test_perplexity_asks_for_the_reference_once_a_question() -> None:
    sampling = SamplingConfig(temperature=1, repeats=2)
    arm = QaArm("closed", sampling, perplexity=True)
    engine = ScriptedBatch("fine", likely={"copper": -2.5})
    samples = ask(arm, QUESTIONS[:2], engine, repeats=2)
    assert [one.id for one in engine.wanted] == ["a", "b"]
    expected = {"reference_log_prob": -2.5, "reference_tokens": 1, "reference": "copper"}
    assert [dict(one.extra) for one in samples] == [expected] * 4
    (lost,) = ask(arm, QUESTIONS[:1], ScriptedBatch("fine", status="timeout"))
    assert lost.extra == {"reference_missing": "The server is gone."}
    (far,) = ask(arm, QUESTIONS[:1], ScriptedBatch("fine"))
    assert "reference_log_prob" not in far.extra
    (blind,) = ask(arm, QUESTIONS[:1], Blind(ScriptedBatch("fine")))
    assert blind.extra == {"reference_missing": "scripted shows no probabilities"}


def test_a_record_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="of the kind reply, and closed takes qa"):
        QaArm("closed", SAMPLING).prepare(Reply("r", "t", "Hello?", "Hi."), None)
    with pytest.raises(InputError, match="given none"):
        ask(QaArm("closed", SAMPLING), QUESTIONS)


def test_without_an_index_every_question_fails_and_not_one_by_one(tmp_path: Path) -> None:
    arm = QaArm("rag", SAMPLING, retrieval=Retrieval(RetrievalConfig(index=tmp_path / "none")))
    for call in (arm.identity, lambda: arm.prepare(QUESTIONS[0], None)):
        with pytest.raises(InputError, match="There is no index"):
            call()


def test_the_identity_changes_with_the_search_and_the_index(
    retrieval: RetrievalConfig, index: Path
) -> None:
    def identity(config: RetrievalConfig) -> dict[str, Any]:
        return QaArm("rag", SAMPLING, retrieval=Retrieval(config)).identity()

    plain = identity(retrieval)
    assert plain == identity(RetrievalConfig(index=index, passages=3))
    assert plain["index"]["files"]
    assert plain != identity(RetrievalConfig(index=index, passages=4))
    assert plain != identity(RetrievalConfig(index=index, passages=3, mode="lexical"))


def test_an_index_that_is_built_anew_from_the_same_documents_is_the_same(
    tmp_path: Path, static: StaticEmbedder
) -> None:
    def build(count: int) -> dict[str, Any]:
        options = BuildOptions(parts={LEXICAL: write_lexical})
        build_index(tmp_path, make_documents(count), static, splitter(static), options=options,
                    replace=True)  # fmt: skip
        return Retrieval(RetrievalConfig(index=tmp_path)).identity

    first = build(4)
    assert set(first["files"]) >= {"chunks", "vectors"}
    assert any(name.startswith(f"{LEXICAL}/") for name in first["files"])
    assert build(4) == first
    assert build(5) != first


def test_thinking_is_kept_apart() -> None:
    def say(job: Any) -> Answer:  # noqa: ANN401
        return Answer(job.id, "ok", reply("Copper.", thinking="Hm.", finish="length"))

    arm = QaArm("closed", SamplingConfig(think=False))
    engine = ScriptedBatch(say)
    (sample,) = ask(arm, QUESTIONS[:1], engine)
    assert (sample.thinking, sample.answer, sample.finish) == ("Hm.", "Copper.", "length")
    assert engine.jobs[0].think is False


def test_a_reply_is_asked_as_it_is() -> None:
    arm, engine = ReplyArm("replies", SAMPLING), ScriptedBatch("Hi.")
    (sample,) = ask(arm, [Reply("r", "short", "Hello?", "Hey.")], engine)
    assert sample.messages[-1] == {"role": "user", "content": "Hello?"}
    assert (sample.answer, arm.asks, arm.parts, arm.repeats) == ("Hi.", True, (), 1)
