"""Compare what an adapter's file holds with what its configuration declares."""

from __future__ import annotations

from loragraft.adapter.config import AdapterConfig
from loragraft.adapter.findings import Finding, failed, quote, warned
from loragraft.adapter.grouping import Grouping

EMBEDDING_LAYERS = ("embed_tokens", "lm_head")
"""PEFT saves these by itself when the vocabulary was resized (``EMBEDDING_LAYER_NAMES``)."""

HEADS = ("classifier", "score")
"""PEFT puts both of them into ``modules_to_save`` of a classifier, which has one of them."""


def compare_declarations(out: Grouping, config: AdapterConfig) -> list[Finding]:
    """Compare what a LoRA file holds with what its configuration says of it.

    Returns:
        A finding for each disagreement; nothing where they agree or the type is another.
    """
    if config.peft_type != "LORA":
        return []
    return [
        *_dora_findings(out, config),
        *_lora_bias_findings(out, config),
        *_saved_findings(out, config),
        *_bias_findings(out, config),
    ]


def _bias_findings(out: Grouping, config: AdapterConfig) -> list[Finding]:
    if config.bias != "none" or not out.biases:
        return []
    return [warned(
        "bias.undeclared", f"biases of {quote(list(out.biases))}, and bias = none in the config",
        "biases only with bias = all or lora_only",
        "PEFT ignores those of adapted modules. Find out which configuration trained this file.",
    )]  # fmt: skip


def _dora_findings(out: Grouping, config: AdapterConfig) -> list[Finding]:
    with_it = [m.name for m in out.modules.values() if m.magnitude_key is not None]
    without = [m.name for m in out.modules.values() if m.magnitude_key is None]
    if config.use_dora and without:
        return [failed(
            "dora.magnitude_missing", f"no magnitude vector on {quote(without)}",
            "one on every module, as use_dora = true says",
            "PEFT would fill in the base's own norms. Fetch the whole file again.",
        )]  # fmt: skip
    if not config.use_dora and with_it:
        return [failed(
            "dora.undeclared", f"magnitude vectors on {quote(with_it)}, and use_dora = false",
            "use_dora = true", "PEFT would ignore them. Set use_dora to true if DoRA trained it.",
        )]  # fmt: skip
    return []


def _lora_bias_findings(out: Grouping, config: AdapterConfig) -> list[Finding]:
    with_it = [m.name for m in out.modules.values() if m.bias_key is not None]
    without = [m.name for m in out.modules.values() if m.bias_key is None]
    if with_it and not config.lora_bias:
        return [failed(
            "lora_bias.undeclared", f"biases of B on {quote(with_it)}, and lora_bias = false",
            "lora_bias = true", "PEFT would ignore them. Set lora_bias to true if it trained so.",
        )]  # fmt: skip
    if config.lora_bias and without:
        return [failed(
            "lora_bias.missing", f"no bias of B on {quote(without)}",
            "one on every module, as lora_bias = true says", "Fetch the whole file again.",
        )]  # fmt: skip
    return []


def _saved_findings(out: Grouping, config: AdapterConfig) -> list[Finding]:
    found: list[Finding] = []
    modules = [name.rpartition(".")[0] for name in out.saved]
    absent = [
        name for name in config.modules_to_save
        if not any(module.endswith(name) or f".{name}." in f".{module}." for module in modules)
    ]  # fmt: skip
    for name in absent:
        if name not in HEADS or not config.has_head or set(HEADS) <= set(absent):
            found.append(failed(
                "saved.missing", f"nothing of {name!r} in the file",
                "the module that modules_to_save names",
                "PEFT cannot load it either. Fetch the whole file again.",
            ))  # fmt: skip
    modules += [name.rpartition(".")[0] for name in out.frozen]
    undeclared = [m for m in modules if not _is_declared(m, config)]
    if undeclared:
        found.append(failed(
            "saved.undeclared", f"{quote(undeclared)}, which modules_to_save does not name",
            "modules_to_save to name every module saved whole",
            "PEFT loads it over the base without a word, unless the module is adapted as well. "
            "Add it to modules_to_save if it was trained.",
        ))  # fmt: skip
    return found


def _is_declared(module: str, config: AdapterConfig) -> bool:
    leaf = module.rpartition(".")[2]
    inside = any(f".{name}." in f".{module}." for name in config.modules_to_save)
    return inside or config.saves(module) or leaf in EMBEDDING_LAYERS
