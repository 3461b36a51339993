"""A rules file: thresholds by name, names of rules, and what is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.dataset.curate.rules import Rules, load_rules
from loragraft.dataset.curate.specs import PerAuthor, Range
from loragraft.errors import InputError
from loragraft.settings import read_settings

CONFIGS = Path(__file__).parents[3] / "configs" / "curation"


def write(folder: Path, text: str) -> Path:
    path = folder / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_of_the_protocol_stand_where_they_are_named(tmp_path: Path) -> None:
    rules = load_rules(
        write(
            tmp_path,
            """
protocol: {min_likes: 200, words: [a, b], wanted: 7, search_queries: [x]}
rules:
  - {kind: range, field: likes, min: "${min_likes}"}
  - {kind: keywords, field: text, words: "${words}"}
target: "${wanted}"
""",
        )
    )
    assert isinstance(rules.rules[0], Range)
    assert rules.rules[0].min == 200
    assert rules.target == 7


def test_a_file_extends_another_and_changes_one_threshold(tmp_path: Path) -> None:
    base = CONFIGS / "twitter_replies.yaml"
    path = write(tmp_path, f"extends: {base}\nprotocol: {{max_replies_per_author: 3}}\n")
    (cap,) = (rule for rule in load_rules(path).rules if isinstance(rule, PerAuthor))
    assert cap.max == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('rules: [{kind: range, field: x, min: "${min_like}"}]\nprotocol: {min_likes: 3}',
         r"min_like.* is no key of protocol.*min_likes"),
        ("protocol: {min_likes: 3}", r"rules\.yaml: protocol: min_likes is used by no rule"),
        ('rules: [{kind: range, field: x, min: "${min_likes}"}]\n'
         "protocol: {min_likes: 3, min_lieks: 4}", "did you mean min_likes"),
        ("protocol: [3]", "protocol"),
        ("rules: [{kind: range, field: x, min: 1}, {kind: range, field: y, min: 1}]",
         "2 rules are called 'range'"),
        ("rules: [{kind: range, name: same id, field: x, min: 1}]", "may be called 'same id'"),
        ("rules: [{kind: rang, field: x, min: 1}]",
         r"line 1: rules\[0\]\.kind is 'rang', which there is not\. Did you mean 'range'\?$"),
        ("rules: [{kind: xyz}]", r"'xyz', which there is not\. There are: length, range"),
        ("rules: [{field: x, min: 1}]", r"rules\[0\]\.kind is missing\.$"),
        ("rules: [{kind: keywords, field: x, words: spam}]", "input should be a list"),
        ("rules: [{kind: range, feld: x, min: 1}]", "feld"),
        ("rule: []", "rule"),
        ("target: 0", "target"),
        ("record: {kind: reply, id: id, task_type: t, prompt: p}", "needs reply"),
        ("record: {kind: qa, id: i, task_type: t, question: q, answers: a, label: l}",
         "has no label"),
        ("[]", "expected keys"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load_rules(write(tmp_path, text))
    assert "rules.yaml" in str(caught.value)


def test_the_protocol_of_replies_is_complete() -> None:
    path = CONFIGS / "twitter_replies.yaml"
    protocol = load_rules(path).protocol
    expected = {
        "target_pairs": 1000, "min_likes": 200, "max_likes": 2000, "min_retweets": 10,
        "is_retweet": False, "has_media": False, "has_urls": False, "min_reply_likes": 5,
        "max_reply_likes": 500, "min_followers": 200, "max_followers": 20000,
        "min_time_delay_seconds": 300, "max_time_delay_seconds": 604800,
        "max_replies_per_author": 10, "min_language_confidence": 0.8,
        "semantic_similarity_threshold": 0.9, "min_reply_length": 30, "max_reply_length": 280,
        "min_unique_words": 8, "max_generic_share": 0.5, "max_toxicity": 0.3,
    }  # fmt: skip
    assert {key: protocol[key] for key in expected} == expected
    assert protocol["search_queries"]
    assert len(set(protocol["crypto_spam_keywords"])) >= 15
    text = path.read_text(encoding="utf-8")
    assert "twice, as 200 and as 100" in text


@pytest.mark.parametrize("name", ["twitter_replies.yaml", "qa.yaml"])
def test_the_shipped_rules_say_what_they_mean_and_nothing_twice(name: str) -> None:
    content = read_settings(CONFIGS / name).values
    rules = Rules.model_validate(content)
    assert rules.description
    for values in content["protocol"].values():
        if isinstance(values, list):
            assert len(values) == len(set(values))


@pytest.mark.parametrize(
    "rule",
    [
        "kind: length, field: a, min: true", "kind: urls, field: a, max: false",
        "kind: near_duplicates, field: a, threshold: true",
        "kind: time_between, start: a, stop: b, min_seconds: true",
    ],
)  # fmt: skip
def test_a_truth_is_no_number(tmp_path: Path, rule: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules:\n- {{{rule}}}\n")
    with pytest.raises(InputError, match="expected a number"):
        load_rules(path)
