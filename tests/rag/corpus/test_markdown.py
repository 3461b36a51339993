"""Markdown becomes the text that it means."""

from __future__ import annotations

from loragraft.rag.corpus.markdown import extract_markdown
from loragraft.rag.corpus.metadata import plain_metadata


def test_structure_becomes_text() -> None:
    found = extract_markdown(
        "# Guide\n\nA [link](https://example.org/very/long) and **bold**.\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nls -l\n```\n\n- one\n- two\n\n"
        "Sub\n---\n\nEnd.\n",
        100,
    )
    assert found.text == (
        "# Guide\n\nA link and bold.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "```\nls -l\n```\n\n- one\n- two\n\n## Sub\n\nEnd."
    )
    assert [(h.level, h.text) for h in found.headings] == [(1, "Guide"), (2, "Sub")]
    assert found.title == "Guide"


def test_front_matter_is_metadata() -> None:
    found = extract_markdown(
        "---\ntitle: How to merge\ntags: [lora, peft]\ndate: 2026-01-02\n---\n# Other\n\nText.", 100
    )
    assert found.title == "How to merge"
    assert found.metadata == {
        "title": "How to merge",
        "tags": ["lora", "peft"],
        "date": "2026-01-02",
    }
    assert found.text.startswith("# Other")


def test_a_rule_at_the_top_is_no_front_matter() -> None:
    found = extract_markdown("---\n\nSome words.\n\n---\n\nMore: words: here.", 100)
    assert "Some words." in found.text
    assert found.metadata == {}


def test_html_inside_is_read_too() -> None:
    found = extract_markdown(
        '<p align="center"><img src="logo.png" alt="logo"></p>\n\n<!-- hidden -->\n'
        "<details><summary>More</summary>\n\nInner **text**.\n\n</details>\n",
        100,
    )
    assert found.text == "More\n\nInner text."


def test_aliases_of_yaml_cannot_grow_without_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    found = extract_markdown("---\n" + "\n".join(lines) + "\n---\nText.", 100)
    assert found.metadata == {}
    assert found.text == "Text."


def test_metadata_is_plain_json() -> None:
    found = plain_metadata({1: float("nan"), "n": 2**70, "t": "a\x00b", "s": {"x"}, "o": object})
    assert found["1"] is None
    assert found["n"] == str(2**70)
    assert found["t"] == "ab"
    assert found["s"] == ["x"]


def test_deep_lists_lose_nothing() -> None:
    text = "\n".join("  " * depth + f"- item {depth}" for depth in range(40))
    found = extract_markdown(text, 10).text
    assert [f"item {depth}" in found for depth in range(40)] == [True] * 40
