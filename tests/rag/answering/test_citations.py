"""Citations: the forms that models write, what is none, and what was never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.rag.answering.citations import cited, fabricated, parse_citations

SHOWN = (1, 2, 3, 12)
MATERIAL = (
    "> As shown in [12] and earlier\n> work [7], arr[0] is set. The cat sat [1].\n> P2 receptors, "
    "Document 3 of the file, table[2]",
    "What does x[3] in (Doc 4) mean?",
)


def numbers(text: str, material: tuple[str, ...] = ()) -> list[int]:
    """Return the cited passages' numbers, the fabricated ones negative."""
    return [one.number if one.known else -one.number
            for one in parse_citations(text, SHOWN, material)]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A [P1]. B [p2]. C [P003], D [P 1], E [P-2].", [1, 2, 3, 1, 2]),
        ("A [1]. B[2][3]. C [001].", [1, 2, 3, 1]),
        ("[1, 2] [1,2,3] [1; 2] [1 and 3] [1 & 2] [1 2] [P1, P2 and P3]",
         [1, 2, 1, 2, 3, 1, 2, 1, 3, 1, 2, 1, 2, 1, 2, 3]),
        ("[1-3] [1\u20133] [P1\u2013P3] [P1-3] [P1]-[P3] [1] \u2013 [3]", [1, 3, 2] * 6),
        ("(Doc 3) (Document 2) (P1) (see P2) (Docs 1, 2) (source: 3)", [3, 2, 1, 2, 1, 2, 3]),
        ("[Doc 3] [doc_2] [Doc1] [Document 1: the title] [Source: 2] [Ref. 1]", [3, 2, 1, 1, 2, 1]),
        ("[P1: BERT > Introduction] [P2 - a title] [P3, p. 12] [1, p. 3] [2, lines 4-9]",
         [1, 2, 3, 1, 2]),
        ("\u30103\u2020source\u3011 \u30101\u2020L3-L9\u3011 \uff3b2\uff3d \uff08Doc \uff13\uff09",
         [3, 1, 2, 3]),
        ("x[^1] text<sup>2</sup> note<sup>[3]</sup> word^1^ said^[2]", [1, 2, 3, 1, 2]),
        ("Paris.\u00b9 Berlin\u00b2, and Rome\u00b9\u00b2 or Oslo\u00b2\u00b3", [1, 2, 12, 2, 3]),
        ("According to Passage 2, and documents 1 and 3; P12 says so.", [2, 1, 3, 12]),
        ("\\cite{1} {cite:2} \\[3\\] **[1]** *[P2]* [[3]] ([1]) [1](http://x) `[P1]`",
         [1, 2, 3, 1, 2, 3, 1, 1, 1]),
        ("An unclosed [P1", [1]), ("So it is.\nSources: 1, 2", [1, 2]), ("in this range [2]", [2]),
        ("[P1](#p1) [\u04202] [\u21163] [P1 | P2]", [1, 2, 3, 1, 2]),
        ("Vitamin C[1] helps.", [1]), ("Great![1]", [1]), ("[1] As shown in the text.", [1]),
    ],
)  # fmt: skip
def test_forms(text: str, found: list[int]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "In [2019], [1914-1918] and [1984, 1987]", "[0] and [0, 1]",
        "[-1] [1.5] [10%] [12:30] [1/2]",
        "[p. 12] [pp. 3-4] (p. 2) (page 3) (p < 0.05)", "(1) first (2) second",
        "[x] [ ] [1a] [1st]",
        "a[1] x[2] the matrix A[1] my_list[1] rows[2].name f[1](x) data[1] = 3", "x = [1, 2, 3]",
        "the interval [1, 2]",
        "m\u00b2, 10\u00b3, x\u00b2, cm\u00b3, (a+b)\u00b2, mol\u00b3", "x^2 and 10^{3} and 2^1",
        "```\na = b[1] + [P1]\n```", "`a[1]` and `[2]`", "~~~\n[1]\n", "![1](image.png)",
        "Passage 9 and P9, source 99", "[citation needed] [1 of 3] [see above]",
        "Table 2, Chapter 3",
        "1. One\n2. Two\n[a] [b]", "(Source: 2019 census)", "(source: 3 studies)", "(id 5)", "",
        "https://example.org/P1 and GPIO P1.0",
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    assert numbers(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is so [P9].", [-9]),
        ("It is so [9], [1, 9] and [P1-P9].", [-9, 1, -9, 1, -9, 2, 3]),
        ("(Doc 9) (P9) [^9] [Document 8]", [-9, -9, -9, -8]),
        ("End.\u2079", [-9]),
        ("[P2019] [P123456]", [-2019, -123456]),
        ("[P0], and [P1-P99], [P2/P9] or [P1 | P8] [P1 or P7]", [0, 1, -99, 2, -9, 1, -8, 1, -7]),
    ],
)
def test_what_was_never_shown_is_fabricated(text: str, found: list[int]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("As shown in [12] and earlier work [7], it is.", []),
        ("the cat sat [1].", []),
        ("Dogs bark [1]. Elsewhere [12].", [1, 12]),
        ("Somewhere else [7].", []),  # the document's own: it must not count as fabricated
        ("arr[0] and table[2] and x[3]", []),
        ("P2 receptors; see Document 3 of the file.", []),
        ("What (Doc 4) means is unclear.", []),
        ("[1] A new thought. [12]", [1, 12]),
        ("The cat sat [P1]. [P7]", [1, -7]),  # labels are only ours
    ],
)
def test_what_documents_and_questions_say_themselves(text: str, found: list[int]) -> None:
    assert numbers(text, MATERIAL) == found


def test_a_short_label_is_not_found_in_a_longer_word() -> None:
    assert numbers("P1 says so.", ("the P12 receptor",)) == [1]


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("So [1].\n\nSources:\n[1] One\n[2] Two\n", [False, True, True]),
        ("So [P1].\n\n**References**\n- [P1] One\n- [P2] Two", [False, True, True]),
        ("So [^1].\n\n[^1]: One\n[^2]: Two", [False, True, True]),
        ("Sources:\nThe [1] is a source of energy.", [False]),
        ("- [1] says so.\n- [2] says no.", [False, False]),
    ],
)
def test_a_list_of_sources_is_told_apart(text: str, listed: list[bool]) -> None:
    assert [one.listed for one in parse_citations(text, SHOWN)] == listed


def test_each_passage_counts_once() -> None:
    found = parse_citations("A [2]. B [1, 2]. C [9], [9].", SHOWN)
    assert cited(found) == [2, 1]
    assert fabricated(found) == [9]


FORMS = ("[P{}]", "[{}]", "(Doc {})", "[Doc {}]", "[^{}]", "\u3010{}\u2020source\u3011", "(P{})",
         "[Source: {}]", "[P{:03}]", "<sup>{}</sup>", "[p{}]")  # fmt: skip
WORDS = st.lists(
    st.text(alphabet="abcdefghijk\u00e9\u00df\u6f22 ", min_size=1, max_size=12), max_size=8
).map(" ".join)


@given(
    pieces=st.lists(
        st.tuples(WORDS, st.sampled_from(FORMS), st.integers(1, 40)), min_size=1, max_size=6
    ),
    shown=st.sets(st.integers(1, 40)),
)
def test_written_citations_are_read(pieces: list[tuple[str, str, int]], shown: set[int]) -> None:
    text, wanted = "", []
    for words, form, number in pieces:
        text += f"{words} word. "
        written = form.format(number)
        if "sup" in form:  # behind a sentence, where it is sure
            text = text.rstrip()
        wanted.append((number, written, len(text), number in shown))
        text += written + " "
    found = parse_citations(text, shown)
    assert [(one.number, one.text, one.start, one.known) for one in found] == wanted


PIECES = st.sampled_from(
    ["[", "]", "(", ")", "[[", "P", "p", "Doc ", "1", "2", "19", "2024", "0",
     "-", "\u2013", ",", " ",
     "^", "<sup>", "</sup>", "\u00b9", "\u00b2", "`", "```\n", "\n", "Sources:\n",
     "x", ".", ":", "{", "}", "cite", "\u3010", "\u3011", "\u2020", "\\", "and", "to", "$"]
)  # fmt: skip


@given(
    text=st.lists(PIECES, max_size=40).map("".join),
    shown=st.sets(st.integers(1, 20)),
    material=st.lists(st.lists(PIECES, max_size=10).map("".join), max_size=2),
)
def test_whatever_is_written_spans_and_numbers_hold(
    text: str, shown: set[int], material: list[str]
) -> None:
    found = parse_citations(text, shown, material)
    for one in found:
        assert text[one.start : one.stop] == one.text
        assert one.known == (one.number in shown)
        assert one.number >= 0
    assert [one.start for one in found] == sorted(one.start for one in found)


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    parse_citations(text, {1}, [text])


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[1" * 50_000, "(P" * 50_000, "`" * 99_999, "` `` " * 20_000,
     "w" * 100_000 + "[1]",
     "\u00b9" * 20_000, "Sources:\n" * 10_000, "P1-" * 30_000, "Passage 1, " * 10_000,
     "{" * 100_000],
)  # fmt: skip
def test_an_endless_answer_is_read(text: str) -> None:
    found = parse_citations(text, {1}, ["x"])  # for ever, if a pattern went back and forth
    assert all(one.stop <= len(text) for one in found)
