"""Pairs out to raters and back: blind, checked row by row, and counted."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.dataset.records import Qa, TaskRecord
from loragraft.errors import InputError
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.human.blind import COLUMNS, read_key
from loragraft.experiment.human.summary import majority_of
from loragraft.experiment.human.tier import Tier
from loragraft.experiment.judge.series import judge_series
from loragraft.experiment.records import Sample
from tests.support.judging import RuleJudge, longer_wins, sample

RECORDS: list[TaskRecord] = [
    Qa(f"q{number}", "fact", f"What is number {number}?", (f"thing {number}",))
    for number in range(12)
]
ENGINE = {"kind": "llama", "model": "m"}


def series(folder: Path) -> SeriesConfig:
    return SeriesConfig.model_validate({
        "series": "small", "data": {"files": [str(folder / "tasks.jsonl")]},
        "experiments": {"base": {"engine": ENGINE}, "tuned": {"engine": ENGINE}},
        "baseline": "base", "judge": {"engine": {"kind": "llama", "model": "j"}},
        "outputs": str(folder / "outputs"),
    })  # fmt: skip


def samples_of(name: str) -> list[Sample]:
    """``tuned`` is longer on even questions; q10 is missing, q11 identical."""
    samples = []
    for number in range(12):
        text = (
            "good"
            if number == 11
            else (f"{name} says {number}" + " and more" * ((name == "tuned") == (number % 2 == 0)))
        )
        status = "timeout" if number == 10 and name == "base" else "ok"
        samples.append(sample(name, f"q{number}", text, status=status))
    return samples


def make_tier(folder: Path) -> Tier:
    return Tier(series(folder), lambda task: RECORDS, samples_of)


Choose = Callable[[dict[str, str]], str]


def longer(cells: dict[str, str]) -> str:
    one, two = len(cells["answer 1"]), len(cells["answer 2"])
    return "1" if one > two else "2" if two > one else "tie"


def read(path: Path) -> list[dict[str, str]]:
    text = path.read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def rate(source: Path, target: Path, choose: Choose, *, separator: str = ",",
         encoding: str = "utf-8", change: Callable[[list[dict[str, str]]], object] | None = None,
         ) -> Path:  # fmt: skip
    rows = read(source)
    for row in rows:
        row[COLUMNS[6]] = choose(row)
    if change is not None:
        change(rows)
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, delimiter=separator, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    target.write_bytes(out.getvalue().encode(encoding, "replace"))
    return target


def test_raters_get_no_names_and_each_side_comes_first_equally_often(tmp_path: Path) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    exported = tier.export(None, path, None)
    assert (exported.missing, exported.identical) == (1, 1)
    rows = read(path)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 10
    blind = [{k: v for k, v in row.items() if not k.startswith("answer")} for row in rows]
    assert "base" not in str(blind)
    assert "tuned" not in str(blind)
    key = read_key(exported.folder)
    assert sorted(row.first for row in key.rows) == ["a"] * 5 + ["b"] * 5
    assert [row.question_id for row in key.rows] != sorted(row.question_id for row in key.rows)
    assert not path.with_name("key.json").exists()
    for row, cells in zip(key.rows, rows, strict=True):
        names = ("tuned", "base") if row.first == "a" else ("base", "tuned")
        assert cells["answer 1"].startswith(f"“{names[0]} says")
        assert cells["answer 2"].startswith(f"“{names[1]} says")
        assert cells["accepted answers"] == f"“thing {row.question_id[1:]}”"


def test_the_same_seed_draws_the_same_rows_and_fewer_are_a_part_of_more(tmp_path: Path) -> None:
    tier = make_tier(tmp_path)
    whole = tier.export(None, tmp_path / "a.csv", None)
    again = tier.export(("tuned", "base"), tmp_path / "b.csv", None)
    few = tier.export(None, tmp_path / "c.csv", 4)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert again.folder == whole.folder
    assert few.folder != whole.folder
    ids = [row.question_id for row in whole.key.rows]
    assert [row.question_id for row in few.key.rows] == ids[:4]


def test_ratings_are_counted_for_the_experiments_whoever_came_first(tmp_path: Path) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    tier.export(None, path, None)
    [(_, ratings)] = tier.take([rate(path, tmp_path / "anna.csv", longer)])
    assert ratings.rater == "anna"
    [summary] = tier.summaries()
    assert (summary.a, summary.b, summary.rows) == ("tuned", "base", 10)
    assert (summary.majority.wins, summary.majority.losses, summary.majority.win_rate) == (
        5,
        5,
        0.5,
    )
    assert summary.raters[0].first_rate == ratings.firsts / 10
    assert summary.judge is None
    assert summary.pairs == ()
    assert json.loads(json.dumps(summary.to_json()))["majority"]["rated"] == 10


def test_a_rater_who_takes_the_first_each_time_is_found_out(tmp_path: Path) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    tier.export(None, path, None)
    tier.take([rate(path, tmp_path / "bob.csv", lambda cells: "1")])
    [summary] = tier.summaries()
    assert summary.raters[0].first_rate == 1.0
    assert summary.majority.win_rate == 0.5


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16"),
                                                    (";", "cp1252"), (",", "cp1252")])  # fmt: skip
def test_what_excel_saved_is_taken(tmp_path: Path, separator: str, encoding: str) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    tier.export(None, path, None)
    saved = rate(path, tmp_path / "anna.csv", longer, separator=separator, encoding=encoding)
    [(_, ratings)] = tier.take([saved])
    assert len(ratings.votes) == 10


def test_several_raters_agree_as_far_as_they_do(tmp_path: Path) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    tier.export(None, path, None)
    first = [rate(path, tmp_path / f"{name}.csv", longer) for name in ("anna", "bob")]
    tier.take(first)
    tier.take([rate(path, tmp_path / "carl.csv", lambda cells: "tie")])
    [summary] = tier.summaries()
    assert [one.name for one in summary.raters] == ["anna", "bob", "carl"]
    told = {(one.a, one.b): (one.agreement, one.kappa) for one in summary.pairs}
    assert told == {("anna", "bob"): (1.0, 1.0), ("anna", "carl"): (0.0, 0.0),
                    ("bob", "carl"): (0.0, 0.0)}  # fmt: skip
    assert summary.fleiss_rows == 10
    assert summary.fleiss_kappa == pytest.approx(0.0)
    assert summary.alpha is not None
    assert (summary.majority.wins, summary.majority.losses) == (5, 5)


def test_rows_that_were_not_rated_say_nothing(tmp_path: Path) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    tier.export(None, path, None)

    def some(cells: dict[str, str]) -> str:
        return longer(cells) if cells["id"].endswith(("1", "2")) else " "

    tier.take([rate(path, tmp_path / "anna.csv", some, change=lambda rows: rows.pop())])
    [summary] = tier.summaries()
    assert summary.majority.rated == 2
    assert summary.alpha is None


def test_votes_that_give_way_are_kept_and_told(tmp_path: Path) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    tier.export(None, path, None)
    anna = rate(path, tmp_path / "anna.csv", longer)
    for _ in range(2):
        [(export, first)] = tier.take([anna])
        assert tier.notes == []
    tier.take([rate(path, anna, lambda cells: "tie")])
    tier.take([rate(path, anna, lambda cells: "")])
    kept = sorted((export.folder / "ratings").glob("*.replaced*"))
    assert json.loads(kept[0].read_bytes())["votes"] == dict(first.votes)
    assert len(kept) == 2
    assert ["anna had rated these pairs before" in note for note in tier.notes] == [True, True]


def test_a_rater_without_a_vote_does_not_keep_others_from_agreeing(tmp_path: Path) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    tier.export(None, path, None)
    tier.take([rate(path, tmp_path / f"{name}.csv", longer) for name in ("anna", "bob")])
    tier.take([rate(path, tmp_path / "carl.csv", lambda cells: "")])
    [summary] = tier.summaries()
    assert [one.rated for one in summary.raters] == [10, 10, 0]
    assert [(one.a, one.b) for one in summary.pairs] == [("anna", "bob")]
    assert summary.fleiss_rows == 10
    assert summary.fleiss_kappa == pytest.approx(1.0)


def test_two_experiments_are_the_pair_without_a_judge(tmp_path: Path) -> None:
    config = series(tmp_path).model_copy(update={"judge": None})
    tier = Tier(config, lambda task: RECORDS, samples_of)
    key = tier.export(None, tmp_path / "rate.csv", None).key
    assert {key.a, key.b} == set(config.experiments)


def test_people_and_judge_are_compared_whichever_was_named_first(tmp_path: Path) -> None:
    tier = make_tier(tmp_path)
    judge_series(tier.config, RECORDS, samples_of, lambda needed: RuleJudge(longer_wins))
    for names, file in ((("tuned", "base"), "one.csv"), (("base", "tuned"), "two.csv")):
        exported = tier.export(names, tmp_path / file, None)
        tier.take([rate(tmp_path / file, tmp_path / f"anna-{file}", longer)])
        [summary] = [one for one in tier.summaries() if one.export == exported.key.export]
        assert summary.judge is not None
        assert (summary.judge.rows, summary.judge.agreement, summary.judge.kappa) == (10, 1.0, 1.0)


def _swap_answers(rows: list[dict[str, str]]) -> None:
    column = [row["answer 1"] for row in rows]
    for row, text in zip(rows, column[1:] + column[:1], strict=True):
        row["answer 1"] = text


def _set(name: str, value: str) -> Callable[[list[dict[str, str]]], None]:
    def change(rows: list[dict[str, str]]) -> None:
        rows[0][name] = value

    return change


def _contradict(rows: list[dict[str, str]]) -> None:
    rows.append({**rows[0], COLUMNS[6]: "tie"})


@pytest.mark.parametrize(("change", "reason"), [
    (_swap_answers, "the answer 1 is not the one that was written"),
    (_set("question", "What else?"), "the question is not the one"),
    (_set("answer 2", ""), "the answer 2 is not the one"),
    (_set("id", "x0-999"), "was not written for raters"),
    (_set(COLUMNS[6], "the first I think"), "Write 1, 2 or tie"),
    (_contradict, "twice, and differently"),
])  # fmt: skip
def test_a_file_that_is_not_what_was_written_is_refused_whole(
    tmp_path: Path, change: Callable[[list[dict[str, str]]], None], reason: str
) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    tier.export(None, path, None)
    good = rate(path, tmp_path / "anna.csv", longer)
    bad = rate(path, tmp_path / "bob.csv", longer, change=change)
    with pytest.raises(InputError, match=reason):
        tier.take([good, bad])
    assert tier.summaries()[0].raters == ()


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_texts_of_other_scripts_survive_what_excel_loses(tmp_path: Path, encoding: str) -> None:
    texts = {"base": "Это столица страны", "tuned": "naïve café: 3 €, ½ of 北京 = 0.5"}
    tier = Tier(series(tmp_path), lambda task: RECORDS[:1],
                lambda name: [sample(name, "q0", texts[name])])  # fmt: skip
    tier.export(None, tmp_path / "rate.csv", None)
    saved = rate(tmp_path / "rate.csv", tmp_path / "anna.csv", longer, encoding=encoding)
    [(_, ratings)] = tier.take([saved])
    assert list(ratings.votes.values()) == ["a"]


def test_two_files_of_one_rater_and_files_of_nobody_are_refused(tmp_path: Path) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    tier.export(None, path, None)
    (tmp_path / "more").mkdir()
    twice = [rate(path, folder / "anna.csv", longer) for folder in (tmp_path, tmp_path / "more")]
    with pytest.raises(InputError, match="have the same name"):
        tier.take(twice)
    with pytest.raises(InputError, match="names no rater"):
        tier.take([rate(path, tmp_path / "-anna.csv", longer)])
    other = make_tier(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="of no export of this series"):
        other.take([twice[0]])


def test_a_raters_file_is_never_overwritten(tmp_path: Path) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    path.write_text("hours of work")
    with pytest.raises(InputError, match="is there already"):
        tier.export(None, path, None)
    assert path.read_text() == "hours of work"


def test_experiments_without_answers_have_nothing_to_rate(tmp_path: Path) -> None:
    tier = Tier(series(tmp_path), lambda task: RECORDS, lambda name: [])
    with pytest.raises(InputError, match="no answers to compare"):
        tier.export(None, tmp_path / "rate.csv", None)


@pytest.mark.parametrize("change", [
    lambda values: values.update(votes={"x": "a"}),
    lambda values: values.update(votes=[1]),
    lambda values: values.update(firsts=None),
    lambda values: values.pop("comments"),
    lambda values: values.update(schema_version=99),
])  # fmt: skip
def test_ratings_that_we_did_not_write_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    tier, path = make_tier(tmp_path), tmp_path / "rate.csv"
    exported = tier.export(None, path, None)
    tier.take([rate(path, tmp_path / "anna.csv", longer)])
    kept = exported.folder / "ratings" / "anna.json"
    values = json.loads(kept.read_text())
    change(values)
    kept.write_text(json.dumps(values))
    with pytest.raises(InputError, match="holds no ratings of this export"):
        tier.summaries()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 2}', "not json"])
def test_a_key_that_we_did_not_write_is_refused(tmp_path: Path, text: str) -> None:
    tier = make_tier(tmp_path)
    exported = tier.export(None, tmp_path / "rate.csv", None)
    (exported.folder / "key.json").write_text(text)
    with pytest.raises(InputError, match="is no key of"):
        tier.summaries()


def test_a_majority_needs_more_than_any_other() -> None:
    assert majority_of(["a", "a", "b"]) == "a"
    assert majority_of(["a", "b"]) == "tie"
    assert majority_of(["a", "b", "tie"]) == "tie"
    assert majority_of(["tie", "tie", "a"]) == "tie"
