"""k and residual on files made right and wrong in known ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loragraft.errors import BundleError
from loragraft.export.effect import Effect, EffectTarget, measure_effect
from loragraft.export.effect_gates import RESIDUALS, effect_gates, explain_k
from tests.export.pico_llama import (
    Weights,
    deltas,
    gguf_tensors,
    make_adapter,
    make_weights,
    merged_weights,
    write_model,
)

BASE = make_weights(3)


def targets(base: Weights, change: Weights) -> list[EffectTarget]:
    weights, changes = gguf_tensors(base), gguf_tensors(change)
    return [
        EffectTarget(
            name,
            len(delta),
            lambda rows, w=weights[name]: w[rows],  # type: ignore[misc]
            lambda rows, d=delta: d[rows],  # type: ignore[misc]
        )
        for name, delta in changes.items()
    ]


@pytest.fixture(scope="module")
def change(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return deltas(make_adapter(tmp_path_factory.mktemp("adapter"), 4))


def measure(path: Path, change: Weights, times: float, qtype: str) -> Effect:
    write_model(path, merged_weights(BASE, change, times), qtype)
    return measure_effect(path, targets(BASE, change))


@pytest.mark.parametrize("qtype", ["F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0"])
def test_a_healthy_export_passes(tmp_path: Path, change: Weights, qtype: str) -> None:
    effect = measure(tmp_path / "m.gguf", change, 1.0, qtype)
    assert effect.k == pytest.approx(1, abs=0.03)
    assert effect.standard_error < 0.05
    assert len(effect.tensors) == 14
    assert [gate.verdict for gate in effect_gates(effect)] == ["pass", "pass"]


@pytest.mark.parametrize("qtype", sorted(set(RESIDUALS) - {"F64"}))
def test_expected_residuals_fit_gaussian_weights(
    tmp_path: Path, change: Weights, qtype: str
) -> None:
    effect = measure(tmp_path / "m.gguf", change, 1.0, qtype)
    assert effect.residual < 1.1 * RESIDUALS[qtype]


@pytest.mark.parametrize(
    ("times", "words"),
    [(0.0, "not merged"), (2.0, "twice"), (-1.0, "subtracted"), (0.35, "rsLoRA"), (1.4, "scale")],
)
@pytest.mark.parametrize("qtype", ["Q8_0", "Q4_K"])
def test_a_wrong_merge_fails_and_is_named(
    tmp_path: Path, change: Weights, times: float, words: str, qtype: str
) -> None:
    effect = measure(tmp_path / "m.gguf", change, times, qtype)
    assert effect.k == pytest.approx(times, abs=0.1)
    gate = effect_gates(effect)[0]
    assert gate.verdict == "fail"
    assert words in gate.measured


def test_one_module_left_out_fails_and_is_named(tmp_path: Path, change: Weights) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    part = {key: value for key, value in change.items() if key != name}
    write_model(tmp_path / "m.gguf", merged_weights(BASE, part), "Q8_0")
    gate = effect_gates(measure_effect(tmp_path / "m.gguf", targets(BASE, change)))[0]
    assert gate.verdict == "fail"
    assert "blk.1.ffn_up.weight" in gate.measured


def test_another_base_is_named_by_the_residual(tmp_path: Path, change: Weights) -> None:
    path = write_model(tmp_path / "m.gguf", merged_weights(make_weights(99), change), "Q4_K")
    effect = measure_effect(path, targets(BASE, change))
    assert effect.residual == pytest.approx(1.41, abs=0.05)
    gate = effect_gates(effect)[1]
    assert gate.verdict == "fail"
    assert "wrong base" in gate.next_step


def test_a_related_base_is_told_from_a_wrong_one(tmp_path: Path, change: Weights) -> None:
    generator = np.random.default_rng(5)
    near = {n: (w + generator.normal(0, 0.01, w.shape)).astype(np.float32) for n, w in BASE.items()}
    path = write_model(tmp_path / "m.gguf", merged_weights(near, change), "Q8_0")
    gate = effect_gates(measure_effect(path, targets(BASE, change)))[1]
    assert gate.verdict == "fail"
    assert "relative" in gate.next_step


def test_unpermuted_rows_fail(tmp_path: Path, change: Weights) -> None:
    weights, changes = merged_weights(BASE, change), targets(BASE, change)
    name = "model.layers.0.self_attn.q_proj.weight"
    weights[name] = np.ascontiguousarray(weights[name][::-1])
    path = write_model(tmp_path / "m.gguf", weights, "Q8_0")
    gates = effect_gates(measure_effect(path, changes))
    assert "blk.0.attn_q.weight" in gates[1].measured
    assert gates[1].verdict == "fail"


@pytest.mark.parametrize("times", [0.0, 1.0])
def test_a_delta_below_the_noise_is_unscorable(tmp_path: Path, times: float) -> None:
    tiny = deltas(make_adapter(tmp_path / "adapter", 6, size=2e-5))
    gate = effect_gates(measure(tmp_path / "m.gguf", tiny, times, "Q4_K"))[0]
    assert gate.verdict == "warn"
    assert "unscorable: adapter's delta is below quantization noise" in gate.measured


def test_pooling_tensors_measures_what_one_cannot(tmp_path: Path) -> None:
    small = deltas(make_adapter(tmp_path / "adapter", 6, size=2e-3))
    effect = measure(tmp_path / "m.gguf", small, 1.0, "Q8_0")
    assert effect.standard_error < min(t.standard_error for t in effect.tensors)
    assert abs((effect.k or 0) - 1) < 4 * effect.standard_error
    assert effect_gates(effect)[0].verdict == "pass"


def test_the_standard_error_is_the_spread_over_samples(tmp_path: Path) -> None:
    small = deltas(make_adapter(tmp_path / "adapter", 6, size=5e-3))
    path = write_model(tmp_path / "m.gguf", merged_weights(BASE, small), "Q4_K")
    chosen = [t for t in targets(BASE, small) if t.gguf_name == "blk.0.ffn_up.weight"]
    parts = []
    for start in range(0, 256, 16):
        rows = np.arange(start, start + 16)
        part = EffectTarget(
            chosen[0].gguf_name, 256, chosen[0].base_rows, chosen[0].delta_rows, rows
        )
        parts.append(measure_effect(path, [part]))
    spread = np.std([part.k or 0 for part in parts], ddof=1)
    assert np.mean([part.standard_error for part in parts]) == pytest.approx(spread, rel=0.6)


def test_bf16_rounding_of_the_reference_precision_is_a_warning(
    tmp_path: Path, change: Weights
) -> None:
    effect = measure(tmp_path / "m.gguf", change, 0.6, "Q8_0")
    assert effect_gates(effect, "reference")[0].verdict == "warn"
    assert effect_gates(effect, "fp32")[0].verdict == "fail"


def test_a_zero_adapter_warns(tmp_path: Path, change: Weights) -> None:
    zero = {name: np.zeros_like(delta) for name, delta in change.items()}
    gates = effect_gates(measure(tmp_path / "m.gguf", zero, 1.0, "Q8_0"))
    assert gates[0].verdict == "warn"
    assert "zero" in gates[0].measured
    assert gates[1].verdict == "pass"


def test_no_adapter_is_skipped(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", BASE, "Q8_0")
    assert [gate.verdict for gate in effect_gates(measure_effect(path, []))] == ["skipped"] * 2


def test_broken_values_fail(tmp_path: Path, change: Weights) -> None:
    weights = merged_weights(BASE, change)
    weights["model.layers.0.mlp.up_proj.weight"][:, 0] = np.nan
    gate = effect_gates(measure_effect(
        write_model(tmp_path / "m.gguf", weights, "F16"), targets(BASE, change)))[1]  # fmt: skip
    assert gate.verdict == "fail"
    assert "NaN" in gate.measured


def test_the_sample_is_seeded(tmp_path: Path, change: Weights) -> None:
    path = write_model(tmp_path / "m.gguf", merged_weights(BASE, change), "Q4_K")
    first, second = (measure_effect(path, targets(BASE, change), 7) for _ in range(2))
    assert first == second
    assert measure_effect(path, targets(BASE, change), 8).k != first.k


def test_other_shapes_are_refused(tmp_path: Path, change: Weights) -> None:
    path = write_model(tmp_path / "m.gguf", merged_weights(BASE, change), "Q4_K")
    chosen = targets(BASE, change)[0]
    wrong = EffectTarget(chosen.gguf_name, 8, chosen.base_rows, chosen.delta_rows)
    narrow = EffectTarget(
        chosen.gguf_name, chosen.rows_total,
        lambda rows: chosen.base_rows(rows)[:, :8], lambda rows: chosen.delta_rows(rows)[:, :8],
    )  # fmt: skip
    with pytest.raises(BundleError, match=r"have 256 values, expected 8: .* this base"):
        measure_effect(path, [narrow])
    with pytest.raises(BundleError, match="has 256 rows, expected 8"):
        measure_effect(path, [wrong])


def test_k_is_explained() -> None:
    assert "not merged" in explain_k(0.02, 0.01)
    assert "twice" in explain_k(1.98, 0.01)


def on_a_grid() -> Weights:
    """A base that was quantized once, as models decoded from GGUF files are."""
    import gguf

    from loragraft.export.quantize.ggml import load_ggml

    kind = gguf.GGMLQuantizationType.Q4_1
    return {
        n: gguf.quants.dequantize(load_ggml().quantize(int(kind), w), kind) if w.ndim == 2 else w
        for n, w in BASE.items()
    }


@pytest.mark.parametrize(("times", "verdict"), [(1.0, "warn"), (0.0, "fail"), (2.0, "fail")])
def test_a_base_on_a_grid_swallows_the_change_and_the_bytes_tell(
    tmp_path: Path, times: float, verdict: str
) -> None:
    base, small = on_a_grid(), deltas(make_adapter(tmp_path / "adapter", 6, size=0.02))
    path = write_model(tmp_path / "m.gguf", merged_weights(base, small, times), "Q4_1")
    effect = measure_effect(path, targets(base, small))
    assert abs((effect.k or 0) - 1) > 0.2
    assert effect.proven_by_bytes == (times == 1.0)
    gate = effect_gates(effect)[0]
    assert gate.verdict == verdict
    assert ("swallows" in gate.measured) == (times == 1.0)
