"""A person's word on a sample: kept, applied by the next curation, gone where content changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loragraft.dataset.curate.decisions import ACCEPT, Decision, append_decision, read_decisions
from loragraft.dataset.curate.report import decisions_path
from loragraft.dataset.curate.review import decide, draw_sample, find_records
from loragraft.dataset.curate.run import curate
from loragraft.dataset.records import read_records
from loragraft.errors import InputError
from tests.support.rows import RULES, write_rows, write_rules


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A file of curated records."""
    raw = write_rows(tmp_path / "raw.jsonl", 200)
    target = tmp_path / "clean.jsonl"
    curate(write_rules(tmp_path / "rules.yaml"), raw, target)
    return target


def again(out: Path, rules: str = RULES) -> set[str]:
    folder = out.parent
    curate(write_rules(folder / "rules.yaml", rules), folder / "raw.jsonl", out)
    return {record.id for record in read_records(out)}


def test_the_sample_is_the_same_in_any_order_and_of_the_size_the_rules_say(out: Path) -> None:
    first = [item.record.id for item in draw_sample(out)]
    assert len(first) == len(set(first)) == 5
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(reversed(lines)))
    assert [item.record.id for item in draw_sample(out)] == first
    assert [item.record.id for item in draw_sample(out, sample=9)][:5] == first
    assert [item.record.id for item in draw_sample(out, seed=4)] != first
    assert len(draw_sample(out, sample=10_000)) == len(lines)


def test_what_is_rejected_goes_and_what_is_accepted_stays(out: Path) -> None:
    rejected, accepted, *_ = (item.record for item in draw_sample(out))
    decide(out, rejected, accept=False)
    decide(out, accepted, accept=True)
    before = {record.id for record in read_records(out)}
    stricter = RULES.replace("field: text, min: 20", "field: text, min: 5000")
    assert again(out, stricter) == {accepted.id}
    after = again(out)
    assert rejected.id not in after
    assert before - {rejected.id} <= after
    assert [item.decision is not None for item in draw_sample(out, sample=1)] == [True]


def test_the_report_counts_what_people_said(out: Path) -> None:
    for number, item in enumerate(draw_sample(out, sample=4)):
        decide(out, item.record, accept=number % 2 == 0)
    again(out)
    report = curate(out.parent / "rules.yaml", out.parent / "raw.jsonl", out).report
    assert (report.review.accepted, report.review.rejected, report.review.stale) == (2, 2, 0)
    (review,) = (reason for reason in report.reasons if reason.name == "review")
    assert review.dropped == 2
    assert report.kept + report.dropped == report.lines


def test_an_accepted_row_speaks_against_its_duplicates(tmp_path: Path) -> None:
    rows = [{"id": "1", "text": "x"}, {"id": "2", "text": "one more"}, {"id": "3", "text": "X!"}]
    rules = RULES.replace("min: 20", "min: 2").replace("  - {kind: range, field: likes, min: 10}\n",
                                                       "")  # fmt: skip
    rules = rules.replace("  - {kind: per_author, field: author, max: 12}\n", "")
    out, raw = tmp_path / "clean.jsonl", tmp_path / "raw.jsonl"
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loose = write_rules(tmp_path / "rules.yaml", rules.replace("min: 2", "min: 1"))
    curate(loose, raw, out)
    decide(out, find_records(out, ["1"])[0], accept=True)
    assert again(out, rules) == {"1", "2"}


def test_the_last_word_counts(out: Path) -> None:
    record = draw_sample(out)[0].record
    for accept in (True, False, True):
        decide(out, record, accept=accept)
    assert len(decisions_path(out).read_text().splitlines()) == 3
    assert draw_sample(out)[0].decision is not None
    assert draw_sample(out)[0].decision.accept  # type: ignore[union-attr]
    assert record.id in again(out)


def test_a_decision_about_another_content_is_none(out: Path) -> None:
    record = draw_sample(out)[0].record
    decide(out, record, accept=False)
    raw = out.parent / "raw.jsonl"
    raw.write_text(raw.read_text().replace(record.reply, record.reply + " Indeed."))  # type: ignore[union-attr]
    assert record.id in again(out)
    report = curate(out.parent / "rules.yaml", raw, out).report
    assert (report.review.stale, report.review.rejected) == (1, 0)
    (item,) = (item for item in draw_sample(out, sample=500) if item.record.id == record.id)
    assert item.decision is None


def test_a_decision_that_a_kill_cut_off_is_passed_over_and_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "clean.review.jsonl"
    assert read_decisions(path) == {}
    append_decision(path, "a", Decision(True, "c1"))
    whole = path.read_bytes()
    append_decision(path, "b", Decision(False, "c2"))
    for size in range(len(whole) + 1, path.stat().st_size - 1):
        torn = tmp_path / f"torn-{size}.jsonl"
        torn.write_bytes(path.read_bytes()[:size])
        assert read_decisions(torn) == {"a": Decision(True, "c1")}
        append_decision(torn, "d", Decision(True, "c3"))
        assert read_decisions(torn) == {"a": Decision(True, "c1"), "d": Decision(True, "c3")}
    path.write_bytes(path.read_bytes()[:-1])
    append_decision(path, "d", Decision(True, "c3"))
    assert list(read_decisions(path)) == ["a", "b", "d"]


@pytest.mark.parametrize(
    "line",
    ['{"id": "a"}', '{"id": "a", "decision": "perhaps", "content": "c"}', "nonsense",
     '{"id": 3, "decision": "accept", "content": "c"}', "[]"],
)  # fmt: skip
def test_lines_that_are_no_decisions_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "clean.review.jsonl"
    path.write_text(
        f"{line}\n" + json.dumps({"id": "a", "decision": ACCEPT, "content": "c"}) + "\n"
    )
    with pytest.raises(InputError, match="line 1"):
        read_decisions(path)


def test_an_id_that_is_not_there_is_said(out: Path) -> None:
    with pytest.raises(
        InputError, match=r"no record 'nobody'.* delete its line in .*review\.jsonl"
    ):
        find_records(out, ["nobody"])
