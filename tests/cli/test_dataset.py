"""``loragraft dataset split`` and ``show``: as a person or a script uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loragraft.cli import dataset_show, dataset_split
from loragraft.cli.main import main
from loragraft.dataset.split import load
from loragraft.dataset.split.load import load_split
from loragraft.dataset.split.rounding import SPLITS

HOSTILE = "\x1b[2J\x1b]0;owned\x07 \u202eback\u202c [red]x[/red] :boom:"
THINGS = ("copper", "basalt", "amber", "cobalt", "quartz", "marble", "cedar", "linen", "chalk",
          "ivory", "slate", "jade")  # fmt: skip


def run(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(
        main, ["dataset", *map(str, arguments)], env={"FINETUNE_SPLIT_SEED": None, **environment}
    )


def make(folder: Path, **more: Any) -> Path:  # noqa: ANN401
    """Write 48 records of twelve papers that have nothing in common."""
    rows = [
        {"kind": "qa", "id": f"{paper}-{n}", "task_type": ["numeric", "entity"][n % 2],
         "question": f"{verb} {THINGS[paper]} {THINGS[paper - 5]} {number}?",
         "answers": [f"{THINGS[paper - 3]} {paper * 41 + n}"], "paper_id": THINGS[paper], **more}
        for paper in range(12)
        for n, (verb, number) in enumerate(
            [("Where melts", 11 + paper), ("Who weighed", 930 - paper), ("When froze", 77 * paper),
             ("Which instrument split", 5 + 3 * paper)])
    ]  # fmt: skip
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of task records."""
    return make(tmp_path)


def test_the_choices_are_those_of_the_library() -> None:
    assert dataset_split.FOLDER == load.DEFAULT_FOLDER
    assert dataset_show.SPLITS == SPLITS


def test_help_imports_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys\nfrom loragraft.cli.main import main\n"
        "try:\n    main(['dataset', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'torch', 'pydantic', 'yaml', 'rich', 'jinja2', 'httpx'}\n"
        "print(sorted(m for m in sys.modules if m in heavy or m.startswith('loragraft.dataset')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ("collect", "curate", "leaks", "review", "show", "split"):
        assert f"\n  {name} " in done.stdout


def test_records_are_split_and_the_split_is_shown(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "splits"
    done = run("split", data, "--tag", "t", "--seed", "5", "-o", folder)
    assert done.exit_code == 0, done.output
    assert "Seed 5, from --seed." in done.stderr
    assert "Split t, seed 5" in done.stdout
    assert "Papers: 12; 12 in train" in done.stdout
    assert "Test records whose paper train has seen: 7; has not: 0." in done.stdout
    assert "Small strata: 24 of 24" in done.stdout
    assert f"Written: {folder / 't_manifest.json'}" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["all", "34", "7", "7", "48"] in rows
    assert load_split(folder, "t").seed == 5

    again = run("split", data, "--tag", "t", "--seed", "5", "-o", folder)
    assert again.exit_code == 0
    assert f"Unchanged: {folder / 't_manifest.json'}" in again.stdout

    shown = run("show", folder / "t_manifest.json", "--strata", "--limit", "3")
    assert shown.exit_code == 0, shown.output
    assert "Split t, seed 5" in shown.stdout
    assert "21 more strata; see them with --limit 24." in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80

    other = run("split", data, "--tag", "t", "--seed", "6", "-o", folder)
    assert other.exit_code == 2
    assert "seed 5 there and 6 now" in other.stderr
    assert run("split", data, "--tag", "t", "--seed", "6", "-o", folder, "--replace").exit_code == 0
    assert load_split(folder, "t").seed == 6


def test_the_seed_comes_from_the_environment_else_it_is_the_default(
    data: Path, tmp_path: Path
) -> None:
    done = run("split", data, "--tag", "e", "-o", tmp_path, FINETUNE_SPLIT_SEED="77")
    assert "Seed 77, from FINETUNE_SPLIT_SEED." in done.stderr
    assert load_split(tmp_path, "e").seed == 77
    run("split", data, "--tag", "d", "-o", tmp_path)
    assert load_split(tmp_path, "d").seed == 20251101
    for odd in ("-1", "1e3", ""):
        refused = run("split", data, "--tag", "x", "-o", tmp_path, FINETUNE_SPLIT_SEED=odd)
        assert refused.exit_code == 2
        assert "is no whole number" in refused.stderr


def test_whole_papers_are_kept_apart(data: Path, tmp_path: Path) -> None:
    done = run("split", data, "--tag", "w", "--group-by", "paper_id", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    assert "by whole papers." in done.stdout
    assert "Test records whose paper train has seen: 0; has not: 8." in done.stdout
    held = [{r.paper_id for r in load_split(tmp_path, "w").records(name)} for name in SPLITS]
    assert sum(map(len, held)) == len(set.union(*held)) == 12


def test_the_manifest_is_printed_as_json(data: Path, tmp_path: Path) -> None:
    done = run("split", data, "--tag", "j", "-o", tmp_path, "--json")
    printed = json.loads(done.stdout)
    assert printed.pop("leaks")["clean"] is True
    assert printed == load_split(tmp_path, "j").manifest
    shown = run("show", tmp_path / "j_manifest.json", "--json")
    assert json.loads(shown.stdout) == printed


def test_a_dry_run_writes_nothing(data: Path, tmp_path: Path) -> None:
    done = run("split", data, "--tag", "t", "-o", tmp_path / "none", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "Nothing was written." in done.stdout
    assert not (tmp_path / "none").exists()


def test_strictly_a_leak_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    data = make(tmp_path, question="Where does the amber ship land in the grey harbour?",
                answers=["at the pier"])  # fmt: skip
    done = run("split", data, "--tag", "t", "-o", tmp_path / "s", "--strict")
    assert done.exit_code == 1, done.output
    assert "Nothing was written (--strict)" in done.stderr
    assert f"loragraft dataset leaks t --splits {tmp_path / 's'}" in done.stderr
    assert list((tmp_path / "s").iterdir()) == []
    loose = run("split", data, "--tag", "t", "-o", tmp_path / "s")
    assert loose.exit_code == 0
    assert "See: loragraft dataset leaks t" in loose.stdout
    unseen = run("split", data, "--tag", "t", "-o", tmp_path / "s", "--no-leaks")
    assert "leaks" not in unseen.stdout


def test_a_clean_split_passes_strictly(data: Path, tmp_path: Path) -> None:
    done = run("split", data, "--tag", "t", "-o", tmp_path / "s", "--strict")
    assert done.exit_code == 0, done.output
    assert run("split", data, "--tag", "t", "--strict", "--no-leaks").exit_code == 2


def test_a_split_is_shown_by_its_tag(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("split", data, "--tag", "t").exit_code == 0
    assert "Split t, seed" in run("show", "t").stdout
    assert run("show", "u").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tag", "../x"), "The tag '../x'"),
        (("--tag", "t", "--fractions", "0.5,0.5"), "such as 0.70,0.15,0.15"),
        (("--tag", "t", "--seed", "x"), "The seed 'x' (--seed)"),
        ((), "Missing option '--tag'"),
        (("--tag", "t", "--group-by", "author"), "is not 'paper_id'"),
    ],
)
def test_bad_usage_is_said(data: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run("split", data, *arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_bad_input_is_said(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    for text, words in [("", "holds no records"), ('{"id": 1}\n', 'line 1: The field "kind"'),
                        ("{\n", "line 1 is no JSON")]:  # fmt: skip
        path.write_text(text)
        for command in (("split", path, "--tag", "t"), ("show", path)):
            done = run(*command)
            assert done.exit_code == 2
            assert words in done.stderr
    assert "does not exist" in run("show", tmp_path / "none.jsonl").stderr
    assert "does not exist" in run("show", tmp_path / "none_manifest.json").stderr


def test_records_are_shown_in_80_columns(tmp_path: Path) -> None:
    question = "word " * 60 + "\nsecond\tline " + "x" * 200 + " \u6f22\u5b57" * 60
    data = make(tmp_path, evidence=["doc#1-20"], note={"a": [1, None]}, question=question)
    shown = run("show", data, "--limit", "2").stdout
    assert shown.startswith("0-0: numeric (qa), paper copper\n  question  word word")
    assert "  evidence  doc#1-20\n" in shown
    assert '  note      {"a": [1, null]}\n' in shown
    assert "\n\n0-1: entity (qa), paper copper\n" in shown
    from rich.cells import cell_len

    assert max(map(cell_len, shown.splitlines())) <= 80
    assert run("show", data).stdout.count(" (qa), paper ") == 5
    assert run("show", data, "--limit", "0").stdout == ""


def test_a_record_is_found_by_its_id(data: Path) -> None:
    found = run("show", data, "--id", "7-2", "--id", "3-1", "--json")
    assert [json.loads(line)["id"] for line in found.stdout.splitlines()] == ["3-1", "7-2"]
    missing = run("show", data, "--id", "7-2", "--id", "nobody")
    assert missing.exit_code == 2
    assert "holds no record with the id 'nobody'" in missing.stderr
    assert run("show", data, "--id", "7-2", "--strata").exit_code == 2


def test_strata_of_a_file_are_counted(data: Path) -> None:
    shown = run("show", data, "--strata", "--limit", "2").stdout
    rows = [line.split() for line in shown.splitlines()]
    assert ["numeric", "qa", "24"] in rows
    assert ["entity", "amber", "2"] in rows
    assert "Papers: 12. Strata of paper and task type: 24." in shown
    assert "22 more strata" in shown
    counted = json.loads(run("show", data, "--strata", "--json").stdout)
    assert counted["records"] == 48
    assert sum(stratum["records"] for stratum in counted["strata"]) == 48


def test_a_long_name_of_a_field_stands_above_its_text(tmp_path: Path) -> None:
    path = make(tmp_path, likes_of_the_post=350)
    assert "\n  likes_of_the_post\n            350\n" in run("show", path).output


def test_hostile_texts_are_shown_not_obeyed(tmp_path: Path) -> None:
    data = make(tmp_path, question=HOSTILE, answers=[HOSTILE], **{"k\x1b[31m": HOSTILE})
    for arguments in (("show", data), ("show", data, "--json"), ("show", data, "--strata")):
        done = run(*arguments)
        assert done.exit_code == 0, done.output
        assert not {"\x1b", "\x07", "\u202e"} & set(done.output)
    assert "[red]x[/red] :boom:" in run("show", data).stdout


def test_a_long_text_is_cut_for_people_only(tmp_path: Path) -> None:
    data = make(tmp_path, question="long " * 2000)
    assert "... (6,000 more characters: --json)" in " ".join(run("show", data).stdout.split())
    first = json.loads(run("show", data, "--json", "--limit", "1").stdout)
    assert first["question"] == "long " * 2000
