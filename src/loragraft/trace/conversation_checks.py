"""Checks of what a conversation becomes: template, BOS, tokenizer, stop tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loragraft.trace.cause import Cause, Subject
from loragraft.trace.shown import first_difference, quoted, shown_ids

PHI3_NAMES = ("phi-3", "phi3")


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
    if parted is not None and _unnamed_phi3(subject):
        name = found.get("general.name")
        return (
            Cause(
                "model_name", "ids", "llama.cpp does not know it for a Phi-3",
                f"llama.cpp drops the blanks after Phi-3's special tokens, as its tokenizer does, "
                f"only where general.name holds 'phi-3' or 'phi3'; here it is {name!r}: {parted}",
                "Set general.name to one with phi-3 in it, or export it under such a name.",
            ),
        )  # fmt: skip
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


def _unnamed_phi3(subject: Subject) -> bool:
    """Whether a Phi-3 has a name by which llama.cpp does not know it (llama-vocab.cpp)."""
    name = str(subject.paper.items.get("general.name", "")).lower()
    return subject.paper.architecture == "phi3" and not any(p in name for p in PHI3_NAMES)


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
