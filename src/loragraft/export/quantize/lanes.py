"""Vector values for the encoders: one lane a sub-block, written as LLVM vectors.

A K-quant's search over scales is a long chain of sums within a sub-block, whose order decides
the bytes. So no sum is split: many sub-blocks run side by side instead, each in its own lane.
Left to itself LLVM's vectoriser gives up on such nested loops; here the vectors are spelled
out, and LLVM only allocates registers. Nothing carries a fast-math flag and nothing is fused:
every lane rounds as ggml's plain C does.

Everything here runs while numba compiles; nothing of it is left at run time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import binding, ir
from numba import config, njit
from numba.core import cgutils, types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Adding 1.5 * 2^23 pushes the fraction out of a float32, which rounds it to nearest even and
# leaves the integer in the low bits. For |value| >= 2^22 the bits mean something else, which is
# kept as it is: ggml does the same.
ROUNDING = 12582912.0
MANTISSA = 0x7FFFFF
ROUNDING_BITS = 0x400000

# numba publishes no types for these.
_cgutils: Any = cgutils
_config: Any = config

FLOAT = ir.FloatType()
INT = ir.IntType(32)


def host_features() -> frozenset[str]:
    """Names of the instruction sets that numba compiles for.

    Those of this machine, or what NUMBA_CPU_FEATURES says (as in `+avx2,-avx512f`).
    """
    if _config.CPU_FEATURES is not None:
        wanted = (name.strip() for name in _config.CPU_FEATURES.split(","))
        return frozenset(name[1:] for name in wanted if name.startswith("+"))
    return frozenset(name for name, there in binding.get_host_cpu_features().items() if there)


def lane_width(features: frozenset[str]) -> int:
    """Float32 lanes of one vector register: wider values would be spilt all the time."""
    return 16 if "avx512f" in features else 8


WIDTH = lane_width(host_features())


def jit(function: Callable[..., Any]) -> Any:  # noqa: ANN401
    """Compile `function` without the interpreter lock, keeping the machine code where possible.

    numba looks for a writable cache folder (NUMBA_CACHE_DIR, `__pycache__`, the user's cache)
    when it decorates; a read-only installation without a home folder has none.
    """
    try:
        return njit(cache=True, nogil=True, error_model="numpy", fastmath=False)(function)
    except RuntimeError:
        return njit(nogil=True, error_model="numpy", fastmath=False)(function)


@dataclass(frozen=True)
class Vector:
    """A value of WIDTH lanes of float32, int32 or bool, with the operators of arithmetic."""

    builder: Any
    value: Any

    def _binary(self, operation: str, other: Vector) -> Vector:
        return Vector(self.builder, getattr(self.builder, operation)(self.value, other.value))

    def __add__(self, other: Vector) -> Vector:
        """Sum."""
        return self._binary("fadd", other)

    def __sub__(self, other: Vector) -> Vector:
        """Difference."""
        return self._binary("fsub", other)

    def __mul__(self, other: Vector) -> Vector:
        """Product, never fused with a sum."""
        return self._binary("fmul", other)

    def __truediv__(self, other: Vector) -> Vector:
        """Quotient; dividing by 0 gives infinity or NaN."""
        return self._binary("fdiv", other)

    def __and__(self, other: Vector) -> Vector:
        """Lanes where both masks hold."""
        return self._binary("and_", other)

    def __neg__(self) -> Vector:
        """The other sign."""
        return Vector(self.builder, self.builder.fneg(self.value))

    def __abs__(self) -> Vector:
        """Magnitude."""
        return self._call("llvm.fabs")

    def sqrt(self) -> Vector:
        """Square root, correctly rounded."""
        return self._call("llvm.sqrt")

    def __lt__(self, other: Vector) -> Vector:
        """Lanes where self < other; false where either is NaN, as in C."""
        return Vector(self.builder, self.builder.fcmp_ordered("<", self.value, other.value))

    def __gt__(self, other: Vector) -> Vector:
        """Lanes where self > other; false where either is NaN, as in C."""
        return other < self

    def equals(self, other: Vector) -> Vector:
        """Lanes where self == other; false where either is NaN, as in C."""
        return Vector(self.builder, self.builder.fcmp_ordered("==", self.value, other.value))

    def choose(self, yes: Vector, no: Vector) -> Vector:
        """Take `yes` in the lanes where this mask holds, `no` elsewhere."""
        return Vector(self.builder, self.builder.select(self.value, yes.value, no.value))

    def _call(self, name: str) -> Vector:
        kind = ir.FunctionType(self.value.type, [self.value.type])
        module = self.builder.module
        function = _cgutils.get_or_insert_function(module, kind, f"{name}.v{WIDTH}f32")
        return Vector(self.builder, self.builder.call(function, [self.value]))


@dataclass(frozen=True)
class Emitter:
    """Makes vectors and variables where `builder` stands."""

    builder: Any

    @property
    def floats(self) -> Any:  # noqa: ANN401
        """LLVM type of WIDTH float32 lanes."""
        return ir.VectorType(FLOAT, WIDTH)

    def constant(self, value: float) -> Vector:
        """All lanes the same float32."""
        return Vector(self.builder, ir.Constant(self.floats, [float(value)] * WIDTH))

    def splat(self, scalar: Any) -> Vector:  # noqa: ANN401
        """All lanes the same run-time float32."""
        empty = ir.Constant(self.floats, ir.Undefined)
        first = self.builder.insert_element(empty, scalar, INT(0))
        everywhere = ir.Constant(ir.VectorType(INT, WIDTH), [0] * WIDTH)
        return Vector(self.builder, self.builder.shuffle_vector(first, empty, everywhere))

    def variable(self, initial: Vector) -> Variable:
        """A vector that a loop may change."""
        slot = _cgutils.alloca_once(self.builder, initial.value.type)
        self.builder.store(initial.value, slot)
        return Variable(self.builder, slot)

    def smaller(self, a: Vector, b: Vector) -> Vector:
        """`b < a ? b : a`."""
        return (b < a).choose(b, a)

    def larger(self, a: Vector, b: Vector) -> Vector:
        """`b > a ? b : a`."""
        return (b > a).choose(b, a)

    def round_clamped(self, v: Vector, low: int, high: int) -> Vector:
        """Nearest integer of any `v` with ggml's meaning outside ±2^22, clamped, as float32."""
        builder = self.builder
        ints = ir.VectorType(INT, WIDTH)

        def whole(value: int) -> Any:  # noqa: ANN401
            return ir.Constant(ints, [value] * WIDTH)

        bits = builder.bitcast((v + self.constant(ROUNDING)).value, ints)
        i = builder.sub(builder.and_(bits, whole(MANTISSA)), whole(ROUNDING_BITS))
        i = builder.select(builder.icmp_signed(">", i, whole(low)), i, whole(low))
        i = builder.select(builder.icmp_signed("<", i, whole(high)), i, whole(high))
        return Vector(builder, builder.sitofp(i, self.floats))

    def round_clamped_small(self, v: Vector, low: int, high: int) -> Vector:
        """Nearest integer of `v`, |v| < 2^22 in every lane that matters; two steps shorter."""
        shifted = v + self.constant(ROUNDING)
        shifted = self.larger(self.constant(ROUNDING + low), shifted)
        shifted = self.smaller(self.constant(ROUNDING + high), shifted)
        return shifted - self.constant(ROUNDING)

    def load_transposed(self, pointer: Any, length: int) -> list[Vector]:  # noqa: ANN401
        """Read WIDTH sub-blocks of `length` floats that follow each other in memory.

        Returns one vector an element: vector i holds element i of every sub-block.
        """
        return [
            vector
            for tile in range(0, length, WIDTH)
            for vector in self._transpose(
                [self._load(pointer, lane * length + tile) for lane in range(WIDTH)]
            )
        ]

    def store(self, vectors: Sequence[Vector], pointer: Any) -> None:  # noqa: ANN401
        """Write vectors one after the other."""
        for index, vector in enumerate(vectors):
            place = self._at(pointer, index * WIDTH)
            self.builder.store(vector.value, place, align=4)

    def _at(self, pointer: Any, offset: int) -> Any:  # noqa: ANN401
        place = self.builder.gep(pointer, [INT(offset)])
        return self.builder.bitcast(place, self.floats.as_pointer())

    def _load(self, pointer: Any, offset: int) -> Any:  # noqa: ANN401
        return self.builder.load(self._at(pointer, offset), align=4)

    def _transpose(self, rows: list[Any]) -> list[Vector]:
        """Swap rows and lanes by exchanging ever larger squares."""
        size = 1
        while size < WIDTH:
            swapped = list(rows)
            for row in range(WIDTH):
                if row & size:
                    continue
                pair = rows[row], rows[row + size]
                swapped[row] = self._exchange(*pair, size, upper=False)
                swapped[row + size] = self._exchange(*pair, size, upper=True)
            rows = swapped
            size *= 2
        return [Vector(self.builder, row) for row in rows]

    def _exchange(self, a: Any, b: Any, size: int, *, upper: bool) -> Any:  # noqa: ANN401
        picks = []
        for lane in range(WIDTH):
            if upper:
                picks.append(lane + WIDTH if lane & size else lane + size)
            else:
                picks.append(lane - size + WIDTH if lane & size else lane)
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT, WIDTH), picks))


@dataclass(frozen=True)
class Variable:
    """A vector that changes in a loop."""

    builder: Any
    slot: Any

    def get(self) -> Vector:
        """Its value here."""
        return Vector(self.builder, self.builder.load(self.slot))

    def set(self, value: Vector) -> None:
        """Give it another value."""
        self.builder.store(value.value, self.slot)

    def set_where(self, mask: Vector, value: Vector) -> None:
        """Give it another value in some lanes."""
        self.set(mask.choose(value, self.get()))


def search_intrinsic(emit: Callable[[Emitter, Any], list[Vector]]) -> Any:  # noqa: ANN401
    """Make `search(x, start, results)` for compiled code from an emitter of vectors.

    `x` is float32 [n]; from `start` on it holds WIDTH sub-blocks. `emit` gets the address of the
    first and returns vectors, which are written to `results`, WIDTH float32 each.
    """

    @intrinsic
    def search(typing_context: Any, x: Any, start: Any, results: Any) -> Any:  # noqa: ANN401
        del typing_context

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
            source, offset, target = (
                context.make_array(kind)(context, builder, value).data
                if isinstance(kind, types.Array)
                else value
                for kind, value in zip(signature.args, arguments, strict=True)
            )
            emitter = Emitter(builder)
            emitter.store(emit(emitter, builder.gep(source, [offset])), target)
            return context.get_dummy_value()

        return types.void(x, types.int64, results), generate

    return search


@intrinsic
def float_bits(typing_context: Any, value: Any) -> Any:  # noqa: ANN401
    """Bits of a float32 as an int32."""
    del typing_context, value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        del context, signature
        return builder.bitcast(arguments[0], INT)

    return types.int32(types.float32), generate


@intrinsic
def bits_float(typing_context: Any, value: Any) -> Any:  # noqa: ANN401
    """Float32 of the bits of an int32."""
    del typing_context, value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        del context, signature
        return builder.bitcast(arguments[0], FLOAT)

    return types.float32(types.int32), generate


_float_bits: Any = float_bits
_bits_float: Any = bits_float
_ROUNDING = np.float32(ROUNDING)
_MANTISSA = np.int32(MANTISSA)
_ROUNDING_BITS = np.int32(ROUNDING_BITS)


@njit(nogil=True, error_model="numpy")
def nearest_int(value: np.float32) -> np.int32:
    """Nearest integer, ties to even; outside ±2^22 what ggml makes of it."""
    nearest: np.int32 = (_float_bits(value + _ROUNDING) & _MANTISSA) - _ROUNDING_BITS
    return nearest


@njit(nogil=True, error_model="numpy")
def half_bits(value: np.float32) -> np.uint16:
    """IEEE half precision bits of a float32, ties to even; overflow gives infinity."""
    bits = _float_bits(value)
    sign = (bits >> np.int32(16)) & np.int32(0x8000)
    magnitude = bits & np.int32(0x7FFFFFFF)
    if magnitude > np.int32(0x7F800000):
        half = np.int32(0x7E00)
    elif magnitude >= np.int32(0x477FF000):
        half = np.int32(0x7C00)
    elif magnitude < np.int32(0x38800000):
        # Below the smallest normal half: adding 0.5 aligns the last bit of the mantissa with
        # 2^-24, the step of half's subnormals, and rounds there.
        half = _float_bits(_bits_float(magnitude) + np.float32(0.5)) - np.int32(0x3F000000)
    else:
        even = (magnitude >> np.int32(13)) & np.int32(1)
        half = (magnitude - np.int32(0x38000000) + np.int32(0xFFF) + even) >> np.int32(13)
    result: np.uint16 = np.uint16(sign | half)
    return result


@njit(nogil=True, error_model="numpy")
def half_value(half: np.uint16) -> np.float32:
    """Float32 of IEEE half precision bits."""
    bits = np.int32(half)
    exponent = (bits >> np.int32(10)) & np.int32(0x1F)
    mantissa = bits & np.int32(0x3FF)
    magnitude: np.float32 = np.float32(mantissa) * np.float32(2.0**-24)
    if exponent == np.int32(31):
        magnitude = _bits_float(np.int32(0x7F800000) | (mantissa << np.int32(13)))
    elif exponent != np.int32(0):
        rebased = (exponent + np.int32(112)) << np.int32(23)
        magnitude = _bits_float(rebased | (mantissa << np.int32(13)))
    result: np.float32 = np.float32(-magnitude if bits & np.int32(0x8000) else magnitude)
    return result
