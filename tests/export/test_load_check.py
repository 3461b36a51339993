"""Loading in a child process: healthy, broken, killed and hanging."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from loragraft.artifact.child import explain_exit, run_child
from loragraft.errors import CheckFailedError
from loragraft.export import logits_child
from loragraft.export.load_check import load_check, load_gate
from loragraft.export.logits_child import LlamaLogits
from loragraft.export.verify import parity_gates
from tests.export.pico_llama import make_weights, save_base, write_model


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("load") / "m.gguf", make_weights(1), "Q8_0")


def test_a_healthy_file_passes_and_is_measured(healthy: Path) -> None:
    report = load_check(healthy)
    gate = load_gate(report)
    assert gate.verdict == "pass", gate
    assert report.vocabulary == 259
    assert report.finite == 1
    assert report.distinct
    assert report.loss == pytest.approx(np.log(259), abs=3)
    assert 0 < report.anonymous_bytes <= report.peak_bytes < 2 << 30
    assert gate.details["parity"] is None


def test_token_ids_are_compared_in_the_same_child(healthy: Path, tmp_path: Path) -> None:
    report = load_check(healthy, tokenizer=save_base(tmp_path / "base", make_weights(1)))
    assert report.parity is not None
    assert report.parity["cases"] > 50
    assert report.parity["passed"], report.parity["mismatches"][:2]


def test_ids_that_cannot_be_compared_are_no_failure_of_loading(
    healthy: Path, tmp_path: Path
) -> None:
    report = load_check(healthy, tokenizer=tmp_path)  # a folder without a tokenizer
    assert load_gate(report).verdict == "pass"
    (gate,) = parity_gates(report)
    assert (gate.name, gate.verdict) == ("tokenizer", "fail")
    assert "has neither tokenizer.json nor tokenizer.model" in gate.measured


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda w: w.fill(0), "constant logits"),
        (lambda w: w.fill(np.nan), "NaN or infinite"),
    ],
)
def test_bad_logits_fail(tmp_path: Path, spoil: object, words: str) -> None:
    weights = make_weights(1)
    spoil(weights["model.norm.weight"])  # type: ignore[operator]
    gate = load_gate(load_check(write_model(tmp_path / "m.gguf", weights, "F32")))
    assert gate.verdict == "fail"
    assert words in gate.measured


def test_a_model_deaf_to_its_text_fails(tmp_path: Path) -> None:
    weights = make_weights(1)
    weights["model.embed_tokens.weight"][:, 1:] = 0
    weights["model.embed_tokens.weight"][:, 0] = np.linspace(100, 200, 259)
    for name in weights:
        if "self_attn.o_proj" in name or "mlp.down_proj" in name:
            weights[name].fill(0)
    gate = load_gate(load_check(write_model(tmp_path / "m.gguf", weights, "F32")))
    assert gate.verdict == "fail"
    assert "same logits" in gate.measured


def test_a_missing_tensor_fails_in_llama_cpps_words(tmp_path: Path) -> None:
    weights = make_weights(1)
    del weights["model.layers.1.mlp.up_proj.weight"]
    path = write_model(tmp_path / "m.gguf", weights, "Q8_0")
    with pytest.raises(CheckFailedError, match=r"(?s)cannot load.*blk\.1\.ffn_up\.weight"):
        load_check(path)


def test_a_truncated_file_fails(tmp_path: Path, healthy: Path) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(healthy.read_bytes()[:-100_000])
    with pytest.raises(CheckFailedError, match=r"Loading short\.gguf"):
        load_check(path)


def test_a_hanging_child_is_stopped(healthy: Path) -> None:
    with pytest.raises(CheckFailedError, match=r"more than 0\.01 seconds"):
        load_check(healthy, timeout=0.01)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory ran out"),
        ("import os; os.abort()", r"crashed \(SIGABRT\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "ended by SIGTERM"),
        ("import sys; sys.exit('the last word')", "status 1.*the last word"),
        ("print('no json')", "without an answer"),
        ("pass", "without an answer"),
    ],
)
def test_a_childs_end_is_explained(code: str, words: str) -> None:
    with pytest.raises(CheckFailedError, match=words):
        run_child([sys.executable, "-c", code], timeout=60, purpose="The child")


def test_exit_codes_of_shells_are_signals_too() -> None:
    assert "SIGKILL" in explain_exit("It", 137, "")
    assert "status 3" in explain_exit("It", 3, "")


def test_logits_come_chunk_by_chunk(healthy: Path) -> None:
    with LlamaLogits(healthy, context=32, threads=1) as model:
        first, again = model.logits([1, 2, 3]), model.logits([1, 2, 3])
        other = model.logits([3])
    assert first.shape == (3, 259)
    assert np.array_equal(first, again)
    assert other.shape == (1, 259)
    assert np.isfinite(first).all()


def test_a_context_that_cannot_be_made_is_explained(healthy: Path) -> None:
    with (
        LlamaLogits(healthy, context=0, threads=1) as model,
        pytest.raises(CheckFailedError, match=r"makes no context for .*cannot both be zero"),
    ):
        model.logits([1])


def test_a_killed_logits_child_is_explained(healthy: Path) -> None:
    with LlamaLogits(healthy, context=32, threads=1) as model:
        model._child.kill()
        model._child.wait()
        with pytest.raises(CheckFailedError, match=r"Running .* was killed \(SIGKILL\)"):
            model.logits([1, 2])


@pytest.mark.parametrize("sent", [b"", b"\x01\x00", b"\x02\0\0\0\x03\0\0\0" + b"\0" * 20])
def test_a_logits_child_that_stops_in_the_middle_is_explained(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    code = f"import sys; sys.stdin.readline(); sys.stdout.buffer.write({sent!r}); sys.exit(3)"
    monkeypatch.setattr(
        logits_child, "child_command", lambda module, arguments: [sys.executable, "-c", code]
    )
    with (
        LlamaLogits(healthy, context=32, threads=1) as model,
        pytest.raises(CheckFailedError, match="failed with status 3"),
    ):
        model.logits([1])


def test_the_logits_childs_failure_is_explained(tmp_path: Path, healthy: Path) -> None:
    with (
        LlamaLogits(healthy, context=32, threads=1) as model,
        pytest.raises(CheckFailedError, match="Token 4000 was asked for"),
    ):
        model.logits([4000])
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with (
        LlamaLogits(broken, context=32, threads=1) as model,
        pytest.raises(CheckFailedError, match="cannot load"),
    ):
        model.logits([1])
