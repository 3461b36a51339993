"""The samples in the page."""

import json

from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.analysis.model import ShownAnswer
from loragraft.experiment.page.samples import embedded, parts_of, passages_json, samples_json
from tests.support.report_data import FACTUALITY, HYBRID, made


def answer(text: str, *citations: tuple[int, int, str]) -> ShownAnswer:
    return ShownAnswer("ok", text, 0, citations, {}, {}, ())


def test_an_answer_is_cut_at_its_citations_by_code_points() -> None:
    text = "🐦 548 birds [P1], they say [P2]."
    shown = answer(text, (12, 16, "P1"), (27, 31, "P2"))
    assert text[12:16] == "[P1]"
    assert list(parts_of(shown)) == ["🐦 548 birds ", ["[P1]", "P1"], ", they say ", ["[P2]", "P2"],
                                     "."]  # fmt: skip


def test_citations_that_overlap_or_lie_outside_stay_text() -> None:
    shown = answer("abcdef", (1, 3, "P1"), (2, 4, "P2"), (5, 9, "P3"), (-2, 1, "P4"), (4, 4, "P5"))
    assert list(parts_of(shown)) == ["a", ["bc", "P1"], "def"]


def test_control_characters_are_shown_and_move_no_citation() -> None:
    shown = answer("a\u202eb\x1b[P1]", (4, 8, "P1"))
    assert list(parts_of(shown)) == ["a\\u202eb␛", ["[P1]", "P1"]]


@given(st.text(st.characters(), max_size=50))
def test_no_text_leaves_its_script(text: str) -> None:
    found = embedded({"text": text})
    assert json.loads(found) == {"text": text}
    assert not set("<>&\u2028\u2029") & set(found)
    found.encode("utf-8")


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(-5, 70), st.integers(-5, 70),
       st.just("P1")), max_size=5))  # fmt: skip
def test_parts_are_the_whole_text(text: str, places: list[tuple[int, int, str]]) -> None:
    from loragraft.chat.cleaning import clean

    parts = parts_of(answer(text.replace("\r", ""), *places))
    said = "".join(part if isinstance(part, str) else part[0] for part in parts)
    assert said == clean(text.replace("\r", ""))


def test_samples_keep_every_question_answer_and_passage() -> None:
    one = made(20)
    found = json.loads(samples_json(one.analysis, one.browsable))
    hybrid = str(found["experiments"].index(HYBRID))
    main = found["metrics"].index(FACTUALITY)
    assert found["main"] == main
    assert len(found["questions"]) == 20
    for packed, question in zip(found["questions"], one.browsable.questions, strict=True):
        status, parts, repeat, labels, scores, tags = packed[6][hybrid][0]
        shown = question.answers[HYBRID][0]
        assert (packed[0], packed[2]) == (question.id, list(question.expected))
        assert (status, repeat, labels) == (shown.status, shown.repeat, dict(shown.passages))
        assert "".join(part if isinstance(part, str) else part[0] for part in parts) == shown.text
        assert [found["tags"][tag] for tag in tags] == list(shown.tags)
        value = shown.scores[FACTUALITY]
        assert scores[main] == (value if isinstance(value, str) else f"{value * 100:.0f} %")
    passages = json.loads(passages_json(one.browsable))
    assert [passage[3] for passage in passages] == [one.text for one in one.browsable.passages]
