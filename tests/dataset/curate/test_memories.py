"""Rules that compare rows: caps and duplicates, kept over kills, whatever is dropped between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.dataset.curate import filling
from loragraft.dataset.curate.run import Outcome, curate
from loragraft.dataset.curate.state import State
from loragraft.dataset.records import read_records
from tests.support.rows import sentence, write_rules

RECORD = "record: {kind: reply, id: id, task_type: {text: reply}, prompt: text, reply: text}\n"


def run(folder: Path, rules: str, rows: list[dict[str, Any]]) -> tuple[list[str], Outcome]:
    raw = folder / "raw.jsonl"
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = folder / "clean.jsonl"
    outcome = curate(write_rules(folder / "rules.yaml", f"rules:\n{rules}{RECORD}"), raw, out)
    found = [record.id for record in read_records(out)] if outcome.report.kept else []
    return found, outcome


def row(number: int, text: str, **more: object) -> dict[str, Any]:
    return {"id": str(number), "text": text, **more}


def measured(outcome: Outcome, name: str) -> list[str]:
    (reason,) = (reason for reason in outcome.report.reasons if reason.name == name)
    return [sample.measured for sample in reason.samples]


def test_at_most_so_many_rows_of_one_author_are_kept(tmp_path: Path) -> None:
    rows = [row(n, sentence(n), by={"id": n % 2 if n % 3 else str(n % 2)}) for n in range(12)]
    rows.append(row(12, sentence(12)))
    kept, outcome = run(tmp_path, "- {kind: per_author, field: by.id, max: 3}\n", rows)
    assert kept == ["0", "1", "2", "3", "4", "5"]
    assert measured(outcome, "per author")[0] == "3 kept of this author"
    assert measured(outcome, "missing field") == ["per author: by.id is missing"]


def test_a_rule_may_pass_rows_without_the_field_and_counts_them(tmp_path: Path) -> None:
    rules = (
        "- {kind: per_author, field: by, max: 1, missing: keep}\n"
        "- {kind: range, field: likes, min: 5, missing: keep}\n"
    )
    rows = [row(n, sentence(n)) for n in range(3)] + [row(3, sentence(3), by="a", likes=4)]
    kept, outcome = run(tmp_path, rules, rows)
    assert kept == ["0", "1", "2"]
    assert {r.name: r.unjudged for r in outcome.report.reasons if r.unjudged} == {
        "per author": 3, "range": 3,
    }  # fmt: skip


def test_a_rule_may_judge_some_rows_only(tmp_path: Path) -> None:
    rules = (
        "- {kind: length, field: text, min: 500, only: {sort: [long, 7]}}\n"
        "- {kind: exact_duplicates, field: text, only: {sort: [short]}}\n"
    )
    rows = [
        row(0, "a b", sort="long"), row(1, "a b", sort="7"), row(2, "a b", sort="short"),
        row(3, "A B!", sort="short"), row(4, "a b", sort="other"), row(5, "a b"),
    ]  # fmt: skip
    kept, outcome = run(tmp_path, rules, rows)
    assert kept == ["2", "4", "5"]
    assert measured(outcome, "exact duplicates") == ["same as 2"]


def test_duplicates_of_every_sort_name_the_row_that_stayed(
    tmp_path: Path, static_folder: Path
) -> None:
    near = sentence(3).replace("1003", "1004")
    rows = [
        row(0, sentence(3)), row(1, sentence(3).upper() + "!!"), row(2, near),
        row(3, " ".join(reversed(sentence(3).split()))), row(4, sentence(777)),
    ]  # fmt: skip
    rules = (
        "- {kind: exact_duplicates, field: text}\n"
        "- {kind: near_duplicates, field: text, threshold: 0.8}\n"
        f"- {{kind: semantic_duplicates, field: text, embedder: {static_folder}}}\n"
    )
    kept, outcome = run(tmp_path, rules, rows)
    assert kept == ["0", "4"]
    assert measured(outcome, "exact duplicates") == ["same as 0"]
    assert measured(outcome, "near duplicates")[0].endswith(" like 0")
    assert measured(outcome, "semantic duplicates")[0].endswith((" like 0", "same as 0"))


class Killed(BaseException):
    """Stands for a kill."""


def test_all_memories_together_survive_kills(
    tmp_path: Path, static_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = (
        "- {kind: per_author, field: by, max: 2}\n"
        "- {kind: exact_duplicates, field: text}\n"
        "- {kind: near_duplicates, field: text}\n"
        f"- {{kind: semantic_duplicates, field: text, embedder: {static_folder}, threshold: 0.9}}\n"
    )
    rows = [row(n, sentence(n // 2 * 37 if n % 5 else n), by=n % 50) for n in range(600)]
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    monkeypatch.setattr(filling, "BATCH", 64)
    monkeypatch.setattr(filling, "COMMIT_SECONDS", 0.0)
    whole, outcome = run(tmp_path / "whole", rules, rows)
    for name in ("per author", "exact duplicates", "near duplicates", "semantic duplicates"):
        assert measured(outcome, name), name
    commit = State.commit
    for stop, after in [(3, True), (2, False), (3, False), (4, True)]:
        count = 0

        def dying(self: State, stop: int = stop, after: bool = after) -> None:
            nonlocal count
            count += 1
            if after or count < stop:
                commit(self)
            if count == stop:
                raise Killed

        monkeypatch.setattr(State, "commit", dying)
        with pytest.raises(Killed):
            run(tmp_path / "killed", rules, rows)
    monkeypatch.setattr(State, "commit", commit)
    assert run(tmp_path / "killed", rules, rows)[0] == whole
    for name in ("clean.jsonl", "clean.report.json", "clean.report.html"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["a b", "A, b!", "three", "four"]),
                  st.sampled_from("123456"), st.integers(0, 3)),
        max_size=12,
    ),
    st.integers(1, 5),
)  # fmt: skip
def test_what_is_kept_is_what_the_rules_say_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[tuple[str, str, str, int]], size: int
) -> None:
    rows = [
        {"id": name, "by": by, "text": text, "likes": likes} for by, text, name, likes in given_rows
    ]
    expected: list[dict[str, Any]] = []
    for candidate in rows:
        words = candidate["text"].lower().replace(",", "").replace("!", "")
        good = candidate["likes"] > 0
        good &= candidate["id"] not in {other["id"] for other in expected}
        good &= sum(other["by"] == candidate["by"] for other in expected) < 2
        good &= words not in {other["words"] for other in expected}
        if good:
            expected.append({**candidate, "words": words})
    rules = (
        "- {kind: exact_duplicates, field: text}\n"
        "- {kind: per_author, field: by, max: 2}\n"
        "- {kind: range, field: likes, min: 1}\n"
    )
    with pytest.MonkeyPatch.context() as context:
        context.setattr(filling, "BATCH", size)
        kept, _ = run(tmp_path_factory.mktemp("rows"), rules, rows)
    assert kept == [candidate["id"] for candidate in expected]
