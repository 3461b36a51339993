"""Direct evidence of what went wrong at a stage: metadata, templates, tokens, weights.

Each check takes what is known of a stage and of the training's side and returns causes; a cause is
named only with what proves it. A new cause is one function and one line in :data:`CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loragraft.export.effect import Effect
from loragraft.export.effect_gates import effect_gates, explain_k
from loragraft.trace.observation import Observation
from loragraft.trace.reference import Paper, Reference
from loragraft.trace.shown import first_difference, quoted, shown_ids
from loragraft.trace.weights import WeightFacts

Aspect = Literal["text", "ids", "distribution", "stopping"]
ASPECTS: tuple[Aspect, ...] = ("text", "ids", "distribution", "stopping")

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


@dataclass(frozen=True)
class Cause:
    """Why a stage parts.

    Attributes:
        code: Name for programs, such as ``rope_theta``.
        aspect: What it changes first.
        cause: What is wrong, as a short phrase.
        evidence: What proves it.
        fix: What to do.
    """

    code: str
    aspect: Aspect
    cause: str
    evidence: str
    fix: str


@dataclass(frozen=True)
class Subject:
    """A stage and what the training's side would have it be.

    Attributes:
        title: The stage's name in sentences.
        paper: What it says of itself.
        seen: What it showed.
        trained: What base and adapter showed, or would render and tokenize.
        reference: The training's side.
        again: The command that makes this stage anew.
        weights: Its weights against base plus adapter, where they were compared.
        effect: How often the adapter is in a GGUF file, as the export's gate measures it.
        is_file: Whether it lies here as files, which can be corrected.
    """

    title: str
    paper: Paper
    seen: Observation
    trained: Observation
    reference: Reference
    again: str
    weights: WeightFacts | None = None
    effect: Effect | None = None
    is_file: bool = True


Check = Callable[[Subject], Sequence[Cause]]


def find_causes(subject: Subject) -> tuple[Cause, ...]:
    """Run every check, in the order of the tables in the report: text first."""
    return tuple(cause for check in CHECKS for cause in check(subject))


def check_template(subject: Subject) -> Sequence[Cause]:
    """The template renders other text than the training's."""
    found, wanted = subject.paper.facts, subject.reference.paper.facts
    if wanted is None or found is None or (found.template is None and wanted.template is None):
        return ()
    fix = f"Put the training's chat template back: {subject.again}."
    if found.template is None:
        return (
            Cause("template_missing", "text", "the chat template is missing",
                  "the file has no tokenizer.chat_template, the training's side has one", fix),
        )  # fmt: skip
    pairs = list(zip(subject.trained.texts, subject.seen.texts, strict=True))
    differing = [(a, b) for a, b in pairs if a != b]
    unseen = not subject.is_file and not any(subject.seen.texts)  # a server that shows none
    if not differing or unseen or _doubles_start(subject):
        return ()
    if wanted.template is None:
        evidence = "its template is one that the training's side has not"
    elif found.template == wanted.template:
        evidence = "its template reads other special tokens than the training's"
    else:
        evidence = (
            f"its template ({len(found.template)} characters) is not the training's "
            f"({len(wanted.template)})"
        )
    evidence += (
        f"; {len(differing)} of {len(pairs)} conversations become another text: "
        f"{first_difference(*differing[0])}"
    )
    return (
        Cause("template_swapped", "text", "the chat template was swapped", evidence, fix),
    )  # fmt: skip


def check_bos(subject: Subject) -> Sequence[Cause]:
    """The token that begins a text stands twice, or comes where training had none."""
    found, wanted = subject.paper.facts, subject.reference.paper.facts
    if found is None or wanted is None or found.bos_id is None:
        return ()
    if _doubles_start(subject):
        return (
            Cause(
                "bos_doubled", "ids", "the BOS token is doubled",
                f"conversations begin with {quoted(str(found.bos))} twice, in training once: "
                f"{shown_ids(next(filter(None, subject.seen.ids), ()), found.vocabulary)}",
                "Take one of the two out of the template (its text and {{ bos_token }} are the "
                f"same token), or {subject.again}.",
            ),
        )  # fmt: skip
    if found.add_bos == wanted.add_bos or not found.add_bos:
        return ()
    doubled = any(ids and ids[0] == found.bos_id for ids in subject.seen.ids)
    how = (
        "the template already writes that token: engines that follow the file put it there twice"
        if doubled
        else "the training's tokenizer puts none there"
    )
    return (
        Cause(
            "bos_doubled" if doubled else "bos_added", "ids",
            "the BOS token is doubled" if doubled else "a BOS token is added",
            f"tokenizer.ggml.add_bos_token is true, the training's tokenizer says false, and {how}",
            f"Set tokenizer.ggml.add_bos_token to false, or {subject.again}.",
        ),
    )  # fmt: skip


def _doubles_start(subject: Subject) -> bool:
    """Whether prompts begin with two BOS tokens where the training's begin with one at most."""
    facts = subject.paper.facts
    if facts is None or facts.bos_id is None:
        return False
    twice = (facts.bos_id, facts.bos_id)
    return any(
        found is not None and found[:2] == twice and trained is not None and trained[:2] != twice
        for found, trained in zip(subject.seen.ids, subject.trained.ids, strict=True)
    )


def check_tokenizer(subject: Subject) -> Sequence[Cause]:
    """The same text becomes other tokens."""
    wanted = subject.reference.paper.items
    found = subject.paper.items
    if not wanted or not found:
        return ()
    parted = _first_other_ids(subject)
    key = "tokenizer.ggml.pre"
    if parted is not None and found.get(key) != wanted.get(key):
        return (
            Cause(
                "pre_tokenizer", "ids", "the pre-tokenizer was replaced",
                f"{key} is {found.get(key)!r}, the training's tokenizer is {wanted.get(key)!r}: "
                f"{parted}",
                f"Set {key} to {wanted.get(key)!r}, or {subject.again}.",
            ),
        )  # fmt: skip
    lists = ("tokens", "merges", "token_type", "scores")
    other = [n for n in lists if _differs(found, wanted, f"tokenizer.ggml.{n}")]
    if not other or (parted is None and other != ["tokens"] and "tokens" not in other):
        return ()
    evidence = _vocabulary_evidence(found, wanted, other)
    if parted is None and not evidence:
        return ()
    return (
        Cause(
            "vocabulary", "ids", "the vocabulary is another one",
            "; ".join(filter(None, (evidence, parted))),
            f"The tokenizer must be the training's: {subject.again}.",
        ),
    )  # fmt: skip


def _differs(found: Mapping[str, Any], wanted: Mapping[str, Any], key: str) -> bool:
    return key in found and key in wanted and found[key] != wanted[key]


def _vocabulary_evidence(
    found: Mapping[str, Any], wanted: Mapping[str, Any], other: Sequence[str]
) -> str:
    tokens, expected = (list(m.get("tokenizer.ggml.tokens", ())) for m in (found, wanted))
    count = sum(a != b for a, b in zip(tokens, expected, strict=False))
    if len(tokens) != len(expected):
        return f"{len(tokens)} tokens, the training's tokenizer has {len(expected)}"
    if count:
        first = next(i for i, (a, b) in enumerate(zip(tokens, expected, strict=True)) if a != b)
        return (
            f"{count} tokens have another text, the first of them {first}: {quoted(tokens[first])} "
            f"for {quoted(expected[first])}"
        )
    return f"tokenizer.ggml.{', '.join(other)} differ from the training's"


def _first_other_ids(subject: Subject) -> str | None:
    """Return the first place where equal texts have unequal tokens, in words."""
    seen, trained = subject.seen, subject.trained
    facts = subject.paper.facts
    for a, b, ids, wanted in zip(seen.texts, trained.texts, seen.ids, trained.ids, strict=True):
        if a is not None and a == b and ids is not None and wanted is not None and ids != wanted:
            at = next(
                (i for i, (x, y) in enumerate(zip(ids, wanted, strict=False)) if x != y),
                min(len(ids), len(wanted)),
            )
            vocabulary = facts.vocabulary if facts is not None else ()
            return (
                f"at token {at} of {len(wanted)} the same text gives "
                f"{shown_ids(ids[at : at + 4], vocabulary)} for "
                f"{shown_ids(wanted[at : at + 4], vocabulary)}"
            )
    return None


def check_stops(subject: Subject) -> Sequence[Cause]:
    """A token that ends answers in training ends none here."""
    facts = subject.reference.paper.facts
    if subject.seen.ends is None or facts is None:
        return ()
    lost = sorted(subject.reference.required_ends - subject.seen.ends)
    if not lost:
        return _unnamed_end(subject)
    names = ", ".join(f"{quoted(facts.vocabulary[token])} ({token})" for token in lost)
    has = ", ".join(_token(subject, token) for token in sorted(subject.seen.ends)) or "nothing"
    went_on = [
        answer.probe for answer in subject.seen.answers
        if any(token in lost for token in answer.ids[:-1])
    ]  # fmt: skip
    evidence = f"answers end at {has}, in training also at {names}"
    if went_on:
        evidence += f"; it writes that token and goes on (probe {went_on[0]!r})"
    return (
        Cause(
            "stop_lost", "stopping", "a stop token was lost", evidence,
            f"Name {names} as EOS again (tokenizer.ggml.eos_token_id in a GGUF, "
            f"generation_config.json in a checkpoint), or {subject.again}.",
        ),
    )  # fmt: skip


def _unnamed_end(subject: Subject) -> Sequence[Cause]:
    """A file that names another EOS: llama.cpp knows some ends by their text, others read it."""
    found, wanted = subject.paper.facts, subject.reference.paper.facts
    if found is None or wanted is None or wanted.eos_id is None or found.eos_id is None:
        return ()
    if wanted.eos_id in found.end_ids:
        return ()
    name = f"{quoted(str(wanted.eos))} ({wanted.eos_id})"
    return (
        Cause(
            "stop_lost", "stopping", "a stop token was lost",
            f"tokenizer.ggml.eos_token_id is {_token(subject, found.eos_id)}, the training's EOS "
            f"is {name}; llama.cpp still ends there because it knows that text, engines that go by "
            "the file run on",
            f"Set tokenizer.ggml.eos_token_id to {wanted.eos_id}, or {subject.again}.",
        ),
    )  # fmt: skip


def _token(subject: Subject, token: int) -> str:
    facts = subject.paper.facts or subject.reference.paper.facts
    known = facts is not None and token < len(facts.vocabulary)
    return f"{quoted(facts.vocabulary[token])} ({token})" if facts and known else str(token)


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


CHECKS: tuple[Check, ...] = (
    check_template, check_bos, check_tokenizer, check_stops, check_settings, check_rope,
    check_base, check_rows, check_adapter,
)  # fmt: skip
