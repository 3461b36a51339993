"""Gates ``effect`` and ``residual``: what k and residual of a finished GGUF say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from loragraft.export.effect import Effect, TensorEffect
from loragraft.export.gates import GateResult, Verdict

K_LOW, K_HIGH = 0.95, 1.05
"""Accepted k: Q4_K shrinks it to 0.988 at a delta of 1 % of the weights, nothing sane below."""
UNMEASURABLE_ERROR = 0.25
"""Beyond this error k = 1 is less than four errors away from 0 and from 2."""
COARSE_ERROR = 0.05
"""Beyond this error a k outside the band is no proof."""
CONFIDENCE = 3.0
"""Errors that k may lie outside of the band before it counts."""
PRECISE_TENSOR_ERROR = 0.1
"""Single tensors are judged where their own k is known this well."""

RESIDUALS: Mapping[str, float] = {
    "F64": 1e-7, "F32": 2e-6, "F16": 5e-4, "BF16": 2.5e-3, "Q8_0": 0.007, "Q6_K": 0.022,
    "Q5_K": 0.042, "Q5_0": 0.05, "Q5_1": 0.045, "Q4_K": 0.085, "Q4_0": 0.10, "Q4_1": 0.09,
    "IQ4_NL": 0.09, "IQ4_XS": 0.09, "Q3_K": 0.17, "Q2_K": 0.33,
}  # fmt: skip
"""Expected residual by tensor type: real weights of SmolLM2-135M and Gaussian ones, rounded up."""
DEFAULT_RESIDUAL = 0.35
RESIDUAL_SLACK = 2.0
"""Factor on the expected residual: weights with outliers quantize worse than typical ones."""
WRONG_BASE = 0.7
"""From here on the base is unrelated (1.41 for independent weights); below, a relative of it."""


def effect_gates(
    effect: Effect, precision: Literal["fp32", "reference"] = "fp32"
) -> tuple[GateResult, GateResult]:
    """Judge k (gate ``effect``) and the residual (gate ``residual``)."""
    return _judge_k(effect, precision), _judge_residual(effect, precision)


def explain_k(k: float, error: float) -> str:
    """Say what a k outside the accepted band usually means."""
    margin = 0.1 + CONFIDENCE * error
    if abs(k) <= margin:
        return "the adapter is not merged"
    if abs(k - 2) <= margin:
        return "the adapter is merged twice"
    if abs(k + 1) <= margin:
        return "the adapter is subtracted"
    if k < K_LOW:
        return (
            "only part of the adapter is in: its scale is wrong (a lost rsLoRA flag divides it "
            "by the root of the rank), or the sum was rounded away"
        )
    return "more than the adapter is in: its scale is wrong, or it is merged more than once"


def _judge_k(effect: Effect, precision: str) -> GateResult:
    expected = f"k within {K_LOW} and {K_HIGH}"
    k, error = effect.k, effect.standard_error
    details = effect.to_json()
    if not effect.tensors:
        return GateResult("effect", "skipped", "no adapter was given", expected)
    if k is None:
        step = "Check that the adapter was trained: all its changes are zero."
        return GateResult("effect", "warn", "the delta is zero", expected, step, details)
    if error > UNMEASURABLE_ERROR:
        measured = (
            f"unscorable: adapter's delta is below quantization noise (k = {k:.2f} ± {error:.2f}, "
            f"delta {effect.pooled.delta:.2e} of the weights)"
        )
        if effect.proven_by_bytes:
            measured += "; merged nevertheless: the bytes are those of base plus adapter, quantized"
        step = "Export Q8_0 or F16 as well: the file may answer no differently from its base."
        return GateResult("effect", "warn", measured, expected, step, details)
    measured = f"k = {k:.3f} ± {error:.3f} over {len(effect.tensors)} tensors"
    off = [tensor for tensor in effect.tensors if _clearly_off(tensor)]
    outside = max(K_LOW - k, k - K_HIGH, 0.0)
    if effect.proven_by_bytes and (off or outside > CONFIDENCE * error):
        return _swallowed(effect, off, measured, expected)
    # Where most are off, the pooled k says so, unless a few large changes outweigh them in it.
    if off and (outside == 0 or 2 * len(off) < len(effect.tensors)):
        names = ", ".join(f"{t.name} (k = {t.k:.2f} ± {t.standard_error:.2f})" for t in off[:3])
        measured += f", but {len(off)} are off: {names}"
        step = "These modules got another change than the adapter asks for. Report it."
        return GateResult("effect", "fail", measured, expected, step, details)
    if outside == 0:
        return GateResult("effect", "pass", measured, expected, "", details)
    verdict: Verdict = "fail"
    reason = explain_k(k, error)
    if outside <= CONFIDENCE * error:
        verdict = "pass" if error <= COARSE_ERROR else "warn"
        reason = "within the error of the accepted band"
    elif precision == "reference" and 0.1 < k < K_LOW:
        verdict, reason = "warn", "bf16 rounding of --precision reference lost part of the adapter"
    step = {"pass": "", "warn": _SOFTER, "fail": _CHECK_MERGE}[verdict]
    return GateResult("effect", verdict, f"{measured}: {reason}", expected, step, details)


_SOFTER = "Use --precision fp32 and a finer quantization to keep the whole adapter."
_CHECK_MERGE = "Check base, adapter and --scale, and export again."


def _swallowed(
    effect: Effect, off: Sequence[TensorEffect], measured: str, expected: str
) -> GateResult:
    """Warn that rounding took part of the adapter although the merge is proven."""
    names = ", ".join(f"{t.name} (k = {t.k:.2f}, {t.type_name})" for t in off[:3])
    measured += (
        ": merged (the bytes are those of base plus adapter, quantized), but quantization swallows "
        f"part of the change{f', most in {len(off)} tensors: {names}' if off else ''}"
    )
    step = (
        "The change is smaller than the steps of this type, and the base lies on a grid of such "
        "steps (it was quantized once). Use a finer type, such as Q8_0, or the original base."
    )
    return GateResult("effect", "warn", measured, expected, step, effect.to_json())


def _clearly_off(tensor: TensorEffect) -> bool:
    """Whether a tensor's k is precise and at least halfway to "not merged" or "merged twice"."""
    if tensor.k is None or tensor.standard_error > PRECISE_TENSOR_ERROR:
        return False
    return abs(tensor.k - 1) > 0.5 + CONFIDENCE * tensor.standard_error


def residual_limit(type_name: str) -> float:
    """Return the largest accepted residual of a tensor type."""
    return RESIDUAL_SLACK * RESIDUALS.get(type_name, DEFAULT_RESIDUAL)


def _judge_residual(effect: Effect, precision: str) -> GateResult:
    # The reference rounds every sum to bfloat16, whatever type is written.
    least = residual_limit("BF16") if precision == "reference" else 0.0
    limits = {i.type_name: max(residual_limit(i.type_name), least) for i in effect.by_type}
    expected = ", ".join(f"{name} at most {limit:.3g}" for name, limit in limits.items())
    if not effect.by_type:
        return GateResult("residual", "skipped", "no adapter was given", "residual of the type")
    measured = ", ".join(f"{item.type_name} {item.residual:.3g}" for item in effect.by_type)
    details = {"by_type": {item.type_name: item.residual for item in effect.by_type}}
    if effect.pooled.broken:
        measured = f"{effect.pooled.broken} of {effect.pooled.values} values are NaN or infinite"
        step = "The file is damaged. Check its checksum and export it again."
        return GateResult("residual", "fail", measured, "finite values", step, details)
    over = [item for item in effect.by_type if item.residual > limits[item.type_name]]
    single = [t for t in effect.tensors if t.residual > max(WRONG_BASE, limits[t.type_name])]
    if single and 2 * len(single) < len(effect.tensors):
        names = ", ".join(f"{t.name} ({t.residual:.2g})" for t in single[:3])
        measured = f"{measured}, and {len(single)} tensors are far off: {names}"
        step = "These tensors are damaged or misplaced. Export again."
        return GateResult("residual", "fail", measured, expected, step, details)
    if over:
        step = _explain_residual(max(item.residual for item in over))
        return GateResult("residual", "fail", measured, expected, step, details)
    return GateResult("residual", "pass", measured, expected, "", details)


def _explain_residual(residual: float) -> str:
    if residual >= WRONG_BASE:
        return "This is the wrong base: its weights are unrelated to the file's. Name the other."
    return (
        "The base is a relative of the right one (another revision, an instruct variant), or the "
        "file is damaged. Name the exact base, or check the file's checksum."
    )
