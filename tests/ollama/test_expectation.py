"""Nearby models under a tag are told from other ways to compute the same one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest

from loragraft.checkpoint.bundle import LocalModel, open_model
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.ollama_chances import Chance
from loragraft.engine.ollama_server import OllamaServer
from loragraft.ollama.compose import compose
from loragraft.ollama.distance import distance
from loragraft.ollama.expectation import (
    DIVERGENCE_TOLERANCE,
    LOG_PROB_TOLERANCE,
    check_expectation,
)
from loragraft.ollama.finding import Check
from loragraft.ollama.overrides import Overrides
from tests.support.ollama_server import OllamaStandIn
from tests.support.shared import build_once

Judge = Callable[[OllamaStandIn], dict[str, Check]]
SMALL = {"num_ctx": 512}
Q8_0 = 8
"""ggml's number of the type."""


class Letters:
    """Tokens that are single letters."""

    def piece(self, token: int) -> bytes:
        """Return a token's letter."""
        return bytes([97 + token])


def as_chances(probabilities: dict[int, float]) -> list[Chance]:
    """Return what a server says of tokens."""
    pieces = Letters()
    return [
        Chance(pieces.piece(token).decode(), pieces.piece(token), math.log(p))
        for token, p in probabilities.items()
    ]


def test_a_small_shift_of_everything_is_seen_by_the_divergence() -> None:
    here, there = [0.5, 0.3, 0.1, 0.1], [0.3, 0.5, 0.05, 0.15]
    ours = np.log(np.array(here, dtype=np.float32))
    same = distance(as_chances(dict(enumerate(here))), ours, Letters())
    assert same.most == pytest.approx(0, abs=1e-6)
    assert same.divergence == pytest.approx(0, abs=1e-6)
    other = distance(as_chances(dict(enumerate(there))), ours, Letters())
    assert other.most < LOG_PROB_TOLERANCE
    assert other.divergence > DIVERGENCE_TOLERANCE
    expected = sum(p * math.log(p / q) for p, q in zip(there, here, strict=True))
    assert other.divergence == pytest.approx(expected, abs=1e-5)


def test_what_is_not_listed_counts_together() -> None:
    ours = np.log(np.array([0.9, 0.05, 0.03, 0.02], dtype=np.float32))
    cut = distance(as_chances({0: 0.9}), ours, Letters())
    assert cut.divergence == pytest.approx(0, abs=1e-6)
    assert cut.missing == ("'b' is 5% likely in llama.cpp and not among the server's 1 likeliest",)
    assert math.isfinite(cut.most)


@pytest.fixture(scope="module")
def bundle(smollm2_bundle: Path) -> LocalModel:
    """SmolLM2 with the example's adapter, Q4_K_M."""
    return open_model(smollm2_bundle)


@pytest.fixture(scope="module")
def reference(bundle: LocalModel) -> Iterator[LlamaEngine]:
    """The bundle's file here."""
    engine = LlamaEngine(bundle, context=512, threads=1)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def base_alone(smollm2_checkpoint: Path, shared_folder: Path) -> Path:
    """SmolLM2 without the adapter, in the same quantization: a file of the same shape."""
    from tests.support.talking import build_bundle

    folder = build_once(
        shared_folder / "base-alone",
        lambda part: build_bundle(smollm2_checkpoint, part / "base", "Q4_K_M"),
    )
    return next((folder / "base").glob("*.gguf"))


@pytest.fixture
def judged(
    bundle: LocalModel,
    reference: LlamaEngine,
    connect: Callable[[OllamaStandIn], OllamaServer],
) -> Judge:
    """Register without proof, and look at what the server expects."""

    def judge(stand_in: OllamaStandIn) -> dict[str, Check]:
        server, composed = connect(stand_in), compose(bundle, Overrides(parameters=SMALL))
        digest = bundle.digests[bundle.gguf.name]
        server.upload(bundle.gguf, digest)
        server.create("m", composed.modelfile.request(), digest)
        found = check_expectation(server, "m", composed, reference)
        return {check.name: check for check in found}

    return judge


@pytest.mark.slow
def test_the_base_alone_under_the_tag_is_caught(
    judged: Judge, stand_in: OllamaStandIn, base_alone: Path
) -> None:
    stand_in.faults["other_gguf"] = str(base_alone)
    checks = judged(stand_in)
    assert checks["tokens"].verdict == "pass"
    found = checks["log-probabilities"]
    assert found.verdict == "fail"
    assert np.mean(found.details["divergence"]) > 20 * DIVERGENCE_TOLERANCE


@pytest.mark.slow
def test_other_kernels_and_a_smaller_cache_pass(
    judged: Judge, newest: OllamaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def patched(name: str, **values: Any) -> None:  # noqa: ANN401
        real = getattr(llama_cpp, name)

        def make() -> Any:  # noqa: ANN401
            parameters = real()
            for key, value in values.items():
                setattr(parameters, key, value)
            return parameters

        monkeypatch.setattr(llama_cpp, name, make)

    patched("llama_model_default_params", use_extra_bufts=False)
    patched("llama_context_default_params", type_k=Q8_0, type_v=Q8_0, flash_attn_type=1)
    found = judged(newest)["log-probabilities"]
    assert found.verdict == "pass", found
    assert 0 < np.mean(found.details["divergence"]) < DIVERGENCE_TOLERANCE / 2
