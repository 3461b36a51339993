"""Verdicts on k and the residual, each on both sides of its border."""

from __future__ import annotations

import pytest

from loragraft.export.effect import Effect, TensorEffect
from loragraft.export.effect_gates import RESIDUALS, effect_gates, explain_k, residual_limit
from loragraft.export.gates import GateResult


def effect(k: float | None, error: float = 0.01, qtype: str = "Q8_0", **values: float) -> Effect:
    """One tensor's figures, which are those of the whole file."""
    figures = {"residual": 0.004, "delta": 0.05, "values": 1000, "broken": 0, **values}
    same = figures.pop("same", None)
    one = TensorEffect("blk.0.x", qtype, k, error, same_as_merged=same, **figures)  # type: ignore[arg-type]
    return Effect(one, (one,), (one, one, one))


def judged(found: Effect, precision: str = "fp32") -> tuple[GateResult, GateResult]:
    return effect_gates(found, precision)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("k", "error", "verdict", "words"),
    [
        (1.0, 0.01, "pass", "k = 1.000 ± 0.010 over 3 tensors"),
        (0.95, 0.01, "pass", "k = 0.950"),
        (1.05, 0.01, "pass", "k = 1.050"),
        (0.93, 0.01, "pass", "within the error of the accepted band"),
        (0.85, 0.04, "pass", "within the error of the accepted band"),
        (0.80, 0.06, "warn", "within the error of the accepted band"),
        (0.91, 0.01, "fail", "only part of the adapter is in"),
        (1.10, 0.01, "fail", "more than the adapter is in"),
        (0.0, 0.2, "fail", "the adapter is not merged"),
        (2.0, 0.2, "fail", "the adapter is merged twice"),
        (-1.0, 0.2, "fail", "the adapter is subtracted"),
        (0.0, 0.3, "warn", "unscorable: adapter's delta is below quantization noise"),
        (None, 0.01, "warn", "the delta is zero"),
    ],
)
def test_k_on_both_sides_of_its_borders(
    k: float | None, error: float, verdict: str, words: str
) -> None:
    gate = judged(effect(k, error))[0]
    assert (gate.name, gate.verdict) == ("effect", verdict)
    assert words in gate.measured
    assert bool(gate.next_step) == (verdict != "pass")


@pytest.mark.parametrize(
    ("k", "precision", "verdict"),
    [(0.6, "reference", "warn"), (0.05, "reference", "fail"), (1.4, "reference", "fail"),
     (0.6, "fp32", "fail")],
)  # fmt: skip
def test_rounding_excuses_only_a_loss(k: float, precision: str, verdict: str) -> None:
    assert judged(effect(k), precision)[0].verdict == verdict


def test_bytes_prove_what_k_cannot() -> None:
    swallowed = judged(effect(0.3, same=1.0))[0]
    assert swallowed.verdict == "warn"
    assert "merged (the bytes are those of base plus adapter" in swallowed.measured
    assert judged(effect(0.3, same=0.5))[0].verdict == "fail"
    noise = judged(effect(0.3, 0.5, same=1.0))[0]
    assert "merged nevertheless: the bytes are" in noise.measured


def test_one_tensor_that_is_off_is_named() -> None:
    right = effect(1.0).pooled
    wrong = TensorEffect("blk.7.y", "Q8_0", 0.0, 0.01, 0.004, 0.05, 1000, 0)
    found = Effect(right, (right,), (right, right, right, wrong))
    gate = judged(found)[0]
    assert gate.verdict == "fail"
    assert "1 are off: blk.7.y (k = 0.00" in gate.measured


@pytest.mark.parametrize("qtype", sorted(RESIDUALS))
def test_the_residual_on_both_sides_of_its_limit(qtype: str) -> None:
    limit = residual_limit(qtype)
    assert judged(effect(1.0, qtype=qtype, residual=limit))[1].verdict == "pass"
    gate = judged(effect(1.0, qtype=qtype, residual=1.01 * limit))[1]
    assert gate.verdict == "fail"
    assert qtype in gate.measured


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"residual": 0.3}, "The base is a relative of the right one"),
        ({"residual": 1.4}, "This is the wrong base"),
        ({"broken": 3}, "The file is damaged"),
    ],
)
def test_a_bad_residual_says_what_it_means(values: dict[str, float], words: str) -> None:
    gate = judged(effect(1.0, **values))[1]
    assert gate.verdict == "fail"
    assert words in gate.next_step


def test_a_damaged_tensor_is_named() -> None:
    right = effect(1.0).pooled
    wrong = TensorEffect("blk.7.y", "Q8_0", 1.0, 0.01, 1.2, 0.05, 1000, 0)
    gate = judged(Effect(right, (right,), (right, right, right, wrong)))[1]
    assert gate.verdict == "fail"
    assert "1 tensors are far off: blk.7.y" in gate.measured


def test_reference_precision_allows_for_its_rounding() -> None:
    assert judged(effect(1.0, qtype="F32", residual=0.003))[1].verdict == "fail"
    assert judged(effect(1.0, qtype="F32", residual=0.003), "reference")[1].verdict == "pass"


def test_every_k_outside_the_band_is_explained() -> None:
    explained = {explain_k(k, 0.01) for k in (0.0, 0.5, 1.5, 2.0, -1.0)}
    assert len(explained) == 5


@pytest.mark.parametrize(("lost", "verdict"), [(0, "pass"), (3, "fail"), (7, "fail"), (9, "fail")])
def test_lost_modules_fail_though_a_few_large_changes_hold_the_pool(
    lost: int, verdict: str
) -> None:
    figures = {"residual": 0.004, "delta": 0.05, "values": 1000, "broken": 0}
    pool = TensorEffect("all", "Q8_0", 0.97, 0.005, **figures)  # type: ignore[arg-type]
    tensors = tuple(
        TensorEffect(f"blk.{i}.attn_q", "Q8_0", 0.0 if i < lost else 1.0, 0.03, **figures)  # type: ignore[arg-type]
        for i in range(10)
    )
    gate, _ = judged(Effect(pool, (pool,), tensors))
    assert gate.verdict == verdict
    assert ("are off" in gate.measured) == bool(lost)
