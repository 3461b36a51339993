"""Is the adapter in the base already? Merging it again would double its effect."""

from __future__ import annotations

import math

from loragraft.adapter.clean_base import Projection, project
from loragraft.adapter.context import FolderCheck, FolderContext
from loragraft.adapter.findings import Finding, failed, passed, warned
from loragraft.checkpoint.model import Checkpoint

OTHER_BASE = 0.5
"""‖W - W_clean‖/‖W‖ between two models is about 1.4; 4-bit rounding leaves 0.07."""
PRESENT = 0.1
"""A k below it is no merge: the smallest known one, a lost rsLoRA flag at r = 64, gives 0.125."""
SURE_SPREADS = 4.0
"""A k within so many spreads of 0 is 0: once in 16,000 random adapters it is not."""
USEFUL_SPREAD = 0.15
"""With a larger one, 0 and 1 are not told apart without a clean base."""
LIKELY = 0.5
"""Without a clean base, a k below it can be training's own: it follows the weights a little."""
AGREEING = 0.8
"""Share of the weights that must show a merge by themselves: training's own k differs by weight."""


def check_merged(context: FolderContext) -> Finding | None:
    """The adapter is not merged into the base already."""
    opened, base, clean = context.opened, context.base, context.clean_base
    if opened is None or base is None or opened.match is None:
        return None
    if clean is None and not opened.values:
        return None
    if clean is None:
        found = project(opened.adapter, opened.match, base)
        return None if found is None else _judge_alone(found)
    names = opened.match.tensors.values()
    if names and not any(_same_shape(name, base, clean) for name in names):
        return _no_clean_base("no adapted weight of the same shape in both")
    found = project(opened.adapter, opened.match, base, clean)
    return None if found is None else _judge_difference(found, context)


def _same_shape(name: str, base: Checkpoint, clean: Checkpoint) -> bool:
    return name in clean.tensors and clean.tensors[name].shape == base.tensors[name].shape


def _no_clean_base(measured: str) -> Finding:
    return failed(
        "merged.clean_base", measured, "the base without any adapter, with the same tensors",
        "Give the checkpoint from which the base was made.",
    )  # fmt: skip


def _judge_difference(found: Projection, context: FolderContext) -> Finding:
    """Judge k of what the base has beyond the clean one."""
    measured = f"k = {found.k:.3f} ± {found.spread:.3f} against the clean base"
    if found.residual > OTHER_BASE:
        return _no_clean_base(f"‖base - clean base‖ = {found.residual:.2f} ‖base‖: another model")
    if abs(found.k) <= max(PRESENT, SURE_SPREADS * found.spread):
        beyond = f"; they differ by {found.residual:.2%} otherwise" if found.residual > 1e-4 else ""
        return passed("merged.already", f"{measured}{beyond}", "k = 0: not in the base yet")
    return failed(
        "merged.already", f"{measured}: {_times(found.k, context)}", "k = 0: not in the base yet",
        "Give the clean base instead: merging again would add it once more.",
    )  # fmt: skip


def _judge_alone(found: Projection) -> Finding:
    """Judge k of the base itself, of which 1 is the merge and the rest is not known."""
    measured = f"⟨W,Δ⟩/‖Δ‖² = {found.k:.2f}, random Δ ± {found.spread:.2f}"
    expected = "about 0: not in the base yet"
    if found.k < LIKELY or found.k <= SURE_SPREADS * found.spread:
        return passed("merged.already", measured, expected)
    if found.spread > USEFUL_SPREAD:
        return passed("merged.already", f"{measured}: too small a change to tell", expected)
    whole = max(1, round(found.k))
    agreeing = found.share_near(whole)
    measured += f", {agreeing:.0%} of {len(found.each_k)} weights near {whole}"
    if agreeing >= AGREEING and abs(found.k - whole) <= max(PRESENT, SURE_SPREADS * found.spread):
        return failed(
            "merged.already", f"{measured}: merged {_word(whole)} already", expected,
            "Give the base without it, and that as --clean-base to be sure.",
        )  # fmt: skip
    return warned(
        "merged.already", measured, expected,
        "Training may have followed the weights, or the adapter is in with another scaling. "
        "Compare with the clean base: --clean-base.",
    )  # fmt: skip


def _times(k: float, context: FolderContext) -> str:
    """Say in words how often an adapter is in a base."""
    whole = round(k)
    if whole >= 1 and abs(k - whole) <= 0.1:
        return f"merged {_word(whole)} already"
    modules = context.adapter.modules.values() if context.adapter is not None else ()
    ranks = {module.rank for module in modules}
    if len(ranks) == 1:
        root = math.sqrt(ranks.pop())
        for factor, words in ((root, "with alpha/√r instead of alpha/r"),
                              (1 / root, "with alpha/r instead of alpha/√r")):  # fmt: skip
            if abs(k / factor - 1) <= 0.1:
                return f"merged already {words} (rsLoRA)"
    return f"merged already at {k:.2f} times its scaling"


def _word(times: int) -> str:
    return {1: "once", 2: "twice"}.get(times, f"{times} times")


MERGED_CHECKS: tuple[FolderCheck, ...] = (check_merged,)
"""Read the base's values, so they come last."""
