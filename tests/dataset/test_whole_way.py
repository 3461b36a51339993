"""The whole way on the example, by its commands: raw, curate, review, split, leaks, show."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main

ROOT = Path(__file__).parents[2]
SCIENCE = ROOT / "examples" / "science"
RULES = ROOT / "configs" / "curation" / "qa.yaml"
SEED = "20251101"


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["dataset", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where curated records and splits are."""
    folder = tmp_path_factory.mktemp("science")
    run("curate", RULES, SCIENCE / "drafts.jsonl", "-o", folder / "clean.jsonl")
    run("split", folder / "clean.jsonl", "--tag", "science", "--seed", SEED, "-o",
        folder / "splits", "--strict")  # fmt: skip
    return folder


def test_curation_takes_the_faulty_drafts_out(folder: Path) -> None:
    clean = {row["id"] for row in rows(folder / "clean.jsonl")}
    assert clean == {row["id"] for row in rows(SCIENCE / "tasks.jsonl")}
    assert len(clean) < len(rows(SCIENCE / "drafts.jsonl"))
    report = json.loads((folder / "clean.report.json").read_text(encoding="utf-8"))
    assert report["kept"] == len(clean)


def test_every_record_is_in_one_split(folder: Path) -> None:
    found = Counter(
        row["id"]
        for name in ("train", "val", "test")
        for row in rows(folder / "splits" / f"science_{name}.jsonl")
    )
    assert set(found.values()) == {1}
    assert set(found) == {row["id"] for row in rows(folder / "clean.jsonl")}


def test_nothing_leaks_and_the_papers_hold_all_evidence(folder: Path) -> None:
    result = run("leaks", "science", "--splits", folder / "splits", "--corpus",
                 SCIENCE / "papers.jsonl", "--strict", "--json")  # fmt: skip
    report = json.loads(result.stdout)
    assert report["clean"] is True
    assert sum(report["records"].values()) == len(rows(folder / "clean.jsonl"))
    assert report["evidence"]["in_corpus"] == report["evidence"]["passages"] > 100


def test_papers_that_are_trained_on_give_the_answers_away(folder: Path) -> None:
    papers = SCIENCE / "papers.jsonl"
    result = run("leaks", "science", "--splits", folder / "splits", "--corpus", papers,
                 "--training-text", papers, "--strict", "--json", code=1)  # fmt: skip
    found = {count["kind"]: count["found"] for count in json.loads(result.stdout)["counts"]}
    assert set(found) == {"test-evidence-in-training-text"}
    held_out = [row for name in ("val", "test")
                for row in rows(folder / "splits" / f"science_{name}.jsonl")]  # fmt: skip
    assert found["test-evidence-in-training-text"] >= 0.9 * len(held_out)


def test_copies_of_test_records_are_refused(folder: Path, tmp_path: Path) -> None:
    test = folder / "splits" / "science_test.jsonl"
    copies = [{**row, "id": f"copy-{row['id']}", "question": row["question"].upper()}
              for row in rows(test)]  # fmt: skip
    spoiled, together = tmp_path / "train.jsonl", tmp_path / "all.jsonl"
    for path, clean, more in (
        (spoiled, folder / "splits" / "science_train.jsonl", copies[:1]),
        (together, folder / "clean.jsonl", copies),
    ):
        lines = [clean.read_text(encoding="utf-8"), *(json.dumps(row) + "\n" for row in more)]
        path.write_text("".join(lines), encoding="utf-8")
    result = run("leaks", f"train={spoiled}", f"test={test}", "--strict", code=1)
    assert "Leaks: 1 normalised." in result.stdout
    refused = run("split", together, "--tag", "spoiled", "--seed", SEED, "-o", tmp_path,
                  "--strict", code=1)  # fmt: skip
    assert "normalised" in refused.stderr
    assert "Nothing was written" in refused.stderr
    assert not list(tmp_path.glob("spoiled*"))


def test_what_a_reviewer_rejects_reaches_no_split(folder: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean.jsonl"
    run("curate", RULES, SCIENCE / "drafts.jsonl", "-o", clean)
    listed = json.loads(run("review", clean, "--sample", "6", "--list", "--json").stdout)
    first, second = (item["record"]["id"] for item in listed["sample"][:2])
    run("review", clean, "--sample", "6", "--reject", first, "--accept", second)
    before = {row["id"] for row in rows(clean)}
    run("curate", RULES, SCIENCE / "drafts.jsonl", "-o", clean)
    assert {row["id"] for row in rows(clean)} == before - {first}
    splits = tmp_path / "splits"
    run("split", clean, "--tag", "reviewed", "--seed", SEED, "-o", splits, "--strict")
    shown = run("show", splits / "reviewed_manifest.json")
    assert str(len(before) - 1) in shown.stdout.replace(",", "")


def test_records_and_strata_are_shown(folder: Path) -> None:
    manifest = folder / "splits" / "science_manifest.json"
    assert "yes_no" in run("show", manifest, "--strata").stdout
    record = rows(folder / "splits" / "science_val.jsonl")[0]
    shown = run("show", folder / "splits" / "science_val.jsonl", "--id", record["id"]).stdout
    assert record["question"].split()[0] in shown
