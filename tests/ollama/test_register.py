"""Registration with proof: healthy bundles pass, faults are named, nothing half-made stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.checksums import check_checksums
from loragraft.artifact.metadata import read_metadata
from loragraft.checkpoint.bundle import LocalModel
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import (
    BundleError,
    CheckFailedError,
    InputError,
    LoragraftError,
    OutOfSpaceError,
    UnavailableError,
)
from loragraft.ollama import register as registering
from loragraft.ollama.naming import backup_tag
from loragraft.ollama.overrides import Overrides
from loragraft.ollama.record import Record
from loragraft.ollama.register import register
from tests.support.ollama_server import OllamaStandIn
from tests.support.ollama_store import CHATML, OLD, Generation

pytestmark = pytest.mark.usefixtures("unchecked")
Connect = Callable[[OllamaStandIn], OllamaServer]
TAG = "qwen2:latest"
SMALL = Overrides(parameters={"num_ctx": 512})

MORE = {"num_ctx": 2048}


@pytest.mark.slow
def test_a_healthy_bundle_is_proven_and_noted(
    stand_in: OllamaStandIn, connect: Connect, smollm2: LocalModel, record: Record
) -> None:
    model = smollm2
    done = register(model, connect(stand_in), record=record, overrides=Overrides(parameters=MORE))
    assert stand_in.names() == ["smollm2-lora:latest"]
    assert (done.changed, done.uploaded) == (True, True)
    assert {check.name: check.verdict for check in done.proof.checks} == dict.fromkeys(
        ["file", "shape", "template", "parameters", "system", "rendering", "tokens",
         "log-probabilities", "answer"], "pass",
    )  # fmt: skip
    assert done.entry.blob == model.digests[model.gguf.name]
    assert (done.entry.layer == done.entry.blob) is not stand_in.generation.rewrites
    assert record.models() == [done.entry]
    assert record.pending(stand_in.url) == []
    assert model.folder is not None
    (noted,) = read_metadata(model.folder)["ollama"]
    assert (noted["blob"], noted["layer"]) == (done.entry.blob, done.entry.layer)
    assert noted["proof"]["log-probabilities"]["verdict"] == "pass"
    assert check_checksums(model.folder) == []


@pytest.mark.slow
def test_the_same_bundle_twice_changes_nothing(
    newest: OllamaStandIn, connect: Connect, model: LocalModel, record: Record
) -> None:
    server = connect(newest)
    first = register(model, server, record=record, overrides=SMALL)
    newest.requests.clear()
    again = register(model, server, record=record, overrides=SMALL)
    assert (again.changed, again.entry) == (False, first.entry)
    paths = {path for _, path in newest.requests}
    assert not paths & {"/api/create", "/api/copy", "/api/delete"}
    assert not [path for method, path in newest.requests if method == "POST" and "blobs" in path]
    newest.faults["nothing"] = True
    with pytest.raises(CheckFailedError, match="registered before and nothing was changed"):
        register(model, server, record=record, overrides=SMALL)


def test_a_file_that_is_there_is_not_sent_again(
    newest: OllamaStandIn, connect: Connect, model: LocalModel, record: Record
) -> None:
    server = connect(newest)
    server.upload(model.gguf, model.digests[model.gguf.name])
    newest.faults["upload_full"] = True
    assert not register(model, server, record=record, overrides=SMALL).uploaded


def roles_swapped(template: str) -> str:
    """A template that has the turns' names the wrong way round."""
    return template.replace("user", "\0").replace("assistant", "user").replace("\0", "assistant")


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "roles swapped": ({"template": roles_swapped}, "template: .*rendering: "),
    "default system prompt lost": ({"template": lambda _: CHATML}, "template: .*rendering: "),
    "stop lost": ({"lose_stop": True}, r"parameters: lost stop '<\|im_end\|>'.*run on"),
    "doubled BOS": ({"double_bos": True}, r"tokens: (\d+) tokens instead of.*'<s>' stands twice"),
    "parameters rewritten": ({"rewrite_parameters": True}, "parameters: lost temperature 0.7"),
    "answers nothing": ({"nothing": True}, "answer: nothing"),
    "endless": ({"endless": True}, "answer: .*stands in the answer|answer: .*goes on"),
    "corrupt": ({"corrupt_blob": True}, "log-probabilities: |answer: "),
    "system swallowed": ({"swallow_system": True}, "system: .*rendering: "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_and_leave_nothing(
    make_stand_in: Callable[[Generation], OllamaStandIn],
    connect: Connect,
    request: pytest.FixtureRequest,
    record: Record,
    fault: str,
) -> None:
    stand_in = make_stand_in(OLD)  # a newer one puts Qwen's own Jinja in the place of templates
    model: LocalModel = request.getfixturevalue("with_bos" if "BOS" in fault else "model")
    faults, reason = FAULTS[fault]
    stand_in.faults.update(faults)
    overrides = SMALL.joined(Overrides(system="You are a pirate." if "system s" in fault else None))
    with pytest.raises(CheckFailedError, match=reason):
        register(model, connect(stand_in), record=record, overrides=overrides)
    assert stand_in.names() == record.models() == record.pending(stand_in.url) == []
    assert model.folder is not None
    assert "ollama" not in read_metadata(model.folder)


def test_a_template_that_the_server_replaces_is_fine_where_it_renders_the_same(
    newest: OllamaStandIn, connect: Connect, model: LocalModel, record: Record
) -> None:
    done = register(model, connect(newest), record=record, overrides=SMALL)
    check = next(check for check in done.proof.checks if check.name == "template")
    assert check.verdict == "pass"
    assert "put the GGUF's own Jinja in its place" in check.measured


def test_a_model_whose_bos_the_server_adds(
    newest: OllamaStandIn, connect: Connect, with_bos: LocalModel, record: Record
) -> None:
    proof = register(with_bos, connect(newest), record=record, overrides=SMALL).proof
    assert proof.holds
    assert "BOS" not in [check.name for check in proof.checks]


def test_another_model_under_the_tag_is_noticed(
    newest: OllamaStandIn,
    connect: Connect,
    model: LocalModel,
    record: Record,
    talking_bundle: Callable[[str], Path],
) -> None:
    newest.faults["other_gguf"] = str(next(talking_bundle("llama").glob("*.gguf")))
    with pytest.raises(CheckFailedError, match=r"shape: general\.architecture llama"):
        register(model, connect(newest), record=record, overrides=SMALL)
    assert newest.names() == []


@pytest.mark.parametrize(
    ("faults", "kind", "reason"),
    [
        ({"upload_cut": True}, UnavailableError, "broke during uploading"),
        ({"upload_full": True}, OutOfSpaceError, "no space left"),
        ({"create_full": True}, OutOfSpaceError, "no space left"),
        ({"create_silent": True}, UnavailableError, "instead of 'success'"),
        ({"fail_after_two": "/api/chat"}, UnavailableError, "runner process has terminated"),
    ],
)
def test_what_breaks_in_between_leaves_no_half_made_tag(
    newest: OllamaStandIn,
    connect: Connect,
    model: LocalModel,
    record: Record,
    faults: dict[str, Any],
    kind: type[LoragraftError],
    reason: str,
) -> None:
    newest.faults.update(faults)
    with pytest.raises(kind, match=reason):
        register(model, connect(newest), record=record, overrides=SMALL)
    assert newest.names() == record.models() == record.pending(newest.url) == []


@pytest.fixture
def taken(newest: OllamaStandIn, connect: Connect, model: LocalModel) -> dict[str, Any]:
    """Another model under our tag; what the server shows of it."""
    server, digest = connect(newest), model.digests[model.gguf.name]
    server.upload(model.gguf, digest)
    server.create(TAG, {"template": CHATML, "system": "The old one."}, digest)
    return server.show(TAG)


def test_a_tag_that_is_taken_is_refused(
    newest: OllamaStandIn,
    connect: Connect,
    model: LocalModel,
    record: Record,
    taken: dict[str, Any],
) -> None:
    server = connect(newest)
    with pytest.raises(BundleError, match=r"another model under qwen2.*--replace"):
        register(model, server, record=record)
    assert server.show(TAG) == taken


def test_replacing_keeps_the_old_one_until_the_new_one_is_proven(
    newest: OllamaStandIn,
    connect: Connect,
    model: LocalModel,
    record: Record,
    taken: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, seen = connect(newest), []
    real = registering.prove

    def watched(*args: Any) -> Any:  # noqa: ANN401
        seen.append(newest.names())
        return real(*args)

    monkeypatch.setattr(registering, "prove", watched)
    done = register(model, server, record=record, overrides=SMALL, replace_existing=True)
    assert seen == [sorted([TAG, backup_tag(TAG)])]
    assert newest.names() == [TAG]
    assert done.changed
    assert "system" not in server.show(TAG)


@pytest.mark.parametrize("how", ["unproven", "refused", "copy", "interrupted", "crashed"])
def test_a_failed_replacement_brings_the_old_one_back(
    newest: OllamaStandIn,
    connect: Connect,
    model: LocalModel,
    record: Record,
    taken: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    server = connect(newest)
    faults = {"unproven": "nothing", "refused": "create_refused", "copy": "copy_refused"}
    if how in faults:
        newest.faults[faults[how]] = True
    else:
        monkeypatch.setattr(registering, "prove", interrupt)
    if how == "crashed":
        monkeypatch.setattr(registering._Job, "_put_back", lambda *_: None)
    with pytest.raises((LoragraftError, KeyboardInterrupt)):
        register(model, server, record=record, overrides=SMALL, replace_existing=True)
    if how == "crashed":
        assert newest.names() == sorted([TAG, backup_tag(TAG)])
        monkeypatch.undo()
        said = Notes()
        with pytest.raises(BundleError, match="another model"):
            register(model, server, record=record, progress=said)
        assert "was brought back" in said.notes[0]
    assert newest.names() == [TAG]
    assert server.show(TAG) == taken
    assert record.pending(newest.url) == record.models() == []


def test_a_crash_without_an_old_one_leaves_what_the_next_run_removes(
    newest: OllamaStandIn,
    connect: Connect,
    model: LocalModel,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = connect(newest)
    with monkeypatch.context() as patched:
        patched.setattr(registering, "prove", interrupt)
        patched.setattr(registering._Job, "_put_back", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            register(model, server, name="half:made", record=record, overrides=SMALL)
    assert newest.names() == ["half:made"]
    register(model, server, name="other", record=record, overrides=SMALL)
    assert newest.names() == ["other:latest"]


def interrupt(*args: object) -> None:
    """Be interrupted."""
    raise KeyboardInterrupt


class Notes:
    """A progress that keeps notes."""

    def __init__(self) -> None:
        """Begin without any."""
        self.notes: list[str] = []

    def begin(self, stage: str, total: int) -> None:
        """Pass over it."""

    def advance(self, count: int) -> None:
        """Pass over it."""

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)

    def end(self) -> None:
        """Pass over it."""


def test_a_server_that_goes_away_while_putting_back_is_said_with_what_to_do(
    newest: OllamaStandIn,
    connect: Connect,
    model: LocalModel,
    record: Record,
    taken: dict[str, Any],
) -> None:
    server, said = connect(newest), Notes()
    newest.faults["create_refused"] = True

    def gone(stage: str, total: int) -> None:
        if stage.startswith("Ollama:"):
            newest.faults["no_endpoint"] = {"/api/show", "/api/copy"}

    said.begin = gone  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="something unheard of"):
        register(model, server, record=record, replace_existing=True, progress=said)
    assert "ollama cp qwen2-before-replacing" in said.notes[-1]
    newest.faults.clear()
    with pytest.raises(BundleError, match="another model"):
        register(model, server, record=record)
    assert newest.names() == [TAG]
    assert server.show(TAG) == taken


def test_a_changed_bundle_is_not_sent(
    newest: OllamaStandIn, connect: Connect, model: LocalModel, record: Record
) -> None:
    assert model.folder is not None
    (model.folder / "Modelfile").write_text("FROM evil")
    with pytest.raises(BundleError, match="Modelfile has SHA-256"):
        register(model, connect(newest), record=record)
    with pytest.raises(InputError, match="no name that Ollama takes"):
        register(model, connect(newest), name="a b", record=record)
    assert [path for method, path in newest.requests if method == "POST"] == []


def test_a_bundle_that_cannot_be_written_to_is_registered_all_the_same(
    newest: OllamaStandIn,
    connect: Connect,
    model: LocalModel,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object) -> bool:
        raise InputError("It is read-only.")

    monkeypatch.setattr("loragraft.ollama.bundle_record.update_files", refuse)
    done = register(model, connect(newest), record=record, overrides=SMALL)
    assert any("does not tell of it: It is read-only" in note for note in done.notes)
    assert newest.names() == [TAG]
