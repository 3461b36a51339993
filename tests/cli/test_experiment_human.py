"""``loragraft experiment human``: out to raters and back, by the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from loragraft.artifact.jsonl import write_jsonl
from loragraft.cli.main import main
from loragraft.experiment.key import digest
from loragraft.experiment.reading import sample_json
from tests.support.judging import sample

ENGINE = {"kind": "llama", "model": "m"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A series with two experiments and their answers."""
    tasks = [{"kind": "qa", "id": f"q{n}", "task_type": "fact", "question": f"What is {n}?",
              "answers": [f"\x1b[31mthing {n}"]} for n in range(4)]  # fmt: skip
    write_jsonl(tmp_path / "tasks.jsonl", tasks)
    for name in ("base", "tuned"):
        folder = tmp_path / "outputs" / "small" / name
        folder.mkdir(parents=True)
        samples = [sample(name, task["id"], f"=It is {name[n:]}", record=digest(task))
                   for n, task in enumerate(tasks)]  # fmt: skip
        write_jsonl(folder / "samples.jsonl", map(sample_json, samples))
    values = {
        "series": "small", "data": {"files": ["tasks.jsonl"]}, "outputs": "outputs",
        "experiments": {name: {"engine": ENGINE} for name in ("base", "tuned", "third")},
        "baseline": "base",
    }  # fmt: skip
    path = tmp_path / "series.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def human(config: Path, *options: str | Path) -> Result:
    return CliRunner().invoke(main, ["experiment", "human", str(config), *map(str, options)])


def fill(path: Path, target: Path, choice: str) -> Path:
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    filled = [rows[0], *([*row[:6], choice, "fine"] for row in rows[1:])]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=";").writerows(filled)
    target.write_bytes(out.getvalue().encode("cp1252"))
    return target


def test_pairs_go_out_and_come_back(config: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "rate.csv"
    result = human(config, "--export", sheet, "--pairs", "tuned", "base", "--count", "3")
    assert result.exit_code == 0, result.output
    assert "3 pairs of tuned and base for raters" in result.stdout
    anna, bob = (fill(sheet, tmp_path / f"{name}.csv", choice)
                 for name, choice in (("anna", "1"), ("bob", "tie")))  # fmt: skip
    result = human(config, "--import", anna, "--import", bob)
    assert result.exit_code == 0, result.output
    for text in ("anna", "bob", "majority", "100.0%", "Krippendorff's alpha", "anna and bob"):
        assert text in result.stdout
    told = json.loads(human(config, "--json").stdout)["exports"]
    assert [(one["a"], one["b"], one["rows"], len(one["raters"])) for one in told] == [
        ("tuned", "base", 3, 2)
    ]


def test_a_file_without_ratings_is_asked_about(config: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "carl.csv"
    human(config, "--export", sheet, "--pairs", "tuned", "base")
    result = human(config, "--import", sheet)
    assert result.exit_code == 0, result.output
    assert "carl rated none of the pairs" in result.stderr


def test_an_export_says_as_json_where_things_are(config: Path, tmp_path: Path) -> None:
    result = human(config, "--export", tmp_path / "a.csv", "--pairs", "tuned", "base", "--json")
    told = json.loads(result.stdout)
    assert told["rows"] == 4
    assert Path(told["key"], "key.json").is_file()
    assert "\x1b" not in (tmp_path / "a.csv").read_text(encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (("--export", "x.csv", "--import", "y.csv"), 2, "two steps"),
        (("--pairs", "base", "tuned"), 2, "what --export FILE writes"),
        (("--count", "3"), 2, "what --export FILE writes"),
        (("--export", "x.csv"), 2, "name the two"),
        (("--export", "x.csv", "--pairs", "base", "nobody"), 2, "nobody is no experiment"),
        (("--export", "x.csv", "--pairs", "base", "third"), 2, "no answers to compare"),
        (("--export", "gone/none/../x.csv", "--pairs", "base", "tuned", "--count", "0"), 2, "0"),
        (("--import", "gone.csv"), 2, "cannot be read"),
        ((), 2, "no pairs with raters"),
    ],
)
def test_what_cannot_be_done_is_said(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    code: int,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = human(config, *options)
    assert result.exit_code == code
    assert reason in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "x.csv").exists()
