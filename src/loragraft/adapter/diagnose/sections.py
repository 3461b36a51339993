"""The five tests as sections of a report: measurements in words, and what is judged of them."""

from __future__ import annotations

from collections.abc import Mapping

from loragraft.adapter.diagnose.facts import Facts, WayResult
from loragraft.adapter.diagnose.report import Section
from loragraft.adapter.diagnose.structure import level_counts
from loragraft.adapter.findings import Finding, failed, passed, quote, warned
from loragraft.adapter.reader import Adapter

Levels = Mapping[str, frozenset[str]]


def sections_of(
    facts: Facts, adapter: Adapter, levels: Levels, parameters: int
) -> tuple[Section, ...]:
    """Lay out what was measured, in the order of the five tests."""
    return (
        _difference(facts),
        _weights(facts, adapter, parameters),
        _structure(facts, levels),
        _forward(facts),
        Section("files", "Files", (), facts.files),
    )


def _all(facts: Facts) -> list[WayResult]:
    extra = [] if facts.renamed is None else [facts.renamed]
    return [*facts.results.values(), *extra]


def _difference(facts: Facts) -> Section:
    rows = tuple(
        (f"{result.name} ({result.code})", result.error or str(result.difference))
        for result in _all(facts)
    )
    return Section("difference", "Outputs against the base's, by way of loading", rows,
                   (_judge_difference(facts), *_judge_merge(facts)))  # fmt: skip


def _judge_difference(facts: Facts) -> Finding:
    works = [r.name for r in facts.results.values() if r.changed]
    idle = [r.name for r in facts.results.values() if not r.changed]
    expected = "outputs that differ from the base's in every way of loading"
    measured = f"differ: {quote(works, 9) or 'none'}; do not: {quote(idle, 9) or 'none'}"
    if not idle:
        return passed("diagnose.difference", measured, expected)
    if works:
        return warned(
            "diagnose.difference", measured, expected,
            "Load it in a way that works, and let the load fail if a key does not land.",
        )  # fmt: skip
    return failed("diagnose.difference", measured, expected, "See the diagnosis.")


def _judge_merge(facts: Facts) -> list[Finding]:
    merged = facts.results["merged"].difference
    usual = facts.usual.difference
    if merged is None or usual is None or not facts.usual.changed:
        return []
    expected = f"cosine {usual.cosine:.6f}, as before merging"
    measured = f"cosine {merged.cosine:.6f} after merging"
    # Merging in float32 rounds once; 1e-4 is the distance that counts as identical.
    if abs(merged.cosine - usual.cosine) < 1e-4:
        return [passed("diagnose.merge", measured, expected)]
    step = "Merge in float32, with safe_merge=True."
    return [warned("diagnose.merge", measured, expected, step)]


def _weights(facts: Facts, adapter: Adapter, parameters: int) -> Section:
    share = adapter.parameters / parameters if parameters else 0.0
    rows = [
        ("LoRA pairs in the file", f"{facts.pairs}, {facts.idle} of them with a factor of zeros"),
        ("values NaN or Inf", str(facts.nonfinite)),
        ("parameters in the file", f"{adapter.parameters:,}, {share:.3%} of the base's"),
    ]
    for result in _all(facts):
        if result.error is None:
            kind = "a PeftModel" if result.is_peft_model else "no PeftModel"
            counts = f"{result.trainable:,} adapter parameters of {result.total:,}"
            rows.append((result.name, f"{kind}, {result.layers} adapted layers, {counts}"))
    return Section("weights", "Weights", tuple(rows), (_judge_weights(facts),))


def _judge_weights(facts: Facts) -> Finding:
    measured = (
        f"{facts.pairs} pairs, {facts.idle} with a factor of zeros, {facts.nonfinite} values not "
        "finite"
    )
    expected = "LoRA tensors that are finite and not zero"
    if facts.nonfinite or not facts.pairs or facts.idle == facts.pairs:
        return failed("diagnose.weights", measured, expected, "Take another checkpoint.")
    return passed("diagnose.weights", measured, expected)


def _structure(facts: Facts, levels: Levels) -> Section:
    counts = level_counts(facts.paths, levels)
    total = len(facts.paths)
    rows = [(f"named as in the {level}", f"{n} of {total} modules") for level, n in counts.items()]
    rows += [(f"adapter sits ({r.name})", r.place) for r in _all(facts) if r.place]
    rows += [
        (f"keys ({r.name})", f"{len(r.missing)} parameters not filled, {len(r.unexpected)} keys "
         "unused")
        for r in _all(facts) if r.error is None
    ]  # fmt: skip
    return Section("structure", "Where the adapter sits", tuple(rows), (_judge_structure(facts),))


def _judge_structure(facts: Facts) -> Finding:
    inside = "encoder" if facts.kind == "sentence-transformer" else "language model"
    expected = f"every module of the file to be named as the {inside} names it"
    measured = f"{facts.landing} of {len(facts.paths)} modules are named so"
    if facts.shift is None:
        step = "No change of the start of their names helps: give the base it was trained on."
        return failed("diagnose.structure", measured, expected, step)
    if facts.shift.needed:
        return failed(
            "diagnose.structure", f"{measured}; keys begin with {facts.shift.drop!r}", expected,
            f"Let them begin with {facts.shift.add!r}.",
        )  # fmt: skip
    return passed("diagnose.structure", measured, expected)


def _forward(facts: Facts) -> Section:
    rows = tuple((r.name, r.by_hand) for r in _all(facts) if r.by_hand)
    past = [r.name for r in _all(facts) if r.bypassed]
    expected = "the usual call to go through the adapted layers"
    if past:
        finding = failed("diagnose.bypass", f"bypassed when loaded as {quote(past)}", expected,
                         "Call the object that the adapter is on.")  # fmt: skip
    else:
        finding = passed("diagnose.bypass", "it does in every way of loading", expected)
    return Section("forward", "A forward pass by hand against the usual call", rows, (finding,))
