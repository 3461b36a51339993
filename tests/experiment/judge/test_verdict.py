"""A judge's output, read: one verdict with its reasons, or none."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.judge.verdict import (
    CORRECT,
    LONGEST_REASONS,
    PAIR,
    SUPPORT,
    Malformed,
    Verdict,
    parse_verdict,
)

WHOLE = '{"reasons": "B is shorter.", "verdict": "A"}'


@pytest.mark.parametrize(
    "output",
    [
        WHOLE,
        f"```json\n{WHOLE}\n```",
        f"Here is my verdict:\n{WHOLE}\nI hope that helps.",
        f'<think>{{"verdict": "B"}}</think>\n{WHOLE}',
        '{"reasons": "B is shorter.", "verdict": "A",}',
        '{"reasons": "B is shorter.", "verdict": "A"',
        '```\n{"reasons": "B is shorter.", "verdict": "A"\n```',
        '{"reasons": "B is shorter.", "verdict": " answer_a. "}',
        '{"reasons": "B is shorter.", "confidence": 0.9, "verdict": "a"}',
        f"{WHOLE}\n{WHOLE}",
        "B is shorter.\nVerdict: A",
        "B is shorter.\n\n**Final verdict:** A.",
        "B is shorter. [[A]]",
    ],
)
def test_a_verdict_is_found_in_whatever_it_is_wrapped(output: str) -> None:
    assert parse_verdict(output, PAIR) == Verdict("A", "B is shorter.")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "nothing was written"),
        ("<think>hm</think>", "nothing was written"),
        ("I cannot decide that.", "no JSON object"),
        ('{"reasons": "x", "verdict": "C"}', "none of A, B, tie"),
        ('{"reasons": "x", "verdict": ["A"]}', "none of A, B, tie"),
        ('{"reasons": "x", "verdict": null}', "none of A, B, tie"),
        ('{"verdict": "A"}', "no reasons"),
        ('{"reasons": " \\u200b", "verdict": "A"}', "no reasons"),
        ('{"reasons": ["x"], "verdict": "A"}', "no reasons"),
        ('{"verdict": "A", "reasons": "x"}', "before the reasons"),
        ('{"reasons": "x", "verdict": "A", "verdict": "B"}', "several verdicts"),
        ('{"reasons": "x", "verdict": "A"} or {"reasons": "y", "verdict": "B"}', "several"),
        ('{"reasons": "x", "verdict": "A",} {"reasons": "y", "verdict": "B"}', "no JSON object"),
        ('{"answer": {"reasons": "x", "verdict": "A"}}', "no JSON object"),
        ('{"reasons": "the answer goes on and on', "no JSON object"),
        ("x [[A]] or [[B]]", "several"),
        ("[[A]]", "no reasons"),
        ("Verdict: A", "no reasons"),
        ('{"a":' * 50_000, "no JSON object"),
        ("{" * 200_000, "no JSON object"),
        ("verdict" + " " * 90_000 + "x", "no JSON object"),
        ("x" + "\n" * 90_000 + "```x", "no JSON object"),
    ],
)
def test_what_is_no_verdict_is_malformed(output: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse_verdict(output, PAIR)


def test_words_that_mean_a_verdict_are_taken() -> None:
    assert parse_verdict('{"reasons": "x", "verdict": true}', SUPPORT).word == "supported"
    assert parse_verdict('{"reasons": "x", "verdict": "not supported"}', SUPPORT).word == (
        "unsupported"
    )
    assert parse_verdict('{"reasons": "x", "verdict": "wrong"}', CORRECT).word == "incorrect"


def test_reasons_are_kept_short_and_visible() -> None:
    text = json.dumps({"reasons": "a\u202eb\ud800" + "c" * 5000, "verdict": "tie"})
    reasons = parse_verdict(text, PAIR).reasons
    assert reasons.startswith("ab\ufffdc")
    assert len(reasons) == LONGEST_REASONS


def test_the_schema_has_the_reasons_first() -> None:
    schema = PAIR.schema()
    assert list(schema["properties"]) == schema["required"] == ["reasons", "verdict"]
    assert schema["properties"]["verdict"]["enum"] == ["A", "B", "tie"]


@given(st.text(max_size=300), st.sampled_from(["A", "B", "tie"]), st.text(max_size=50))
def test_what_reasons_say_changes_no_verdict(reasons: str, word: str, around: str) -> None:
    """An answer that is quoted in the reasons, verdicts in it and all, decides nothing."""
    output = json.dumps({"reasons": f"x {reasons}", "verdict": word})
    assert parse_verdict(output, PAIR).word == word
    quoted = json.dumps({"reasons": f"it says {output}", "verdict": word})
    assert parse_verdict(quoted, PAIR).word == word
    with contextlib.suppress(Malformed):
        parse_verdict(around, PAIR)
