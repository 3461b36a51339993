"""Rows by the language of their texts."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from loragraft.dataset.curate.language import LanguageRule, Languages, _load
from loragraft.dataset.curate.rule import Drop, Row
from loragraft.errors import InputError, MissingExtraError
from tests.support.short_texts import SHORT_TEXTS

CASES = [(code, text) for code, texts in SHORT_TEXTS.items() for text in texts]


def _rows(*texts: Any) -> list[Row]:  # noqa: ANN401
    return [Row(number, str(number), {"text": text}) for number, text in enumerate(texts, 1)]


def _rule(*languages: str, least: float = 0.8) -> LanguageRule:
    return LanguageRule(["text"], languages, least)


def test_sentences_of_eight_languages_are_recognised_and_never_surely_wrong() -> None:
    model = Languages()
    found = [(code, model.find(text)) for code, text in CASES]

    assert sum(code == answer.language for code, answer in found) >= 0.95 * len(CASES)
    assert not [a for code, a in found if code != a.language and a.confidence >= 0.8]
    sure = [a for code, a in found if code == a.language and a.confidence >= 0.8]
    assert len(sure) >= 0.9 * len(CASES)


def test_rows_of_other_languages_go_and_the_measure_is_told() -> None:
    english, german = SHORT_TEXTS["en"][0], SHORT_TEXTS["de"][0]

    kept, dropped = _rule("en").check_many(_rows(english, german))

    assert kept is None
    assert dropped == Drop("de 1.00")
    assert _rule("de", "en").check_many(_rows(english, german)) == [None, None]


def test_a_text_that_is_not_surely_of_a_language_goes() -> None:
    (text,) = _rows("no no no")
    language, confidence = Languages().find("no no no")

    assert confidence < 0.8
    assert _rule(language).check_many([text]) == [Drop(f"{language} {confidence:.2f}")]
    assert _rule(language, least=confidence).check_many([text]) == [None]


@pytest.mark.parametrize("text", ["12345", "!!! \U0001f680", "https://example.org/en @someone"])
def test_a_text_without_words_is_in_no_language(text: str) -> None:
    assert _rule("en").check_many(_rows(text)) == [Drop("zxx 1.00")]
    assert _rule("en", "zxx").check_many(_rows(text)) == [None]


def test_links_and_names_do_not_change_the_language() -> None:
    text = f"@grenzwertige_wolke {SHORT_TEXTS['en'][2]} https://example.org/die-wolke-und-der-see"

    assert Languages().find(text) == Languages().find(SHORT_TEXTS["en"][2])


def test_each_text_of_each_field_must_pass() -> None:
    rule = LanguageRule(["text", "reply.text"], ["en"], 0.8)
    english, french = SHORT_TEXTS["en"][1], SHORT_TEXTS["fr"][1]
    rows = [
        Row(1, "1", {"text": english, "reply": {"text": english}}),
        Row(2, "2", {"text": english, "reply": {"text": french}}),
        Row(3, "3", {"text": [english, french], "reply": {"text": english}}),
        Row(4, "4", {"text": [english, " "], "reply": {"text": english}}),
        Row(5, "5", {"text": english}),
    ]

    found = rule.check_many(rows)

    assert [drop and drop.measured.split()[0] for drop in found[:4]] == [None, "fr", "fr", None]
    assert found[4] == Drop("reply.text is missing", missing=True)


@pytest.mark.parametrize("value", [None, 5, "", " ", [], {"a": "b"}, [1, 2], True])
def test_what_is_no_text_is_missing(value: Any) -> None:  # noqa: ANN401
    (drop,) = _rule("en").check_many(_rows(value))

    assert drop is not None
    assert drop.missing


@pytest.mark.parametrize(
    "text", ["\ud800 half a character in an English text", "\0" * 100, "word " * 100_000, "\u202e"]
)
def test_hostile_texts_are_judged(text: str) -> None:
    assert len(_rule("en").check_many(_rows(text))) == 1


def test_a_language_that_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match=r"No language 'eng'.*Did you mean.*en"):
        _rule("eng")
    assert _rule(" EN ").check_many(_rows(SHORT_TEXTS["en"][0])) == [None]


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _load.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)

    with pytest.raises(MissingExtraError, match=r"loragraft\[data\]"):
        _rule("en")
