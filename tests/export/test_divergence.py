"""Divergence between models, against exact arithmetic and exact files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loragraft.errors import (
    BundleError,
    CheckFailedError,
    OutOfMemoryError,
    OutOfSpaceError,
    TokenizerError,
)
from loragraft.export.divergence import (
    Comparison,
    Divergence,
    calibration_text,
    compare_logits,
    divergence_gate,
    measure_divergence,
    token_chunks,
)
from tests.export.pico_llama import (
    deltas,
    make_adapter,
    make_weights,
    merged_weights,
    save_base,
    write_model,
)

BASE = make_weights(11)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"), BASE)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapter"), 12, size=0.3)


def test_divergence_of_logits_is_exact() -> None:
    generator = np.random.default_rng(1)
    first = generator.normal(0, 3, (40, 50)).astype(np.float32)
    second = generator.normal(0, 3, (40, 50)).astype(np.float32)
    p = np.exp(first.astype(np.float64)) / np.exp(first.astype(np.float64)).sum(1, keepdims=True)
    q = np.exp(second.astype(np.float64)) / np.exp(second.astype(np.float64)).sum(1, keepdims=True)
    kl, same = compare_logits(first, second)
    assert kl == pytest.approx((p * np.log(p / q)).sum(1))
    assert np.array_equal(same, first.argmax(1) == second.argmax(1))
    kl, same = compare_logits(first, first + 5)
    assert kl.max() < 1e-6
    assert same.all()


def test_a_padded_vocabulary_is_cut() -> None:
    logits = np.random.default_rng(1).normal(0, 1, (3, 8)).astype(np.float32)
    padded = np.concatenate([logits, np.full((3, 4), 9, np.float32)], axis=1)
    assert compare_logits(logits, padded)[0].max() < 1e-6


def test_non_finite_logits_are_refused() -> None:
    logits = np.zeros((2, 4), np.float32)
    broken = logits.copy()
    broken[1, 2] = np.nan
    with pytest.raises(BundleError, match="NaN or infinite logits"):
        compare_logits(logits, broken)


def test_chunks_hold_the_whole_text(base: Path) -> None:
    text = calibration_text()
    chunks = token_chunks(base, text, 100)
    assert all(len(chunk) <= 100 for chunk in chunks)
    assert sum(map(len, chunks)) == len(text.encode())


def test_a_tokenizer_that_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match="transformers cannot load the tokenizer"):
        token_chunks(tmp_path, "abc")


@pytest.mark.slow
def test_an_exact_file_diverges_by_nothing_and_the_adapter_by_something(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    path = write_model(tmp_path / "m.gguf", merged_weights(BASE, deltas(adapter)), "F32")
    text = calibration_text()[:700]
    found = measure_divergence(path, base, [(adapter, 1.0)], scratch=tmp_path, text=text)
    assert found.quantization.kl < 1e-4
    assert found.quantization.agreement > 0.98
    assert found.quantization.tokens == len(text.encode())
    assert found.adapter is not None
    assert found.total is not None
    assert found.adapter.kl > 100 * found.quantization.kl
    assert found.total.kl == pytest.approx(found.adapter.kl, rel=0.5)
    assert divergence_gate(found).verdict == "pass"
    assert set(found.to_json()) == {"quantization", "adapter", "total"}


@pytest.mark.slow
def test_a_file_without_the_adapter_is_seen(tmp_path: Path, base: Path, adapter: Path) -> None:
    path = write_model(tmp_path / "m.gguf", BASE, "Q4_0")
    text = calibration_text()[:400]
    found = measure_divergence(path, base, [(adapter, 1.0)], text=text)
    alone = measure_divergence(path, base, text=text)
    assert alone.adapter is None
    assert found.quantization.kl > alone.quantization.kl > 0


def test_a_broken_file_fails_with_llama_cpps_words(tmp_path: Path, base: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(CheckFailedError, match="cannot load"):
        measure_divergence(path, base, text="abc")


def test_too_little_memory_names_the_way_that_does(
    tmp_path: Path, base: Path, full_memory: None
) -> None:
    with pytest.raises(OutOfMemoryError, match=r"--verify full .* Use --verify quick"):
        measure_divergence(tmp_path / "m.gguf", base, text="abc")


def test_too_little_disk_for_the_bases_logits_is_said(
    tmp_path: Path, base: Path, adapter: Path, full_disk: None
) -> None:
    path = write_model(tmp_path / "m.gguf", BASE, "Q8_0")
    with pytest.raises(OutOfSpaceError, match=r"--verify full \(the base's logits\) needs"):
        measure_divergence(path, base, [(adapter, 1.0)], scratch=tmp_path, text="abc def")


@pytest.mark.parametrize(
    ("quantization", "adapter", "verdict"),
    [(0.01, 0.1, "pass"), (0.2, 0.1, "warn"), (3.0, 5.0, "fail"), (0.3, 0.5, "warn")],
)
def test_verdicts(quantization: float, adapter: float, verdict: str) -> None:
    first, second = (Comparison(kl, 0.001, 0.9, 0.01, 1000) for kl in (quantization, adapter))
    gate = divergence_gate(Divergence(first, second, second))
    assert gate.verdict == verdict
    assert "adapter" in gate.measured
