"""What single architectures want of their vocabulary, as data.

Facts from llama.cpp's conversion/llama.py, gemma.py, phi.py and qwen.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Family:
    """Deviations of one gguf architecture.

    `space_prefix_from_config`: take tokenizer_config.json's add_prefix_space over.
    `added_are_literal`: added tokens keep their text and are control tokens only when marked
    special; elsewhere tokens that look special are, and ▁ becomes a space.
    `special`: special ids the checkpoint's files do not name.
    `special_by_size`, `flags_by_size`: the same, for one size of the vocabulary.
    `without_row`: tokens the tokenizer may have although the model has no row for them.
    """

    space_prefix_from_config: bool = False
    added_are_literal: bool = False
    special: Mapping[str, int] = field(default_factory=dict)
    special_by_size: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    flags_by_size: Mapping[int, Mapping[str, bool]] = field(default_factory=dict)
    without_row: frozenset[str] = frozenset()


_PLAIN = Family()

FAMILIES: Mapping[str, Family] = {
    "llama": Family(
        space_prefix_from_config=True,
        # CodeLlama's end of an infilling
        special_by_size={32016: {"eot": 32010}},
        # Granite and SmolLM: GPT-2's tokenizer class, which adds no BOS
        flags_by_size={49152: {"add_bos_token": False}},
    ),
    "qwen2": _PLAIN,
    "qwen3": _PLAIN,
    # 107 is <end_of_turn>
    "gemma": Family(special={"eot": 107}),
    "gemma2": _PLAIN,
    # Gemma 3's tokenizer serves the models that see, too: text-only ones have no image row.
    "gemma3": Family(without_row=frozenset({"<image_soft_token>"})),
    "phi3": Family(added_are_literal=True),
}


def family_of(architecture: str) -> Family:
    """Return the deviations of a gguf architecture; none are known for names not listed."""
    return FAMILIES.get(architecture, _PLAIN)
