"""Each rule that judges a row by itself: a row it drops, a row it lets through, a row without."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from loragraft.dataset.curate.judges import JUDGES, open_judge
from loragraft.dataset.curate.rule import Drop, Row
from loragraft.dataset.curate.specs import AnyRule, RuleSpec

SPEC: TypeAdapter[Any] = TypeAdapter(AnyRule)
GOOD = "The tide turns twice a day because the moon pulls on the water"


def spec(**values: object) -> Any:  # noqa: ANN401
    return SPEC.validate_python(values)


def judge(rule: dict[str, Any], values: dict[str, Any]) -> Drop | None:
    (verdict,) = open_judge(spec(**rule)).check_many([Row(1, "x", values)])
    return verdict


CASES: list[tuple[dict[str, Any], Any, str, Any]] = [
    ({"kind": "length", "min": 30, "max": 280}, "too short", "9 characters", GOOD),
    ({"kind": "length", "min": 30, "max": 280}, "x" * 281, "281 characters", "x" * 280),
    ({"kind": "length", "min": 2}, "\u200a a \n", "1 character", " ab "),
    ({"kind": "length", "max": 1}, "ab", "2 characters", "e\u0301"),
    ({"kind": "length", "min": 3, "unit": "words"}, "two words", "2 words", "three words here"),
    ({"kind": "length", "max": 4}, ["good", "longer"], "6 characters", ["good", "fine"]),
    ({"kind": "range", "min": 200, "max": 2000}, 199, "199", 200),
    ({"kind": "range", "min": 200, "max": 2000}, "2,001", "2,001", "2K"),
    ({"kind": "range", "max": 0.5}, 0.75, "0.75", 0.5),
    ({"kind": "items", "min": 1, "max": 2}, ["a", "b", "c"], "3 items", ["a"]),
    ({"kind": "items", "max": 1}, ["a", "b"], "2 items", "a"),
    ({"kind": "unique_words", "min": 8}, "no no no no no no no no no", "1 different word", GOOD),
    (
        {"kind": "unique_words", "min": 3},
        "@ada @bob https://a.example/b 12 34 word",
        "1 different word",
        "three words here",
    ),
    (
        {"kind": "generic_phrases", "phrases": ["so true", "thanks for sharing"], "below": 0.5},
        "So true! Thanks for sharing... Ada",
        "83% generic",
        "Thanks for sharing what the tide does in the harbour",
    ),
    (
        {"kind": "keywords", "words": ["airdrop*", "claim your", "$BTC"]},
        "Free AIRDROPS: claim   your share",
        "'airdrops', 'claim your'",
        "They claimed yours was a drop in the sea",
    ),
    ({"kind": "keywords", "words": ["$btc"]}, "buy $BTC now", "'$btc'", "btc"),
    ({"kind": "keywords", "words": ["nft"]}, "n\u200bf\u200bt for you", "'nft'", "craft and ruffs"),
    ({"kind": "keywords", "words": ["nft"]}, "\uff4e\uff46\uff54 for you", "'nft'", "no art"),
    ({"kind": "keywords", "words": ["sea", "tide"], "max": 1}, "sea tide", "'sea', 'tide'", "sea"),
    ({"kind": "urls"}, "see https://a.example/b", "1 link: 'https://a.example/b'", "see a.b.c"),
    ({"kind": "urls"}, "see t.co/abc now", "1 link: 't.co/abc'", "It was late.So we left"),
    ({"kind": "urls", "max": 1}, "a.com b.org", "2 links: 'a.com'", "a.com"),
    ({"kind": "flag", "value": False}, True, "is true", "false"),
    ({"kind": "flag", "value": False}, [{"type": "photo"}], "is true", []),
    ({"kind": "flag", "value": True}, 0, "is false", 1),
    ({"kind": "one_of", "values": ["yes", "no"]}, "maybe", "'maybe'", "no"),
    ({"kind": "one_of", "values": [1, 2]}, 3, "'3'", "2"),
]


@pytest.mark.parametrize(("rule", "bad", "measured", "good"), CASES)
def test_a_rule_drops_the_broken_and_keeps_the_healthy(
    rule: dict[str, Any], bad: object, measured: str, good: object
) -> None:
    rule = {**rule, "field": "x.y"}
    assert judge(rule, {"x": {"y": bad}}) == Drop(measured)
    assert judge(rule, {"x": {"y": good}}) is None


@pytest.mark.parametrize("rule", [case[0] for case in CASES])
@pytest.mark.parametrize("values", [{}, {"x": None}, {"x": {"y": None}}, {"x": 3}])
def test_a_rule_names_the_field_that_is_missing(
    rule: dict[str, Any], values: dict[str, Any]
) -> None:
    assert judge({**rule, "field": "x.y"}, values) == Drop("x.y is missing", missing=True)


@pytest.mark.parametrize(
    ("rule", "value", "reason"),
    [
        ({"kind": "range", "min": 1}, "many", "x is 'many': no number"),
        ({"kind": "range", "min": 1}, {"n": 1}, "x is \"{'n': 1}\": no number"),
        ({"kind": "length", "min": 1}, 17, "x is '17': no text"),
        ({"kind": "length", "min": 1}, "", "x is empty"),
        ({"kind": "length", "min": 1}, " \n", "x is '': no text"),
        ({"kind": "items", "min": 1}, 4, "x is '4': no list"),
        ({"kind": "flag", "value": True}, "perhaps", "x is 'perhaps': no yes or no"),
        ({"kind": "one_of", "values": ["a"]}, ["a"], "x is \"['a']\": no name or number"),
    ],
)
def test_an_odd_value_is_missing_and_shown(
    rule: dict[str, Any], value: object, reason: str
) -> None:
    assert judge({**rule, "field": "x"}, {"x": value}) == Drop(reason, missing=True)


def test_an_empty_list_has_no_items() -> None:
    assert judge({"kind": "items", "field": "x", "min": 1}, {"x": []}) == Drop("0 items")


DELAY = {
    "kind": "time_between", "start": "post.at", "stop": "reply.at",
    "min_seconds": 300, "max_seconds": 604_800,
}  # fmt: skip


@pytest.mark.parametrize(
    ("stop", "measured"),
    [
        ("2024-05-01T12:05:00Z", None),
        ("2024-05-08T12:00:00Z", None),
        ("2024-05-01T12:04:59Z", "299 s (5.0 min)"),
        ("2024-05-01T12:00:42Z", "42 s"),
        ("2024-05-08T12:00:01Z", "604,801 s (7.0 days)"),
        ("2024-05-01T09:00:00Z", "-10,800 s (-3.0 h)"),
        ("Wed May 01 14:30:00 +0200 2024", None),
        (1714566600, None),
    ],
)
def test_time_between_two_stamps(stop: object, measured: str | None) -> None:
    values = {"post": {"at": "2024-05-01T12:00:00.000Z"}, "reply": {"at": stop}}
    found = judge(DELAY, values)
    assert (None if found is None else found.measured) == measured


def test_time_between_needs_both_stamps() -> None:
    values = {"post": {"at": "2024-05-01T12:00:00Z"}, "reply": {"at": "soon"}}
    assert judge(DELAY, values) == Drop("reply.at is 'soon': no time", missing=True)
    assert judge(DELAY, {"reply": {}}) == Drop("post.at is missing", missing=True)


def test_an_answer_must_not_stand_in_its_question() -> None:
    rule = {"kind": "not_inside", "field": "answers", "other": "question"}
    asked = "Does the Fenwick lamp burn at 412 K?"
    given_away = judge(rule, {"answers": ["blue", "fenwick LAMP"], "question": asked})
    assert given_away == Drop("'fenwick LAMP' stands in question")
    assert judge(rule, {"answers": ["41", "wick"], "question": asked}) is None
    assert judge(rule, {"answers": ["41"]}) == Drop("question is missing", missing=True)


def test_a_text_must_stand_in_another() -> None:
    rule = {"kind": "inside", "field": "answers", "other": "text"}
    text = "The melting point was 412 K."
    assert judge(rule, {"answers": ["412 kelvin", "412 K"], "text": text}) is None
    assert judge(rule, {"answers": ["413 K"], "text": text}) == Drop(
        "'413 K' does not stand in text"
    )


def test_several_fields_are_judged_and_the_wrong_one_named() -> None:
    rule = {"kind": "flag", "field": ["post.is_retweet", "reply.is_retweet"], "value": False}
    values = {"post": {"is_retweet": False}, "reply": {"is_retweet": True}}
    assert judge(rule, values) == Drop("reply.is_retweet: is true")


def test_every_rule_has_a_case() -> None:
    tested = {case[0]["kind"] for case in CASES} | {"time_between", "not_inside", "inside"}
    assert {kind.model_fields["kind"].annotation.__args__[0] for kind in JUDGES} == tested


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"kind": "length", "field": "x"}, "needs min, max or both"),
        ({"kind": "range", "field": "x", "min": 5, "max": 1}, "min 5 is larger than max 1"),
        ({"kind": "time_between", "start": "a", "stop": "b"}, "needs min_seconds"),
        ({"kind": "keywords", "field": "x", "words": ["!!!"]}, "needs a letter or a digit"),
        ({"kind": "keywords", "field": "x", "words": []}, "at least 1"),
        ({"kind": "range", "field": "", "min": 1}, "dotted path"),
        ({"kind": "range", "field": [], "min": 1}, "at least 1"),
        ({"kind": "range", "field": "x", "min": 1, "least": 2}, "least"),
        ({"kind": "toxicity"}, "needs field"),
        ({"kind": "sentiment", "field": "x"}, "sentiment"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        spec(**rule)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
SPECS: list[RuleSpec] = [
    *(spec(**{**case[0], "field": "x"}) for case in CASES),
    spec(**{**DELAY, "start": "x", "stop": "y"}),
    spec(kind="not_inside", field="x", other="y"),
    spec(kind="inside", field="x", other="y"),
]
OPENED = [open_judge(rule) for rule in SPECS]


@given(JSON, JSON)
def test_no_value_makes_a_rule_fail(x: object, y: object) -> None:
    for opened in OPENED:
        opened.check_many([Row(1, "a", {"x": x, "y": y}), Row(2, "b", {"x": x})])
