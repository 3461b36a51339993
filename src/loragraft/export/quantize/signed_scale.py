"""The search of Q6_K: a signed scale for 16 weights.

Each sub-block of 16 weights x is stored as integers q in -32..31 with x ~ scale * q. The first
guess puts the weight of largest magnitude on -32; then 18 steps nearby are tried. The integers
of each give the scale by least squares with weights x^2, and the candidate that explains most
wins.

The method is ggml's (`make_qx_quants` in ggml/src/ggml-quants.c, rmse_type 1, without an
importance matrix); each operation stands in its order, so that each rounds alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba.core import cgutils

from loragraft.export.quantize.lanes import FLOAT, INT, Emitter, Vector

if TYPE_CHECKING:
    from collections.abc import Sequence

LENGTH = 16
LOWEST = -32
HIGHEST = 31

# Steps tried on either side of the first guess, and how far apart they lie, in integers.
SIDE_STEPS = 9
STEP = 0.1

# Sub-blocks of smaller magnitude count as zero (GROUP_MAX_EPS).
TINY = 1e-15

# Rows of the result of a search, WIDTH floats each.
SCALE, INVERSE = range(2)


def emit_search(e: Emitter, pointer: Any) -> list[Vector]:  # noqa: ANN401
    """Emit the search, for `lanes.search_intrinsic`."""
    x = e.load_transposed(pointer, LENGTH)
    extreme, magnitude = _extreme(e, x)
    squares = [value * value for value in x]
    cubes = [square * value for square, value in zip(squares, x, strict=True)]
    zero = e.constant(0.0)
    inverse = e.constant(LOWEST) / extreme
    sum_qx, sum_qq = _fit(e, x, squares, cubes, inverse)
    fitted = (sum_qq > zero).choose(sum_qx / sum_qq, zero)
    scale = e.variable(fitted)
    best = e.variable(fitted * sum_qx)
    winner = e.variable(inverse)
    with cgutils.for_range(e.builder, INT(2 * SIDE_STEPS)) as loop:
        inverse = e.splat(_numerator(e, loop.index)) / extreme
        sum_qx, sum_qq = _fit(e, x, squares, cubes, inverse)
        better = (sum_qq > zero) & (sum_qx * sum_qx > best.get() * sum_qq)
        fitted = sum_qx / sum_qq
        scale.set_where(better, fitted)
        best.set_where(better, fitted * sum_qx)
        winner.set_where(better, inverse)
    # An inverse of 0 marks a sub-block that counts as zero.
    nothing = magnitude < e.constant(TINY)
    return [nothing.choose(zero, scale.get()), nothing.choose(zero, winner.get())]


def _extreme(e: Emitter, x: Sequence[Vector]) -> tuple[Vector, Vector]:
    """First value of the largest magnitude, and that magnitude."""
    extreme = magnitude = e.constant(0.0)
    for value in x:
        larger = abs(value) > magnitude
        magnitude = larger.choose(abs(value), magnitude)
        extreme = larger.choose(value, extreme)
    return extreme, magnitude


def _fit(
    e: Emitter,
    x: Sequence[Vector],
    squares: Sequence[Vector],
    cubes: Sequence[Vector],
    inverse: Vector,
) -> tuple[Vector, Vector]:
    """Weighted sums of q * x and q * q for the integers that `inverse` gives."""
    sum_qx = sum_qq = e.constant(0.0)
    for value, square, cube in zip(x, squares, cubes, strict=True):
        # |inverse * value| is below 33 wherever the sub-block is not as good as zero.
        q = e.round_clamped_small(inverse * value, LOWEST, HIGHEST)
        sum_qx = sum_qx + cube * q
        sum_qq = sum_qq + square * q * q
    return sum_qx, sum_qq


def _numerator(e: Emitter, index: Any) -> Any:  # noqa: ANN401
    """`-(32 + 0.1 * step)` in float32, step running from -9 to 9 without 0."""
    builder = e.builder
    step = builder.sub(index, INT(SIDE_STEPS))
    past_zero = builder.zext(builder.icmp_signed(">=", step, INT(0)), INT)
    step = builder.sitofp(builder.add(step, past_zero), FLOAT)
    around = builder.fmul(ir.Constant(FLOAT, STEP), step)
    return builder.fneg(builder.fadd(ir.Constant(FLOAT, float(-LOWEST)), around))
