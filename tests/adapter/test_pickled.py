"""Pickles: refused; read by a child without running their code; their payloads never run."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.adapter.findings import Finding, Severity
from loragraft.adapter.verify import VerifyReport, VerifyRequest, verify_adapter
from tests.adapter.builders import CONFIG, lora_arrays

NAME = "adapter_model.bin"


def folder_with(folder: Path, save: Callable[[Path], object], config: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    save(folder / NAME)
    if config:
        (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    return folder


def save_tensors(path: Path) -> None:
    import torch

    torch.save({key: torch.from_numpy(value) for key, value in lora_arrays().items()}, path)


class Payload:
    """Creates a file when it is unpickled, in one of the ways that malware takes."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        """Keep what to call."""
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Return the call, as pickle wants it."""
        return self.call, self.arguments


def payloads(trap: Path) -> dict[str, object]:
    return {
        "os.system": Payload(os.system, f"touch {trap}"),
        "exec": Payload(exec, f"open({str(trap)!r}, 'w').close()"),
        "mkdir": Payload(os.mkdir, str(trap)),
        "eval": Payload(eval, f"__import__('pathlib').Path({str(trap)!r}).touch()"),
    }


def save_payload(path: Path, payload: object, whole: bool) -> None:
    """Write a payload among tensors, in torch's own format or as a bare pickle."""
    if whole:
        path.write_bytes(pickle.dumps(payload))
        return
    save_tensors(path)
    content = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("data.pkl"):
                data = pickle.dumps({"x": payload}, protocol=2)
            new.writestr(name, data)
    path.write_bytes(content.getvalue())


def verify(folder: Path, **options: Any) -> VerifyReport:  # noqa: ANN401
    return verify_adapter(VerifyRequest(folder, **options))


def finding(report: VerifyReport, code: str = "file.pickle") -> Finding:
    return next(f for f in report.findings if f.code == code)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    payload = payloads(trap)["os.system"]
    folder = folder_with(tmp_path / "adapter", lambda path: save_payload(path, payload, True))
    for path in (folder, folder / NAME):
        report = verify(path)
        assert report.first_line.startswith("FAIL file.pickle")
        assert "--allow-pickle" in finding(report).next_step
    assert not trap.exists()


def test_the_traps_are_real(tmp_path: Path) -> None:
    """Unpickled as Python does it, each payload creates its file."""
    for name in payloads(tmp_path):
        trap = tmp_path / name
        pickle.loads(pickle.dumps(payloads(trap)[name]))
        assert trap.exists(), name


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False], ids=["bare", "torch"])
def test_a_payload_never_runs(whole: bool, tmp_path: Path) -> None:
    for name, payload in list(payloads(tmp_path / "trap").items())[: 2 if whole else 1]:
        path = tmp_path / name
        folder_with(path, lambda file, p=payload: save_payload(file, p, whole))  # type: ignore[misc]
        report = verify(path, allow_pickle=True)
        assert not (tmp_path / "trap").exists(), name
        result = finding(report)
        assert result.severity is Severity.FAIL
        assert "Do not load it" in result.next_step


@pytest.mark.slow
def test_the_switch_that_forces_torch_is_taken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    payload = payloads(tmp_path / "trap")["exec"]
    folder = folder_with(tmp_path / "a", lambda path: save_payload(path, payload, False))
    assert finding(verify(folder, allow_pickle=True)).severity is Severity.FAIL
    assert not (tmp_path / "trap").exists()


@pytest.mark.slow
def test_an_honest_pickle_is_verified_in_full(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "adapter", save_tensors)
    (folder / "train.jsonl").write_text("{}")
    report = verify(folder, allow_pickle=True)
    codes = {f.code: f.severity for f in report.findings}
    assert codes["file.pickle"] is Severity.WARN
    assert codes["values.nonfinite"] is codes["effect.zero"] is codes["rank"] is Severity.PASS
    assert "leftovers.data" in codes
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json", NAME, "train.jsonl",
    ]  # fmt: skip


def save_list(path: Path) -> None:
    import torch

    torch.save([torch.zeros(2)], path)


def save_numbers(path: Path) -> None:
    import torch

    torch.save({"step": 3}, path)


def save_bomb(path: Path) -> None:
    """Write some hundred bytes that claim to be a terabyte."""
    import torch

    torch.save({"x": torch.zeros(1).expand(1 << 20, 1 << 18)}, path)


def save_zip_bomb(path: Path) -> None:
    """Write a quarter of a megabyte that unpacks to 256."""
    import torch

    large = path.with_suffix(".large")
    torch.save({"x": torch.zeros(1 << 26)}, large)
    with zipfile.ZipFile(large) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    large.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("save", "words"),
    [
        (save_list, "holds list"),
        (save_numbers, "holds int under 'step'"),
        (save_bomb, "its tensors claim"),
        (save_zip_bomb, "its tensors claim"),
        (lambda path: path.write_bytes(b"no pickle at all"), "is a pickle that was not read"),
    ],
)
def test_what_is_no_dictionary_of_tensors_is_refused(
    save: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    report = verify(folder_with(tmp_path / "adapter", save), allow_pickle=True)
    assert words in report.first_line
    assert report.first_line.startswith("FAIL file.pickle")


@pytest.mark.slow
def test_a_pickle_without_a_configuration(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "adapter", save_tensors, config=False)
    assert verify(folder, allow_pickle=True).first_line.startswith("FAIL file.config")


def test_safetensors_beside_a_pickle_are_read_instead(tmp_path: Path) -> None:
    from tests.adapter.builders import write_adapter

    folder = write_adapter(tmp_path / "adapter")
    trap = tmp_path / "trap"
    save_payload(folder / NAME, payloads(trap)["mkdir"], whole=True)
    report = verify(folder, allow_pickle=True)
    assert report.verdict is Severity.PASS
    assert "adapter_model.bin" in finding(report, "file.location").measured
    assert not trap.exists()
    shutil.rmtree(folder)
