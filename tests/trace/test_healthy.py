"""Chains without a fault stay silent: every family, several types, the real SmolLM2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loragraft.checkpoint.bundle import open_model
from loragraft.trace.chain import trace_chain
from loragraft.trace.probes import PROBES
from loragraft.trace.report import TraceReport
from loragraft.trace.request import TraceRequest
from tests.trace.conftest import FEW, Chain

Build = Callable[[str], Chain]


def assert_healthy(report: TraceReport) -> None:
    assert report.healthy, report.headline
    assert report.headline.startswith("nothing parts: base, base + adapter")
    verdicts = {cell.verdict for stage in report.stages for cell in stage.cells.values()}
    assert verdicts <= {"first", "same", "as meant"}


@pytest.mark.parametrize(
    "family",
    ["llama", "llama3", "mistral", "qwen3", "gemma3", "phi3", "pico-llama", "pico-qwen3"],
)
def test_every_family(chain: Build, family: str) -> None:
    """Q4_K_M or Q8_0, as the chain's first file is."""
    assert_healthy(trace_chain(replace(chain(family).request(), probes=PROBES)))


def test_missing_stages_are_made_again(chain: Build, tmp_path: Path) -> None:
    found = chain("pico-llama")
    report = found.trace(found.gguf("Q8_0"), build=True, scratch=tmp_path)
    assert_healthy(report)
    seen = {stage.key: stage for stage in report.stages}
    assert [key for key in seen if seen[key].skipped is None] == [
        "base", "adapter", "merged", "unquantized", "quantized",
    ]  # fmt: skip
    assert "Merged again" in seen["merged"].notes[0]
    assert "Written again" in seen["unquantized"].notes[0]
    assert not list(tmp_path.iterdir())


def test_a_bundle_of_the_base_alone(chain: Build, talking_bundle: Callable[[str], Path]) -> None:
    found = chain("qwen3")
    report = trace_chain(
        TraceRequest(
            found.base,
            None,
            open_model(talking_bundle("qwen3")),
            build=False,
            tokens=8,
            threads=1,
            probes=FEW,
        )
    )
    assert report.healthy, report.headline
    assert report.stages[1].skipped == "no adapter is given"


@pytest.mark.slow
def test_the_real_model(
    smollm2_checkpoint: Path, example_adapter: Path, smollm2_bundle: Path
) -> None:
    """SmolLM2's base was once Q4_1, and its Q4_K_M diverges by itself: no fault all the same."""
    report = trace_chain(
        TraceRequest(smollm2_checkpoint, example_adapter, open_model(smollm2_bundle), build=False,
                     threads=1, probes=FEW)
    )  # fmt: skip
    assert_healthy(report)
    answers = {stage.key: stage.answers for stage in report.stages}
    for key in ("adapter", "quantized"):
        assert all(answer.finish == "stop" for answer in answers[key]), answers[key]
        assert "Paris" in answers[key][0].text
