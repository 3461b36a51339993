"""Our own table of which tensor gets which type, for where llama.cpp cannot be asked.

The table states facts about llama.cpp's behaviour (`src/llama-quant.cpp` of llama-cpp-python
0.3.36, without an importance matrix) and is tested against llama.cpp itself, tensor by tensor.
A rule sees a tensor's role, its place among the tensors of the same role and a few
hyper-parameters; what it leaves undecided gets the mix's base type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from loragraft.errors import UnsupportedError
from loragraft.export.mix.catalogue import Mix
from loragraft.export.mix.specs import ModelShape, TensorSpec
from loragraft.export.mix.tensor_types import TensorType, block_elements

_T = TensorType

MANY_QUERIES = 4
"""From so many query heads per key-value head on, attn_v is small enough to get more bits."""

SPECIAL_ARCHITECTURES = frozenset({"falcon", "glm5-next", "bailingmoe3"})
"""Architectures with rules of their own in llama.cpp, which this table does not hold."""


class Role(Enum):
    """What a tensor does, as far as its type depends on it."""

    OUTPUT = auto()
    EMBEDDING = auto()
    ATTENTION_VALUE = auto()
    ATTENTION_OUTPUT = auto()
    FEED_FORWARD_DOWN = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Place:
    """Where a tensor stands: the index-th of `count` in its role."""

    index: int
    count: int
    heads_per_kv: int


Rule = Callable[[Place], TensorType | None]


def _always(qtype: TensorType) -> Rule:
    return lambda place: qtype


def _first(number: int, qtype: TensorType, then: TensorType | None = None) -> Rule:
    return lambda place: qtype if place.index < number else then


def _first_part(divisor: int, qtype: TensorType, then: TensorType | None = None) -> Rule:
    return lambda place: qtype if place.index < place.count // divisor else then


def _many_queries(qtype: TensorType, otherwise: TensorType | None = None) -> Rule:
    return lambda place: qtype if place.heads_per_kv >= MANY_QUERIES else otherwise


def _more(qtype: TensorType) -> Rule:
    return lambda place: qtype if deserves_more_bits(place.index, place.count) else None


def deserves_more_bits(index: int, count: int) -> bool:
    """Whether a layer is in the first or last eighth, or the third of every three between."""
    eighth = count // 8
    return index < eighth or index >= 7 * count // 8 or (index - eighth) % 3 == 2


RULES: dict[Role, dict[str, Rule]] = {
    Role.EMBEDDING: {
        "TQ1_0": _always(_T.Q4_K),
        "TQ2_0": _always(_T.Q4_K),
    },
    Role.ATTENTION_VALUE: {
        "Q2_K": _many_queries(_T.Q4_K, otherwise=_T.Q3_K),
        "IQ3_S": _many_queries(_T.Q4_K),
        "IQ3_M": _always(_T.Q4_K),
        "Q3_K_M": _first(2, _T.Q5_K, then=_T.Q4_K),
        "Q3_K_L": _always(_T.Q5_K),
        "IQ4_NL": _many_queries(_T.Q5_K),
        "IQ4_XS": _many_queries(_T.Q5_K),
        "Q4_K_S": _first(4, _T.Q5_K),
        "Q4_K_M": _more(_T.Q6_K),
        "Q5_K_M": _more(_T.Q6_K),
    },
    Role.ATTENTION_OUTPUT: {
        "Q2_K": _always(_T.Q3_K),
        "IQ3_M": _always(_T.Q4_K),
        "Q3_K_M": _always(_T.Q4_K),
        "Q3_K_L": _always(_T.Q5_K),
    },
    Role.FEED_FORWARD_DOWN: {
        "Q2_K": _always(_T.Q3_K),
        "IQ3_M": _first_part(8, _T.Q4_K),
        "Q3_K_M": _first_part(16, _T.Q5_K, then=_T.Q4_K),
        "Q3_K_L": _always(_T.Q5_K),
        "IQ4_NL": _first_part(8, _T.Q5_K),
        "IQ4_XS": _first_part(8, _T.Q5_K),
        "Q4_K_S": _first_part(8, _T.Q5_K),
        "Q4_K_M": _more(_T.Q6_K),
        "Q5_K_M": _more(_T.Q6_K),
    },
}
"""Per role and mix, the rule that may raise a tensor above the mix's base type."""

FALLBACKS: dict[TensorType, TensorType] = {
    _T.IQ3_S: _T.IQ4_NL,
    _T.IQ4_XS: _T.IQ4_NL,
    _T.Q2_K: _T.Q4_0,
    _T.Q3_K: _T.Q4_0,
    _T.TQ1_0: _T.Q4_0,
    _T.TQ2_0: _T.Q4_0,
    _T.Q4_K: _T.Q5_0,
    _T.Q5_K: _T.Q5_1,
    _T.Q6_K: _T.Q8_0,
}
"""For a type with blocks of 256, the type with blocks of 32 that rows of other lengths get."""

_UNQUANTIZED_PARTS = ("_norm.weight", "ffn_gate_inp.weight")
_UNQUANTIZED_NAMES = frozenset({"position_embd.weight", "token_types.weight"})


def quantizable(spec: TensorSpec) -> bool:
    """Whether llama.cpp quantizes a tensor at all; all others of ours are written as F32.

    Vectors, norms, biases, rope factors and expert routers are not. A matrix of one row counts as
    a vector.
    """
    return (
        any(size > 1 for size in spec.shape[:-1])
        and spec.name.endswith("weight")
        and not any(part in spec.name for part in _UNQUANTIZED_PARTS)
        and spec.name not in _UNQUANTIZED_NAMES
    )


def role_of(name: str) -> Role:
    """The role of a tensor, from its GGUF name. A fused attn_qkv counts as attn_v."""
    if name == "output.weight":
        return Role.OUTPUT
    if name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return Role.EMBEDDING
    if "attn_qkv.weight" in name or "attn_kv_b.weight" in name or "attn_v.weight" in name:
        return Role.ATTENTION_VALUE
    if "attn_output.weight" in name:
        return Role.ATTENTION_OUTPUT
    if "ffn_down" in name:
        return Role.FEED_FORWARD_DOWN
    return Role.OTHER


def types_by_rules(shape: ModelShape, tensors: Sequence[TensorSpec], mix: Mix) -> list[TensorType]:
    """Types by our own table, in the order of `tensors`.

    Raises:
        UnsupportedError: the table does not hold the rules for this model, or the mix has no type
            for a row of this length.
    """
    _refuse_unknown(shape)
    if not mix.quantized:
        return [mix.base if quantizable(spec) else _T.F32 for spec in tensors]
    chosen = _choose(shape, sorted(tensors, key=lambda spec: spec.order), mix)
    return [chosen[spec.name] for spec in tensors]


def _refuse_unknown(shape: ModelShape) -> None:
    if shape.architecture in SPECIAL_ARCHITECTURES or shape.experts > 1:
        what = "models with experts" if shape.experts > 1 else f"{shape.architecture!r} models"
        raise UnsupportedError(
            f"loragraft's own table of tensor types does not cover {what}. Install a "
            "llama-cpp-python whose library can be asked, or convert with llama.cpp's own script: "
            "--converter PATH/convert_hf_to_gguf.py."
        )


def _choose(shape: ModelShape, tensors: Sequence[TensorSpec], mix: Mix) -> dict[str, TensorType]:
    roles = {spec.name: role_of(spec.name) for spec in tensors}
    tied = Role.OUTPUT not in roles.values()
    counts = _counts(shape, roles.values())
    seen: Counter[Role] = Counter()
    chosen: dict[str, TensorType] = {}
    for spec in tensors:
        if not quantizable(spec):
            chosen[spec.name] = _T.F32
            continue
        role = roles[spec.name]
        place = Place(seen[role], counts[role], shape.heads_per_kv)
        seen[role] += 1
        wanted = (
            _output_type(spec, mix)
            if role is Role.OUTPUT or (tied and role is Role.EMBEDDING)
            else _inner_type(shape, role, place, mix)
        )
        chosen[spec.name] = fit_to_row(spec, wanted)
    return chosen


def _counts(shape: ModelShape, roles: Iterable[Role]) -> Counter[Role]:
    """How many tensors of a role llama.cpp reckons with: for ffn_down always the layers."""
    counts = Counter(roles)
    counts[Role.FEED_FORWARD_DOWN] = shape.layers
    return counts


def _output_type(spec: TensorSpec, mix: Mix) -> TensorType:
    """The output matrix, or the embedding that doubles as one: Q6_K, or Q8_0."""
    too_short = spec.row_length % block_elements(mix.base) != 0
    return _T.Q8_0 if too_short or mix.base in (_T.Q8_0, _T.MXFP4) else _T.Q6_K


def _inner_type(shape: ModelShape, role: Role, place: Place, mix: Mix) -> TensorType:
    if mix.base is _T.MXFP4:  # only experts are MXFP4, and this table knows none
        return _T.Q8_0
    rule = RULES.get(role, {}).get(mix.name)
    qtype = (rule(place) if rule else None) or mix.base
    if role is Role.ATTENTION_VALUE and is_70b(shape) and qtype in (_T.Q3_K, _T.Q4_K):
        return _T.Q5_K
    return qtype


def is_70b(shape: ModelShape) -> bool:
    """Whether llama.cpp files the model under "70B", whose attn_v it gives at least Q5_K.

    It goes by 80 layers: for llama only with grouped-query attention, for qwen2 always.
    """
    if shape.layers != 80:
        return False
    return shape.architecture == "qwen2" or (
        shape.architecture == "llama" and shape.heads != shape.heads_kv
    )


def fit_to_row(spec: TensorSpec, wanted: TensorType) -> TensorType:
    """The wanted type if the row is a multiple of its block, else what llama.cpp falls back to.

    Raises:
        UnsupportedError: llama.cpp has no fallback for the type.
    """
    if spec.row_length % block_elements(wanted) == 0:
        return wanted
    fallback = FALLBACKS.get(wanted, wanted)
    if fallback is wanted and block_elements(wanted) > 32:
        raise no_fallback(spec, wanted)
    return fallback if spec.row_length % block_elements(fallback) == 0 else _T.F16


def no_fallback(spec: TensorSpec, wanted: TensorType) -> UnsupportedError:
    """The error for a row that a type cannot hold and nothing stands in for."""
    return UnsupportedError(
        f"{spec.name} has rows of {spec.row_length} elements; {wanted.name} needs a multiple of "
        f"{block_elements(wanted)}, and llama.cpp has no type to fall back to. "
        "Choose another mix, Q4_K_M for instance."
    )
