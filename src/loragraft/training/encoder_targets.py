"""The named sets of modules, in the words of encoders.

``q_proj`` of a Llama is ``query`` of a BERT, ``query_proj`` of a DeBERTa-v3 and a third of
``Wqkv`` of a ModernBERT. Names were read in transformers' modules of each family.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from loragraft.errors import InputError
from loragraft.training.config import LoraSettings
from loragraft.training.targets import choose_targets

_FUSED = (r"attn\.Wqkv", r"self\.in_proj", r"qkv_proj")
"""Queries, keys and values in one matrix: ModernBERT, DeBERTa of the first version, Phi-3."""

ROLES: Mapping[str, tuple[str, ...]] = {
    "q_proj": (r"q_proj", r"self\.query", r"query_proj", r"q_lin", r"attn\.q", *_FUSED),
    "k_proj": (r"k_proj", r"self\.key", r"key_proj", r"k_lin", r"attn\.k", *_FUSED),
    "v_proj": (r"v_proj", r"self\.value", r"value_proj", r"v_lin", r"attn\.v", *_FUSED),
    "o_proj": (
        r"self_attn\.o_proj", r"self_attn\.out_proj", r"attention\.output\.dense", r"out_lin",
        r"attn\.o", r"attn\.Wo",
    ),
    "gate_proj": (r"gate_proj", r"gate_up_proj", r"intermediate\.dense", r"lin1", r"mlp\.Wi"),
    "up_proj": (r"up_proj", r"gate_up_proj", r"intermediate\.dense", r"lin1", r"mlp\.Wi"),
    "down_proj": (r"down_proj", r"\d+\.output\.dense", r"lin2", r"mlp\.Wo"),
}  # fmt: skip
"""What a projection of a decoder is called elsewhere, as the end of a module's name: Llama and its
kin; BERT, RoBERTa, ELECTRA, XLM-R; DeBERTa; DistilBERT; MPNet; ModernBERT. An encoder without a
gate has one matrix into the wide layer, which stands for both."""


def choose_encoder_targets(
    settings: LoraSettings, modules: Sequence[str], base: str
) -> tuple[str, ...]:
    """Return the names of modules that PEFT is given.

    Args:
        settings: Of the adapter: a named set is translated, names of modules are taken as they are.
        modules: Full names of the encoder's linear modules, the heads apart.
        base: What to call the base in messages.

    Raises:
        InputError: If the encoder lacks one of them; names what it has.
    """
    if not isinstance(settings.targets, str):
        return choose_targets(settings, modules, base)
    wanted = settings.modules
    found = {name: _of_role(name, modules) for name in wanted}
    if not all(found.values()):
        raise InputError(_explain([name for name in wanted if not found[name]], modules, base))
    return tuple(dict.fromkeys(name for names in found.values() for name in names))


def _of_role(role: str, modules: Sequence[str]) -> tuple[str, ...]:
    """Return what names the modules of a role and no others: the end of a name, or whole names."""
    for pattern in ROLES[role]:
        ending = re.compile(rf"(?:.*\.)?({pattern})")
        ends = {name: found[1] for name in modules if (found := ending.fullmatch(name))}
        if ends:
            return _shortest(ends, modules)
    return ()


def _shortest(ends: Mapping[str, str], modules: Sequence[str]) -> tuple[str, ...]:
    """Return endings where they fit no other module, else the full names."""
    short = tuple(dict.fromkeys(ends.values()))
    fitting = {m for m in modules if any(m == end or m.endswith(f".{end}") for end in short)}
    return short if fitting == set(ends) else tuple(ends)


def _explain(missing: Sequence[str], modules: Sequence[str], base: str) -> str:
    leaves = ", ".join(sorted({name.rpartition(".")[2] for name in modules})) or "none"
    return (
        f"{base} has no module that does what {' and '.join(missing)} "
        f"{'does' if len(missing) == 1 else 'do'} in a decoder, as far as is known. Its linear "
        f"modules: {leaves}. Name those to adapt in lora.targets."
    )
