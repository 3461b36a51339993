"""Run the five tests, one model in memory at a time, and weigh what they show."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from pathlib import Path

from loragraft.adapter.checks import CheckContext, run_checks
from loragraft.adapter.diagnose import causal_ways, embedder_ways
from loragraft.adapter.diagnose.facts import Facts, WayResult
from loragraft.adapter.diagnose.fixes import copy_code
from loragraft.adapter.diagnose.hypotheses import weigh
from loragraft.adapter.diagnose.report import Diagnosis, Kind
from loragraft.adapter.diagnose.sections import sections_of
from loragraft.adapter.diagnose.structure import (
    adapted_paths,
    count_landing,
    find_shift,
    shifted_folder,
)
from loragraft.adapter.embedder import PROBE_SENTENCES, encoder_folder, is_embedder
from loragraft.adapter.findings import Finding, failed
from loragraft.adapter.pairs import Pairs, PairsReport, compare_pairs, read_pairs
from loragraft.adapter.peft_loading import (
    PEFT_WEIGHTS,
    peft_folder,
    quiet,
    require_packages,
)
from loragraft.adapter.probe_prompts import default_prompts
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.adapter.values import scan_values, without_effect
from loragraft.artifact.progress import Progress, Silent
from loragraft.checkpoint.model import Checkpoint, read_json
from loragraft.errors import InputError, LoragraftError, UnsupportedError

PURPOSE = "Diagnosing an adapter"
_CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_PROMPTS = 3
"""Prompts of a language model that are compared: each costs four passes in each way."""

Measure = Callable[[Path, str], WayResult]


def kind_of(base: Path) -> Kind:
    """Say what a base is.

    Raises:
        CheckpointError: If it has no configuration.
        UnsupportedError: If it is neither.
    """
    if is_embedder(base):
        return "sentence-transformer"
    named = read_json(base / "config.json").get("architectures")
    architectures = [str(name) for name in named] if isinstance(named, list) else []
    if any(name.endswith(_CAUSAL) for name in architectures):
        return "causal-lm"
    raise UnsupportedError(
        f"{base} is neither a SentenceTransformer (it has no modules.json) nor a causal language "
        f"model (its architecture is {', '.join(architectures) or 'not named'}). Give one of them; "
        "SentenceTransformer(folder).save_pretrained makes the first from a bare encoder."
    )


def diagnose(
    base: Path,
    adapter: Path,
    *,
    pairs: Path | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Find out why an adapter does nothing, or not what it should.

    Args:
        base: Folder of a causal language model or a SentenceTransformer.
        adapter: The adapter's path.
        pairs: Labelled pairs (JSONL or CSV with a, b, label), for a SentenceTransformer.
        progress: Told of each stage.

    Raises:
        MissingExtraError: If torch, transformers, peft or sentence-transformers is missing.
        AdapterError: If the adapter's file or configuration cannot be read.
        CheckpointError: If the base cannot be loaded.
        UnsupportedError: If base or adapter is of a kind that is not taken.
        OutOfMemoryError: If the base does not fit.
        InputError: If the pairs cannot be read, or the base is no SentenceTransformer.
    """
    base = Path(base)
    require_packages(PURPOSE, "torch", "transformers", "peft")
    kind = kind_of(base)
    if kind == "sentence-transformer":
        require_packages("Diagnosing an embedding model", "sentence_transformers", "scipy")
    elif pairs is not None:
        raise InputError(
            f"{base} is a language model: labelled pairs are for SentenceTransformers. Leave them "
            "out, or give the embedding model."
        )
    labelled = None if pairs is None else read_pairs(pairs)
    watcher = progress or Silent()
    try:
        with quiet(), open_adapter(adapter) as opened:
            watcher.begin("Checking the files", 0)
            files = _check_files(base, opened, kind)
            with peft_folder(opened.location) as folder:
                if kind == "causal-lm":
                    facts, modules, parameters = _causal(base, opened, folder, files, watcher)
                    compared = None
                else:
                    texts = [] if labelled is None else labelled.texts
                    facts, modules, parameters, reference = _embedder(
                        base, opened, folder, files, texts, watcher
                    )
                    compared = None
                    if labelled is not None:
                        compared = _compare_pairs(labelled, reference, facts)
            sections = sections_of(facts, opened, modules, parameters)
            return Diagnosis(base, opened.path, kind, sections, weigh(facts), compared)
    finally:
        watcher.end()


def _check_files(base: Path, adapter: Adapter, kind: Kind) -> tuple[Finding, ...]:
    folder = encoder_folder(base) if kind == "sentence-transformer" else base
    try:
        with Checkpoint(folder) as checkpoint:
            return tuple(run_checks(CheckContext(adapter, checkpoint)))
    except LoragraftError as error:
        finding = failed(
            "files", str(error), "files that the static checks can read",
            "The dynamic tests go on without them.",
        )  # fmt: skip
        return (finding,)


def _causal(
    base: Path, adapter: Adapter, folder: Path, files: tuple[Finding, ...], progress: Progress
) -> tuple[Facts, Mapping[str, frozenset[str]], int]:
    progress.begin("The base alone", 0)
    prompts = default_prompts("generation")[:_PROMPTS]
    reference = causal_ways.measure_reference(base, prompts)

    def measure(where: Path, name: str) -> WayResult:
        return causal_ways.measure_way(base, adapter, where, name, reference)

    facts = _measure(
        "causal-lm", base, adapter, folder, files, causal_ways.RIGHT, tuple(causal_ways.WAYS),
        reference.modules["language model"], measure, progress,
    )  # fmt: skip
    return facts, reference.modules, reference.parameters


def _embedder(
    base: Path, adapter: Adapter, folder: Path, files: tuple[Finding, ...], pair_texts: list[str],
    progress: Progress,
) -> tuple[Facts, Mapping[str, frozenset[str]], int, embedder_ways.Reference]:  # fmt: skip
    progress.begin("The base alone", 0)
    reference = embedder_ways.measure_reference(base, PROBE_SENTENCES, pair_texts)

    def measure(where: Path, name: str) -> WayResult:
        return embedder_ways.measure_way(base, where, name, reference)

    facts = _measure(
        "sentence-transformer", base, adapter, folder, files, embedder_ways.RIGHT,
        tuple(embedder_ways.WAYS), reference.modules["encoder"], measure, progress,
    )  # fmt: skip
    return facts, reference.modules, reference.parameters, reference


def _measure(
    kind: Kind, base: Path, adapter: Adapter, folder: Path, files: tuple[Finding, ...],
    right: str, ways: tuple[str, ...], modules: frozenset[str], measure: Measure,
    progress: Progress,
) -> Facts:  # fmt: skip
    """Measure every way, and the right one with changed names where the names do not fit."""
    results: dict[str, WayResult] = {}
    for name in ways:
        progress.begin(f"Loaded as {name}", 0)
        gc.collect()  # models refer to themselves: without it two of them would be in memory
        results[name] = measure(folder, name)
    paths = adapted_paths(adapter.tensors)
    shift, renamed = find_shift(paths, modules), None
    if shift is not None and shift.needed:
        progress.begin("With changed names", 0)
        with shifted_folder(folder, shift) as changed:
            renamed = measure(changed, "renamed")
    idle, nonfinite = _scan(adapter)
    return Facts(
        kind, str(base), *_readable(adapter), right, results, tuple(paths), shift,
        count_landing(paths, modules), renamed, len(paths), idle, nonfinite, files,
    )  # fmt: skip


def _readable(adapter: Adapter) -> tuple[str, str]:
    """Return a folder that PEFT can read, and the code that makes it where there is none yet."""
    if adapter.path.name == PEFT_WEIGHTS:
        return str(adapter.folder), ""
    target = f"{adapter.folder}-for-peft"
    return target, copy_code(str(adapter.path), target)


def _scan(adapter: Adapter) -> tuple[int, int]:
    """Count pairs with a factor of zeros, and values that are not finite; names play no part."""
    scan = scan_values(adapter)
    idle = sum(without_effect(module, scan.zero) for module in adapter.modules.values())
    if not adapter.modules:  # keys outside PEFT's prefix make no modules
        zero = {key.rsplit(".lora_", 1)[0] for key in scan.zero if ".lora_" in key}
        idle = len(zero)
    return idle, sum(scan.nonfinite.values())


def _compare_pairs(
    labelled: Pairs, reference: embedder_ways.Reference, facts: Facts
) -> PairsReport:
    vectors = {"base": reference.pair_vectors}
    for name, result in facts.results.items():
        vectors[name] = result.pair_vectors
    if facts.renamed is not None:
        vectors["renamed"] = facts.renamed.pair_vectors
    return compare_pairs(labelled, {k: v for k, v in vectors.items() if v is not None})
