"""The page in a browser: what a person does with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from loragraft.experiment.analysis.model import Browsable, ShownQuestion
from loragraft.experiment.page.make import render
from tests.experiment.page.hostile import hostile
from tests.support.browser import Seen, chromium, find_browser, opened
from tests.support.report_data import HYBRID, Made, made

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = find_browser()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed to look with")
ROWS = "#sample-table tbody tr"
PAGE = 25
LEAST_CONTRAST = 4.5
"""WCAG 2.2, criterion 1.4.3, level AA."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """A page as a file, with what it was made of."""

    made: Made
    path: Path

    @property
    def questions(self) -> tuple[ShownQuestion, ...]:
        """Return the questions."""
        return self.made.browsable.questions


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(str(CHROMIUM)) as found:
        yield found


def written(folder: Path, one: Made) -> Shown:
    path = folder / "index.html"
    path.write_text(render(one.analysis, one.browsable), encoding="utf-8")
    return Shown(one, path)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    return written(tmp_path_factory.mktemp("few"), made(20))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    return written(tmp_path_factory.mktemp("many"), made(5_000, papers=400))


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    one = made(20)
    both = Made(hostile(one.analysis), hostile(one.browsable))
    return written(tmp_path_factory.mktemp("evil"), both)


@pytest.fixture(scope="module")
def large(browser: Browser, many: Shown) -> Iterator[tuple[Page, Seen]]:
    """The page of 5,000 samples, opened once."""
    with opened(browser, many.path) as found:
        yield found


def tagged(shown: Shown, tag: str, name: str = HYBRID) -> list[ShownQuestion]:
    return [one for one in shown.questions if tag in one.answers[name][0].tags]


def ids(page: Page) -> list[str]:
    found: list[str] = page.locator(ROWS).evaluate_all("rows => rows.map(row => row.dataset.id)")
    return found


def until(page: Page, what: str, value: object) -> None:
    """Wait until an expression has a value: a browser tells of what was closed a moment later."""
    page.wait_for_function(f"value => ({what}) === value", arg=value)


def found_text(page: Page) -> str:
    return page.locator("#found").inner_text()


def test_samples_are_filtered_by_outcome_fault_type_and_words(browser: Browser, few: Shown) -> None:
    with opened(browser, few.path) as (page, seen):
        assert ids(page) == [one.id for one in few.questions]
        losses, ungrounded = tagged(few, "loss"), tagged(few, "ungrounded")
        chip = page.locator(".chip[data-tag=loss]")
        assert str(len(losses)) in chip.inner_text()
        chip.click()
        assert ids(page) == [one.id for one in losses]
        assert found_text(page) == f"{len(losses)} of 20 questions"
        page.locator(".chip[data-tag=ungrounded]").click()
        both = [one for one in losses if one in ungrounded]
        assert 0 < len(both) < len(losses)
        assert ids(page) == [one.id for one in both]
        page.get_by_role("button", name="Clear").click()
        page.locator("#filter-type").select_option("entity")
        assert ids(page) == [one.id for one in few.questions if one.task_type == "entity"]
        page.get_by_role("button", name="Clear").click()
        page.locator("#filter-text").fill("MARSH dunnel")
        assert ids(page) == [one.id for one in few.questions if "Marsh Dunnel" in one.question]
        page.locator("#filter-text").fill("nothing says this")
        assert found_text(page) == "0 of 20 questions"
        assert seen.clean, seen


def test_links_of_the_verdict_lead_to_their_samples(browser: Browser, few: Shown) -> None:
    with opened(browser, few.path) as (page, seen):
        page.get_by_role("link", name="what it won").click()
        assert ids(page) == [one.id for one in tagged(few, "win")]
        page.locator(".weak a").first.click()
        kind = page.locator(".weak a").first.inner_text()
        assert ids(page) == [one.id for one in few.questions if one.task_type == kind]
        assert seen.clean, seen


def test_a_sample_opens_with_answers_and_its_citation_lights_the_passage(
    browser: Browser, few: Shown
) -> None:
    number, question = next(
        (n, one) for n, one in enumerate(few.questions)
        if one.answers[HYBRID][0].citations
        and one.answers[HYBRID][0].citations[0][2] in one.answers[HYBRID][0].passages
    )  # fmt: skip
    answer = question.answers[HYBRID][0]
    passage = few.made.browsable.passages[answer.passages[answer.citations[0][2]]]
    with opened(browser, few.path) as (page, seen):
        page.locator(".question").nth(number).click()
        dialog = page.locator("#sample")
        assert dialog.locator("h2").inner_text() == question.question
        assert all(text in dialog.locator(".expected").inner_text() for text in question.expected)
        for name, answers in question.answers.items():
            column = dialog.locator(f'[data-arm="{name}"]')
            assert answers[0].text in column.locator(".answer-text").inner_text()
        cite = dialog.locator(f'[data-arm="{HYBRID}"] button.cite')
        assert cite.inner_text() == f"[{answer.citations[0][2]}]"
        cite.click()
        lit = dialog.locator("article.lit")
        assert lit.count() == 1
        assert lit.locator("p").inner_text() == passage.text
        assert passage.title in lit.locator("h4").inner_text()
        assert seen.clean, seen


def test_a_fabricated_citation_leads_nowhere_and_says_so(large: tuple[Page, Seen]) -> None:
    page, seen = large
    page.get_by_role("button", name="Clear").click()
    page.locator('.chip[data-tag="fabricated citation"]').click()
    page.locator(".question").first.click()
    cite = page.locator(f'#sample [data-arm="{HYBRID}"] .cite.fabricated')
    assert cite.inner_text().startswith("[P9]")
    assert "no such passage" in (cite.text_content() or "")
    page.keyboard.press("Escape")
    until(page, "location.hash", "#samples")
    assert seen.clean, seen


def test_the_keyboard_is_enough(browser: Browser, few: Shown) -> None:
    with opened(browser, few.path) as (page, seen):
        page.locator(".question").first.focus()
        page.keyboard.press("Enter")
        title = page.locator("#sample h2")
        assert title.inner_text() == few.questions[0].question
        page.keyboard.press("ArrowRight")
        assert title.inner_text() == few.questions[1].question
        assert page.locator("#sample-place").inner_text() == "2 of 20"
        page.keyboard.press("Escape")
        page.locator("#sample").wait_for(state="hidden")
        until(page, "document.activeElement.textContent", few.questions[1].question)
        assert seen.clean, seen


def test_an_address_names_a_sample(
    browser: Browser, few: Shown, many: Shown, large: tuple[Page, Seen]
) -> None:
    with opened(browser, few.path, part=f"sample={few.questions[7].id}") as (page, seen):
        assert page.locator("#sample h2").inner_text() == few.questions[7].question
        assert seen.clean, seen
    question, (page, seen) = many.questions[4321], large
    page.get_by_role("button", name="Clear").click()
    page.evaluate("id => { location.hash = `sample=${id}`; }", question.id)
    page.locator("#sample").wait_for()
    assert page.locator("#sample h2").inner_text() == question.question
    assert page.locator("#sample-place").inner_text() == "4,322 of 5,000"
    page.locator("#sample-close").click()
    until(page, "location.hash", "#samples")
    until(page, "document.querySelector('#page-now').innerText", f"page {4321 // PAGE + 1} of 200")
    assert seen.clean, seen


def test_five_thousand_samples_are_paged_and_filtered(
    many: Shown, large: tuple[Page, Seen]
) -> None:
    page, seen = large
    page.get_by_role("button", name="Clear").click()
    assert page.locator(ROWS).count() == PAGE
    page.locator("#page-on").click()
    assert ids(page) == [one.id for one in many.questions[PAGE : 2 * PAGE]]
    wins = tagged(many, "win")
    page.locator(".chip[data-tag=win]").click()
    assert found_text(page) == f"{len(wins):,} of 5,000 questions"
    assert ids(page) == [one.id for one in wins[:PAGE]]
    page.locator("#filter-seen").select_option("seen")
    count = len([one for one in wins if one.seen])
    assert found_text(page) == f"{count:,} of 5,000 questions"
    assert page.locator("*").count() < 10_000
    assert seen.clean, seen


def test_a_phone_shows_all_without_scrolling_sideways(
    browser: Browser, few: Shown, evil: Shown
) -> None:
    for shown in (few, evil):
        with opened(browser, shown.path, width=360, dark=shown is evil) as (page, seen):
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            page.locator(".question").first.click()
            wide = page.locator("#sample").evaluate("one => one.scrollWidth - one.clientWidth")
            assert wide == 0
            assert seen.clean, seen


def test_a_phone_shows_every_link_every_caption_and_no_label_beyond_the_edge(
    browser: Browser, few: Shown
) -> None:
    with opened(browser, few.path, width=360) as (page, _):
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        right = page.locator("nav a, .scroll caption, .stacked td, .axis text").evaluate_all(
            "all => all.filter(one => one.checkVisibility() && !one.closest('thead')).map("
            "one => [one.textContent, one.getBoundingClientRect().right])"
        )
        left = page.locator(".axis text").evaluate_all(
            "all => all.filter(one => one.checkVisibility()).map("
            "one => one.getBoundingClientRect().left)"
        )
        assert len(right) > 50
        assert [pair for pair in right if pair[1] > 360] == []
        assert min(left) >= 0


def ground(page: Page) -> str:
    color: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return color


def test_the_theme_follows_the_system_or_the_button(browser: Browser, few: Shown) -> None:
    with opened(browser, few.path) as (page, _):
        light, button = ground(page), page.locator("#theme")
        button.click()
        assert (button.inner_text(), ground(page)) == ("Theme: light", light)
        button.click()
        assert button.inner_text() == "Theme: dark"
        dark = ground(page)
        assert dark != light
    with opened(browser, few.path, dark=True) as (page, _):
        assert ground(page) == dark


CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
  };
  const found = new Map();
  for (const one of document.querySelectorAll("body *:not(script, style)")) {
    const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !one.checkVisibility() || one.closest(":disabled, noscript")) continue;
    const svg = one instanceof SVGElement;
    const color = parse(getComputedStyle(one)[svg ? "fill" : "color"]);
    const [a, b] = [light(color), light(behind(one))].sort((x, y) => y - x);
    const key = `${one.tagName}.${one.getAttribute("class")}`;
    found.set(key, Math.min(found.get(key) ?? 99, (a + 0.05) / (b + 0.05)));
  }
  return [...found];
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read(browser: Browser, few: Shown, dark: bool) -> None:
    with opened(browser, few.path, dark=dark) as (page, _):
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        page.locator(".chip").first.click()
        found = page.evaluate(CONTRASTS)
        page.locator(".question").first.click()
        found += page.evaluate(CONTRASTS)
    assert len(found) > 50
    assert [pair for pair in found if pair[1] < LEAST_CONTRAST] == []


def test_everything_has_a_name_and_headings_are_in_order(browser: Browser, few: Shown) -> None:
    with opened(browser, few.path) as (page, _):
        tree = page.locator("body").aria_snapshot()
        levels = page.locator("h1, h2, h3, h4").evaluate_all(
            "all => all.map(one => +one.tagName[1])"
        )
        tables = page.locator("table:not([hidden])").evaluate_all(
            """all => all.map(
                (one) => [...one.tHead.rows[0].cells].every((cell) => cell.scope === "col"))"""
        )
    for role in ("button", "link", "combobox", "searchbox", "region", "table"):
        assert f"- {role}\n" not in tree
        assert f"- {role}:\n" not in tree.replace("- table:\n", "")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(tables)


def test_figures_in_the_browser_are_those_of_the_json(
    many: Shown, large: tuple[Page, Seen]
) -> None:
    values: dict[str, Any] = many.made.analysis.to_json()
    page, _ = large
    for one in values["comparisons"]:
        name = f'[data-metric="{one["metric"]}"][data-experiment="{one["experiment"]}"]'
        row = page.locator(f".forest-row{name}").locator("data")
        shown = row.evaluate_all("all => all.map(one => Number(one.value))")
        interval = one["interval"]
        assert shown == [one["difference"], interval["low"], interval["high"], one["adjusted"]]
    gain = next(one for one in values["comparisons"] if one["family"] == "gating")
    figure = page.locator(".gauge strong data").first
    assert float(figure.get_attribute("value") or "nan") == gain["difference"]
    assert figure.inner_text() == f"{gain['difference'] * 100:+.1f} points"


def test_paper_shows_what_is_folded_and_the_page_folds_it_again(
    browser: Browser, few: Shown, tmp_path: Path
) -> None:
    from pypdf import PdfReader

    with opened(browser, few.path) as (page, seen):
        folded = page.locator("details:not([open])").count()
        page.pdf(path=tmp_path / "page.pdf", format="A4")
        assert folded > 0
        until(page, "document.querySelectorAll('details:not([open])').length", folded)
        assert seen.clean, seen
    pages = [" ".join(one.extract_text().split()) for one in PdfReader(tmp_path / "page.pdf").pages]
    assert "Undecided" in pages[0]
    text = " ".join(pages)
    for words in ("Wilcoxon signed rank", "engine.sha256", "token_f1", few.questions[0].question):
        assert words in text
    assert "Theme" not in text


def test_an_opened_sample_is_printed_alone(browser: Browser, few: Shown, tmp_path: Path) -> None:
    from pypdf import PdfReader

    with opened(browser, few.path) as (page, _):
        page.locator(".question").nth(3).click()
        page.pdf(path=tmp_path / "sample.pdf", format="A4")
    text = " ".join(one.extract_text() for one in PdfReader(tmp_path / "sample.pdf").pages)
    assert few.questions[3].question in " ".join(text.split())
    assert "Differences from" not in text


def test_hostile_texts_stay_texts(browser: Browser, evil: Shown) -> None:
    with opened(browser, evil.path) as (page, seen):
        for number in range(0, 20, 5):
            page.locator(".question").nth(number).click()
            assert page.locator("#sample img, #sample script").count() == 0
            if (cite := page.locator("#sample button.cite")).count():
                cite.first.click()
            page.keyboard.press("Escape")
            until(page, "location.hash", "#samples")
        page.locator(".weak a").first.click()
        assert 0 < page.locator(ROWS).count() < 20
        assert page.evaluate("window.broken === undefined && !document.querySelector('img')")
        assert seen.clean, seen


def test_a_page_without_samples_complains_of_nothing(
    browser: Browser, few: Shown, tmp_path: Path
) -> None:
    bare = written(tmp_path, Made(few.made.analysis, Browsable((), ())))
    with opened(browser, bare.path, part="sample=%E0%A4%A") as (page, seen):
        page.locator("#theme").click()
        assert page.locator("#samples").count() == 0
        assert seen.clean, seen
