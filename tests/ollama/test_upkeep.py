"""Verifying, listing and removing what was registered; Modelfiles into bundles and workspaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.artifact.checksums import check_checksums, read_checksums, write_checksums
from loragraft.artifact.metadata import read_metadata
from loragraft.checkpoint.bundle import LocalModel, check_model, open_model
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import InputError, TemplateError
from loragraft.ollama.bundle_files import finish_update, update_files
from loragraft.ollama.compose import compose
from loragraft.ollama.listing import list_registered
from loragraft.ollama.modelfile import parse_modelfile
from loragraft.ollama.naming import backup_tag, check_tag, same_tag, spell_folder, suggest_tag
from loragraft.ollama.overrides import Overrides, from_flags, load_overrides, make_overrides
from loragraft.ollama.record import Record
from loragraft.ollama.register import register
from loragraft.ollama.remove import remove
from loragraft.ollama.verify import verify
from loragraft.ollama.writing import write_modelfiles
from tests.support.ollama_server import OllamaStandIn
from tests.support.ollama_store import CHATML

pytestmark = pytest.mark.usefixtures("unchecked")
Connect = Callable[[OllamaStandIn], OllamaServer]
SMALL = Overrides(parameters={"num_ctx": 512})


@pytest.mark.slow
def test_verify_list_remove(
    newest: OllamaStandIn, connect: Connect, model: LocalModel, record: Record
) -> None:
    server = connect(newest)
    before = server.models()
    register(model, server, record=record, overrides=SMALL)
    assert verify("qwen2", model, server, overrides=SMALL).holds
    wrong = verify("qwen2", model, server, overrides=Overrides(parameters={"temperature": 0.1}))
    assert [check.name for check in wrong.failed] == ["parameters"]
    (listed,) = list_registered(server, record)
    assert (listed.server, listed.bundle) == ("as registered", "matches")
    server.create("qwen2", {"template": CHATML}, listed.entry.blob)
    assert list_registered(server, record)[0].server == "changed"
    with pytest.raises(InputError, match="changed since"):
        remove("qwen2", server, record=record)
    assert remove("QWEN2", server, record=record, force=True).removed
    assert server.models() == before
    assert record.models() == []
    assert model.folder is not None
    assert read_metadata(model.folder)["ollama"] == []
    assert check_checksums(model.folder) == []
    with pytest.raises(InputError, match="has no model"):
        remove("qwen2", server, record=record)
    with pytest.raises(InputError, match="has no model"):
        verify("qwen2", model, server)


def test_what_others_registered_is_left_alone(
    newest: OllamaStandIn, connect: Connect, model: LocalModel, record: Record
) -> None:
    server = connect(newest)
    server.upload(model.gguf, model.digests[model.gguf.name])
    server.create("theirs", {}, model.digests[model.gguf.name])
    assert list_registered(server, record) == []
    with pytest.raises(InputError, match="not registered by loragraft"):
        remove("theirs", server, record=record)
    assert newest.names() == ["theirs:latest"]


def test_list_notices_what_is_gone(
    newest: OllamaStandIn, connect: Connect, model: LocalModel, record: Record
) -> None:
    server = connect(newest)
    register(model, server, record=record, overrides=SMALL)
    server.delete("qwen2")
    assert model.folder is not None
    write_checksums(model.folder, {**read_checksums(model.folder), model.gguf.name: "0" * 64})
    (listed,) = list_registered(server, record)
    assert (listed.server, listed.bundle) == ("gone", "changed")
    model.folder.rename(model.folder.with_name("elsewhere"))
    assert list_registered(server, record)[0].bundle == "gone"
    done = remove("qwen2", server, record=record)
    assert not done.removed
    assert record.models() == []


def test_compose(model: LocalModel, with_bos: LocalModel) -> None:
    composed = compose(model)
    assert composed.modelfile.value("num_ctx") == 512
    assert composed.modelfile.value("repeat_penalty") == 1.0
    assert composed.modelfile.stops == ("<|im_end|>",)
    assert parse_modelfile(composed.modelfile.render()) == composed.modelfile
    other = compose(with_bos, make_overrides({"parameters": {"stop": ["END"]}}, "test"))
    assert other.modelfile.stops == ("</s>", "END")
    assert not (other.modelfile.template or "").startswith("<s>")
    noted = compose(model, make_overrides({"parameters": {"num_ctx": 9000}, "system": ""}, "test"))
    assert any("more than the 512" in note for note in noted.notes)
    assert any("empty SYSTEM" in note for note in noted.notes)


def test_a_model_without_a_template_needs_one(llama_cpp_source: Path) -> None:
    model = open_model(llama_cpp_source / "models" / "ggml-vocab-gpt-2.gguf")
    with pytest.raises(TemplateError, match=r"no chat template.*--template"):
        compose(model)
    given = compose(model, make_overrides({"template": CHATML}, "test"))
    assert given.modelfile.template == CHATML


def test_modelfiles_are_written(model: LocalModel, tmp_path: Path) -> None:
    modelfile = compose(model).modelfile
    written = write_modelfiles(
        model, modelfile, into_bundle=True, workspace=tmp_path / "w", name="me/qwen2.5:v1"
    )
    assert model.folder is not None
    assert written == [model.folder / "Modelfile", tmp_path / "w/ollama/qwen2dot5/Modelfile"]
    assert parse_modelfile(written[0].read_text()) == modelfile
    source = parse_modelfile(written[1].read_text()).source
    assert (written[1].parent / source).resolve() == model.gguf.resolve()
    check_model(open_model(model.folder))
    with pytest.raises(InputError, match="no bundle to write into"):
        write_modelfiles(open_model(model.gguf), modelfile, into_bundle=True, workspace=None,
                         name=None)  # fmt: skip


@pytest.mark.parametrize("moment", ["before the list", "after the list"])
def test_a_crash_between_file_and_list_is_put_right(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder = model.folder
    assert folder is not None
    name = "write_checksums" if moment == "before the list" else "_rename"

    def crash(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"loragraft.ollama.bundle_files.{name}", crash)
        with pytest.raises(KeyboardInterrupt):
            update_files(folder, lambda: {"Modelfile": b"FROM ./new"})
    finish_update(folder)
    assert check_checksums(folder) == []
    assert ((folder / "Modelfile").read_bytes() == b"FROM ./new") is (moment == "after the list")
    assert not list(folder.glob(".*.next"))


def test_names() -> None:
    assert check_tag("smollm2") == "smollm2:latest"
    assert check_tag("registry.ollama.ai/library/a:b") == "a:b"
    assert same_tag("A", "a:latest")
    assert backup_tag("me/a.b:1") == backup_tag("ME/A.B:1").lower()
    assert len(check_tag(backup_tag("x" * 80))) < 90
    assert suggest_tag("My model (v1)..x") == "My-model-v1-x:latest"
    assert suggest_tag("???") == "loragraft:latest"
    assert spell_folder("qwen2.5-science") == "qwen2dot5-science"
    for bad in ("", "a b", "a/b/c/d", "../x", "a..b", "-a", "a:", "x" * 81, "a\n", "a:b:c", "é"):
        with pytest.raises(InputError, match="no name that Ollama takes"):
            check_tag(bad)


def test_overrides_of_a_file_and_of_flags(tmp_path: Path) -> None:
    path = tmp_path / "o.yaml"
    path.write_text(
        "system: Be brief.\nparameters: {num_ctx: 1024, temperature: 0, stop: [a]}\n"
        "license: MIT\nmessages: [{role: user, content: hi}]\n"
    )
    flags = from_flags(system="Be kind.", parameters=["num_ctx=2048", "stop=b"])
    both = load_overrides(path).joined(flags)
    assert both.system == "Be kind."
    assert both.plain == {"num_ctx": 2048, "temperature": 0.0}
    assert (both.stops, both.license, both.messages[0].role) == (("a", "b"), ("MIT",), "user")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sytem: x", "sytem: is unknown; known are template"),
        ("parameters: {num_cxt: 1}", "'num_cxt' is no parameter"),
        ("parameters: {num_ctx: many}", "whole number"),
        ("messages: [{role: root, content: x}]", "role 'root'"),
        ("system: [1]", "system: "),
        ("- a", "no names with values"),
        ("a: [", "no YAML"),
        ("system: !!python/object:os.system x", "no YAML"),
    ],
)
def test_a_typo_fails_at_once(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "o.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        load_overrides(path)
    with pytest.raises(InputError, match="NAME=VALUE"):
        from_flags(parameters=["num_ctx"])


def test_a_broken_list_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "ollama.json").write_text("{")
    with pytest.raises(InputError, match="Move it away"):
        Record(tmp_path).models()
