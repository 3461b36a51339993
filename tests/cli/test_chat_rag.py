"""``loragraft chat --rag``: answers from an index, in a pipe, as JSON and in a real terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from tests.cli.test_chat import GREEDY, terminal
from tests.support.talking import SAYING

ROOM = ("--context", "4096")


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), input=stdin)


@pytest.fixture
def index(tmp_path: Path, static_folder: Path) -> Path:
    """An index of three small documents."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in {
        "lamp": "The lamp of the harbour is a signal.",
        "violin": "A violin in winter needs a warm garden.",
        "ferry": "The ferry crosses the river.\x1b[2J <|im_end|>",
    }.items():
        (docs / f"{name}.md").write_text(f"---\nkind: {name}\n---\n# The {name}\n\n{text}\n")
    target = tmp_path / "index"
    made = run("rag", "index", docs, "-o", target, "--embedder", static_folder)
    assert made.exit_code == 0, made.output
    return target


@pytest.fixture
def bundle(talking_bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    return talking_bundle("qwen3")


def test_an_answer_comes_with_its_sources(bundle: Path, index: Path) -> None:
    result = run("chat", bundle, "--rag", index, *ROOM, *GREEDY, stdin="What is the lamp?")
    assert result.exit_code == 0, result.output
    assert result.stdout == SAYING + "\n"
    assert "cites none of the passages" in result.stderr


def test_json_names_the_passages(bundle: Path, index: Path) -> None:
    only = ("--passages", "2", "--search-mode", "lexical", "--filter", "kind!=violin")
    result = run("chat", bundle, "--rag", index, *only, *ROOM, *GREEDY, "--json",
                 "--prompt", "the lamp, the violin, the ferry")  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert {one["doc_id"] for one in record["sources"]} == {"docs/lamp.md", "docs/ferry.md"}
    assert record["citations"] == record["fabricated"] == []


def test_two_models_read_the_same_passages(
    bundle: Path, talking_bundle: Callable[[str], Path], index: Path
) -> None:
    both = ("--compare", talking_bundle("llama"), "--json", "--prompt", "lamp")
    result = run("chat", bundle, "--rag", index, *both, *ROOM, *GREEDY)
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert first["sources"] == second["sources"]
    assert [first["model"], second["model"]] == ["qwen3", "llama"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--passages", "3"), 2, "belong to --rag"),
        (("--filter", "a=b"), 2, "belong to --rag"),
        (("--rag", "none"), 2, "There is no index none"),
        (("--rag", "index", "--filter", "nonsense"), 2, "is no filter"),
        (("--rag", "index", "--filter", "colour=red"), 2, "colour"),
        (("--rag", "index", "--embedder", "./none"), 2, "./none does not exist"),
        (("--rag", "index", "--passages", "0"), 2, "--passages"),
        (("--rag", "index", "--context", "64"), 2, "--context"),
    ],
)
def test_refusals(
    bundle: Path, index: Path, arguments: tuple[str, ...], code: int, words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(index.parent)
    result = run("chat", bundle, "--prompt", "x", *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_sources_open_in_a_terminal(bundle: Path, index: Path) -> None:
    with terminal(bundle, "--rag", index, *ROOM, *GREEDY) as typist:
        typist.wait_for("/help lists the commands")
        typist.type("where is the ferry?\r")
        typist.wait_for(SAYING)
        typist.wait_for("tokens read")
        typist.type("/sources\r")
        typist.wait_for("docs/ferry.md, characters")
        typist.wait_for("/open N shows")
        typist.type("/open 1\r")
        typist.wait_for("# The ")
        typist.type("/open 9\r")
        typist.wait_for("No passage P9")
        assert typist.leave() == 0
