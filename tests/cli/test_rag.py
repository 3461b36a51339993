"""``loragraft rag``: as a person or a script uses it, with a small embedder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli import rag as cli
from loragraft.cli import rag_look
from loragraft.cli.main import main
from loragraft.rag.index import approximate, layout
from loragraft.rag.search import retrieve
from tests.support.embedding_server import embedding_server
from tests.support.small_index import build_static, make_document

HOSTILE = "A violin \x1b[2J\x1b]0;title\x07 and \u202eorbit\u202c of \x9b31mcopper."


def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["rag", *map(str, arguments)], input=stdin)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder of documents."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.md").write_text(f"# Part {number}\n\n{make_document(number).text}\n")
    (folder / "lamp.md").write_text(
        "---\nyear: 2024\n---\n# The lamp\n\nThe lamp of the harbour is a signal.\n"
    )
    return folder


@pytest.fixture
def index(docs: Path, static_folder: Path, tmp_path: Path) -> Path:
    """Their index."""
    target = tmp_path / "index"
    result = run("index", docs, "-o", target, "--embedder", static_folder)
    assert result.exit_code == 0, result.output
    return target


def test_the_choices_are_those_of_the_library() -> None:
    assert cli.SEARCHES == layout.KINDS
    assert rag_look.MODES == retrieve.MODES
    assert cli.APPROXIMATE_FROM == approximate.APPROXIMATE_FROM


def test_an_index_is_made_asked_and_brought_up_to_date(index: Path, docs: Path) -> None:
    found = run("query", index, "lamp of the harbour", "-k", "1")
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("1. The lamp\ndocs/lamp.md, characters ")
    assert "The lamp of the harbour is a signal." in found.stdout
    assert max(map(len, found.stdout.splitlines())) <= 80

    same = run("update", index)
    assert same.exit_code == 0, same.output
    assert "5 documents: 5 unchanged" in same.stdout
    assert "Nothing changed" in same.stdout

    (docs / "new.txt").write_text("A ferry crosses the river.")
    (docs / "0.md").write_text("# Part 0\n\nThe glacier and the desert.\n")
    (docs / "1.md").unlink()
    changed = run("update", index)
    assert "5 documents: 1 new, 1 changed, 1 gone, 3 unchanged" in changed.stdout
    assert "gone: docs/1.md" in changed.stdout
    assert "docs/new.txt" in run("query", index, "ferry", "--mode", "lexical", "-k", "1").stdout


def test_what_cannot_be_read_is_named_and_the_rest_is_indexed(
    docs: Path, static_folder: Path, tmp_path: Path
) -> None:
    (docs / "empty.md").touch()
    (docs / "odd\x1b[2J.pdf").write_bytes(b"no pdf")
    result = run("index", docs, "-o", tmp_path / "i", "--embedder", static_folder, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["documents"] == 5
    assert {Path(one["source"]).suffix for one in report["skipped"]} == {".md", ".pdf"}
    assert "empty.md: is empty" in result.stderr
    assert "2 skipped; everything else is in the index." in result.stderr
    assert "\x1b" not in result.output
    again = run("update", tmp_path / "i")
    assert again.exit_code == 1
    assert "Nothing changed" in again.stdout
    stats = run("stats", tmp_path / "i")
    assert "empty.md" in stats.stdout
    assert stats.exit_code == 0
    assert "\x1b" not in stats.output


def test_sources_named_from_a_folder_mean_the_same_later(
    docs: Path, static_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (docs / "empty.md").touch()
    monkeypatch.chdir(docs.parent)
    made = run("index", "docs", "-o", "i", "--embedder", static_folder)
    assert made.exit_code == 1
    assert "Skipped: docs/empty.md: is empty" in made.stderr
    same = run("update", "i")
    assert "Skipped: docs/empty.md: is empty" in same.stderr
    assert "Nothing changed" in same.stdout
    monkeypatch.chdir(docs)
    assert "Nothing changed" in run("update", "../i").stdout


def test_sources_are_replaced_or_added(index: Path, docs: Path, tmp_path: Path) -> None:
    other = tmp_path / "more"
    other.mkdir()
    (other / "walnut.md").write_text("# Walnut\n\nA walnut on the saddle.\n")
    added = run("update", index, "--add", other)
    assert "6 documents: 1 new, 5 unchanged" in added.stdout, added.output
    assert "6 documents: 6 unchanged" in run("update", index).stdout
    assert "1 document: 5 gone, 1 unchanged" in run("update", index, other).stdout
    shutil.rmtree(docs)
    assert run("update", index).exit_code == 0  # they are no source any more
    shutil.rmtree(other)
    gone = run("update", index)
    assert gone.exit_code == 2
    assert f"{other}, which the index was made of, does not exist any more. Bring" in gone.stderr
    assert "rag update INDEX SOURCE…" in gone.stderr
    assert "walnut" in run("query", index, "walnut", "--mode", "lexical").stdout


def test_questions_line_by_line(index: Path) -> None:
    asked = run("query", index, "-", "-k", "2", "--json", stdin=b"lamp signal\n\n\xff river\n")
    assert asked.exit_code == 0, asked.output
    lines = [json.loads(line) for line in asked.stdout.splitlines()]
    assert [line["question"] for line in lines] == ["lamp signal", "\ufffd river"]
    best = lines[0]["passages"][0]
    assert (best["rank"], best["doc_id"], best["metadata"]["year"]) == (1, "docs/lamp.md", 2024)
    assert best["text"] == "The lamp of the harbour is a signal." or best["start"] < best["stop"]
    plain = run("query", index, "-", "-k", "1", stdin="lamp\nriver\n")
    assert plain.stdout.startswith("lamp\n\n1. ")
    assert run("query", index, "-", stdin="").stdout == ""


def test_filters(index: Path) -> None:
    only = json.loads(run("query", index, "river", "--filter", "year>=2000", "--json").stdout)
    assert {one["doc_id"] for one in only["passages"]} == {"docs/lamp.md"}
    none = run("query", index, "river", "--filter", "year>2024")
    assert (none.exit_code, none.stdout) == (0, "")
    assert "Nothing was found" in none.stderr
    wrong = run("query", index, "river", "--filter", "yaer=2024")
    assert wrong.exit_code == 2
    assert "year" in wrong.stderr


def test_documents_cannot_steer_the_terminal(
    docs: Path, static_folder: Path, tmp_path: Path
) -> None:
    (docs / "hostile.txt").write_text(HOSTILE)
    record = {"doc_id": "x\x1b[2J", "title": "t\u202eitle\x9b", "text": HOSTILE}
    (docs / "r.jsonl").write_text(json.dumps(record) + "\n")
    target = tmp_path / "index"
    made = run("index", docs, "-o", target, "--embedder", static_folder)
    for arguments in (["query", target, "violin copper"], ["query", target, "violin", "--json"],
                      ["stats", target], ["verify", target]):  # fmt: skip
        result = run(*arguments)
        assert not set("\x1b\x07\x9b\u202e") & set(result.output), result.output
    assert made.exit_code in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["index", "none", "-o", "i"], 2, "does not exist"),
        (["index", "docs"], 2, "Missing option '-o'"),
        (["index", "-o", "i"], 2, "Missing argument"),
        (["index", "docs", "-o", "i", "--chunk-tokens", "9"], 2, "give a number from 32"),
        (["index", "docs", "-o", "i", "--overlap", "9999"], 2, "overlap of 9999"),
        (["index", "docs", "-o", "i", "--search", "magic"], 2, "--search"),
        (["index", "docs", "-o", "index"], 2, "--replace"),
        (["index", "docs", "-o", "docs"], 2, "is no index"),
        (["index", "docs", "-o", "i", "--embedder", "http://127.0.0.1:1/v1"], 2, "behind a #"),
        (["index", "docs", "-o", "i", "--embedder", "http://127.0.0.1:1/v1#m"], 3, "127.0.0.1:1"),
        (["index", "docs", "-o", "i", "--embedder", "ollama:m"], 3, "127.0.0.1:1"),
        (["index", "docs", "-o", "i", "--embedder", "./none"], 2, "./none does not exist"),
        (["index", "docs", "-o", "i", "--embedder", ""], 2, "has no name"),
        (["index", "", "-o", "i"], 2, "path is empty"),
        (["index", "docs", "-o", ""], 2, "path is empty"),
        (["index", "bare", "-o", "i"], 2, "no document to index"),
        (["query", "", "x"], 2, "path is empty"),
        (["query", "index", "x", "--rerank", "docs"], 2, "docs holds no config.json"),
        (["query", "none", "x"], 2, "There is no index none"),
        (["query", "docs", "x"], 2, "it is no index"),
        (["query", "index", " "], 2, "question is empty"),
        (["query", "index", "x", "-k", "0"], 2, "-k"),
        (["query", "index", "x", "--mode", "magic"], 2, "--mode"),
        (["query", "index", "x", "--filter", "nonsense"], 2, "is no filter"),
        (["query", "index", "x", "--rerank", "docs"], 2, "config.json"),
        (["update", "none"], 2, "There is no index none"),
        (["update", "index", "none"], 2, "none does not exist"),
        (["update", "index", "--embedder", "other"], 2, "is not the same"),
        (["query", "index", "x", "--embedder", "other"], 2, "is not the same"),
        (["stats", "docs"], 2, "it is no index"),
        (["verify", "none"], 2, "There is no index none"),
    ],
)
def test_refusals(
    index: Path, tmp_path: Path, arguments: list[str], code: int, words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    (tmp_path / "bare").mkdir()
    if "other" in arguments:
        build_static(tmp_path / "other", seed=1)
    before = (index / "index.json").read_bytes()
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert (index / "index.json").read_bytes() == before


def test_verify_finds_damage(index: Path) -> None:
    sound = run("verify", index)
    assert sound.exit_code == 0, sound.output
    assert sound.stdout.rstrip().endswith(": verified")
    vectors = next(index.glob("vectors-*"))
    data = bytearray(vectors.read_bytes())
    data[-3] ^= 64
    vectors.write_bytes(data)
    broken = run("verify", index, "--no-embedder")
    assert broken.exit_code == 1
    assert "index.changed" in broken.stdout
    assert "NOT as it should be" in broken.stdout
    report = json.loads(run("verify", index, "--json").stdout)
    assert report["ok"] is False
    assert {"code", "severity", "measured", "expected", "next_step"} == set(report["findings"][0])


def test_an_embedder_that_moved_is_named(index: Path, static_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(static_folder, copy)
    info = json.loads((index / "index.json").read_text())
    info["spec"]["name"] = str(tmp_path / "gone")
    (index / "index.json").write_text(json.dumps(info))
    for command in (["query", index, "lamp"], ["update", index]):
        moved = run(*command)
        assert moved.exit_code == 2
        assert "gone, the embedder that made the index, is there no more" in moved.stderr
        assert "--embedder FOLDER" in moved.stderr
    assert run("query", index, "lamp", "--mode", "lexical").exit_code == 0
    assert run("verify", index).exit_code == 1
    for command in (["query", index, "lamp"], ["verify", index], ["update", index]):
        result = run(*command, "--embedder", copy)
        assert result.exit_code == 0, result.output


def test_an_endpoint_embeds(docs: Path, tmp_path: Path, static_folder: Path) -> None:
    from loragraft.embedding.static import StaticEmbedder

    target = tmp_path / "index"
    with embedding_server(StaticEmbedder(static_folder, "small")) as server:
        result = run("index", docs, "-o", target, "--embedder", f"{server.url}/v1#small")
        assert result.exit_code == 0, result.output
        assert run("query", target, "lamp").exit_code == 0
        server.failures = [503] * 9
        down = run("query", target, "lamp")
        assert down.exit_code == 3
    assert run("query", target, "lamp", "--mode", "lexical").exit_code == 0


def test_a_full_disk_is_code_3(
    docs: Path, static_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loragraft.artifact.space.free_disk", lambda _path: 10)
    result = run("index", docs, "-o", tmp_path / "i", "--embedder", static_folder)
    assert result.exit_code == 3
    assert "missing" in result.stderr


def test_lexical_queries_import_neither_torch_nor_a_model(index: Path) -> None:
    code = (
        "import sys\nfrom loragraft.cli.main import main\n"
        f"try:\n    main(['rag', 'query', {str(index)!r}, 'lamp', '--mode', 'lexical'])\n"
        "except SystemExit as done:\n    assert done.code == 0\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'model2vec', 'bm25s'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "lamp" in done.stdout


def test_a_name_that_is_no_unicode(docs: Path, static_folder: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xff"))
    shutil.copytree(docs, odd)
    target = tmp_path / "index"
    result = run("index", odd, "-o", target, "--embedder", static_folder)
    assert result.exit_code == 0, result.output
    assert "unchanged" in run("update", target).stdout
    assert run("stats", target, "--json").exit_code == 0


def test_small_collections_are_searched_exactly_and_it_is_said(
    docs: Path, static_folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "i"
    asked = run("index", docs, "-o", target, "--embedder", static_folder, "--search", "hnsw")
    assert "exact search; hnsw has too few chunks" in asked.stdout
    assert "exact search; hnsw has too few chunks" in run("stats", target).stdout


def test_an_index_inside_its_source_does_not_find_itself(docs: Path, static_folder: Path) -> None:
    target = docs / "index"
    assert run("index", docs, "-o", target, "--embedder", static_folder).exit_code == 0
    assert "5 documents: 5 unchanged" in run("update", target).stdout
