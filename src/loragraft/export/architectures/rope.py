"""Rotary position settings of both generations of config.json, and what GGUF makes of them.

Older files hold `rope_theta` and `rope_scaling`; newer ones one `rope_parameters`, which models
with two kinds of layers nest by layer type. Sources: transformers 5, `modeling_rope_utils.py`
(how both become one) and llama.cpp, `conversion/base.py` and `conversion/llama.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from loragraft.errors import CheckpointError, UnsupportedError

ORIGINAL = "original_max_position_embeddings"
DEFAULT_THETA = 10_000.0  # transformers: RotaryEmbeddingConfigMixin.default_theta
FLOAT32_MAX = 3.4028235e38
WHOLE_LIMIT = 2**32  # GGUF's u32
LAYER_TYPES = ("full_attention", "sliding_attention")
STRETCHED = ("llama3", "yarn", "longrope")  # types that need the length of pretraining
# What the common metadata can say. `dynamic` stretches only past the trained length, at run time;
# llama.cpp has no such thing, and its converter writes nothing for it either.
PLAIN_KINDS = frozenset({"default", "linear", "yarn", "llama3", "dynamic"})

Item = tuple[str, Any, str]


@dataclass(frozen=True)
class Rope:
    """Rotary parameters of the full-attention layers and, where they differ, the sliding ones."""

    full: Mapping[str, Any]
    sliding: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The scaling type, "default" for none."""
        return str(self.full.get("rope_type", "default")).lower()

    @property
    def theta(self) -> float:
        """The base of the frequencies in full-attention layers."""
        return positive(self.full, "rope_theta", DEFAULT_THETA)


def section_of(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Copy an object of a configuration, empty where there is none.

    Raises:
        CheckpointError: If it is something else.
    """
    value = config.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CheckpointError(
            f"config.json: {key!r} is {value!r}, expected an object. Repair the file."
        )
    return dict(value)


def number(section: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """Read a number of a rotary section.

    Raises:
        CheckpointError: If it is missing without a default, or no number that float32 holds.
    """
    value = section.get(key, default)
    if not is_float32(value):
        raise CheckpointError(
            f"config.json: the rotary setting {key!r} is {value!r}, expected a number. "
            "Repair the file or download it again."
        )
    return value


def is_float32(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number that float32 holds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= FLOAT32_MAX  # NaN is not


def positive(section: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """Read a number above 0 of a rotary section.

    Raises:
        CheckpointError: If it is another one, or none.
    """
    value = number(section, key, default)
    if value <= 0:
        raise CheckpointError(
            f"config.json: the rotary setting {key!r} is {value!r}, expected a number above 0. "
            "Repair the file or download it again."
        )
    return float(value)


def trained_length(section: Mapping[str, Any], default: int | None = None) -> int:
    """Read the context length of pretraining.

    Raises:
        CheckpointError: If it is no length: 2 at least, for its logarithm is divided by.
    """
    length = int(number(section, ORIGINAL, default))
    if not 2 <= length < WHOLE_LIMIT:
        raise CheckpointError(
            f"config.json: the rotary setting {ORIGINAL!r} is {length}, which is no context "
            "length. Repair the file or download it again."
        )
    return length


def _complete(section: dict[str, Any], theta: float, context: int) -> dict[str, Any]:
    """Fill in type, base and pretraining length where a section leaves them out."""
    section.setdefault("rope_type", section.get("type", "default"))
    section.setdefault("rope_theta", theta)
    if section["rope_type"] in STRETCHED:
        section.setdefault(ORIGINAL, context)
    return section


def read_rope(config: Mapping[str, Any]) -> Rope:
    """Read the settings of every family but Gemma 3 and Phi-3.

    Args:
        config: The configuration with its family's defaults filled in.
    """
    section = section_of(config, "rope_scaling") or section_of(config, "rope_parameters")
    theta = number(config, "rope_theta", DEFAULT_THETA)
    context = int(config["max_position_embeddings"])
    if any(key in section for key in LAYER_TYPES):
        full, sliding = (section_of(section, key) for key in LAYER_TYPES)
        return Rope(_complete(full, theta, context), _complete(sliding, theta, context))
    return Rope(_complete(section, theta, context))


def rope_items(rope: Rope, prefix: str) -> list[Item]:
    """GGUF's scaling and base keys, as llama.cpp's `TextModel` writes them.

    Raises:
        UnsupportedError: If the scaling type cannot be written for this family.
    """
    full, kind = rope.full, rope.kind
    if kind not in PLAIN_KINDS:
        raise UnsupportedError(
            f"The rotary scaling type {kind!r} cannot be written for the GGUF architecture "
            f"{prefix!r}; supported are {', '.join(sorted(PLAIN_KINDS))}."
        )
    items: list[Item] = []
    if kind in ("linear", "yarn"):
        items.append((f"{prefix}.rope.scaling.type", kind, "string"))
        items.append((f"{prefix}.rope.scaling.factor", number(full, "factor"), "f32"))
    if kind == "yarn":
        items += _yarn_items(full, prefix)
    items.append((f"{prefix}.rope.freq_base", rope.theta, "f32"))
    if rope.sliding:
        base = positive(rope.sliding, "rope_theta")
        items.append((f"{prefix}.rope.freq_base_swa", base, "f32"))
    return items


def _yarn_items(full: Mapping[str, Any], prefix: str) -> list[Item]:
    length = trained_length(full)
    items: list[Item] = [(f"{prefix}.rope.scaling.original_context_length", length, "u32")]
    optional = {
        "yarn_ext_factor": full.get("extrapolation_factor"),
        "yarn_attn_factor": full.get("attention_factor", full.get("attn_factor")),
        "yarn_beta_fast": full.get("beta_fast"),
        "yarn_beta_slow": full.get("beta_slow"),
    }
    return items + [
        (f"{prefix}.rope.scaling.{key}", number({key: value}, key), "f32")
        for key, value in optional.items()
        if value is not None
    ]


def llama3_factors(rope: Rope, head_length: int) -> NDArray[np.float32]:
    """How much each frequency is slowed down by Llama 3's scaling.

    Short waves keep their frequency, long ones are divided by `factor`, those between are
    blended. All steps run in float32 as torch runs them, where a number divided by a tensor is
    the tensor's reciprocal times the number, so that the file equals llama.cpp's converter's.

    Returns:
        Shape `(head_length / 2,)`, divisors of the frequencies.

    Raises:
        CheckpointError: If a setting of the scaling is none.
    """
    one, full = np.float32(1.0), rope.full
    factor = positive(full, "factor", 8.0)
    low, high = positive(full, "low_freq_factor", 1.0), positive(full, "high_freq_factor", 4.0)
    if high <= low:
        raise CheckpointError(
            f"config.json: high_freq_factor {high:g} is not above low_freq_factor {low:g}, so "
            "nothing lies between them. Repair the file or download it again."
        )
    length = trained_length(full, 8192)
    exponents = np.arange(0, head_length, 2, dtype=np.float32) / np.float32(head_length)
    # The power is taken in float64: rounded once, it is torch's float32 power nearly always.
    powers = np.power(rope.theta, exponents.astype(np.float64)).astype(np.float32)
    waves = (one / (one / powers)) * np.float32(2 * math.pi)
    blend = ((one / waves) * np.float32(length) - np.float32(low)) / np.float32(high - low)
    with np.errstate(divide="ignore"):
        between = one / ((one - blend) / np.float32(factor) + blend)
    long = np.where(waves > length / low, np.float32(factor), between)
    factors: NDArray[np.float32] = np.where(waves < length / high, one, long).astype(np.float32)
    return factors
