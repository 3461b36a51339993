"""Which kernel encodes which tensor type, and the one call that the exporter makes.

Our encoders take over a type where all of this holds, and ggml serves otherwise:

- the type is one of theirs, numba is installed and the processor has AVX2;
- enough weights wait for it, so that compiling (once a machine) costs less than it saves;
- on a sample with all the rare cases they give exactly ggml's bytes here and now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gguf import GGMLQuantizationType

from loragraft.errors import NonFiniteError
from loragraft.export.quantize.floats import (
    F16_MAX,
    FLOAT_TYPES,
    encode_float,
    refuse_non_finite,
)
from loragraft.export.quantize.ggml import Ggml, check_buffers, load_ggml, type_name
from loragraft.export.quantize.native import (
    LOAD_SECONDS,
    NATIVE_TYPES,
    compile_cost,
    differing_weights,
    is_compiled,
    load_encoder,
    run_encoder,
    saved_seconds,
    vector_unit,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from loragraft.export.quantize.native import Encoder

Preference = Literal["auto", "numba", "ggml"]


@dataclass(frozen=True)
class Choice:
    """The kernel of one type, and why it is this one."""

    kernel: str
    reason: str
    encoder: Encoder | None = None


@dataclass(frozen=True)
class Kernels:
    """The chosen kernel of each tensor type. Safe to call from several threads at once."""

    ggml: Ggml
    choices: Mapping[int, Choice] = field(default_factory=dict)

    def quantize_into(self, qtype: int, x: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
        """Encode `x` (float32, [rows, n]) into `out` (uint8, [rows, row_bytes]).

        A type that was not named to `choose_kernels` goes to ggml.

        Raises:
            NonFiniteError: NaN or Inf in `x`, or a value too large for the type.
            UnsupportedError: rows of this length cannot be stored as this type.
        """
        if qtype in FLOAT_TYPES:
            encode_float(qtype, x, out)
            return
        largest = refuse_non_finite(x)
        choice = self.choices.get(qtype)
        if choice is None or choice.encoder is None:
            self.ggml.quantize_into(qtype, x, out)
        else:
            check_buffers(x, out, self.ggml.row_bytes(qtype, x.shape[1]))
            run_encoder(choice.encoder, x, out)
        # Scales are half floats, at most as large as the largest weight of their block.
        if largest > F16_MAX and not self.ggml.validate(qtype, out):
            raise NonFiniteError(
                f"overflow: with a weight of magnitude {largest:g}, {type_name(qtype)} needs a "
                f"scale beyond half precision's largest value, {F16_MAX}. Choose BF16 or F32, "
                "or check the adapter's scale."
            )

    def row_bytes(self, qtype: int, length: int) -> int:
        """Bytes of an encoded row of `length` elements."""
        if qtype in FLOAT_TYPES:
            return FLOAT_TYPES[qtype] * length
        return self.ggml.row_bytes(qtype, length)

    def report(self) -> dict[str, str]:
        """Kernel and reason by type name, for the metadata."""
        return {
            type_name(qtype): f"{choice.kernel}: {choice.reason}"
            for qtype, choice in self.choices.items()
        }


def choose_kernels(
    elements: Mapping[int, int],
    *,
    prefer: Preference = "auto",
    encoders: Mapping[int, Encoder] | None = None,
) -> Kernels:
    """Choose a kernel for each type of `elements` (tensor type → number of elements).

    Args:
        elements: how many weights will be encoded as each type.
        prefer: "ggml" never takes ours; "numba" takes ours without asking whether it pays;
            neither skips the comparison with ggml's bytes.
        encoders: use these in place of our own ones; they must pass the same comparison.

    Raises:
        UnavailableError: ggml cannot be loaded.
        UnsupportedError: a type that ggml cannot encode without an importance matrix.
    """
    ggml = load_ggml()
    saved = {
        qtype: saved_seconds(NATIVE_TYPES[qtype], count)
        for qtype, count in elements.items()
        if qtype in NATIVE_TYPES
    }
    choices = {}
    for qtype in sorted(elements):
        if qtype in FLOAT_TYPES:
            choices[qtype] = Choice("numpy", "plain floats")
            continue
        ggml.prepare(qtype)
        given = (encoders or {}).get(qtype)
        if qtype not in saved:
            choices[qtype] = Choice("ggml", "the only encoder of this type")
        elif prefer == "ggml":
            choices[qtype] = Choice("ggml", "asked for")
        else:
            reason = _not_worth_it(qtype, saved, given) if prefer == "auto" else None
            choices[qtype] = Choice("ggml", reason) if reason else _native(qtype, given, ggml)
    return Kernels(ggml, choices)


def dequantize_rows(qtype: int, data: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decode rows (uint8, [rows, row_bytes]) to float32 [rows, n]."""
    from gguf.quants import dequantize

    return dequantize(data, GGMLQuantizationType(qtype))


def _not_worth_it(qtype: int, saved: Mapping[int, float], given: Encoder | None) -> str | None:
    """Why our encoder would not pay, None where it does; `saved` has seconds by type."""
    total = sum(saved.values())
    if total < LOAD_SECONDS:
        return f"loading numba would cost more than the {saved[qtype]:.1f} s it saves"
    native = NATIVE_TYPES[qtype]
    try:
        encoder = load_encoder(native) if given is None else given
    except ImportError as error:
        return f"numba is not usable ({error})"
    if given is not None or is_compiled(encoder):
        return None
    cost = compile_cost(native, saved[qtype] / total)
    if saved[qtype] >= cost:
        return None
    return f"compiling ours would cost about {cost:.1f} s and save {saved[qtype]:.1f} s"


def _native(qtype: int, given: Encoder | None, ggml: Ggml) -> Choice:
    """Take our encoder if it can run here and passes its check."""
    try:
        encoder = load_encoder(NATIVE_TYPES[qtype]) if given is None else given
        unit = vector_unit()
    except ImportError as error:
        return Choice("ggml", f"numba is not usable ({error})")
    if unit is None:
        return Choice("ggml", "the processor has no AVX2")
    return _checked(qtype, encoder, unit, ggml)


def _checked(qtype: int, encoder: Encoder, unit: str, ggml: Ggml) -> Choice:
    """Take `encoder` if it gives ggml's bytes on the sample; this compiles or loads it."""
    from numba.core.errors import NumbaError

    try:
        different, checked = differing_weights(encoder, qtype, ggml)
    except (NumbaError, OSError, RuntimeError) as error:
        return Choice("ggml", f"numba could not compile or load ours ({error})")
    if different:
        return Choice(
            "ggml",
            f"ours gave other bytes for blocks of {different:,} of {checked:,} sample weights",
        )
    return Choice(
        f"loragraft numba {unit}", f"same bytes as ggml on {checked:,} sample weights", encoder
    )
