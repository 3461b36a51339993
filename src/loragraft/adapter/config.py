"""``adapter_config.json`` as PEFT reads it, with every value's type checked.

Names, defaults and rules were read in PEFT 0.21's ``LoraConfig`` and ``LoraLayer``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard, TypeVar

from loragraft.adapter.patterns import Budget, compile_pattern, match_pattern
from loragraft.errors import AdapterError

_Value = TypeVar("_Value")
Names = str | tuple[str, ...] | None  # a regular expression, a list of names, or nothing


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter says about itself; see PEFT's ``LoraConfig`` for each field's meaning.

    Lists are tuples, ``null`` counts as absent. ``raw`` keeps the whole object, with the keys
    that other versions of PEFT or other tools wrote.
    """

    peft_type: str = "LORA"
    task_type: str | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    r: int = 8
    lora_alpha: float = 8.0
    use_rslora: bool = False
    use_dora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    target_modules: Names = None
    exclude_modules: Names = None
    target_parameters: tuple[str, ...] = ()
    layers_to_transform: tuple[int, ...] = ()
    layers_pattern: tuple[str, ...] = ()
    layer_replication: tuple[Any, ...] = ()
    fan_in_fan_out: bool = False
    bias: str = "none"
    lora_bias: bool = False
    modules_to_save: tuple[str, ...] = ()
    trainable_token_indices: Mapping[str, tuple[int, ...]] | tuple[int, ...] = ()
    init_lora_weights: bool | str = True
    raw: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget, compare=False, repr=False)

    def rank_of(self, module: str) -> int:
        """Return the rank of a module, ``rank_pattern`` applied as PEFT does."""
        return self._pattern_value(self.rank_pattern, module, self.r)

    def alpha_of(self, module: str) -> float:
        """Return alpha of a module, ``alpha_pattern`` applied as PEFT does."""
        return self._pattern_value(self.alpha_pattern, module, self.lora_alpha)

    def alphas_of(self, module: str) -> tuple[float, ...]:
        """Return the value of every ``alpha_pattern`` that fits a module; the first one counts."""
        return tuple(v for k, v in self.alpha_pattern.items() if self._fits(k, module))

    def scaling_of(self, module: str) -> float:
        """Return the factor before B·A: alpha/r, or alpha/√r with rank-stabilised LoRA."""
        rank = self.rank_of(module)
        return self.alpha_of(module) / (math.sqrt(rank) if self.use_rslora else rank)

    def tokens_of(self, module: str) -> tuple[int, ...] | None:
        """Return the trained token ids of an embedding module; None if none are named."""
        tokens = self.trainable_token_indices
        if isinstance(tokens, tuple):
            return tokens or None
        named = [name for name in tokens if module == name or module.endswith(f".{name}")]
        return tokens[max(named, key=len)] if named else None

    def targets(self, module: str) -> bool:
        """Say whether PEFT would put a LoRA layer on a module of this name.

        Source: ``check_target_module_exists`` in PEFT 0.21.
        """
        if self._matches(self.exclude_modules, module) or self._is_saved_or_below(module):
            return False
        if not self._matches(self.target_modules, module):
            return False
        if isinstance(self.target_modules, str) or not self.layers_to_transform:
            return True
        return self._layer_of(module) in self.layers_to_transform

    def saves(self, module: str) -> bool:
        """Say whether ``modules_to_save`` names a module, by PEFT's suffix rule."""
        return any(module.endswith(name) for name in self.modules_to_save)

    def saves_whole(self, module: str) -> bool:
        """Say whether ``modules_to_save`` names a module or one around it."""
        return self.saves(module) or self._is_saved_or_below(module)

    @property
    def has_head(self) -> bool:
        """Whether it was trained with a head that its base need not have."""
        return self.task_type in _HEADED

    def _pattern_value(
        self, patterns: Mapping[str, _Value], module: str, default: _Value
    ) -> _Value:
        """Return the value of the first pattern that matches the end of a module's name.

        Source: ``get_pattern_key`` in PEFT 0.21; the dictionary's order counts.
        """
        return next((value for key, value in patterns.items() if self._fits(key, module)), default)

    def _fits(self, pattern: str, module: str) -> bool:
        ending = _ENDING.format(pattern)
        return match_pattern(ending, module, self.budget, foreign=pattern) is not None

    def _matches(self, names: Names, module: str) -> bool:
        if not names:
            return False
        if isinstance(names, str):
            found = match_pattern(names, module, self.budget, foreign=names, whole=True)
            return found is not None
        return module in names or any(module.endswith(f".{name}") for name in names)

    def _is_saved_or_below(self, module: str) -> bool:
        return any(
            match_pattern(_SAVED.format(name), module, self.budget, foreign=name) is not None
            for name in self.modules_to_save
        )

    def _layer_of(self, module: str) -> int | None:
        rules = [(_LAYER.format(pattern), pattern) for pattern in self.layers_pattern]
        for rule, pattern in rules or [(_ANY_LAYER, "")]:
            found = match_pattern(rule, module, self.budget, foreign=pattern)
            if found is not None and len(found["idx"]) <= _MAX_DIGITS:
                return int(found["idx"])
        return None


_HEADED = frozenset({"SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"})
"""PEFT's names of tasks whose models end in a head that transformers makes anew."""

_ENDING = r"(.*\.)?({})$"
_SAVED = r"(^|.*\.){}($|\..*)"
_LAYER = r"(?:^|.*?\.){}\.(?P<idx>\d+)\."
_ANY_LAYER = r".*?\.[^.]*\.(?P<idx>\d+)\."
"""PEFT's own rules around the names in a configuration."""

_MAX_DIGITS = 9
"""Of a layer's number; Python refuses to read one of thousands of digits."""


def _is_int(value: object) -> bool:
    return type(value) is int


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a JSON value is a finite number that a double holds; booleans are none."""
    if type(value) is int:
        return abs(value) < 2**53  # beyond that a double no longer holds it
    return type(value) is float and math.isfinite(value)


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_token_ids(value: object) -> bool:
    return isinstance(value, list) and all(_is_int(item) and item >= 0 for item in value)


def _freeze_names(value: Any) -> Any:  # noqa: ANN401
    return value if isinstance(value, str) else tuple(value)


def _freeze_tokens(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return tuple(value)
    return {name: tuple(ids) for name, ids in value.items()}


def _as_tuple(value: Any) -> Any:  # noqa: ANN401
    return tuple(value) if isinstance(value, list) else (value,)


@dataclass(frozen=True)
class _Rule:
    """What a key may hold, how to say so, and how it is kept."""

    accepts: Callable[[Any], bool]
    words: str
    keep: Callable[[Any], Any] = lambda value: value


def _is_names(value: object) -> bool:
    return isinstance(value, str) or _is_strings(value)


def _maps(value: object, accepts: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(accepts(item) for item in value.values())


_STRING = _Rule(lambda v: isinstance(v, str), "a string")
_FLAG = _Rule(lambda v: isinstance(v, bool), "true or false")
_NAMES = _Rule(_is_names, "a string or a list of strings", _freeze_names)
_STRINGS = _Rule(_is_strings, "a list of strings", tuple)

_RULES: Mapping[str, _Rule] = {
    "peft_type": _Rule(lambda v: isinstance(v, str) and bool(v), "a string", str.upper),
    "task_type": _STRING,
    "base_model_name_or_path": _STRING,
    "revision": _STRING,
    "r": _Rule(lambda v: _is_int(v) and 0 < v < 2**31, "a positive integer"),
    "lora_alpha": _Rule(is_number, "a finite number", float),
    "use_rslora": _FLAG,
    "use_dora": _FLAG,
    "rank_pattern": _Rule(
        lambda v: _maps(v, lambda item: _is_int(item) and 0 < item < 2**31),
        "an object of positive integers",
    ),
    "alpha_pattern": _Rule(
        lambda v: _maps(v, is_number),
        "an object of finite numbers",
        lambda v: {name: float(item) for name, item in v.items()},
    ),
    "target_modules": _NAMES,
    "exclude_modules": _NAMES,
    "target_parameters": _STRINGS,
    "layers_to_transform": _Rule(
        lambda v: _is_int(v) or (isinstance(v, list) and all(map(_is_int, v))),
        "an integer or a list of integers",
        _as_tuple,
    ),
    "layers_pattern": _Rule(_is_names, "a string or a list of strings", _as_tuple),
    "layer_replication": _Rule(lambda v: isinstance(v, list), "a list of pairs", tuple),
    "fan_in_fan_out": _FLAG,
    "bias": _Rule(lambda v: v in ("none", "all", "lora_only"), "none, all or lora_only"),
    "lora_bias": _FLAG,
    "modules_to_save": _Rule(_is_names, "a list of strings", _as_tuple),
    "trainable_token_indices": _Rule(
        lambda v: _is_token_ids(v) or _maps(v, _is_token_ids),
        "a list of token ids, or an object of such lists",
        _freeze_tokens,
    ),
    "init_lora_weights": _Rule(lambda v: isinstance(v, bool | str), "true, false or a name"),
}


def parse_config(raw: Mapping[str, Any]) -> AdapterConfig:
    """Check an adapter's configuration and keep it.

    Unknown keys stay in ``raw``: versions of PEFT and other tools add them.

    Raises:
        AdapterError: If ``peft_type`` is missing or a value has a type PEFT cannot use.
    """
    if raw.get("peft_type") is None:
        raise AdapterError(
            "adapter_config.json has no 'peft_type', so the kind of adapter is unknown. "
            f"It has the keys {', '.join(sorted(map(str, raw))[:12]) or '(none)'}."
        )
    values: dict[str, Any] = {}
    is_lora = str(raw["peft_type"]).upper() == "LORA"
    for name, rule in _RULES.items():
        value = raw.get(name)
        if value is None:
            continue
        if rule.accepts(value):
            values[name] = rule.keep(value)
        elif is_lora or name in ("peft_type", "base_model_name_or_path", "modules_to_save"):
            raise AdapterError(
                f"adapter_config.json holds {name} = {_short(value)}, expected {rule.words}. "
                "Copy the file again from where the adapter was trained."
            )
    config = AdapterConfig(**values, raw=dict(raw))
    _compile_all(config)
    return config


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _compile_all(config: AdapterConfig) -> None:
    """Compile every pattern once, so that a bad one is refused on opening."""
    for pattern in (*config.rank_pattern, *config.alpha_pattern):
        compile_pattern(_ENDING.format(pattern))
    for names in (config.target_modules, config.exclude_modules):
        if isinstance(names, str):
            compile_pattern(names)
    for pattern in config.layers_pattern:
        compile_pattern(_LAYER.format(pattern))
    for name in config.modules_to_save:
        compile_pattern(_SAVED.format(name))


_BASE_CHANGED = (
    "was initialised as {name}, which changes the base weights before training: PEFT repeats that "
    "change when it loads the adapter. Take --engine peft, or convert the adapter once with "
    "save_pretrained(..., path_initial_model_for_weight_conversion=...)"
)
_BASE_LOST = (
    "was initialised as {name}, which changes the base weights before training, and PEFT cannot "
    "repeat that change on loading: on the plain base the adapter does not do what it was trained "
    "to. Convert it where it was trained, with "
    "save_pretrained(..., path_initial_model_for_weight_conversion=...)"
)

_REPEATED = ("pissa", "olora", "loftq")
_LOST = ("corda", "lora_ga")
"""Initialisations that mutate the base. ``eva``, ``orthogonal``, ``gaussian``, ``mica`` do not."""

_VARIANTS: Mapping[str, str] = {
    "layer_replication": "repeats layers of the base (layer_replication): take --engine peft",
    "target_parameters": "targets bare parameters (target_parameters): take --engine peft",
    "use_bdlora": "has block-diagonal factors (use_bdlora): take --engine peft",
    "kasa_config": "is a KaSA adapter, which truncates the base weights: take --engine peft",
    "monteclora_config": "carries MonteCLoRA's sampler: take --engine peft",
    "megatron_config": "was trained on Megatron's parallel layers: take --engine peft",
}  # fmt: skip
"""Options of ``LoraConfig`` under which the merged weight is more than W + s·B·A.

VeLoRA (``velora_config``) is absent on purpose: it changes training only.
"""

_NEVER_MERGED: Mapping[str, str] = {
    "alora_invocation_tokens":
        "is an activated LoRA: it switches on at certain tokens, so it cannot be merged",
    "arrow_config": "routes between adapters for each token (Arrow), so it cannot be merged",
    "use_qalora": "is a QA-LoRA adapter for a quantized base, which cannot be merged exactly",
}  # fmt: skip
"""Options of ``LoraConfig`` under which no merged weight does what the adapter does."""

_UNMERGEABLE = frozenset({
    "PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "CARTRIDGE",
    "ADAPTION_PROMPT", "POLY", "XLORA",
})  # fmt: skip
"""Types that work on activations or prompts: no merged weight exists."""


def unmergeable(config: AdapterConfig) -> str | None:
    """Say why no engine can merge an adapter into its base; None if one can.

    The sentence has no subject: prefix it with "The adapter ".
    """
    if config.peft_type in _UNMERGEABLE:
        return f"is of type {config.peft_type}, which has no merged weights"
    if config.peft_type != "LORA":
        return None
    for name, reason in _NEVER_MERGED.items():
        if config.raw.get(name):
            return reason
    if _initialised_by(config, _LOST):
        return _BASE_LOST.format(name=config.init_lora_weights)
    if config.use_dora and config.lora_bias:
        return "asks for DoRA and lora_bias at once, which PEFT refuses as well"
    return None


def streamable(config: AdapterConfig) -> str | None:
    """Say why the streaming engine cannot merge an adapter; None if it can.

    The sentence has no subject: prefix it with "The adapter ".
    """
    never = unmergeable(config)
    if never is not None:
        return never
    if config.peft_type != "LORA":
        return f"is of type {config.peft_type}, not LORA: take --engine peft"
    for name, reason in _VARIANTS.items():
        if config.raw.get(name):
            return reason
    if _initialised_by(config, _REPEATED):
        return _BASE_CHANGED.format(name=config.init_lora_weights)
    return None


def _initialised_by(config: AdapterConfig, names: tuple[str, ...]) -> bool:
    how = config.init_lora_weights
    return isinstance(how, str) and how.lower().startswith(names)
