"""Checks of what names, configuration and files claim: size, family, quantization, scaling, dates.

Same rules as in :mod:`loragraft.adapter.checks`: one function a failure mode, one line in
:data:`CLAIM_CHECKS`; None where it does not apply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from loragraft.adapter.config import AdapterConfig
from loragraft.adapter.context import FolderCheck, FolderContext
from loragraft.adapter.dates import find_dates
from loragraft.adapter.findings import Finding, failed, passed, quote, warned
from loragraft.adapter.fingerprint import KnownBase, candidates, known_base
from loragraft.adapter.naming import NameClaim, format_size, read_name
from loragraft.checkpoint.bases import full_precision_name, quantization_of
from loragraft.checkpoint.model import Checkpoint
from loragraft.checkpoint.safetensors import FLOAT_DTYPES

_SIZES_BY_NAME = {"Phi-3-mini": 3.8}
"""Known bases whose names hold no size, in 10⁹ parameters."""
_NOMINAL = (0.9, 1.12)
"""How far two sizes that names give may be apart ("1.5B", "1.54B")."""
_COUNTED = (0.7, 1.65)
"""... and a counted one from a name's: Gemma 2 2B has 2.6, Llama 3.2 1B saved untied 1.5."""
_PACKED = (".qweight", ".qzeros", ".g_idx", ".absmax", ".quant_map", ".SCB", ".weight_packed",
           ".weight_scale", ".weight_scale_inv")  # fmt: skip
"""Tensors that only quantized checkpoints hold: GPTQ, AWQ, bitsandbytes, compressed, FP8."""


@dataclass(frozen=True)
class _Evidence:
    """Sizes that shapes allow, in 10⁹ parameters, and how they were found."""

    sizes: tuple[float, ...]
    tolerance: tuple[float, float]
    words: str


def check_named_size(context: FolderContext) -> Finding | None:
    """The size in the adapter's name is the one that the shapes show and the config claims."""
    named = _named_with_size(context)
    if named is None or named.effective:
        return None
    says = f"{format_size(named.sizes[0])} in the name {named.text!r}"
    evidence = _evidence(context)
    if evidence is not None and not _fits(named.sizes, evidence.sizes, evidence.tolerance):
        return failed(
            "name.size", says, evidence.words,
            "The name lies about the size of its base. Go by the shapes, and ask its author what "
            "else of the description belongs to another model.",
        )  # fmt: skip
    claim = read_name(context.claimed or "")
    if not claim.sizes or claim.effective or _fits(named.sizes, claim.sizes, _NOMINAL):
        return passed("name.size", says, evidence.words if evidence else "the claimed base's size")
    wrong = failed if evidence is not None else warned
    return wrong(
        "name.size", f"{says}, and {context.claimed} in the configuration", "one size",
        "One of the two is false. Compare the adapter with both bases.",
    )  # fmt: skip


def _named_with_size(context: FolderContext) -> NameClaim | None:
    paths = (str(context.path.resolve()), str(context.folder.resolve()))
    claims = (read_name(name) for name in (context.source_name, *paths) if name)
    return next((claim for claim in claims if claim.sizes), None)


def _fits(named: Iterable[float], found: Iterable[float], tolerance: tuple[float, float]) -> bool:
    low, high = tolerance
    sizes = tuple(found)
    return any(low <= size / name <= high for name in named for size in sizes)


def _evidence(context: FolderContext) -> _Evidence | None:
    """Return what is known of the base's size: of the given one, or of those the shapes fit."""
    if context.base is not None and quantization_of(context.base.config) is None:
        return _counted(context, context.base)
    if context.opened is None or len(context.opened.fingerprint.widths()) < 3:
        return None  # two widths fit too many models
    layers = context.opened.fingerprint.layers
    fitting = [base for base in candidates(context.opened.fingerprint) if base.layers == layers]
    if not fitting:
        return None
    names = " or ".join(base.name for base in fitting[:3])
    return _Evidence(tuple(map(_nominal, fitting)), _NOMINAL, f"{names}, by the shapes")


def _counted(context: FolderContext, base: Checkpoint) -> _Evidence:
    count = sum(info.size for info in base.tensors.values()) / 1e9
    words = f"{format_size(count)}, the parameters of the base"
    name = context.opened.base_name if context.opened is not None else None
    nominal = read_name(name or "").sizes
    if nominal and _fits(nominal, (count,), _COUNTED):
        return _Evidence(nominal, _NOMINAL, f"{format_size(nominal[0])}, the base's size")
    return _Evidence((count,), _COUNTED, words)


def _nominal(base: KnownBase) -> float:
    return _SIZES_BY_NAME.get(base.name) or read_name(base.name).sizes[0]


def check_named_family(context: FolderContext) -> Finding | None:
    """The model family in the adapter's name is that of the base it claims."""
    named, claim = read_name(context.name), read_name(context.claimed or "")
    if not named.families or not claim.families:
        return None
    if any(_related(a, b) for a in named.families for b in claim.families):
        return passed("name.family", ", ".join(named.families), ", ".join(claim.families))
    return warned(
        "name.family", f"{' and '.join(named.families)} in the name {named.text!r}",
        f"{' and '.join(claim.families)}, as the configuration names {context.claimed}",
        "Find out which is right: the shapes tell, where a base is given.",
    )  # fmt: skip


def _related(one: str, other: str) -> bool:
    a, b = one.lower(), other.lower()
    return a in b or b in a


def check_card(context: FolderContext) -> Finding | None:
    """The model card names the base that the configuration claims."""
    match = _CARD_BASE.match(_read_text(context.folder / "README.md"))
    if match is None or context.claimed is None:
        return None
    card, claim = read_name(match["name"]), read_name(context.claimed)
    other_size = card.sizes and claim.sizes and not _fits(card.sizes, claim.sizes, _NOMINAL)
    pairs = [(a, b) for a in card.families for b in claim.families]
    if not other_size and (not pairs or any(_related(a, b) for a, b in pairs)):
        return passed("claim.card", match["name"], context.claimed)
    return warned(
        "claim.card", f"base_model {match['name']} in README.md",
        f"{context.claimed}, as in adapter_config.json",
        "One of the two is false. The shapes tell which, where a base is given.",
    )  # fmt: skip


def check_claimed_depth(context: FolderContext) -> Finding | None:
    """The adapter reaches all layers of the base it claims, where no base is given to compare."""
    if context.base is not None or context.opened is None or context.claimed is None:
        return None
    known, found = known_base(context.claimed), context.opened.fingerprint.layers
    if known is None or found is None or found >= known.layers:
        return None
    if not _means_all_layers(context.opened.adapter.config):
        return None
    return failed(
        "claim.depth", f"{found} layers in the adapter",
        f"{known.layers}, all layers of {known.name}, which it claims",
        "It was trained on a base with fewer layers: the claim is false. Ask its author.",
    )  # fmt: skip


def _means_all_layers(config: AdapterConfig) -> bool:
    targets = config.target_modules
    if targets is None or isinstance(targets, str) or config.layers_to_transform:
        return False
    return not any(part.isdigit() for target in targets for part in target.split("."))


def check_quantized_claim(context: FolderContext) -> Finding | None:
    """Training saw the weights that the adapter will be merged into, or 4-bit copies of them."""
    claimed = context.claimed
    kind = read_name(claimed).quantization if claimed else None
    if claimed is None or kind is None:
        return None
    full = full_precision_name(claimed)
    original = full[0] if full else "the model it was quantized from"
    if kind in ("bitsandbytes", "4-bit", "8-bit"):
        return passed(
            "claim.quantized", f"trained on a {kind} copy: give {original} as the base", "any copy"
        )
    return warned(
        "claim.quantized", f"trained on a {kind} copy, {claimed}", "full-precision weights",
        f"Give {original} as the base: the quantized weights cannot be merged into. It also "
        "learned to make up for their errors, so compare the outputs afterwards.",
    )  # fmt: skip


def check_packed_base(context: FolderContext) -> Finding | None:
    """The base's tensors are plain numbers, whatever its configuration says."""
    base = context.base
    if base is None or quantization_of(base.config) is not None:
        return None
    packed = [
        name for name, info in base.tensors.items()
        if name.endswith(_PACKED)
        or (name.endswith(".weight") and len(info.shape) == 2 and info.dtype not in FLOAT_DTYPES)
    ]  # fmt: skip
    if not packed:
        return None
    return failed(
        "base.packed", f"{len(packed)} quantized tensors in the base: {quote(packed)}",
        "full-precision weights (BF16, F16, F32)",
        "Its config.json hides that it is quantized. Give the model it was made from.",
    )  # fmt: skip


_CARD_BASE = re.compile(
    r"\A---\n(?:(?!---)[^\n]*\n){0,200}?base_model:[ \t]*(?:\n[ \t]*-[ \t]*)?"
    r"[\"']?(?P<name>[\w./-]{1,200})"
)
"""``base_model`` in the front matter of a model card, as one name or a list's first."""
_RSLORA = re.compile(
    r"(?<!\w)(?:peft_|lora_)?use_rslora[\"'\\]{0,3}\s{0,4}[:=]\s{0,4}[\"'\\]{0,3}(?:true|yes|1)(?!\w)",
    re.IGNORECASE,
)
_TRAINING_SUFFIXES = frozenset({".md", ".json", ".yaml", ".yml", ".toml", ".py", ".ipynb", ".sh"})
_RECORD_SUFFIXES = frozenset({".json", ".yaml", ".yml", ".toml"})
_MAX_TEXT_BYTES = 1 << 20
_MAX_TEXTS = 40


def check_rslora(context: FolderContext) -> Finding | None:
    """No file of the training says that rank-stabilised scaling was on where the config is not."""
    config = context.config
    if str(config.get("peft_type", "")).upper() != "LORA" or config.get("use_rslora") is True:
        return None
    saying = [path for path in _training_texts(context) if _RSLORA.search(_read_text(path))]
    if not saying:
        return None
    rank = config.get("r")
    factor = f", a factor of {math.sqrt(rank):.1f}" if type(rank) is int and rank > 0 else ""
    lost = failed if any(path.suffix in _RECORD_SUFFIXES for path in saying) else warned
    return lost(
        "rslora.lost", f"use_rslora on in {quote([path.name for path in saying])}, and not in "
        "adapter_config.json",
        f"one scaling: alpha/√r with the flag, alpha/r without{factor}",
        "If it was trained with the flag, set use_rslora to true in adapter_config.json.",
    )  # fmt: skip


def _training_texts(context: FolderContext) -> list[Path]:
    try:
        paths = sorted(context.folder.iterdir())
    except OSError:
        return []
    return [
        path for path in paths
        if path.suffix.lower() in _TRAINING_SUFFIXES and path.name != "adapter_config.json"
        and not path.name.startswith("tokenizer")
    ][:_MAX_TEXTS]  # fmt: skip


def _read_text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_TEXT_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def check_dates(context: FolderContext) -> Finding | None:
    """The adapter was trained in the days that the user gave."""
    since, until = context.since, context.until
    if since is None and until is None:
        return None
    expected = " and ".join(
        f"{word} {day}" for word, day in (("since", since), ("until", until)) if day is not None
    )
    weights = context.adapter.path if context.adapter is not None else None
    dates = find_dates(context.folder, weights, context.leftovers)
    recorded = [dated for dated in dates if dated.recorded]
    if not dates:
        return warned("dates", "no date anywhere", expected, "Ask its author for the training log.")
    last = max(recorded or dates, key=lambda dated: dated.day)
    measured = f"{last.day}, by {last.source}"
    if (since is None or last.day >= since) and (until is None or last.day <= until):
        return passed("dates", measured, expected)
    if recorded:
        return failed(
            "dates",
            measured,
            expected,
            "It was not trained when it claims. Ask for the one that was.",
        )
    return warned(
        "dates", measured, expected,
        "File times change with every copy: ask its author for the training log.",
    )  # fmt: skip


CLAIM_CHECKS: tuple[FolderCheck, ...] = (
    check_named_size,
    check_named_family,
    check_card,
    check_claimed_depth,
    check_quantized_claim,
    check_packed_base,
    check_rslora,
    check_dates,
)
"""Every check of claims, in the order a person should read them."""
