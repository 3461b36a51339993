"""Fitting: what is shown is shown whole, the best first, and an answer always has room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from loragraft.engine.llama import LlamaEngine
from loragraft.engine.protocol import Message, Sampling
from loragraft.rag.answering.answer import Answering, Past
from loragraft.rag.answering.counting import BEGIN_TOKENS, TokenCounter, estimate, looks_cut
from loragraft.rag.answering.fit import Fitted, Room, distinct, fit, room_for
from loragraft.rag.answering.prompt import quote
from loragraft.rag.records import Passage
from tests.rag.answering.conftest import Vocabulary
from tests.support.passages import Scripted, Uncounted, passage, passages


def words(count: int) -> str:
    """Return a text of so many words."""
    return " ".join(["w"] * count)


def fitted(sizes: Sequence[int], turns: Sequence[int], base: int, room: int) -> Fitted:
    """Fit passages and turns of these sizes beside a question of a size."""

    def build(left_out: int, some: Sequence[Passage]) -> list[Message]:
        size = base + sum(turns[left_out:]) + sum(len(one.chunk.text) for one in some)
        return [{"role": "user", "content": words(size)}]

    def count(messages: Sequence[Message]) -> int:
        return len(messages[0]["content"].split())

    found = [passage("x" * size, f"{n}", rank=n + 1) for n, size in enumerate(sizes)]
    return fit(found, build, count, Room(room + 10, 10), turns=len(turns))


SIZES = st.lists(st.integers(1, 60), max_size=8)


@given(SIZES, SIZES, st.integers(0, 80), st.integers(1, 300))
def test_fitting(sizes: list[int], turns: list[int], base: int, room: int) -> None:
    result = fitted(sizes, turns, base, room)
    kept, dropped = [[one.rank for one in some] for some in (result.kept, result.dropped)]
    assert sorted(kept + dropped) == list(range(1, len(sizes) + 1))
    assert kept == sorted(kept)
    assert dropped == sorted(dropped)
    assert 0 <= result.left_out <= len(turns)
    left = base + sum(turns[result.left_out :])
    used = left + sum(sizes[rank - 1] for rank in kept)
    if kept or result.left_out < len(turns):
        assert used <= room
    for rank in dropped:  # it had no room beside the better ones that were kept
        better = sum(sizes[other - 1] for other in kept if other < rank)
        assert left + better + sizes[rank - 1] > room
    if not kept and sizes:  # then there is none even without the conversation
        assert base + min(sizes) > room
        assert result.left_out == len(turns)


@given(SIZES, SIZES, st.integers(0, 80))
def test_all_is_kept_where_there_is_room(sizes: list[int], turns: list[int], base: int) -> None:
    result = fitted(sizes, turns, base, base + sum(sizes) + sum(turns))
    assert (len(result.kept), result.dropped, result.left_out) == (len(sizes), (), 0)


def test_old_turns_leave_before_passages_only_beyond_their_half() -> None:
    assert fitted([50], [40, 40], 10, 100).left_out == 1
    assert fitted([30, 30], [10, 10], 10, 80).left_out == 0  # the second passage leaves instead
    assert fitted([90], [10], 10, 100).left_out == 1  # unless it is the only one


def test_an_answer_has_room() -> None:
    assert room_for(8192, 512) == Room(8192, 512)
    assert room_for(2048, 2048).prompt == 1536


def test_passages_without_text_and_twice_found_are_no_passages() -> None:
    one, two = passages("a", "b")
    assert distinct([one, passage(" \n", "c"), two, one]) == [one, two]


def test_a_real_tokenizer_decides(engine: LlamaEngine) -> None:
    texts = [f"Passage {n}. " + "The quick brown fox jumps over 12 lazy dogs. " * n * 5
             for n in range(1, 9)]  # fmt: skip
    sampling, past = Sampling(max_tokens=500), Past("Be kind.", (("Who?", "I."), ("What?", "It.")))
    prepared = Answering(engine).prepare("Why?", passages(*texts), sampling, past=past)
    assert prepared.shown
    assert prepared.dropped
    assert prepared.tokens == len(engine.prompt_ids(prepared.messages))
    assert prepared.tokens <= engine.context - 500
    content = prepared.messages[-1]["content"]
    for one in prepared.shown:
        assert quote(one.passage.chunk.text) in content
    for one in prepared.dropped:
        assert f"> Passage {one.rank}." not in content
    assert [message["role"] for message in prepared.messages][:2] == ["system", "user"]


ENGLISH = "The quick brown fox jumps over the lazy dog, and nobody minds. "
TEXTS = (
    ENGLISH,
    "def f(x: int) -> list[str]:\n    return [str(i) for i in range(x)]  # numbers\n",
    "Electroencephalographically speaking, adenosine triphosphate phosphorylates. THE END OF IT.",
    "getElementById aGVsbG8gd29ybGQhIQ== 8f14e45fceea167a5a36dedd4bea2543",
    "0x3fA9 1234567890 3.14159 $%&/()=? | a | b |\n",
    "Die Größe der Straßen überrascht viele.",
    "Con cáo nâu nhảy qua con chó lười biếng.",
    "Быстрая лиса прыгает через ленивую собаку.",
    "γρήγορη αλεπού πηδάει πάνω από σκυλί.",
    "\u0531\u0580\u0561\u0563 \u0561\u0572\u057e\u0565\u057d\u0568 \u0581\u0561\u057f"
    "\u056f\u0578\u0582\u0574 \u0567",  # Armenian
    "\u05d4\u05e9\u05d5\u05e2\u05dc \u05d4\u05d7\u05d5\u05dd \u05e7\u05d5\u05e4\u05e5",  # Hebrew
    "\u0627\u0644\u062b\u0639\u0644\u0628 \u0627\u0644\u0628\u0646\u064a",  # Arabic
    "\u0906\u0932\u0938\u0940 \u0915\u0941\u0924\u094d\u0924\u093e",  # Hindi
    "\u0baa\u0bb4\u0bc1\u0baa\u0bcd\u0baa\u0bc1 \u0ba8\u0bb0\u0bbf",  # Tamil
    "\u1348\u1323\u1295 \u1261\u1293\u121b \u1240\u1260\u122e",  # Amharic
    "\ube60\ub978 \uac08\uc0c9 \uc5ec\uc6b0\uac00",  # Korean
    "\u654f\u6377\u7684\u68d5\u8272\u72d0\u72f8\u8df3\u8fc7\u4e86\u9f98\u9f56\u3002",  # Chinese
    "\U0001f600\U0001f680\u2764\ufe0f\U0001f468\u200d\U0001f469",
    "\u2200x\u2208\u211d: x\u00b2 \u2265 \u2211\u1d62",
)
COUNTING = ("llama-bpe", "qwen2", "phi-3", "deepseek-llm", "falcon")


def test_an_estimate_lies_above_real_tokenizers_but_not_far(
    vocabularies: Callable[[str], Vocabulary],
) -> None:
    for name in COUNTING:
        for text in TEXTS:
            real = vocabularies(name).count(f"{text} " * 10)
            assert real <= estimate(f"{text} " * 10) + BEGIN_TOKENS, (name, text)
    least = min(vocabularies(name).count(ENGLISH * 10) for name in COUNTING)
    assert estimate(ENGLISH * 10) < 2 * least


def test_an_estimate_learns_only_upwards() -> None:
    inner = Scripted(["a", "a", "a"])
    counter = TokenCounter(Uncounted(inner))  # type: ignore[arg-type]
    messages: list[Message] = [{"role": "user", "content": "one two three"}]
    first = counter.count(messages)
    assert not counter.exact
    for read, higher in ((0, False), (1, False), (5 * first, True)):
        inner.prompt_tokens = read
        counter.learn(messages, inner.chat(messages, Sampling()))
        assert (counter.count(messages) >= 5 * first) is higher
        assert counter.count(messages) >= first


def test_a_full_context_is_a_cut_prompt() -> None:
    assert looks_cut(4096, 4096)
    assert not looks_cut(4000, 4096)
    assert not looks_cut(0, 4096)
