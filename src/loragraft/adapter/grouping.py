"""Sort the keys of an adapter's file into what each of them means; none is lost.

Every key lands in exactly one group: a LoRA module, a saved tensor, the matrix under an adapted
embedding, trained token rows, a bias, a copy of an original, or ``unknown`` with a finding that
says why.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from loragraft.adapter.config import AdapterConfig
from loragraft.adapter.findings import Finding, failed, quote, warned
from loragraft.checkpoint.safetensors import FLOAT_DTYPES, TensorInfo

PREFIX = "base_model.model."
"""What a ``PeftModel`` puts before the base model's own names."""

DEFAULT_NAME = "default"
"""PEFT's own adapter name: only with it does PEFT load keys that still hold a name."""

_LORA_KEY = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|"
    r"lora_magnitude_vector)(?:\.(?P<rest>.+))?"
)
_TOKEN_KEY = re.compile(r"(?P<module>.+)\.token_adapter\.trainable_tokens_delta(?:\.(?P<rest>.+))?")
_SAVED_KEY = re.compile(r"(?P<module>.+)\.modules_to_save\.(?P<name>[^.]+)\.(?P<rest>.+)")
_BASE_KEY = re.compile(r"(?P<module>.+?)(?:\.token_adapter)?\.base_layer\.weight")
_ORIGINAL_KEY = re.compile(r"(?P<module>.+)\.original_module\.(?P<rest>.+)")
_FOREIGN_PREFIXES: Mapping[str, str] = {
    "module.": "DistributedDataParallel",
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "FSDP",
    "transformer.": "a diffusers or kohya trainer",
    "lora_unet_": "a diffusion trainer",
    "lora_te": "a diffusion trainer",
}


@dataclass(frozen=True)
class LoraModule:
    """One LoRA pair on one module of the base.

    Shapes of what its keys hold: ``linear``: A ``[rank, in]``, B ``[out, rank]``, and
    ΔW = scaling · B·A of shape ``[out, in]``, transposed where ``fan_in_fan_out``. ``embedding``:
    A ``[rank, vocabulary]``, B ``[width, rank]``, ΔW = scaling · (B·A)ᵀ.

    Attributes:
        name: The module's path in the base checkpoint, without ``.weight``.
        kind: Whether it sits on a linear layer or an embedding.
        rank: Rows of A, as found.
        alpha: Of the configuration, ``alpha_pattern`` applied.
        scaling: alpha/r or alpha/√r with PEFT's r for this module, patterns applied.
        a_key: Key of A.
        b_key: Key of B.
        magnitude_key: Key of DoRA's magnitude vector, ``[out]``: the norms of W + ΔW's rows, for
            an embedding those of its columns.
        bias_key: Key of B's bias (``lora_bias``), to be scaled as B·A is.
        fan_in_fan_out: Whether the base stores this weight as ``[in, out]``.
        in_features: Columns of A.
        out_features: Rows of B.
    """

    name: str
    kind: Literal["linear", "embedding"]
    rank: int
    alpha: float
    scaling: float
    a_key: str
    b_key: str
    magnitude_key: str | None
    bias_key: str | None
    fan_in_fan_out: bool
    in_features: int
    out_features: int

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key of the file that belongs to the module."""
        parts = (self.a_key, self.b_key, self.magnitude_key, self.bias_key)
        return tuple(key for key in parts if key is not None)


@dataclass(frozen=True)
class TokenRows:
    """Rows of an embedding that replace the base's (``trainable_token_indices``).

    Attributes:
        name: The embedding's path in the base checkpoint.
        key: Key of the rows, shape ``[len(indices), width]``. They are values, not differences.
        indices: The token id of each row.
        width: Length of a row.
    """

    name: str
    key: str
    indices: tuple[int, ...]
    width: int


@dataclass
class Grouping:
    """Every key of an adapter's file, by meaning.

    Attributes:
        modules: LoRA pairs by base module path.
        saved: Base tensor name (``lm_head.weight``) to the key of the tensor that replaces it.
        token_rows: By base module path.
        biases: Base tensor name (``….q_proj.bias``) to the key of the trained bias.
        originals: Base tensor name to the key of an unused copy of the base's own tensor.
        frozen: Base tensor name to the key of the matrix that an adapted embedding or head had
            under its LoRA pair or trained rows. PEFT saves it along and loads it over the base's:
            usually the same values, others where the vocabulary was resized.
        unknown: Keys that mean nothing here.
        findings: What was odd.
    """

    modules: dict[str, LoraModule] = field(default_factory=dict)
    saved: dict[str, str] = field(default_factory=dict)
    token_rows: dict[str, TokenRows] = field(default_factory=dict)
    biases: dict[str, str] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)
    frozen: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class _Part:
    """A key that belongs to a LoRA module: its role and the adapter name inside it, if any."""

    module: str
    role: str
    adapter: str | None


def _split_lora_key(key: str) -> _Part | None:
    match = _LORA_KEY.fullmatch(key)
    if match is None:
        return None
    part, rest = match["part"], (match["rest"] or "").split(".")
    if part in ("lora_A", "lora_B"):
        if rest[-1] not in ("weight", "bias") or len(rest) > 2:
            return None
        role = part if rest[-1] == "weight" else f"{part}.bias"
        name = rest[0] if len(rest) == 2 else None
    else:
        rest = rest[:-1] if part == "lora_magnitude_vector" and rest[-1] == "weight" else rest
        if len(rest) > 1:
            return None
        role, name = part, (rest[0] if rest and rest[0] else None)
    return _Part(match["module"], role, name)


class _Sorter:
    """Fills a :class:`Grouping` key by key, then pair by pair."""

    def __init__(self, tensors: Mapping[str, TensorInfo], config: AdapterConfig) -> None:
        self.tensors = tensors
        self.config = config
        self.out = Grouping()
        self.parts: dict[str, dict[str, str]] = defaultdict(dict)
        self.names: set[str] = set()
        self.under: dict[str, str] = {}
        self.reasons: dict[str, list[str]] = defaultdict(list)

    def reject(self, key: str, reason: str) -> None:
        self.out.unknown.append(key)
        self.reasons[reason].append(key)

    def sort(self) -> Grouping:
        self.only_name = _only_adapter_name(self.tensors)
        for key in self.tensors:
            self._place(key)
        for module, parts in self.parts.items():
            self._pair(module, parts)
        for key, module in self.under.items():
            self._place_frozen(key, module)
        _report_names(self.out, self.names)
        _report_unknown(self.out, self.reasons)
        return self.out

    def _place(self, key: str) -> None:
        info = self.tensors[key]
        if not key.startswith(PREFIX):
            self.reject(key, "outside 'base_model.model.'")
        elif info.dtype not in FLOAT_DTYPES:
            self.reject(key, f"of dtype {info.dtype}")
        elif info.size == 0:
            self.reject(key, "empty, as a sharded training run saves them when it does not gather")
        else:
            self._place_known(key, key.removeprefix(PREFIX))

    def _place_known(self, key: str, stripped: str) -> None:
        part = _split_lora_key(stripped)
        if part is not None:
            self._place_part(key, part)
        elif match := _TOKEN_KEY.fullmatch(stripped):
            self._place_tokens(key, match["module"])
        elif match := _SAVED_KEY.fullmatch(stripped):
            self._place_tensor(key, match["module"], match["rest"])
        elif match := _BASE_KEY.fullmatch(stripped):
            self.under[key] = match["module"]  # what it is depends on what else its module has
        elif match := _ORIGINAL_KEY.fullmatch(stripped):
            self._claim(self.out.originals, f"{match['module']}.{match['rest']}", key)
        elif any(part.startswith("lora_") for part in stripped.split(".")):
            self.reject(key, "of a kind that LoRA adapters do not hold")
        else:
            module, _, name = stripped.rpartition(".")
            self._place_tensor(key, module.removesuffix(".base_layer"), name)

    def _place_part(self, key: str, part: _Part) -> None:
        if self.config.peft_type != "LORA":
            self.reject(key, f"a LoRA tensor in an adapter of type {self.config.peft_type}")
        elif part.adapter is not None and part.adapter != self.only_name:
            self.reject(key, "of one of several adapters in the file")
        elif part.role in self.parts[part.module]:
            self.reject(key, "the second one of its kind on its module")
        else:
            self.parts[part.module][part.role] = key
            if part.adapter is not None:
                self.names.add(part.adapter)

    def _place_frozen(self, key: str, module: str) -> None:
        name = f"{module}.weight"
        if module not in self.out.modules and module not in self.out.token_rows:
            self._place_tensor(key, module, "weight")
        elif name in self.out.saved:
            self.reject(key, "the second one for its tensor of the base")
        else:
            self._claim(self.out.frozen, name, key)

    def _place_tokens(self, key: str, module: str) -> None:
        shape, indices = self.tensors[key].shape, self._tokens_of(module)
        if indices is None:
            self.reject(key, "token rows whose ids the configuration does not name")
        elif len(shape) != 2 or shape[0] != len(indices):
            self.reject(key, f"token rows of shape {list(shape)} for {len(indices)} ids")
        elif len(set(indices)) != len(indices):
            self.reject(key, "token rows with an id named twice")
        else:
            self.out.token_rows[module] = TokenRows(module, key, indices, shape[1])

    def _tokens_of(self, module: str) -> tuple[int, ...] | None:
        """Return the trained token ids of a module; a tied head has those of its embedding."""
        named, tokens = self.config.tokens_of(module), self.config.trainable_token_indices
        is_head = module.rpartition(".")[2] == "lm_head"
        if named is None and is_head and not isinstance(tokens, tuple) and len(tokens) == 1:
            return next(iter(tokens.values()))
        return named

    def _place_tensor(self, key: str, module: str, name: str) -> None:
        if not module or name.rpartition(".")[2] not in ("weight", "bias"):
            self.reject(key, "of a kind that LoRA adapters do not hold")
            return
        is_bias = name == "bias" and not self.config.saves_whole(module)
        self._claim(self.out.biases if is_bias else self.out.saved, f"{module}.{name}", key)

    def _claim(self, group: dict[str, str], name: str, key: str) -> None:
        if name in group:
            self.reject(key, "the second one for its tensor of the base")
        else:
            group[name] = key

    def _pair(self, module: str, parts: dict[str, str]) -> None:
        kind: Literal["linear", "embedding"] = (
            "embedding" if any(r.startswith("lora_embedding") for r in parts) else "linear"
        )
        names = ("lora_embedding_A", "lora_embedding_B") if kind == "embedding" else (
            "lora_A", "lora_B")  # fmt: skip
        a_key, b_key = parts.pop(names[0], None), parts.pop(names[1], None)
        magnitude, bias = parts.pop("lora_magnitude_vector", None), parts.pop("lora_B.bias", None)
        for key in parts.values():
            self.reject(key, "a part that its module does not have")
        keys = [key for key in (a_key, b_key, magnitude, bias) if key is not None]
        if a_key is None or b_key is None:
            for key in keys:
                self.reject(key, f"of a pair without its {'A' if a_key is None else 'B'}")
            return
        problem = _shape_problem(self.tensors[a_key].shape, self.tensors[b_key].shape)
        if problem is not None:
            for key in keys:
                self.reject(key, problem)
            return
        self.out.modules[module] = self._module(module, kind, a_key, b_key, magnitude, bias)

    def _module(
        self,
        name: str,
        kind: Literal["linear", "embedding"],
        a_key: str,
        b_key: str,
        magnitude: str | None,
        bias: str | None,
    ) -> LoraModule:
        config = self.config
        out_features, in_features = self.tensors[b_key].shape[0], self.tensors[a_key].shape[1]
        for key in (magnitude, bias):
            if key is not None and self.tensors[key].size != out_features:
                self.reject(key, f"of {self.tensors[key].size} elements, not one an output")
        known = [key if key not in self.out.unknown else None for key in (magnitude, bias)]
        return LoraModule(
            name=name, kind=kind, rank=self.tensors[a_key].shape[0], alpha=config.alpha_of(name),
            scaling=config.scaling_of(name), a_key=a_key, b_key=b_key, magnitude_key=known[0],
            bias_key=known[1], fan_in_fan_out=config.fan_in_fan_out and kind == "linear",
            in_features=in_features, out_features=out_features,
        )  # fmt: skip


def _only_adapter_name(tensors: Mapping[str, TensorInfo]) -> str | None:
    """Return the one adapter name inside the keys; None where there are none or several."""
    parts = (_split_lora_key(key.removeprefix(PREFIX)) for key in tensors)
    names = {part.adapter for part in parts if part is not None and part.adapter is not None}
    return names.pop() if len(names) == 1 else None


def _shape_problem(a: tuple[int, ...], b: tuple[int, ...]) -> str | None:
    if len(a) != 2 or len(b) != 2:
        return "of a pair that is not two matrices (a convolution's or a bare parameter's adapter)"
    if a[0] != b[1]:
        return f"of a pair whose ranks differ ({a[0]} rows of A, {b[1]} columns of B)"
    return None


def group_keys(tensors: Mapping[str, TensorInfo], config: AdapterConfig) -> Grouping:
    """Sort every key of an adapter's file into its group; shapes only, no values are read."""
    return _Sorter(tensors, config).sort()


def _report_names(out: Grouping, names: set[str]) -> None:
    for name in names - {DEFAULT_NAME}:
        out.findings.append(warned(
            "keys.adapter_name", f"the adapter name {name!r} inside the keys", "keys without one",
            "PEFT loads such a file as an adapter without effect unless it is given this very "
            "name; loragraft reads it. Save it again with save_pretrained.",
        ))  # fmt: skip


def _report_unknown(out: Grouping, reasons: Mapping[str, list[str]]) -> None:
    for reason, keys in reasons.items():
        out.findings.append(failed(
            "keys.unknown", f"{len(keys)} keys {reason}: {quote(keys)}",
            "every key to belong to a LoRA module, a saved module, token rows or a bias",
            _hint(keys[0]),
        ))  # fmt: skip


def _hint(key: str) -> str:
    if not key.startswith(PREFIX):
        for prefix, source in _FOREIGN_PREFIXES.items():
            if key.startswith(prefix) or key.startswith(f"base_model.{prefix}"):
                return f"The prefix {prefix!r} comes from {source}. Save it with save_pretrained."
        return (
            "PEFT would ignore them without a word. Save the adapter with save_pretrained, so "
            "that its keys begin with 'base_model.model.'."
        )
    return "Save the adapter again with PEFT's save_pretrained, or use the engine peft."
