"""Checks of an adapter's files: each broken folder is caught, each healthy one stays silent."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loragraft.adapter import checks_files
from loragraft.adapter.checks import CheckContext
from loragraft.adapter.checks_files import FILE_CHECKS, check_size
from loragraft.adapter.context import FolderContext
from loragraft.adapter.findings import Finding, Severity
from loragraft.adapter.reader import open_adapter
from loragraft.adapter.tokens import read_token_ids
from loragraft.adapter.verify import VerifyRequest, verify_adapter
from tests.adapter.builders import PREFIX, Arrays, lora_arrays, write_adapter, write_base

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
WIDER = {f"{PREFIX}model.embed_tokens.weight": np.ones((130, 64), np.float32)}


def tokenizer(folder: Path, size: int = 128, **more: Any) -> None:  # noqa: ANN401
    vocabulary = {f"token{number}": number for number in range(size)}
    content = {"model": {"type": "BPE", "vocab": vocabulary, "merges": []}, "added_tokens": []}
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps({**content, **more}))


def added(number: int) -> dict[str, Any]:
    return {"added_tokens": [{"id": number, "content": "<new>"}]}


def found(
    folder: Path,
    spoil: Callable[[Path, Path], object],
    arrays: Arrays | None = None,
    **config: object,
) -> dict[str, Finding]:
    adapter = write_adapter(folder / "adapter", arrays, **config)
    base = write_base(folder / "base")
    tokenizer(base)
    (base / "chat_template.jinja").write_text(TEMPLATE)
    spoil(adapter, base)
    report = verify_adapter(VerifyRequest(adapter, base, values=False))
    return {finding.code: finding for finding in report.findings}


def write(name: str, text: str = "x") -> Callable[[Path, Path], object]:
    def spoil(adapter: Path, base: Path) -> None:
        (adapter / name).parent.mkdir(parents=True, exist_ok=True)
        (adapter / name).write_text(text)

    return spoil


BROKEN: dict[str, tuple[str, Severity, Callable[[Path, Path], object]]] = {
    "larger": ("tokenizer.size", Severity.FAIL, lambda a, b: tokenizer(a, 129)),
    "added token": ("tokenizer.size", Severity.FAIL, lambda a, b: tokenizer(a, **added(128))),
    "id of a gap": ("tokenizer.size", Severity.FAIL, lambda a, b: tokenizer(a, **added(5000))),
    "damaged": ("tokenizer.file", Severity.FAIL, write("tokenizer.json", "{")),
    "odd": ("tokenizer.file", Severity.FAIL, write("tokenizer.json", '{"model": 3}')),
    "odd id": ("tokenizer.file", Severity.FAIL, write("vocab.json", '{"a": -1}')),
    "less": ("tokenizer.ids", Severity.WARN, lambda a, b: tokenizer(a, 120)),
    "template": ("template", Severity.WARN, write("chat_template.jinja", "{{ messages }}")),
    "no template file": ("template.file", Severity.FAIL, write("chat_template.json", "{")),
    "data": ("leftovers.data", Severity.WARN, write("train.jsonl")),
    "validation": ("leftovers.data", Severity.WARN, write("data/val.csv")),
    "optimizer": ("leftovers.optimizer", Severity.WARN, write("checkpoint-5/optimizer.pt")),
    "folds": ("leftovers.folds", Severity.WARN, write("fold_2/notes.txt")),
    "pickle": ("leftovers.pickle", Severity.WARN, write("extra.pkl")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_odd_folder_is_told(name: str, tmp_path: Path) -> None:
    code, severity, spoil = BROKEN[name]
    finding = found(tmp_path, spoil)[code]
    assert finding.severity is severity
    assert finding.measured
    assert finding.next_step


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a, b: None,
        lambda a, b: tokenizer(a),
        write("vocab.json", json.dumps({f"token{n}": n for n in range(128)})),
        write("chat_template.jinja", TEMPLATE),
        write("trainer_state.json", "{}"),
        write("train.log"),
        write("README.md"),
        write("tokenizer_config.json", "{}"),
        write("runs/events.out.tfevents.1700000000.host"),
        write("checkpoint-10/adapter_config.json"),
    ],
)
def test_usual_folders_stay_silent(spoil: Callable[[Path, Path], object], tmp_path: Path) -> None:
    findings = found(tmp_path, spoil).values()
    assert [str(f) for f in findings if f.severity is not Severity.PASS] == []


def test_moved_tokens_are_another_models(tmp_path: Path) -> None:
    moved = {f"token{number}": (number + 1) % 128 for number in range(128)}
    finding = found(tmp_path, write("vocab.json", json.dumps(moved)))["tokenizer.ids"]
    assert finding.severity is Severity.FAIL
    assert "128 tokens with other ids" in finding.measured


def test_a_resized_embedding_makes_room(tmp_path: Path) -> None:
    arrays = {**lora_arrays(), **WIDER}
    config = {"modules_to_save": ["embed_tokens"]}
    findings = found(tmp_path / "a", lambda a, b: tokenizer(a, 130), arrays, **config)
    assert findings["tokenizer.size"].severity is Severity.PASS
    assert findings["tokenizer.ids"].severity is Severity.WARN
    assert "'token128', 'token129'" in findings["tokenizer.ids"].measured
    findings = found(tmp_path / "b", lambda a, b: tokenizer(a, 131), arrays, **config)
    assert findings["tokenizer.size"].severity is Severity.FAIL
    assert "'token130'" in findings["tokenizer.size"].measured


def test_a_resized_embedding_needs_its_tokenizer(tmp_path: Path) -> None:
    arrays = {**lora_arrays(), **WIDER}
    findings = found(tmp_path, lambda a, b: None, arrays, modules_to_save=["embed_tokens"])
    assert findings["tokenizer.missing"].severity is Severity.WARN


def test_a_sibling_fold_is_seen(tmp_path: Path) -> None:
    write_adapter(tmp_path / "fold_1")
    write_adapter(tmp_path / "fold_2")
    report = verify_adapter(VerifyRequest(tmp_path / "fold_1"))
    finding = next(f for f in report.findings if f.code == "leftovers.folds")
    assert "../fold_2" in finding.measured


def test_a_file_that_changed_after_opening_is_caught(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    with open_adapter(folder) as adapter:
        context = FolderContext(folder, folder, {}, CheckContext(adapter))
        sound = check_size(context)
        assert sound is not None
        assert sound.severity is Severity.PASS
        with adapter.path.open("ab") as file:
            file.write(b"more")
        finding = check_size(context)
    assert finding is not None
    assert finding.severity is Severity.FAIL


def test_tokenizers_are_read_in_every_layout(tmp_path: Path) -> None:
    assert read_token_ids(tmp_path) is None
    unigram = {"model": {"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0]]},
               "added_tokens": [{"id": 2, "content": "<s>"}]}  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(unigram))
    (tmp_path / "added_tokens.json").write_text('{"<extra>": 3}')
    settings = {"added_tokens_decoder": {"4": {"content": "<last>"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    found = read_token_ids(tmp_path)
    assert found is not None
    assert found.ids == {"a": 0, "b": 1, "<s>": 2, "<extra>": 3, "<last>": 4}
    assert (found.size, found.beyond(3)) == (5, ["<extra>", "<last>"])


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "README.md", "trainer_state.json", "training.yaml"):
        os.mkfifo(write_adapter(tmp_path / "adapter") / name)
    request = VerifyRequest(tmp_path / "adapter", since=date(2020, 1, 1))
    assert verify_adapter(request).findings


def test_the_real_tokenizer_fits_its_model(smollm2_checkpoint: Path) -> None:
    found = read_token_ids(smollm2_checkpoint)
    assert found is not None
    assert (found.size, found.problem) == (49152, None)


def test_every_check_is_listed() -> None:
    named = {id(value) for name, value in vars(checks_files).items() if name.startswith("check_")}
    assert named == {id(check) for check in FILE_CHECKS}
