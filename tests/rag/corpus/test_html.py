"""Pages become text that keeps its structure; what stands around the text goes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.rag.corpus.extracted import Extracted
from loragraft.rag.corpus.html import declared_encoding, extract_html


def _read(html: str) -> Extracted:
    return extract_html(html, 1000)


def _text(html: str) -> str:
    return _read(html).text


def test_headings_know_their_place() -> None:
    found = _read("<title>T</title><h1>Guide</h1><p>One.</p><h2>Install <a class=headerlink>¶</a>"
                  "</h2><p>Two.</p>")  # fmt: skip
    assert found.text == "# Guide\n\nOne.\n\n## Install\n\nTwo."
    places = [(h.level, found.text[h.line : h.start]) for h in found.headings]
    assert places == [(1, "# Guide"), (2, "## Install")]
    assert [found.text[h.start :].split()[0] for h in found.headings] == ["One.", "Two."]
    assert found.title == "Guide"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a <b>bold</b>  word<br>next</p>", "a bold word\nnext"),
        ("<p>one<p>two", "one\n\ntwo"),
        ("a &lt;tag&gt; &amp; caf&eacute;", "a <tag> & café"),
        ("<ul><li>a<li>b<ul><li>c</ul><li>d</ul>", "- a\n- b\n  - c\n- d"),
        ("<ol start=3><li><p>x</p><li>y</ol>", "3. x\n4. y"),
        ("<p>These:</p><ul><li>a</ul><p>end", "These:\n- a\n\nend"),
        ("<pre>  a\n    b</pre>", "```\n  a\n    b\n```"),
        ("<pre>```\nx</pre>", "````\n```\nx\n````"),
        ("<dl><dt>term<dd>what it is<dt>next<dd>more</dl>",
         "term\nwhat it is\n\nnext\nmore"),
        ("<table><tr><th>a<th>b<tr><td>1<td>x|y</table>",
         "| a | b |\n|---|---|\n| 1 | x\\|y |"),
        ("<table><tr><td>1<td>2<tr><td>3<td>4</table>", "| 1 | 2 |\n| 3 | 4 |"),
        ("<table><tr><td><p>menu</p><td><h2>Text</h2><p>body</table>",
         "menu\n\n## Text\n\nbody"),
        ("10<sup>3</sup> and note<sup><a href=#n>1</a></sup>", "10^3 and note1"),
        ("use <code>ls -l</code> now", "use `ls -l` now"),
        ("<img src=x alt='badge'><img alt='A diagram of the four stages'>",
         "A diagram of the four stages"),
    ],
)  # fmt: skip
def test_structure_survives(html: str, text: str) -> None:
    assert _text(html) == text


@pytest.mark.parametrize(
    "around",
    [
        "<script>x()</script>", "<style>p{}</style>", "<nav>menu</nav>", "<footer>c</footer>",
        "<aside>ad</aside>", "<div role=navigation>m</div>", "<div hidden>h</div>",
        "<div style='display: none'>h</div>", "<div aria-hidden=true>h</div>",
        "<template><p>t</p></template>", "<!-- comment -->", "<svg><text>s</text></svg>",
        "<div class='sphinxsidebar'>s</div>", "<noscript>n</noscript>", "<button>b</button>",
    ],
)  # fmt: skip
def test_what_is_no_text_is_left_out(around: str) -> None:
    assert _text(f"<body>{around}<p>The text.</p>{around}</body>") == "The text."


def test_the_main_element_is_the_text() -> None:
    body = "<p>Words of the document itself, quite a few.</p>"
    page = f"<div>Site name</div><main><header><h1>T</h1></header>{body}</main><div>Imprint</div>"
    assert _text(page) == "# T\n\nWords of the document itself, quite a few."
    assert "Site name" in _text(page.replace("main>", "section>"))


def test_a_main_element_without_the_text_is_not_believed() -> None:
    assert "words" in _text("<main>x</main><div>" + "many words of text " * 20 + "</div>")


def test_the_page_may_be_nothing_but_text() -> None:
    assert _text("just text") == "just text"
    assert _text("") == ""


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b'<meta charset="Shift_JIS">', "Shift_JIS"),
        (b"<meta http-equiv=x content='text/html; charset=iso-8859-2'>", "iso-8859-2"),
        (b'<?xml version="1.0" encoding="koi8-r"?>', "koi8-r"),
        (b"<p>charset=x</p>", None),
    ],
)
def test_declared_encodings_are_found(data: bytes, encoding: str | None) -> None:
    assert declared_encoding(data) == encoding


@given(
    html=st.lists(
        st.sampled_from(
            ["<p>", "</p>", "<ul>", "<li>", "</ul>", "<table>", "<tr>", "<td>", "</table>", "<h2>",
             "</h2>", "<pre>", "</pre>", "<main>", "</main>", "<a>", "text ", "\n", "<br>", "<dd>",
             "&#0;", "<!--", "-->", "<code>", "<sup>", "<ol start=x>", "</div>", "<frameset>"]
        ),
        max_size=40,
    )
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_tag_soup_loses_no_place(html: list[str]) -> None:
    found = _read("".join(html))
    last = 0
    for heading in found.headings:
        assert heading.line is not None
        assert last <= heading.line < heading.start <= len(found.text)
        assert heading.text in found.text[heading.line : heading.start]
        last = heading.start
    assert "\x00" not in found.text


def test_deep_nesting_is_no_problem() -> None:
    assert _text("<div>" * 3000 + "deep") == "deep"
    assert _text("<ul><li>" * 1000 + "deep").strip().endswith("- deep")


def test_endless_markup_does_not_outgrow_the_text() -> None:
    deep = _text("<ul><li>x" * 2000)
    assert deep.count("x") == 2000
    assert len(deep) < 2000 * 32
    fenced = _text("<pre>" + "`" * 50_000 + " x</pre>")
    assert fenced.startswith("`" * 50_001 + "\n")
    assert _text("<sup>x" * 2000).count("^x") == 2000


def test_a_mark_of_reference_is_no_power() -> None:
    assert _text("<p>10<sup>3</sup> words<sup><a href='#n'>3</a></sup>.") == "10^3 words3."
