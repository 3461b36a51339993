"""``loragraft ollama`` from the command line, against a server that answers as Ollama does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from loragraft.cli.ollama import ollama
from loragraft.engine import llama
from loragraft.errors import BundleError, InputError, LoragraftError, UnavailableError
from loragraft.ollama.modelfile import parse_modelfile
from loragraft.ollama.record import Record, Registered
from tests.support.ollama_server import OllamaStandIn


@pytest.fixture
def bundle(talking_bundle: Callable[[str], Path], tmp_path: Path) -> str:
    """A pico bundle to write into."""
    return str(shutil.copytree(talking_bundle("qwen2"), tmp_path / "bundles" / "qwen2"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaStandIn]:
    """A server that OLLAMA_HOST names, and a list of registered models of our own."""
    monkeypatch.setenv("LORAGRAFT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(llama, "check_loads", lambda *_: None)
    with OllamaStandIn(tmp_path / "server") as found:
        monkeypatch.setenv("OLLAMA_HOST", f" '{found.url.removeprefix('http://')}/' ")
        yield found


def invoke(code: int, *words: str) -> str:
    """Run a command and return what it prints to stdout."""
    result = CliRunner().invoke(ollama, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.mark.slow
def test_the_whole_way(server: OllamaStandIn, bundle: str) -> None:
    said = invoke(0, "register", bundle, "--name", "mine", "-p", "num_ctx=512")
    assert "log-probabilities" in said
    assert f"Registered: mine:latest at {server.url}" in said
    assert "nothing changed" in invoke(0, "register", bundle, "--name", "mine", "-p", "num_ctx=512")
    assert "serves what was trained" in invoke(0, "verify", "mine", "--bundle", bundle)
    assert "as registered" in invoke(0, "list")
    wrong = invoke(1, "verify", "mine", "--bundle", bundle, "--system", "Be brief.", "--json")
    assert json.loads(wrong)["holds"] is False
    with pytest.raises(BundleError, match="--replace"):
        invoke(2, "register", bundle, "--name", "mine", "--system", "Be brief.")
    report = json.loads(
        invoke(0, "register", bundle, "--name", "mine", "--system", "Be brief.", "--replace",
               "--json")
    )  # fmt: skip
    assert (report["tag"], report["proof"]["holds"]) == ("mine:latest", True)
    assert json.loads(invoke(0, "list", "--json"))["models"][0]["on_server"] == "as registered"
    assert "Removed: mine:latest" in invoke(0, "remove", "mine")
    assert "has registered nothing" in invoke(0, "list")
    assert server.names() == []


def test_list_without_a_server_shows_what_is_noted(
    server: OllamaStandIn, bundle: str, tmp_path: Path
) -> None:
    away = "http://127.0.0.1:9"
    entry = Registered(away, "mine:latest", bundle, "qwen2.F16.gguf", "0" * 64, None, "1", "2",
                       "0.32.15", "2026-01-01T00:00:00+00:00")  # fmt: skip
    Record(tmp_path / "state").put(entry)
    for words in (["list", "--host", away], ["list", "--host", away, "--json"]):
        result = CliRunner().invoke(ollama, words)
        assert isinstance(result.exception, UnavailableError)
        assert result.exception.exit_code == 3
        assert "mine:latest" in result.stdout
        # A long path folds the table's other columns, so the words need not stand on one line.
        assert {"server", "not", "reached"} <= set(result.stdout.replace('"', " ").split())
    listed = json.loads(result.stdout)
    assert (listed["reached"], listed["models"][0]["of_bundle"]) == (False, "changed")
    assert json.loads(invoke(0, "list", "--json"))["reached"] is True


def test_modelfile_is_printed_and_written(bundle: str, tmp_path: Path) -> None:
    license_ = tmp_path / "LICENSE"
    license_.write_text('Free "as in speech".\n"""\nFROM evil')
    said = invoke(0, "modelfile", bundle, "-p", "temperature=0.2", "--message", "user", "hi")
    found = parse_modelfile(said)
    assert found.value("temperature") == 0.2
    assert found.messages == (("user", "hi"),)
    with pytest.raises(InputError, match="LICENSE has a line that ends with three"):
        invoke(2, "modelfile", bundle, "--license", str(license_))
    written = invoke(0, "modelfile", bundle, "--write", "--workspace", str(tmp_path), "--json")
    assert json.loads(written)["written"] == [
        str(Path(bundle) / "Modelfile"), str(tmp_path / "ollama/qwen2/Modelfile")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "kind", "reason"),
    [
        (["list", "--host", "127.0.0.1:9"], UnavailableError, "ollama serve"),
        (["list", "--host", "h:99999"], InputError, "port"),
        (["register", "/nowhere"], BundleError, "not there"),
        (["verify", "nobody", "--bundle", "."], BundleError, "not a bundle"),
        (["remove", "nobody"], InputError, "no model"),
    ],
)
def test_what_goes_wrong_is_said(
    server: OllamaStandIn, words: list[str], kind: type[LoragraftError], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        invoke(2, *words)
