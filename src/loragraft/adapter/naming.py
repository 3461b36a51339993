"""What the name of a folder, a repository or a dataset says about an adapter's base.

A name proves nothing: it is held against the configuration and the shapes. So a size is read only
where nothing else can be meant; versions ("v2", "2.5"), ranks ("r16"), bits ("4bit"), context
lengths ("8k", "1m") and dates are none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "CodeLlama": (r"code-?llama", ()),
    "TinyLlama": (r"tiny-?llama", ()),
    "Llama": (r"llama", ("2", "3", "3.1", "3.2", "3.3", "4")),
    "QwQ": (r"qwq", ()),
    "Qwen": (r"qwen", ("1.5", "2", "2.5", "3", "3.5")),
    "Mixtral": (r"mixtral", ()),
    "Ministral": (r"ministral", ("3",)),
    "Mistral": (r"mistral", ()),
    "Gemma": (r"(?:code|embedding|med)?gemma", ("1.1", "2", "3", "3n", "4")),
    "Phi": (r"phi", ("1", "1.5", "2", "3", "3.5", "4")),
    "SmolLM": (r"smollm", ("2", "3")),
    "Falcon": (r"falcon", ("2", "3")),
    "DeepSeek": (r"deepseek", ("2", "2.5", "3", "3.1", "3.2")),
    "Yi": (r"yi", ("1.5",)),
    "GPT-OSS": (r"gpt-?oss", ()),
    "GPT-2": (r"gpt-?2", ()),
    "Pythia": (r"pythia", ()),
    "OLMo": (r"olmoe?", ("2", "3")),
    "Granite": (r"granite", ("3", "3.0", "3.1", "3.2", "3.3", "4", "4.0")),
    "InternLM": (r"internlm", ("2", "2.5", "3")),
    "Baichuan": (r"baichuan", ("2",)),
    "GLM": (r"(?:chat)?glm", ("2", "3", "4", "4.5")),
    "StableLM": (r"stablelm", ("2",)),
    "MiniLM": (r"minilm", ()),
    "MPNet": (r"mpnet", ()),
    "BERT": (r"(?:distil|modern|ro|deberta|x?lm-ro)?bert[ax]?", ()),
    "BGE": (r"bge", ()),
    "T5": (r"(?:flan-)?m?t5", ()),
}
"""Families by the word that names them, and their generations.

The generations tell "qwen2-5-1-5b" (2.5, 1.5B) from "llama-3-8b" (3, 8B): dots are often written
as hyphens.
"""

_BEFORE = r"(?<![a-z0-9.])"
_SIZE = re.compile(
    rf"{_BEFORE}(?:(?P<head>\d)[-_])?(?P<effective>e)?(?:(?P<experts>\d{{1,3}})x)?"
    r"(?P<number>\d{1,4})(?:(?:\.|p|dot)(?P<decimals>\d{1,3}))?(?P<unit>[bm])(?![a-z0-9])"
)
_COUNTED = re.compile(
    r"[-_ ]?(?:tok|token|sample|row|step|example|pair|word|char|context|ctx|record|post)s?\b"
)
"""What follows the number of something else than parameters."""

_DECIMALS = frozenset({0.5, 0.6, 1.1, 1.3, 1.5, 1.6, 1.7, 1.8, 2.7, 2.8, 3.8, 6.7, 6.9})
"""Sizes in 10⁹ that models really have: "1-5b" is rather 1.5 than a 1 and a 5."""
_SMALLEST_MILLIONS = 10
"""Below it, "1m" is a context length or a number of rows; no language model is that small."""
_LARGEST_BILLIONS = 2_000

_QUANTIZATIONS: tuple[tuple[str, str], ...] = (
    ("GPTQ", r"gptq"), ("AWQ", r"awq"), ("EXL2", r"exl[23]"), ("HQQ", r"hqq"), ("AQLM", r"aqlm"),
    ("FP8", r"fp8|w8a8"), ("MLX", r"mlx(?=.*\dbit)"),
    ("GGUF", r"gguf|i?q[2-8]_(?:k(?:_[sml])?|[01])"), ("bitsandbytes", r"bnb|nf4|bitsandbytes"),
    ("4-bit", r"4-?bits?|int4|w4a16"), ("8-bit", r"8-?bits?|int8"),
)  # fmt: skip
"""In order of how much they say: "GPTQ-Int4" is GPTQ."""


@dataclass(frozen=True)
class NameClaim:
    """What a name says; empty where it says nothing.

    Attributes:
        text: The part of the name that was read.
        families: Model families in it.
        sizes: Parameters of the base in units of 10⁹: every reading of every size in it, the
            likelier first ("1-5b" can be 1.5 or 5).
        effective: Whether a size is an effective one ("e4b"), which leaves tensors out.
        quantization: How the base is quantized.
    """

    text: str
    families: tuple[str, ...] = ()
    sizes: tuple[float, ...] = ()
    effective: bool = False
    quantization: str | None = None

    @property
    def size(self) -> float | None:
        """The likeliest size in 10⁹ parameters."""
        return self.sizes[0] if self.sizes else None

    def __str__(self) -> str:
        """Return what is said, in words: ``Qwen, 1.5B, GPTQ``."""
        parts = [*self.families, *(format_size(size) for size in self.sizes[:1])]
        if self.quantization:
            parts.append(self.quantization)
        return ", ".join(parts) or "nothing"


def read_name(text: str) -> NameClaim:
    """Read a folder's, repository's or dataset's name, or a path of which the last part counts.

    >>> read_name("Qwen/Qwen2.5-1.5B-Instruct-GPTQ-Int4").sizes
    (1.5,)
    >>> read_name("reddit-4b-think").size
    4.0
    >>> read_name("llama-3.1-lora-r16-4bit-v2").size is None
    True
    """
    part = _last_part(text)
    name = part.lower()
    families, rest = _take_families(name)
    found = [match for match in _SIZE.finditer(rest) if not _COUNTED.match(rest, match.end())]
    sizes = dict.fromkeys(size for match in found for size in _readings(match))
    effective = any(match["effective"] for match in found)
    return NameClaim(part, families, tuple(sizes), effective, _quantization(name))


def format_size(billions: float) -> str:
    """Return a number of parameters as names write it: ``135M``, ``1.5B``."""
    return f"{billions * 1000:.0f}M" if billions < 0.45 else f"{billions:.3g}B"


def _last_part(text: str) -> str:
    plain = text.replace("\\", "/").rstrip("/")
    if "/snapshots/" in plain:  # the hub's cache: models--owner--name/snapshots/<revision>
        plain = plain.split("/snapshots/")[0].replace("--", "/")
    return plain.rpartition("/")[2].partition("@")[0]


def _take_families(name: str) -> tuple[tuple[str, ...], str]:
    """Return the families in a name, and the name without them and their generations."""
    found: list[str] = []
    for family, (pattern, generations) in _FAMILIES.items():
        match = re.search(rf"(?<![a-z])(?:{pattern})(?![a-z])", name)
        if match is None:
            continue
        found.append(family)
        stop = match.end() + _generation_length(name[match.end() :], generations)
        name = f"{name[: match.start()]} {name[stop:]}"
    return tuple(found), name


def _generation_length(rest: str, generations: tuple[str, ...]) -> int:
    """Return how many characters behind a family's name are its generation."""
    for generation in sorted(generations, key=len, reverse=True):
        pattern = re.escape(generation).replace(r"\.", r"[.p_-]")
        match = re.match(rf"[-_ ]?v?{pattern}(?![a-z0-9]|\.\d)", rest)
        if match:
            return match.end()
    return 0


def _readings(match: re.Match[str]) -> list[float]:
    """Return what a size can mean, in 10⁹ parameters, the likelier first."""
    number = float(f"{match['number']}.{match['decimals'] or 0}")
    if match["unit"] == "m":
        return [number / 1000] if number >= _SMALLEST_MILLIONS else []
    if not 0 < number <= _LARGEST_BILLIONS:
        return []
    if match["experts"]:
        return [number * int(match["experts"])]
    if match["head"] is None or match["decimals"] or len(match["number"]) > 1:
        return [number]
    joined = float(f"{match['head']}.{match['number']}")
    return [joined, number] if joined in _DECIMALS or joined < 1 else [number, joined]


def _quantization(name: str) -> str | None:
    for label, pattern in _QUANTIZATIONS:
        if re.search(rf"{_BEFORE}(?:{pattern})(?![a-z])", name):
            return label
    return None
