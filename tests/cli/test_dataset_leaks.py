"""``loragraft dataset leaks``: as a person or a script uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli import dataset_leaks as cli
from loragraft.cli.main import main
from loragraft.dataset.leaks import evidence, find
from loragraft.dataset.leaks.report import EVIDENCE_SHARED, KINDS, NEXT_STEPS
from loragraft.dataset.split import load
from loragraft.dataset.split.write import plan_split, write_split
from tests.dataset.leaks.records import TEST, TRAIN, planted, qa, reply, write_rows, write_splits

HOSTILE = "<script>alert(1)</script> \x1b[2J\x1b]0;title\x07 and \u202eorbit\u202c of \x9b31mcopper"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["dataset", "leaks", *map(str, arguments)])


def named(splits: dict[str, Path]) -> list[str]:
    return [f"{name}={path}" for name, path in splits.items()]


@pytest.fixture
def leaking(tmp_path: Path) -> list[str]:
    """A set with one copy."""
    return named(write_splits(tmp_path, planted(test=qa("x9", TRAIN[1]["question"], "a sonde"))))


@pytest.fixture
def clean(tmp_path: Path) -> list[str]:
    """A set without leaks."""
    return named(write_splits(tmp_path, planted()))


def test_a_clean_set_exits_with_0(clean: list[str]) -> None:
    result = run(*clean, "--strict")
    assert result.exit_code == 0, result.output
    assert "Records: 6 in train, 2 in val, 4 in test." in result.stdout
    assert result.stdout.endswith("No leaks were found.\n")
    assert "Paraphrases were not looked for" in result.stderr


def test_a_leak_is_shown_with_both_texts(leaking: list[str]) -> None:
    result = run(*leaking)
    assert result.exit_code == 0
    assert "exact (leak, 1.00): the same answer" in result.stdout
    assert result.stdout.count(TRAIN[1]["question"]) == 2
    assert "test, x9" in result.stdout
    assert "1 (20.0%)" in result.stdout
    assert "\nLeaks: 1 exact.\n" in result.stdout


def test_strict_exits_with_1_and_shows_as_much(leaking: list[str]) -> None:
    result = run(*leaking, "--strict")
    assert result.exit_code == 1
    assert result.stdout == run(*leaking).stdout


def test_json_says_everything(leaking: list[str], tmp_path: Path) -> None:
    result = run(*leaking, "--json", "--strict")
    assert result.exit_code == 1
    value = json.loads(result.stdout)
    assert value["clean"] is False
    assert value["records"] == {"train": 6, "val": 2, "test": 5}
    assert value["counts"] == [
        {"kind": "exact", "severity": "leak", "found": 1, "records": {"test": 1}}
    ]
    assert value["leaks"][0]["first"] == {
        "where": "test", "id": "x9", "text": TRAIN[1]["question"],
    }  # fmt: skip


def test_a_split_is_named_by_tag_or_manifest(tmp_path: Path) -> None:
    rows = [*TRAIN, *TEST, *(qa(f"n{n}", f"What is stone {n * 111}?", "x") for n in range(10))]
    data, folder = write_rows(tmp_path / "data.jsonl", rows), tmp_path / "splits"
    write_split(plan_split(data, seed=20251101), folder, "demo")
    by_tag = run("demo", "--splits", folder, "--json")
    assert by_tag.exit_code == 0, by_tag.output
    assert sum(json.loads(by_tag.stdout)["records"].values()) == 20
    assert run(folder / "demo_manifest.json", "--json").stdout == by_tag.stdout
    with (folder / "demo_test.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n")
    changed = run("demo", "--splits", folder)
    assert changed.exit_code == 2
    assert "is not the file that its manifest names" in changed.stderr


def test_a_file_that_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("{}\n", encoding="utf-8")
    result = run(path)
    assert result.exit_code == 2
    assert "give each split as NAME=FILE" in result.stderr


@pytest.mark.parametrize("option", ["--corpus", "--training-text"])
def test_texts_that_are_not_there_are_told_first(leaking: list[str], option: str) -> None:
    result = run(*leaking, option, "nowhere")
    assert result.exit_code == 2
    assert "nowhere does not exist: give files" in result.stderr
    assert "Reading" not in result.stderr


def test_a_tag_that_is_not_there(tmp_path: Path) -> None:
    result = run("nothing", "--splits", tmp_path)
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


@pytest.mark.parametrize(
    ("sources", "message"),
    [(["a", "b"], "one TAG or MANIFEST"), (["train=a", "b"], "no NAME=FILE"),
     (["train=a", "=b"], "no NAME=FILE"), (["train=a", "train=b"], "named twice"),
     ([], "Missing argument"), (["a", "--near", "0.2"], "--near")],
)  # fmt: skip
def test_sources_that_are_none(sources: list[str], message: str) -> None:
    result = run(*sources)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_embedder_finds_paraphrases(tmp_path: Path, static_folder: Path) -> None:
    splits = {
        "train": [reply("a", "lamp river stone lamp garden lamp", "x")],
        "test": [reply("b", "garden stone lamp lamp river lamp river", "x")],
    }
    sources = named(write_splits(tmp_path, splits))
    result = run(*sources, "--embedder", static_folder, "--json", "--near", "0.95")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["embedder"] == static_folder.name
    assert [leak["kind"] for leak in value["leaks"]] == ["near"]


def test_an_embedder_that_is_none(clean: list[str], tmp_path: Path) -> None:
    result = run(*clean, "--embedder", tmp_path)
    assert result.exit_code == 2
    assert "holds no embedder" in result.stderr


def test_a_corpus_and_a_training_text(clean: list[str], tmp_path: Path) -> None:
    papers = write_rows(
        tmp_path / "papers.jsonl",
        [{"doc_id": "faq", "title": "Questions", "text": f"{TEST[1]['question']} Pitch."}],
    )
    result = run(*clean, "--corpus", papers, "--training-text", papers, "--strict")
    assert result.exit_code == 1
    assert (
        "\nLeaks: 1 test-question-in-training-text, 1 test-question-in-corpus.\n" in result.stdout
    )


def test_the_page_escapes_what_it_shows(tmp_path: Path) -> None:
    rows = {"train": [reply("a<b>", HOSTILE, "x")], "test": [reply("b&b", HOSTILE.upper(), "x")]}
    page = tmp_path / "leaks.html"
    result = run(*named(write_splits(tmp_path, rows)), "--html", page)
    assert result.exit_code == 0, result.output
    for text in (result.stdout, page.read_text(encoding="utf-8")):
        assert not set("\x1b\x07\x9b\u202e") & set(text)
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "http" not in text.replace("initial-scale", "")
    assert "a&lt;b&gt;" in text


@pytest.mark.parametrize("page", ["no/leaks.html", "", ".", "train.jsonl/leaks.html"])
def test_a_page_that_cannot_be_written(clean: list[str], tmp_path: Path, page: str) -> None:
    for path in (tmp_path / page, Path("/")):
        result = run(*clean, "--html", path)
        assert result.exit_code == 2, result.output
        assert "cannot be written" in result.stderr


def test_a_page_never_takes_the_place_of_what_is_read(clean: list[str], tmp_path: Path) -> None:
    test = Path(clean[1].partition("=")[2])
    before = test.read_bytes()
    link = tmp_path / "link.html"
    link.symlink_to(test)
    for page in (test, link):
        result = run(*clean, "--html", page)
        assert result.exit_code == 2
        assert "would be overwritten" in result.stderr
        assert test.read_bytes() == before


def test_a_page_is_no_device(clean: list[str]) -> None:
    result = run(*clean, "--html", os.devnull)
    assert result.exit_code == 2
    assert "no regular file" in result.stderr
    assert not Path(os.devnull).is_file()


def test_a_name_that_is_too_long_is_said(clean: list[str]) -> None:
    for arguments in (["test=" + "n" * 300], [*clean, "--html", "n" * 300]):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert "is too long" in result.stderr


def test_the_rest_is_counted(tmp_path: Path) -> None:
    question = "Who built the old bridge?"
    rows = {
        "train": [reply("a", question, "x")],
        "test": [reply(f"b{n}", question, "x") for n in range(9)],
    }
    sources = named(write_splits(tmp_path, rows))
    result = run(*sources, "--limit", "2")
    assert "... and 7 more: exact, leak" in result.stdout
    assert "... and" not in run(*sources, "--limit", "0").stdout


def test_a_file_that_is_no_set(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    for content in (b"", b"[1]\n", b"\x1f\x8b\x08\x00", b'{"kind": "qa"}\n'):
        path.write_bytes(content)
        result = run(f"train={path}", f"test={path}")
        assert result.exit_code == 2, content
        assert "train.jsonl" in result.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom loragraft.cli.dataset_leaks import leaks\n"
        "heavy = {'numpy', 'torch', 'faiss', 'jinja2', 'rich', 'datasketch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_to_do_is_said(leaking: list[str]) -> None:
    result = run(*leaking)
    assert "exact: Take one of the two out: dataset curate" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines()[-4:])


def test_the_options_say_what_the_library_does() -> None:
    assert find.NEAR == cli.DEFAULT_NEAR
    assert find.LEAST_NEAR == cli.LEAST_NEAR
    assert evidence.CORPUS_USES == cli.CORPUS_USES
    assert load.DEFAULT_FOLDER == cli.SPLITS
    assert set(KINDS) - set(NEXT_STEPS) == {EVIDENCE_SHARED}
