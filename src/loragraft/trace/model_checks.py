"""Checks of what is computed: rope, hyper-parameters, the weights and the adapter in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loragraft.export.effect_gates import effect_gates, explain_k
from loragraft.trace.cause import Cause, Subject

DEFAULT_THETA = 10000.0
"""llama.cpp's rope base where a file has no key (llama-model.cpp)."""
SAME_NUMBER = 1e-4
"""Relative difference of two settings that is rounding: float32 keeps seven digits."""
TWICE, NONE = 1.5, 0.5
"""Halfway between an adapter merged once and twice, and between once and not at all."""
SURE_K = 0.15
"""Standard error of k below which half a merge is more than three errors away."""

SETTINGS: Mapping[str, str] = {
    "block_count": "the number of layers",
    "embedding_length": "the width",
    "attention.head_count": "the number of heads",
    "attention.head_count_kv": "the number of key-value heads",
    "attention.key_length": "the length of a head",
    "attention.layer_norm_rms_epsilon": "the norms' epsilon",
    "attention.sliding_window": "the sliding window",
    "attn_logit_softcapping": "the cap of attention",
    "final_logit_softcapping": "the cap of the logits",
    "rope.dimension_count": "the rotated part of a head",
}
"""Keys after the architecture's name that change what a model computes; rope's base and scaling
have a check of their own."""


def check_rope(subject: Subject) -> Sequence[Cause]:
    """Positions are rotated by another base or scaling."""
    found, wanted = subject.paper, subject.reference.paper
    if not found.items or found.architecture != wanted.architecture:
        return ()
    causes: list[Cause] = []
    theta, right = (p.own("rope.freq_base") or DEFAULT_THETA for p in (found, wanted))
    if not _close(theta, right):
        causes.append(
            Cause(
                "rope_theta", "distribution", "the rope theta is wrong",
                f"{found.architecture}.rope.freq_base is {theta:g}, the base's config.json says "
                f"{right:g}",
                f"Set {found.architecture}.rope.freq_base to {right:g}, or {subject.again}.",
            )
        )  # fmt: skip
    keys = {key for key in (*found.items, *wanted.items) if ".rope.scaling." in key}
    other = [key for key in sorted(keys) if not _close(found.items.get(key), wanted.items.get(key))]
    computed = subject.weights.computed if subject.weights is not None else ()
    if other or computed:
        values = (
            ", ".join(
                f"{key} is {found.items.get(key)!r}, expected {wanted.items.get(key)!r}"
                for key in other[:3]
            )
            or f"{', '.join(computed)} is missing or holds other factors"
        )
        causes.append(
            Cause(
                "rope_scaling", "distribution", "the rope scaling is another one", values,
                f"The base's config.json decides it: {subject.again}.",
            )
        )  # fmt: skip
    return causes


def check_settings(subject: Subject) -> Sequence[Cause]:
    """Another architecture, or a hyper-parameter that is not the base's."""
    found, wanted = subject.paper, subject.reference.paper
    if not found.items or not wanted.items:
        return ()
    if found.architecture != wanted.architecture:
        return (
            Cause(
                "architecture", "distribution", "it is a model of another architecture",
                f"general.architecture is {found.architecture!r}, the base is "
                f"{wanted.architecture!r}",
                "Give the base that this file was made from, or the file made from this base.",
            ),
        )  # fmt: skip
    other = {
        key: words for key, words in SETTINGS.items()
        if found.own(key) is not None and wanted.own(key) is not None
        and not _close(found.own(key), wanted.own(key))
    }  # fmt: skip
    if not other:
        return ()
    values = "; ".join(
        f"{words} ({found.architecture}.{key}) is {found.own(key)!r}, the base has "
        f"{wanted.own(key)!r}"
        for key, words in other.items()
    )
    fix = f"The base's config.json decides these: {subject.again}."
    return (Cause("settings", "distribution", "a hyper-parameter is wrong", values, fix),)


def _close(a: object, b: object) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) <= SAME_NUMBER * max(abs(a), abs(b))
    return a == b


def check_rows(subject: Subject) -> Sequence[Cause]:
    """Query and key rows stand in another order than llama.cpp reads."""
    weights = subject.weights
    if weights is None or not weights.orders:
        return ()
    names = list(weights.orders)
    ways = sorted(set(weights.orders.values()))
    return (
        Cause(
            "qk_rows", "distribution", f"query and key rows are {' and '.join(ways)}",
            f"the rows of {len(names)} tensors ({', '.join(names[:3])}"
            f"{', …' if len(names) > 3 else ''}) are those of base and adapter, {ways[0]}; "
            f"llama.cpp reads the {subject.paper.architecture} architecture's otherwise",
            f"The converter must order these rows as llama.cpp does: {subject.again}.",
        ),
    )  # fmt: skip


def check_base(subject: Subject) -> Sequence[Cause]:
    """The weights are not those of base and adapter."""
    weights = subject.weights
    if weights is None:
        return ()
    if weights.unrelated:
        worst = max(weights.off, key=lambda t: t.residual)
        return (
            Cause(
                "wrong_base", "distribution", "another base was merged",
                f"{len(weights.off)} of {len(weights.tensors)} tensors have nothing to do with the "
                f"base's (residual {worst.residual:.2f} of {worst.name}; 1.41 is chance)",
                f"Merge into the base that the adapter was trained on: {subject.again}.",
            ),
        )  # fmt: skip
    if weights.absent:
        return (
            Cause(
                "tensors", "distribution", "tensors are missing or have another shape",
                f"{len(weights.absent)} of them, such as {', '.join(weights.absent[:3])}",
                f"It was made from another model: {subject.again}.",
            ),
        )  # fmt: skip
    if weights.extra:
        return (
            Cause(
                "tensors", "distribution", "it holds tensors that the base has not",
                f"{len(weights.extra)} of them, such as {', '.join(weights.extra[:3])}",
                f"It was made from another model: {subject.again}.",
            ),
        )  # fmt: skip
    off = weights.off
    if not off:
        return ()
    worst = max(off, key=lambda t: t.rest)
    figures = (
        f"{len(off)} of {len(weights.tensors)} tensors are farther from base and adapter than "
        f"{worst.type_name} explains (residual {worst.rest:.3g} of {worst.name})"
    )
    if 2 * len(off) >= len(weights.tensors):
        cause, fix = "a relative of the base was merged", "Take the very revision of the base"
        return (Cause("related_base", "distribution", cause, figures, f"{fix}: {subject.again}."),)
    return (
        Cause("damaged", "distribution", "single tensors are damaged", figures,
              f"Check the file's checksum, then {subject.again}."),
    )  # fmt: skip


def check_adapter(subject: Subject) -> Sequence[Cause]:
    """The adapter is not in the weights, or not once."""
    weights, effect = subject.weights, subject.effect
    if weights is None or weights.k is None or weights.unrelated:
        return ()
    k, error = weights.k, weights.k_error
    if effect is not None:
        gate, _ = effect_gates(effect, "reference")
        if gate.verdict != "fail" or effect.k is None:
            return ()
        k, error = effect.k, effect.standard_error
    elif error > SURE_K or NONE < k < TWICE:
        return ()
    codes = [("adapter_twice", k >= TWICE), ("adapter_missing", k <= NONE)]
    code = next((name for name, holds in codes if holds), "adapter_scale")
    names = {
        "adapter_twice": "the adapter is merged twice",
        "adapter_missing": "the adapter is not merged",
        "adapter_scale": "the adapter is merged by another measure",
    }
    fix = "Merge it once, into the clean base" if k > 1 else "Merge it into the base"
    return (
        Cause(
            code, "distribution", names[code],
            f"k = {k:.2f} ± {error:.2f} (1 is merged once): {explain_k(k, error)}",
            f"{fix}: {subject.again}.",
        ),
    )  # fmt: skip
