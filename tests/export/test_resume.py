"""Kills at random moments: nothing half-made is ever visible, and the next run ends the same."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

KILLS = {"smollm2": 3, "llama-sharded": 17}
"""Twenty in all; the real model takes three times as long for each."""
ENOUGH = 2_000_000
"""Bytes of float32: a pico model's embedding and head take a quarter of it each."""
HEAVY = ("loragraft.export.job", "loragraft.export.judging", "loragraft.export.quantize.kernels",
         "llama_cpp", "numba", "safetensors.torch", "tests.export.test_resume")  # fmt: skip
"""Imported once for all runs: moments are drawn of the work, not of its imports."""


def export(base: Path, adapter: Path, out: Path, report: Path) -> None:
    """Export in this process, to be killed; write the report at the end."""
    from loragraft.export.job import run_export
    from loragraft.export.request import ExportRequest

    found = run_export(
        ExportRequest(
            base, ((adapter, 1.0),), out, "model", quants=("Q4_K_M", "Q8_0"),
            allow=frozenset({"effect"}), replace=True,
        )
    )  # fmt: skip
    report.write_text(json.dumps(found.to_json()))


def start(base: Path, adapter: Path, out: Path, report: Path) -> BaseProcess:
    """Export in a process of its own."""
    way = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(way)
    if way == "forkserver":
        context.set_forkserver_preload(list(HEAVY))
    process = context.Process(target=export, args=(base, adapter, out, report))
    process.start()
    return process


def finish(process: BaseProcess, report: Path) -> dict[str, object]:
    """Return the report of an export that ends by itself."""
    process.join(300)
    assert process.exitcode == 0
    found: dict[str, object] = json.loads(report.read_text())
    return found


def digests(bundle: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in bundle.glob("*.gguf")}


@pytest.fixture(params=["smollm2", "llama-sharded"])
def job(
    request: pytest.FixtureRequest,
    smollm2_checkpoint: Path,
    example_adapter: Path,
    pico: Callable[[str], Path],
    pico_adapter: Callable[..., Path],
) -> tuple[Path, Path, int]:
    """A base, its adapter, and how often to kill."""
    kills = KILLS[request.param]
    if request.param == "smollm2":
        return smollm2_checkpoint, example_adapter, kills
    return pico(request.param), pico_adapter(request.param), kills


@pytest.mark.slow
def test_kill_at_random_moments(job: tuple[Path, Path, int], tmp_path: Path) -> None:
    *inputs, kills = job
    report = tmp_path / "report.json"
    started = time.perf_counter()
    finish(start(*inputs, tmp_path / "whole", report), report)
    duration = time.perf_counter() - started
    expected = digests(tmp_path / "whole" / "model")
    assert len(expected) == 2
    rng = random.Random(20251101)
    out = tmp_path / "killed"
    for part in range(kills):  # one in each part of the time
        process = start(*inputs, out, report)
        process.join(duration * (part + rng.random()) / kills)
        process.kill()
        process.join()
        visible = [p for p in out.iterdir() if not p.name.startswith(".")] if out.exists() else []
        for bundle in visible:
            assert digests(bundle) == expected
            assert (bundle / "checksums.txt").exists()
    told = finish(start(*inputs, out, report), report)
    assert isinstance(told["resumed_tensors"], int)
    assert digests(out / "model") == expected
    assert [p.name for p in out.iterdir() if p.name.endswith((".staging", ".journal"))] == []


def test_a_killed_run_resumes_at_its_last_tensor(
    pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    """Cut a staged file in the middle of a tensor: only what is proven is kept."""
    from loragraft.export.job import run_export
    from loragraft.export.request import ExportRequest

    base, adapter = pico("llama"), pico_adapter("llama")
    request = ExportRequest(
        base, ((adapter, 1.0),), tmp_path / "out", "model", quants=("F32",),
        allow=frozenset({"load"}),
    )  # fmt: skip
    whole = digests(run_export(request).bundle)

    class StopError(Exception):
        pass

    class Stopper:
        writing = False
        seen = 0

        def begin(self, stage: str, total: int) -> None:
            self.writing = stage.startswith("Writing")

        def advance(self, count: int) -> None:
            self.seen += count if self.writing else 0
            if self.seen > ENOUGH:
                raise StopError

        def note(self, text: str) -> None: ...

        def end(self) -> None: ...

    second = ExportRequest(
        base, ((adapter, 1.0),), tmp_path / "again", "model", quants=("F32",),
        allow=frozenset({"load"}),
    )  # fmt: skip
    with pytest.raises(StopError):
        run_export(second, Stopper())
    staged = tmp_path / "again" / ".model.staging" / "model.F32.gguf"
    assert not (tmp_path / "again" / "model").exists()
    with staged.open("r+b") as file:
        file.truncate(staged.stat().st_size - 100)
    report = run_export(second)
    assert report.resumed_tensors > 0
    assert digests(report.bundle) == whole
