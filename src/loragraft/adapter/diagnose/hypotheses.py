"""The causes that a diagnosis weighs: one function each, from measured facts alone.

A new cause is one function and one line in :data:`HYPOTHESES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from loragraft.adapter.diagnose.difference import IDENTICAL_COSINE
from loragraft.adapter.diagnose.facts import Facts, WayResult
from loragraft.adapter.diagnose.fixes import (
    attach_code,
    inspect_code,
    other_base_code,
    rename_code,
)
from loragraft.adapter.diagnose.report import Hypothesis, Prediction, hypothesis, rank
from loragraft.adapter.findings import Severity

Rule = Callable[[Facts], Hypothesis | None]

_SHAPES = "size mismatch"
"""What torch says when a tensor has another shape than its place."""


def _differs(result: WayResult | None) -> str:
    if result is None or result.difference is None:
        return "not measured"
    return str(result.difference)


def _expected(result: WayResult | None, call: str) -> str:
    """Say what was measured on the way that works, as what to expect."""
    if result is None or result.difference is None:
        return f"{call} should then differ from the base's. Run this diagnosis again."
    return (
        f"{call} then differs from the base's: on the probe texts the mean cosine was "
        f"{result.difference.cosine:.4f} when this was tried here. Cosines of exactly 1 mean that "
        "the adapter is still not in."
    )


def _call(facts: Facts) -> str:
    return "What encode() gives" if facts.kind == "sentence-transformer" else "What the model says"


def wrapped_at_the_wrong_level(facts: Facts) -> Hypothesis | None:
    """The PEFT wrapper sits on the SentenceTransformer, the weights belong to the encoder."""
    wrapper = facts.results.get("wrapper")
    if wrapper is None:
        return None
    fits = facts.shift is not None and not facts.shift.needed
    difference = wrapper.difference
    explained = None if difference is None else difference.verdict == "identical"
    found = f"its embeddings against the base's are {_differs(wrapper)}"
    if explained is False and wrapper.landed is False:
        # With init_lora_weights false the new layers are filled at random: a change, not this one.
        explained = True
        found += ", by new layers filled at random and not by the file's weights"
    return hypothesis(
        "wrapped-at-the-wrong-level",
        "The adapter belongs on the encoder inside the SentenceTransformer. A PeftModel around "
        "the SentenceTransformer makes new, empty LoRA layers and leaves the file's weights out.",
        [
            Prediction(
                f"all {len(facts.paths)} modules of the file are named as the encoder names them",
                f"{facts.landing} of {len(facts.paths)} modules of the file are named as the "
                "encoder names them", fits),
            Prediction(
                f"PeftModel around the SentenceTransformer leaves {len(wrapper.missing)} "
                f"parameters empty and {len(wrapper.unexpected)} keys of the file unused",
                "PeftModel around the SentenceTransformer takes every key",
                None if wrapper.error else wrapper.landed is False),
            Prediction(found, found, explained),
            Prediction(f"the same file on the encoder inside: {_differs(facts.usual)}",
                       f"the same file on the encoder inside: {_differs(facts.usual)}",
                       facts.usual.changed, decisive=True),
        ],
        attach_code(facts.kind, facts.base, facts.adapter),
        _expected(facts.usual, _call(facts)),
    )  # fmt: skip


def keys_of_another_level(facts: Facts) -> Hypothesis | None:
    """The file's keys carry the names of another wrapping."""
    shift, renamed = facts.shift, facts.renamed
    needed = shift is not None and shift.needed
    was = shift.drop if shift is not None else ""
    now = shift.add if shift is not None else ""
    tried = f"with {was!r} changed to {now!r} the same weights give {_differs(renamed)}"
    return hypothesis(
        "keys-of-another-level",
        "The adapter was saved from a model that was wrapped in another way: its keys begin with "
        f"{was!r} where {now!r} belongs." if needed else
        "The adapter was saved from a model that was wrapped in another way.",
        [
            Prediction(
                "its modules all fit once the start of their names is changed",
                "its names fit as they are" if shift is not None
                else "no change of the start of its names makes all of them fit", needed),
            Prediction(
                f"loaded as they are, {len(facts.usual.unexpected)} keys land nowhere",
                "loaded as they are, every key lands",
                None if facts.usual.error else facts.usual.landed is False),
            *([Prediction(tried, tried, renamed.changed, decisive=True)] if renamed else []),
        ],
        rename_code(facts.kind, facts.base, facts.adapter, shift),
        _expected(renamed, _call(facts)),
    )  # fmt: skip


def weights_without_effect(facts: Facts) -> Hypothesis | None:
    """A factor of every pair is exactly zero."""
    idle = f"{facts.idle} of {facts.pairs} LoRA pairs have a factor that is exactly zero"
    tried = facts.renamed or facts.usual
    identical = None if tried.difference is None else tried.difference.bit_identical
    return hypothesis(
        "weights-without-effect",
        "The adapter is untrained: it was saved before its first step, its parameters were not "
        "in the optimizer, or a sharded run did not gather them.",
        [
            Prediction(idle, idle, facts.pairs > 0 and facts.idle == facts.pairs, decisive=True),
            Prediction(f"outputs against the base's are {_differs(tried)}",
                       f"outputs against the base's are {_differs(tried)}", identical),
        ],
        inspect_code(facts.adapter),
        "A checkpoint whose largest |B| is above 0; loaded, it differs from the base. If none is, "
        "train again and look at the parameters that the optimizer is given.",
    )  # fmt: skip


def weights_not_finite(facts: Facts) -> Hypothesis | None:
    """The training diverged, or the file is damaged."""
    found = f"{facts.nonfinite} values of the file are NaN or Inf"
    return hypothesis(
        "weights-not-finite",
        "The training diverged or the file is damaged: it holds NaN or Inf.",
        [Prediction(found, found, facts.nonfinite > 0, decisive=True)],
        inspect_code(facts.adapter),
        "A checkpoint with finite weights only.",
    )


def another_base(facts: Facts) -> Hypothesis | None:
    """The adapter was trained on a model of other shapes or names."""
    errors = [r.error for r in facts.results.values() if r.error]
    sizes = any(_SHAPES in error for error in errors)
    failed = [f.code for f in facts.files if f.severity is Severity.FAIL]
    named = f"{facts.landing} of {len(facts.paths)} modules are named as in this base"
    shapes = any(code.startswith(("fingerprint", "shapes", "claim.shape")) for code in failed)
    return hypothesis(
        "another-base",
        "The adapter was trained on another base.",
        [
            Prediction(
                "sizes differ from this base's" if sizes or shapes else f"{named}, and no change "
                "of names places the others",
                f"its sizes and names fit this base ({named})",
                sizes or shapes or facts.shift is None, decisive=True),
        ],
        other_base_code(facts.adapter),
        "On its own base all keys land, and outputs differ from that base's.",
    )  # fmt: skip


def bypassed(facts: Facts) -> Hypothesis | None:
    """The usual call does not go through the adapted layers."""
    usual = facts.usual
    found = usual.by_hand or "not measured"
    call = "encode()" if facts.kind == "sentence-transformer" else "generate()"
    return hypothesis(
        "bypassed",
        f"{call} does not go through the model that the adapter is on.",
        [Prediction(f"a forward pass by hand differs from the base, {call} does not: {found}",
                    found, usual.bypassed, decisive=True)],
        attach_code(facts.kind, facts.base, facts.adapter),
        _expected(None, _call(facts)),
    )  # fmt: skip


def too_weak(facts: Facts) -> Hypothesis | None:
    """The adapter is in, but moves the outputs by hardly anything."""
    difference = facts.usual.difference
    measured = _differs(facts.usual)
    weak = None
    if difference is not None and difference.verdict != "not finite":
        weak = difference.beyond_noise and difference.cosine > IDENTICAL_COSINE
    return hypothesis(
        "too-weak",
        "The adapter is loaded, but its training moved the outputs by hardly anything.",
        [
            Prediction("every key lands", "not every key lands", facts.usual.landed),
            Prediction(f"outputs against the base's are {measured}, yet beyond the noise",
                       f"outputs against the base's are {measured}", weak, decisive=True),
        ],
        inspect_code(facts.adapter),
        "A later checkpoint with a larger |B|. Look at learning rate, steps, alpha and rsLoRA.",
    )  # fmt: skip


def sound(facts: Facts) -> Hypothesis | None:
    """Nothing is wrong with the adapter."""
    failed = [f.code for f in facts.files if f.severity is Severity.FAIL]
    measured = _differs(facts.usual)
    return hypothesis(
        "sound",
        "The adapter itself is sound: put where it belongs, it changes the outputs.",
        [
            Prediction("every key lands", "not every key lands", facts.usual.landed),
            Prediction(f"outputs against the base's are {measured}",
                       f"outputs against the base's are {measured}", facts.usual.effective,
                       decisive=True),
            Prediction("no check of its files fails", f"checks fail: {', '.join(failed)}",
                       not failed),
        ],
        attach_code(facts.kind, facts.base, facts.adapter),
        _expected(facts.usual, _call(facts)),
    )  # fmt: skip


HYPOTHESES: tuple[Rule, ...] = (
    weights_not_finite,
    weights_without_effect,
    another_base,
    keys_of_another_level,
    wrapped_at_the_wrong_level,
    bypassed,
    too_weak,
    sound,
)
"""Every cause; of two that are equally well carried the first one counts."""


def weigh(facts: Facts) -> tuple[Hypothesis, ...]:
    """Return every hypothesis that applies, the best carried first."""
    found = (rule(facts) for rule in HYPOTHESES)
    ready = [replace(item, fix=facts.prepare + item.fix) for item in found if item is not None]
    return rank(ready)
