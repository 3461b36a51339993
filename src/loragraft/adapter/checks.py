"""Checks of an adapter, alone and against its base: one function a failure mode.

Each takes a :class:`CheckContext` and returns a :class:`Finding`, or None where it does not
apply (no base given, values not wanted). A new check is one function and one line in
:data:`CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from loragraft.adapter.declared import EMBEDDING_LAYERS
from loragraft.adapter.findings import Finding, failed, passed, quote, warned
from loragraft.adapter.fingerprint import (
    Fingerprint,
    candidates,
    compare_fingerprint,
    fingerprint,
    is_derived,
    known_base,
)
from loragraft.adapter.match import ModuleMatch, Rewrite, match_modules
from loragraft.adapter.reader import Adapter
from loragraft.adapter.values import ValueScan, scan_values, without_effect
from loragraft.checkpoint.bases import full_precision_name, quantization_of
from loragraft.checkpoint.model import Checkpoint

_OTHER_TOWERS = ("vision", "visual", "audio", "multi_modal", "mm_projector")
TIED_HEAD = "lm_head.weight"
"""Absent from a checkpoint whose output head is its embedding: a saved head unties the two."""


@dataclass(frozen=True)
class CheckContext:
    """What the checks look at.

    Attributes:
        adapter: The opened adapter.
        base: The base checkpoint, where one is given.
        base_name: The name the user gave it by (repository or folder).
        values: Whether tensor values may be read.
    """

    adapter: Adapter
    base: Checkpoint | None = None
    base_name: str | None = None
    values: bool = True

    @cached_property
    def match(self) -> ModuleMatch | None:
        """Where the adapter's parts land in the base."""
        return None if self.base is None else match_modules(self.adapter, self.base.tensors)

    @cached_property
    def scan(self) -> ValueScan | None:
        """The pass over all values."""
        return scan_values(self.adapter) if self.values else None

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The adapter's fingerprint."""
        return fingerprint(self.adapter)


Check = Callable[[CheckContext], Finding | None]


def check_modules(context: CheckContext) -> Finding | None:
    """Something is in the adapter at all."""
    adapter = context.adapter
    parts = len(adapter.modules) + len(adapter.saved) + len(adapter.token_rows)
    if adapter.modules:
        return passed("modules.any", f"{len(adapter.modules)} LoRA modules", "at least one")
    if parts or adapter.biases or adapter.config.peft_type != "LORA":
        return warned(
            "modules.any", f"no LoRA pair among {len(adapter.tensors)} tensors",
            "at least one", "Check that this is the adapter you mean.",
        )  # fmt: skip
    return failed(
        "modules.any", f"no LoRA pair among {len(adapter.tensors)} tensors", "at least one",
        "Fetch the whole file again, or save the adapter with save_pretrained.",
    )  # fmt: skip


def check_rank(context: CheckContext) -> Finding | None:
    """The rank of each pair is the configuration's."""
    config = context.adapter.config
    modules = context.adapter.modules.values()
    if not modules:
        return None
    wrong = [m for m in modules if m.rank != config.rank_of(m.name)]
    if not wrong:
        ranks = sorted({m.rank for m in modules})
        return passed("rank", f"rank {', '.join(map(str, ranks))}", "the configuration's rank")
    first = wrong[0]
    return failed(
        "rank", f"rank {first.rank} of {quote([m.name for m in wrong])}",
        f"{config.rank_of(first.name)}, as r and rank_pattern say",
        "The scaling depends on it and PEFT would refuse to load it. Find the configuration that "
        "belongs to this file.",
    )  # fmt: skip


def check_pattern_order(context: CheckContext) -> Finding | None:
    """No module fits two alpha patterns of different values.

    The first one counts, but PEFT sorts them when it saves (read in 0.21): which one came first
    in training is lost. With ranks the shapes would tell; with alpha nothing does.
    """
    config = context.adapter.config
    torn = [name for name in context.adapter.modules if len(set(config.alphas_of(name))) > 1]
    if not torn:
        return None
    return warned(
        "alpha.order", f"several values of alpha_pattern fit {quote(torn)}", "one value a module",
        "PEFT sorts these patterns on saving, so the scaling in training may have been another. "
        "Compare with the training script.",
    )  # fmt: skip


def check_quantized_base(context: CheckContext) -> Finding | None:
    """The base holds full-precision weights."""
    if context.base is None:
        return None
    kind = quantization_of(context.base.config)
    if kind is None:
        return passed("base.quantized", "full-precision weights", "full-precision weights")
    names = (context.base_name, context.base.config.get("_name_or_path"),
             context.adapter.config.base_model_name_or_path)  # fmt: skip
    found = (full_precision_name(name) for name in names if isinstance(name, str))
    known = next((pair[0] for pair in found if pair is not None), None)
    return failed(
        "base.quantized", f"weights quantized by {kind}", "full-precision weights (BF16, F16, F32)",
        f"Give {known} as the base." if known else "Give the model it was quantized from.",
    )  # fmt: skip


def check_widths(context: CheckContext) -> Finding | None:
    """The widths and the depth that the shapes show are the base's."""
    if context.base is None or not context.adapter.modules:
        return None
    findings = compare_fingerprint(context.fingerprint, context.base.config)
    if len(findings) == 1:
        return findings[0]
    order = ("fail", "warn", "pass")
    first = min(findings, key=lambda finding: order.index(finding.severity.value))
    others = [f.measured for f in findings if f is not first]
    return Finding(
        first.code, first.severity, f"{first.measured} (and {'; '.join(others)})",
        first.expected, first.next_step,
    )  # fmt: skip


def check_depth(context: CheckContext) -> Finding | None:
    """The adapter was not trained on a base with fewer layers."""
    config, found = context.adapter.config, context.fingerprint.layers
    depth = None if context.base is None else context.base.config.get("num_hidden_layers")
    if found is None or type(depth) is not int or found >= depth:
        return None
    explained = config.layers_to_transform or isinstance(config.target_modules, str)
    if explained or config.target_modules is None or not _names_no_layer(config.target_modules):
        return passed("depth", f"layers up to {found - 1} of {depth}", "as configured")
    fitting = [base.name for base in candidates(context.fingerprint) if base.layers == found]
    hint = f" Its shapes fit {' or '.join(fitting[:3])}." if fitting else ""
    return failed(
        "depth", f"{found} layers in the adapter", f"{depth}, all layers of the base",
        "It was trained on a base with fewer layers; PEFT would leave the others without it. "
        f"Give the base it names.{hint}",
    )  # fmt: skip


def _names_no_layer(targets: Collection[str]) -> bool:
    """Say whether no target names a layer by number, so that all layers are meant."""
    return not any(part.isdigit() for target in targets for part in target.split("."))


def check_coverage(context: CheckContext) -> Finding | None:
    """Every part of the adapter lands on a tensor of the base."""
    match = context.match
    if match is None or context.base is None:
        return None
    own = [n for n in match.missing_others if _may_be_absent(n, context.adapter)]
    homeless = [*match.missing, *(n for n in match.missing_others if n not in own)]
    if not homeless:
        landed = f"{len(match.tensors) + len(match.others)} parts land"
        head = [name for name in own if not _is_tied_head(name)]
        landed += f", {len(head)} are a head of its own" if head else ""
        if match.rewrite is not None:
            return passed("coverage", f"{landed}, names rewritten {match.rewrite}", "all to land")
        return passed("coverage", landed, "all to land")
    return failed(
        "coverage", f"{len(homeless)} parts have no place in the base: {quote(homeless)}",
        "every module, saved tensor and bias to have its tensor in the base",
        "PEFT would ignore them without a word. Give the base it was trained on.",
    )  # fmt: skip


def _may_be_absent(name: str, adapter: Adapter) -> bool:
    """Say whether a base need not hold a tensor: a tied head, or the one of a classifier."""
    return _is_tied_head(name) or (adapter.config.has_head and name in adapter.saved)


def _is_tied_head(name: str) -> bool:
    return name == TIED_HEAD or name.endswith(f".{TIED_HEAD}")


def check_shapes(context: CheckContext) -> Finding | None:
    """Every part has the shape of the tensor it lands on."""
    match, base = context.match, context.base
    if match is None or base is None:
        return None
    wrong: list[str] = []
    for module, tensor in match.tensors.items():
        lora, shape = context.adapter.modules[module], base.tensors[tensor].shape
        out_in = (lora.out_features, lora.in_features)
        flipped = lora.kind == "embedding" or lora.fan_in_fan_out
        expected = out_in[::-1] if flipped else out_in
        resized = lora.kind == "embedding" or _frozen_shape(context.adapter, module) == expected
        if shape != expected and not (resized and shape[1:] == expected[1:]):
            wrong.append(f"{module} wants {list(expected)}, the base has {list(shape)}")
    for name, tensor in match.others.items():
        wrong.extend(_other_shape_problem(context.adapter, name, base.tensors[tensor].shape))
    if not wrong:
        return passed("shapes", "all shapes agree", "the base's shapes")
    return failed(
        "shapes", f"{len(wrong)} shapes differ: {'; '.join(wrong[:3])}", "the base's shapes",
        "It was trained on another base. Give the one it names.",
    )  # fmt: skip


def _frozen_shape(adapter: Adapter, module: str) -> tuple[int, ...] | None:
    """Return the shape that a module's weight had in training, where the file holds it."""
    key = adapter.frozen.get(f"{module}.weight")
    return None if key is None else adapter.tensors[key].shape


def _other_shape_problem(adapter: Adapter, name: str, shape: tuple[int, ...]) -> list[str]:
    """Compare a saved tensor, a bias or token rows; only a vocabulary may have other rows."""
    rows = adapter.token_rows.get(name.removesuffix(".weight"))
    if rows is not None and name not in adapter.saved:
        grown = _frozen_shape(adapter, rows.name)
        if grown is not None and grown[1:] == shape[1:]:
            shape = grown
        if len(shape) == 2 and rows.width == shape[1] and max(rows.indices) < shape[0]:
            return []
        return [f"token rows {list(rows.indices[:3])}… of width {rows.width} on {list(shape)}"]
    key = adapter.saved.get(name) or adapter.biases[name]
    found = adapter.tensors[key].shape
    is_vocabulary = name.removesuffix(".weight").rpartition(".")[2] in EMBEDDING_LAYERS
    other_rows = is_vocabulary and len(shape) == 2
    other_rows = other_rows or (adapter.config.has_head and name in adapter.saved)  # other labels
    if found == shape or (other_rows and found[1:] == shape[1:]):
        return []
    return [f"{name} has {list(found)}, the base has {list(shape)}"]


def check_targets(context: CheckContext) -> Finding | None:
    """The configuration targets every module that the file holds."""
    adapter = context.adapter
    targets = adapter.config.target_modules
    if targets in (None, "all-linear") or not adapter.modules:
        return None
    ignored = [name for name in adapter.modules if not adapter.config.targets(name)]
    if not ignored:
        return passed("targets.narrower", "all modules targeted", "all modules targeted")
    return failed(
        "targets.narrower", f"{len(ignored)} modules not in target_modules: {quote(ignored)}",
        "the configuration to target every module in the file",
        "PEFT would ignore them without a word. Find the configuration that trained this file.",
    )  # fmt: skip


def check_targets_present(context: CheckContext) -> Finding | None:
    """The file holds every module of the base that the configuration targets."""
    adapter, base, match = context.adapter, context.base, context.match
    config = adapter.config
    if base is None or match is None or config.target_modules in (None, "all-linear"):
        return None
    if config.peft_type != "LORA" or not adapter.modules:
        return None
    names = _adapter_style_modules(base.tensors, match.rewrite)
    absent = [
        name for name in names
        if name not in adapter.modules and config.targets(name)
        and not any(tower in name for tower in _OTHER_TOWERS)
    ]  # fmt: skip
    if not absent:
        return passed("targets.missing", "every target is in the file", "every target")
    return failed(
        "targets.missing", f"{len(absent)} targets without a pair: {quote(absent)}",
        "a pair for every module that target_modules names in the base",
        "PEFT would warn and leave them untrained. Fetch the whole file again, or give the base "
        "it was trained on.",
    )  # fmt: skip


def _adapter_style_modules(tensors: Mapping[str, Any], rewrite: Rewrite | None) -> list[str]:
    """Return the base's two-dimensional weights as module paths in the adapter's own style."""
    modules = [name.removesuffix(".weight") for name, info in tensors.items()
               if name.endswith(".weight") and len(info.shape) == 2]  # fmt: skip
    if rewrite is None:
        return modules
    back = Rewrite(rewrite.target, rewrite.source)
    return [back.apply(name) or name for name in modules]


def check_finite(context: CheckContext) -> Finding | None:
    """No value is NaN or Inf."""
    if context.scan is None:
        return None
    bad = context.scan.nonfinite
    if not bad:
        return passed("values.nonfinite", "all values finite", "all values finite")
    return failed(
        "values.nonfinite", f"{sum(bad.values())} values NaN or Inf in {quote(list(bad))}",
        "all values finite",
        "The training diverged or the file is damaged. Take an earlier checkpoint.",
    )  # fmt: skip


def check_effect(context: CheckContext) -> Finding | None:
    """The adapter changes something: no factor is all zero."""
    adapter, scan = context.adapter, context.scan
    if scan is None or not adapter.modules:
        return None
    idle = [name for name, module in adapter.modules.items() if without_effect(module, scan.zero)]
    if not idle:
        return passed("effect.zero", "every pair has an effect", "A, B and scaling not zero")
    measured = f"{len(idle)} of {len(adapter.modules)} pairs are exactly zero: {quote(idle)}"
    others = adapter.saved or adapter.token_rows or adapter.biases
    if len(idle) == len(adapter.modules) and not others:
        return failed(
            "effect.zero", measured, "A, B and scaling not zero",
            "The adapter changes nothing: it is untrained, or was saved before its first step, or "
            "by a sharded run that did not gather. Take a trained one.",
        )  # fmt: skip
    return warned(
        "effect.zero", measured, "A, B and scaling not zero",
        "These modules were not trained. Check the optimizer's parameter groups.",
    )  # fmt: skip


def check_claimed_shape(context: CheckContext) -> Finding | None:
    """The base that the configuration claims has the shapes that the file shows."""
    claimed = context.adapter.config.base_model_name_or_path
    known = known_base(claimed) if claimed else None
    if claimed is None or known is None or not context.adapter.modules:
        return None
    widths = {k: v for k, v in context.fingerprint.widths().items() if k != "vocabulary"}
    wrong = [f"{name} {value}, not {getattr(known, name)}" for name, value in widths.items()
             if value != getattr(known, name)]  # fmt: skip
    if (context.fingerprint.layers or 0) > known.layers:
        wrong.append(f"layer {(context.fingerprint.layers or 0) - 1} of {known.layers}")
    if not wrong:
        return passed("claim.shape", f"shapes of {known.name}", f"shapes of {claimed}")
    if is_derived(claimed, known):
        return warned(
            "claim.shape", f"{'; '.join(wrong)}", f"the shapes of {known.name}, which {claimed} "
            "is named after", "A pruned or deepened model has shapes of its own; else the claim "
            "is false. Give the very model as the base: its shapes decide.",
        )  # fmt: skip
    fitting = [base.name for base in candidates(context.fingerprint)]
    return failed(
        "claim.shape", f"{'; '.join(wrong)}", f"the shapes of {claimed}, which it claims",
        f"The claim is false. Its shapes fit {' or '.join(fitting[:3])}." if fitting
        else "The claim is false. Ask its author which base it was trained on.",
    )  # fmt: skip


def check_claimed_name(context: CheckContext) -> Finding | None:
    """The base that the configuration claims is the one that was given."""
    claimed, given = context.adapter.config.base_model_name_or_path, context.base_name
    if not claimed or not given:
        return None
    if _plain_name(claimed) == _plain_name(given):
        return passed("claim.name", given, claimed)
    return warned(
        "claim.name", f"the base {given}", f"{claimed}, which the adapter names",
        "If they are the same model under two names, all is well; shapes cannot tell a base from "
        "its instruct version.",
    )  # fmt: skip


def _plain_name(name: str) -> str:
    """Reduce a repository or a folder to a model name: full precision, no owner, lower case."""
    full = full_precision_name(name)
    plain = (full[0] if full else name).replace("\\", "/").rstrip("/")
    if "/snapshots/" in plain:  # the hub's cache: models--owner--name/snapshots/<revision>
        plain = plain.split("/snapshots/")[0].rpartition("--")[2]
    return plain.rpartition("/")[2].lower().removeprefix("meta-")


CHECKS: tuple[Check, ...] = (
    check_modules,
    check_rank,
    check_pattern_order,
    check_claimed_shape,
    check_claimed_name,
    check_quantized_base,
    check_widths,
    check_depth,
    check_coverage,
    check_shapes,
    check_targets,
    check_targets_present,
    check_finite,
    check_effect,
)
"""Every check, in the order a person should read them."""


def run_checks(context: CheckContext) -> list[Finding]:
    """Return what opening the adapter found, then the finding of every check that applies."""
    findings = list(context.adapter.findings)
    for check in CHECKS:
        finding = check(context)
        if finding is not None:
            findings.append(finding)
    return findings
