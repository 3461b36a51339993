"""``adapter fetch`` and ``adapter search`` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from loragraft.adapter.candidate import Candidate
from loragraft.cli.adapter_fetch import fetch, search
from loragraft.errors import InputError
from tests.adapter.builders import write_adapter

Run = Callable[..., str]


def invoke(code: int, command: object, *words: str) -> str:
    """Run a command and return what it prints to stdout."""
    result = CliRunner().invoke(command, list(words))  # type: ignore[arg-type]
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_fetch_prints_files_findings_and_folder(tmp_path: Path) -> None:
    source, out = write_adapter(tmp_path / "in"), tmp_path / "out"
    said = invoke(0, fetch, str(source), "-o", str(out))
    assert "adapter_model.safetensors" in said
    assert "modules.any" in said
    assert f"Folder: {out}" in said


def test_fetch_as_json(tmp_path: Path) -> None:
    source, out = write_adapter(tmp_path / "in"), tmp_path / "out"
    report = json.loads(invoke(0, fetch, str(source), "-o", str(out), "--json"))
    assert (report["folder"], report["verdict"]) == (str(out), "pass")


def test_an_unfit_adapter_ends_with_one(tmp_path: Path) -> None:
    source, out = write_adapter(tmp_path / "in", r=64), tmp_path / "out"
    assert "fail" in invoke(1, fetch, str(source), "-o", str(out))
    assert (out / "checksums.txt").exists()


def test_check_says_what_differs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    invoke(0, fetch, str(write_adapter(tmp_path / "in")), "-o", str(out))
    assert "every file is as its checksums say" in invoke(0, fetch, "--check", str(out))
    assert json.loads(invoke(0, fetch, "--check", str(out), "--json"))["ok"] is True
    (out / "adapter_config.json").write_text("{}")
    assert "adapter_config.json has SHA-256" in invoke(1, fetch, "--check", str(out))
    assert json.loads(invoke(1, fetch, "--check", str(out), "--json"))["ok"] is False


def test_a_folder_to_make_is_needed(tmp_path: Path) -> None:
    result = CliRunner().invoke(fetch, [str(tmp_path)])
    assert result.exit_code == 2
    assert "Say with -o which folder to make" in result.output


def test_the_limit_is_kept(tmp_path: Path) -> None:
    source = write_adapter(tmp_path / "in")
    with pytest.raises(InputError, match=r"at most 2\.0 KiB are taken"):
        invoke(2, fetch, str(source), "-o", str(tmp_path / "out"), "--max-size", "2K")


@pytest.mark.parametrize("text", ["4096", "4K", "0.25MiB", "20g", "1 TB"])
def test_sizes(tmp_path: Path, text: str) -> None:
    source = write_adapter(tmp_path / "in")
    (source / "adapter_model.safetensors").write_bytes(bytes(3000))
    invoke(1, fetch, str(source), "-o", str(tmp_path / "out"), "--max-size", text)


@pytest.mark.parametrize("text", ["", "G", "-1", "1 apple", "1e9"])
def test_other_texts_are_no_size(text: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(fetch, [str(tmp_path), "--max-size", text])
    assert result.exit_code == 2
    assert "is no size" in result.output


FOUND = Candidate(
    "hf", "model", "me/lora", "hf:me/lora", "https://x/me/lora", "lora", "me", bytes=2048,
    updated="2025-03-04T05:06:07+00:00", downloads=7, votes=2, description="An adapter",
    name_says="Qwen3-4B", claimed_base="Qwen/Qwen3-4B", gated=True, others=("me/b",),
)  # fmt: skip


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> list[Candidate]:
    """What the search finds, in place of a server."""
    found: list[Candidate] = []
    monkeypatch.setattr("loragraft.adapter.search.search", lambda *words: list(found))
    return found


def test_search_prints_what_tells_finds_apart(finds: list[Candidate]) -> None:
    finds.append(FOUND)
    said = invoke(0, search, "lora")
    assert "hf:me/lora  (2.0 KiB, 2025-03-04, 7 downloads, 2 votes, asks for a consent)" in said
    for line in ("name says: Qwen3-4B", "card says: Qwen/Qwen3-4B", "about: An adapter",
                 "also by its author: me/b"):  # fmt: skip
        assert line in said
    value = json.loads(invoke(0, search, "lora", "--json"))
    assert value["candidates"][0]["others"] == ["me/b"]


def test_a_search_without_finds(finds: list[Candidate]) -> None:
    result = CliRunner().invoke(search, ["lora"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing is called 'lora' there" in result.stderr
