"""A stage that is a GGUF file: what it says, what llama.cpp makes of it, what its weights are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.checkpoint.template import render
from loragraft.engine.llama_memory import require_model_memory
from loragraft.errors import TemplateError
from loragraft.export.effect import Effect, measure_effect
from loragraft.export.targets import effect_targets
from loragraft.trace.cause import Cause
from loragraft.trace.gguf_child import ask_gguf
from loragraft.trace.observation import Observation
from loragraft.trace.probes import Probe
from loragraft.trace.reference import Paper, Reference, file_paper
from loragraft.trace.weights import WeightFacts, weigh_file


@dataclass(frozen=True)
class SeenFile:
    """One GGUF file.

    Attributes:
        paper: Its metadata.
        seen: What llama.cpp made of it.
        types: Number of values by tensor type.
        weights: Its weights against base plus adapter, where they are known.
        effect: How often the adapter is in.
        causes: What is wrong before any comparison.
    """

    paper: Paper
    seen: Observation
    types: Mapping[str, int]
    weights: WeightFacts | None = None
    effect: Effect | None = None
    causes: tuple[Cause, ...] = ()


def observe_file(
    path: Path,
    reference: Reference,
    probes: Sequence[Probe],
    taught: Sequence[Sequence[int]],
    *,
    tokens: int,
    threads: int,
) -> SeenFile:
    """Read a file and let llama.cpp run it.

    Args:
        path: The file.
        reference: The training's side.
        probes: What to ask.
        taught: The training's tokens of each probe.
        tokens: Most tokens of a sample.
        threads: Threads of llama.cpp.

    Raises:
        BundleError: If it is no readable GGUF file with a vocabulary.
        CheckFailedError: If llama.cpp fails on it.
        OutOfMemoryError: If it does not fit.
    """
    with GgufFile(path) as file:
        paper = file_paper(file)
        types: Counter[str] = Counter()
        for tensor in file.tensors.values():
            types[tensor.type_name] += tensor.rows * tensor.row_length
        longest = max((len(ids) for ids in taught), default=0)
        require_model_memory(file, longest + tokens)
        alike = paper.architecture == reference.paper.architecture
        weights = effect = None
        if reference.layout is not None and reference.weighed and alike:
            weights = weigh_file(reference.layout, file)
    if weights is not None and weights.k is not None and not weights.absent:
        assert reference.layout is not None
        targets = effect_targets(reference.layout.stream_input("fp32"))
        effect = measure_effect(path, targets)
    texts = render_all(paper, reference.paper, probes)
    fitting = alike or not reference.paper.items
    size = len(paper.facts.vocabulary) if paper.facts is not None else 0
    known = all(max(ids) < size for ids in taught)
    answer = ask_gguf(
        path, texts, taught=taught if fitting and known else (),
        answered=[(p.name, t) for p, t in zip(probes, texts, strict=True) if p.answered and t],
        tokens=tokens, threads=threads,
    )  # fmt: skip
    seen = Observation(
        texts, answer.ids, answer.ends,
        answer.log_probs if fitting and known and taught else None, answer.answers,
    )  # fmt: skip
    return SeenFile(paper, seen, types, weights, effect)


def render_all(paper: Paper, wanted: Paper, probes: Sequence[Probe]) -> tuple[str | None, ...]:
    """Render the probes by a file's own template; None where it has none or refuses.

    Where the training's side has none either, the turns' plain text stands for them.
    """
    facts = paper.facts
    none = wanted.facts is not None and wanted.facts.template is None
    if none and facts is not None and facts.template is None:
        return tuple(probe.plain for probe in probes)
    if facts is None or facts.template is None:
        return (None,) * len(probes)
    texts: list[str | None] = []
    for probe in probes:
        try:
            text = render(
                facts.template, probe.messages, add_generation_prompt=True, **facts.variables
            )
        except TemplateError:
            text = None
        texts.append(text)
    return tuple(texts)
