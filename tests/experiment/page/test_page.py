"""The page as a text: nothing runs it."""

import base64
import dataclasses
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import pytest

from loragraft.experiment.analysis.model import Analysis, Browsable, Control, Verdict
from loragraft.experiment.analysis.numbers import bare
from loragraft.experiment.analysis.standing import standing_of
from loragraft.experiment.page.make import render
from loragraft.experiment.page.provenance import LONGEST, MOST_ROWS, rows_of
from loragraft.experiment.page.verdicts import cards_of
from tests.experiment.page.hostile import HOSTILE, hostile
from tests.experiment.page.reading import Reader
from tests.support.report_data import BASELINE, FACTUALITY, HYBRID, TUNED, Made, made


@pytest.fixture(scope="module")
def small() -> Made:
    return made(20)


@pytest.fixture(scope="module")
def page(small: Made) -> str:
    return render(small.analysis, small.browsable)


def test_the_page_loads_nothing_and_allows_nothing_else(page: str) -> None:
    found = Reader(page)
    assert found.handlers == []
    assert set(re.findall(r"https?://[^\s\"'<]*", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|innerHTML|eval\(", page)
    for name, kind in (("style", "style-src"), ("script", "script-src")):
        digest = hashlib.sha256(found.scripts[name].encode()).digest()
        assert f"{kind} 'sha256-{base64.b64encode(digest).decode()}';" in found.policy
    assert found.policy.startswith("default-src 'none';")


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    found = Reader(page)
    assert set(found.ids.values()) == {1}
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(found.ids)


def test_figures_are_those_of_the_json_spelled_by_one_function(small: Made, page: str) -> None:
    values: dict[str, Any] = small.analysis.to_json()
    cells = {(one.experiment, one.metric): one for one in Reader(page).cells if one.metric}
    units = {name: about["unit"] for name, about in values["metrics"].items()}
    for figure in values["figures"]:
        cell = cells[figure["experiment"], figure["metric"]]
        interval = figure["interval"] or {"low": None, "high": None}
        wanted = [figure["value"], interval["low"], interval["high"]]
        assert cell.values == [value for value in wanted if value is not None]
        assert cell.texts == [bare(value, units[figure["metric"]]) for value in cell.values]


def test_the_verdict_stands_on_top_with_all_that_it_rests_on(small: Made, page: str) -> None:
    text = Reader(page).text
    verdict = small.analysis.verdicts[2]
    assert (
        text.index("Undecided") < text.index("Gain in factuality") < text.index("Differences from")
    )
    assert verdict.sentence in text
    for condition in verdict.conditions:
        assert condition.name in text
        assert condition.measured in text
        assert condition.next in text
    assert "Least gain by task type" in text
    assert "2 % of the answers are missing" in text


@pytest.mark.parametrize("decision", ["promote", "reject", "undecided", "blocked"])
def test_every_decision_has_a_word_and_a_sign(small: Made, decision: Any) -> None:  # noqa: ANN401
    verdicts = (Verdict(HYBRID, decision, "So it is.", ()),)
    analysis = dataclasses.replace(small.analysis, verdicts=verdicts)
    found = render(analysis, Browsable((), ()))
    assert f'<article class="card {decision}"' in found
    assert decision.capitalize() in Reader(found).text


def test_the_best_decision_comes_first(small: Made) -> None:
    verdicts = (Verdict("a", "reject", "", ()), Verdict("b", "promote", "", (), 0.2, 0.1),
                Verdict("c", "promote", "", (), 0.3, 0.05), Verdict("d", "undecided", "", ()),
                Verdict("e", "not a candidate", "", ()))  # fmt: skip
    analysis = dataclasses.replace(small.analysis, verdicts=verdicts)
    assert [card.verdict.experiment for card in cards_of(analysis)] == ["b", "c", "d", "a"]


def test_a_metric_that_should_fall_has_its_threshold_below_zero(small: Made) -> None:
    metrics: dict[str, Mapping[str, Any]] = {name: dict(about) for name, about in
                                             small.analysis.metrics.items()}  # fmt: skip
    metrics[FACTUALITY] = {**metrics[FACTUALITY], "better": "lower"}
    card = cards_of(dataclasses.replace(small.analysis, metrics=metrics))[0]
    assert card.gain_gauge
    assert card.gain_gauge.wanted is not None
    assert card.gain_gauge.zero is not None
    assert card.gain_gauge.wanted < card.gain_gauge.zero


def test_runs_that_nobody_promotes_have_a_page_without_a_verdict(small: Made) -> None:
    analysis = dataclasses.replace(
        small.analysis, series="", rule={}, verdicts=(), slices=(), controls=(), judged=(),
        distributions=(), factorial=(), fidelity=(), human=None, leaks=None, warnings=(),
    )  # fmt: skip
    text = Reader(render(analysis, small.browsable)).text
    assert "No rule of promotion applies" in text
    assert "Nobody looked" in text


def test_an_analysis_of_nothing_has_a_page() -> None:
    analysis = Analysis("Nothing", "", "", "", "", "0", {}, (), {}, {}, (), (), {})
    found = Reader(render(analysis, Browsable((), ())))
    assert found.json("data-samples")["questions"] == []
    assert "sample-table" not in found.ids


def test_runs_are_told_with_what_became_of_their_answers(small: Made, page: str) -> None:
    assert "20 of 20" in Reader(page).text
    assert "19 ok, 1 timeout" in Reader(page).text
    about = {"state": "interrupted", "stale": ["index", "model"], "message": "Run it again"}
    lines = {HYBRID: {**about, "counts": {"ok": 3, "parse_error": 1}, "total": 20}}
    analysis = dataclasses.replace(small.analysis, experiments=lines)
    text = Reader(render(analysis, small.browsable)).text
    for words in ("4 of 20", "3 ok, 1 parse error", "changed since: index, model", "Run it again"):
        assert words in text


def test_refusals_name_their_reason(small: Made) -> None:
    analysis = dataclasses.replace(small.analysis, refused={TUNED: "it has another index"})
    assert "Not compared: it has another index" in Reader(render(analysis, small.browsable)).text


def test_nothing_hostile_becomes_markup(small: Made, page: str) -> None:
    evil = Made(hostile(small.analysis), hostile(small.browsable))
    found, plain = Reader(render(evil.analysis, evil.browsable)), Reader(page)
    assert found.handlers == []
    assert "b" not in found.tags - plain.tags
    for tag in ("script", "img", "iframe", "svg", "style", "a", "td"):
        assert found.tags[tag] == plain.tags[tag], tag
    assert evil.analysis.experiments.keys() == {
        name + HOSTILE for name in (BASELINE, TUNED, HYBRID)
    }
    assert found.text.count(HOSTILE.replace("\x1b", "␛").replace("\u202e", "\\u202e")) > 50


def test_provenance_is_flat_and_bounded() -> None:
    rows = rows_of({"engine": {"kind": "llama", "stops": [2, 3], "off": False, "none": None},
                    "files": [{"path": "a"}], "text": "x" * 1000})  # fmt: skip
    assert rows[:4] == [("engine.kind", "llama"), ("engine.stops", "2, 3"), ("engine.off", "no"),
                        ("files.0.path", "a")]  # fmt: skip
    assert rows[4][1] == "x" * LONGEST + " … (1,000 characters)"
    many = rows_of({str(number): number for number in range(1000)})
    assert len(many) == MOST_ROWS + 1
    assert many[-1] == ("…", "700 more values stand in report.json")


@pytest.mark.parametrize(
    ("experiment", "value", "passed", "word"),
    [
        (HYBRID, 0.1, True, "passed"),
        (HYBRID, 0.1, False, "FAILED"),
        (HYBRID, 0.1, None, "open"),
        ("", 0.1, None, "for comparison"),
        (HYBRID, None, None, "not to be had"),
        ("", None, None, "not to be had"),
    ],
)
def test_a_control_says_how_it_stands(
    small: Made, experiment: str, value: float | None, passed: bool | None, word: str
) -> None:
    one = Control("any", experiment, FACTUALITY, value, 0.5, 20, passed, "So it is.")
    assert standing_of(one) == word
    text = Reader(render(dataclasses.replace(small.analysis, controls=(one,)),
                         Browsable((), ()))).text  # fmt: skip
    row = text[text.index("result meaning" if "result meaning" in text else "resultmeaning") :]
    words = ("passed", "FAILED", "open", "for comparison", "not to be had")
    assert [one for one in words if one in row[: row.index("So it is.")]] == [word]


def test_an_interval_without_width_has_no_spread(page: str) -> None:
    assert '(no spread<span class="unseen">: ' in page
    shown = re.sub(r'<span class="unseen">.*?</span>', "", page, flags=re.DOTALL)
    assert not re.search(r">0\.000</data> to <data[^>]*>0\.000<", shown)


def test_keys_of_provenance_break_between_words_only(page: str) -> None:
    assert "provenance.<wbr>inputs.<wbr>engine.<wbr>sha256" in page
