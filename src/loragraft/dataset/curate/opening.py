"""From the rules of a file to what judges and remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from loragraft.dataset.curate import memories, specs
from loragraft.dataset.curate.fields import read_key
from loragraft.dataset.curate.judges import JUDGES, keys_of, open_judge
from loragraft.dataset.curate.memories import Applies, OpenEmbedder, SameId
from loragraft.dataset.curate.rule import Judge, Memory, Row

SAME_ID = "same id"


class OpenedJudge(NamedTuple):
    """A rule that judges rows by themselves, and which rows."""

    spec: specs.RuleSpec
    judge: Judge
    applies: Applies


class OpenedMemory(NamedTuple):
    """A rule that compares rows; ``spec`` is None for the one that is always there."""

    name: str
    spec: specs.RuleSpec | None
    memory: Memory

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that it reads."""
        return self.spec.paths if self.spec is not None else ()


def _open_language(spec: specs.Language) -> Judge:
    from loragraft.dataset.curate.language import LanguageRule

    return LanguageRule(spec.field, spec.languages, spec.min_confidence)


def _open_toxicity(spec: specs.Toxicity) -> Judge:
    from loragraft.dataset.curate.toxicity import ToxicityRule

    return ToxicityRule(
        spec.field,
        spec.below,
        score_field=spec.score_field,
        model=spec.model,
        checkpoint=spec.checkpoint,
        download=spec.download,
    )


MODELS: Mapping[type[specs.RuleSpec], Callable[[Any], Judge]] = {
    specs.Language: _open_language,
    specs.Toxicity: _open_toxicity,
}
"""Rules that judge by a model, a batch at a time."""

MEMORIES: Mapping[type[specs.RuleSpec], Callable[[Any, Applies, OpenEmbedder], Memory]] = {
    specs.PerAuthor: memories.open_cap,
    specs.ExactDuplicates: memories.open_exact,
    specs.NearDuplicates: memories.open_near,
    specs.SemanticDuplicates: memories.open_semantic,
}
"""Rules that compare rows with those that were kept."""


def open_judges(rules: tuple[specs.RuleSpec, ...]) -> list[OpenedJudge]:
    """Open the rules that judge rows by themselves, in their order."""
    opened = []
    for spec in rules:
        if type(spec) in JUDGES:
            opened.append(OpenedJudge(spec, open_judge(spec), _scope(spec)))
        elif type(spec) in MODELS:
            opened.append(OpenedJudge(spec, MODELS[type(spec)](spec), _scope(spec)))
    return opened


def open_memories(rules: tuple[specs.RuleSpec, ...], embedders: OpenEmbedder) -> list[OpenedMemory]:
    """Make the rules that compare rows, in their order, behind the one about ids."""
    opened: list[OpenedMemory] = [OpenedMemory(SAME_ID, None, SameId())]
    for spec in rules:
        if type(spec) in MEMORIES:
            memory = MEMORIES[type(spec)](spec, _scope(spec), embedders)
            opened.append(OpenedMemory(spec.title, spec, memory))
    return opened


def everything(row: Row) -> bool:
    """Say that a rule is about every row."""
    return True


def _scope(spec: specs.RuleSpec) -> Applies:
    """Return what says whether a row is judged by a rule at all."""
    if not spec.only:
        return everything
    only = [(path, keys_of(values)) for path, values in spec.only.items()]

    def applies(row: Row) -> bool:
        return all(read_key(row.values, path) in keys for path, keys in only)

    return applies
