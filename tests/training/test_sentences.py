"""The words of answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.rag.answering.citations import parse_citations
from loragraft.training.sentences import answer_first, bare, gold_sentence, holds, with_citation

TEXT = (
    "Abstract\n\nGlue was made. It set at 6.0 °C. Ovens broke. Ageing took 16.0 days, "
    "e.g. in spring.\n\n"
    "Peel was 6.05 N on brass, and no primer was used! Walls\nheld."
)


def sentence(evidence: str, *answers: str) -> str | None:
    start = TEXT.index(evidence)
    return gold_sentence(TEXT, start, start + len(evidence), answers)


def test_the_sentence_around_the_answer_is_taken() -> None:
    assert sentence("It set at 6.0 °C.", "6.0 °C") == "It set at 6.0 °C."
    assert sentence("16.0 days", "16.0 days") == "Ageing took 16.0 days, e.g. in spring."
    assert sentence("brass", "brass") == "Peel was 6.05 N on brass, and no primer was used!"
    assert sentence("Walls\nheld", "walls held") == "Walls held."
    assert sentence(TEXT, "glue") == "Glue was made."


def test_a_sentence_without_the_answer_is_not_taken() -> None:
    assert sentence("Peel was 6.05 N on brass", "6.0") is None
    assert sentence("Ageing took 16.0 days", "6.0") is None
    assert sentence("Glue was made", "brass") is None
    long = "word " * 200 + "glue."
    assert gold_sentence(long, 0, len(long), ["glue"]) is None


def test_the_sentence_of_a_verdict_is_the_evidence() -> None:
    assert sentence("no primer was used", "yes") == (
        "Peel was 6.05 N on brass, and no primer was used!"
    )
    assert sentence("Glue was made.", "no") == "Glue was made."
    assert sentence("Glue was made. It set", "no") is None
    assert sentence(TEXT, "no") is None


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [("Was glue made?", "yes", "Yes: the glue was made in June."),
     ("Was it in May or June?", "June", "June: the glue was made in June."),
     ("Which month was it?", "June", "The glue was made in June."),
     ("Glue or paint?", "glue", "Glue: the glue was made in June.")],
)  # fmt: skip
def test_the_answer_comes_first_where_it_could_be_overlooked(
    question: str, answer: str, expected: str
) -> None:
    assert answer_first(question, [answer], "The glue was made in June.") == expected


def test_names_keep_their_capital_behind_a_colon() -> None:
    found = answer_first("Tavvol or Lintrol?", ["Tavvol"], "Tavvol set first.")
    assert found == "Tavvol: Tavvol set first."


@given(st.text("aB1 .\n?°", max_size=40), st.data(), st.sampled_from(["yes", "a", "1.1"]))
def test_any_span_of_any_text_has_a_sentence_or_none(
    text: str, data: st.DataObject, answer: str
) -> None:
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    if text[start:stop].strip():
        found = gold_sentence(text, start, stop, [answer])
        assert found is None or found in " ".join(text.split())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("yes", "Yes."), ("ninety-five  months", "Ninety-five months."), ("pH 7", "pH 7."),
     ("6.0 °C", "6.0 °C."), ("m/s", "m/s."), ("Why?", "Why?"), ("Étude", "Étude.")],
)  # fmt: skip
def test_a_bare_answer_is_a_sentence(answer: str, expected: str) -> None:
    assert bare(answer) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [("It set.", "It set [P2]."), ("It set", "It set [P2]."), ("Did it?!", "Did it [P2]?!"),
     ("He said: “So.”", "He said: “So.” [P2]."), ("它在地窖里。", "它在地窖里 [P2]。")],
)  # fmt: skip
def test_a_citation_stands_before_the_end(words: str, expected: str) -> None:
    assert with_citation(words, [2]) == expected
    (found,) = parse_citations(expected, [1, 2, 3])
    assert found.number == 2


def test_several_citations_are_read_as_such() -> None:
    found = parse_citations(with_citation("So it is.", [3, 1]), [1, 2, 3])
    assert [one.number for one in found] == [1, 3]


def test_words_are_whole_and_numbers_too() -> None:
    assert holds("A Garrow 5\npuller", ["garrow 5 puller"])
    assert not holds("A Garrow 55 puller", ["Garrow 5"])
    assert not holds("6.05", ["6.0"])
    assert not holds("16.0", ["6.0"])
    assert not holds("", [" "])
